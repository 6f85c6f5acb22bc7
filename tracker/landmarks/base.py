"""Where landmarks come from: a source is shared by all trackers and has no memory; its followers have one each.

Image frame: pixels of the displayed frame, x right, y down, centre of the top-left pixel at (0, 0).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from selftrack.errors import UserError
from selftrack.tracker.landmarks.boxes import overlaps

if TYPE_CHECKING:
    from selftrack.tracker.landmarks.search import DetectConfig

_SAME = 0.2  # intersection over union above which two boxes may be one face
_SAME_TIME = 1e-5  # seconds by which the times of a frame may differ between two passes


@dataclass(frozen=True)
class Detection:
    """One face in one frame."""

    points: np.ndarray
    """(478, 2) float32, image pixels; with FAN (68, 2)."""
    depth: np.ndarray
    """(478,) float32, pixels of the image, larger is farther, 0 about the head's middle; with FAN zeros."""
    confidence: float
    """Probability in 0..1 that the points are on a face."""
    visible: np.ndarray | None = None
    """(478,) float32, with FAN (68,): how visible each point is, 0 where something hides it, 1 where it is seen; None
    where the detector does not say."""


@dataclass(frozen=True)
class Places:
    """Where one face of a clip with several is, and where the others are."""

    times: np.ndarray
    """(N,) seconds of the frames that show it, increasing."""
    boxes: np.ndarray
    """(N,4) its bounding boxes: left, top, right, bottom, image pixels."""
    regions: np.ndarray
    """(N,2,3) the crops around it, see `crop.face_similarity`."""
    others: tuple[tuple[np.ndarray, np.ndarray], ...]
    """Times and boxes of each other face."""

    def region(self, time: float) -> np.ndarray | None:
        """The crop (2,3) around it at a time; None where it is not seen."""
        row = _row_at(self.times, time)
        return None if row is None else self.regions[row]

    def is_other(self, time: float, box: np.ndarray) -> bool:
        """Whether a bounding box (4,) lies on another face rather than on this one."""
        own = _overlap_at(self.times, self.boxes, time, box)
        return any(_overlap_at(times, boxes, time, box) > max(own, _SAME) for times, boxes in self.others)


def _overlap_at(times: np.ndarray, boxes: np.ndarray, time: float, box: np.ndarray) -> float:
    row = _row_at(times, time)
    return 0.0 if row is None else float(overlaps(boxes[row : row + 1], box)[0])


def _row_at(times: np.ndarray, time: float) -> int | None:
    row = int(np.searchsorted(times, time - _SAME_TIME))
    return row if row < len(times) and times[row] < time + _SAME_TIME else None


class Follower(ABC):
    """One face through one video; its memory is its own."""

    @abstractmethod
    def __call__(self, frame: np.ndarray, time: float | None = None) -> Detection | None:
        """Find the face in the next frame (H, W, 3) uint8 RGB, None if there is none. Times are in seconds; without
        them there are thirty frames a second."""

    @abstractmethod
    def detect_once(self, frame: np.ndarray) -> Detection | None:
        """Find the face in a single frame (H, W, 3) uint8 RGB, without using or changing what is remembered."""

    @abstractmethod
    def reset(self) -> None:
        """Forget the face: the next frame is searched as the first."""


class LandmarkSource(ABC):
    """A landmark detector: networks on a device, without memory, so that threads may share it."""

    points: int
    """How many landmarks it gives: 478, or 68."""

    @abstractmethod
    def __init__(self, device: torch.device) -> None: ...

    @abstractmethod
    def follower(self, config: DetectConfig, places: Places | None = None) -> Follower:
        """Begin to follow a face: the one at `places`, where the clip's faces are known beforehand."""

    def faces(self, frame: np.ndarray, config: DetectConfig) -> list[Detection]:
        """Find all faces of a single frame (H, W, 3) uint8 RGB, the largest first; here the one that is followed."""
        found = self.follower(config).detect_once(frame)
        return [] if found is None else [found]


LANDMARK_SOURCES: dict[str, type[LandmarkSource]] = {}
"""By the name that `--landmarks` takes."""


def register_landmarks(name: str) -> Callable[[type[LandmarkSource]], type[LandmarkSource]]:
    """Make a class of landmark sources known by a name."""

    def register(source: type[LandmarkSource]) -> type[LandmarkSource]:
        LANDMARK_SOURCES[name] = source
        return source

    return register


def load_landmarks(name: str, device: torch.device) -> LandmarkSource:
    """Load a landmark source by its name. Raises UserError when there is none of that name."""
    return landmark_source(name)(device)


def landmark_source(name: str) -> type[LandmarkSource]:
    """The class of a landmark source by its name. Raises UserError when there is none of that name."""
    if name not in LANDMARK_SOURCES:
        raise UserError(f"landmarks must be one of {', '.join(LANDMARK_SOURCES)}; got {name!r}")
    return LANDMARK_SOURCES[name]
