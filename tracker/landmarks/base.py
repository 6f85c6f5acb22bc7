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

if TYPE_CHECKING:
    from selftrack.tracker.landmarks.follower import DetectConfig


@dataclass(frozen=True)
class Detection:
    """One face in one frame."""

    points: np.ndarray
    """(478, 2) float32, image pixels; with FAN (68, 2)."""
    depth: np.ndarray
    """(478,) float32, pixels of the image, larger is farther, 0 about the head's middle; with FAN zeros."""
    confidence: float
    """Probability in 0..1 that the points are on a face."""


class Follower(ABC):
    """One face through one video; its memory is its own."""

    @abstractmethod
    def __call__(self, frame: np.ndarray) -> Detection | None:
        """Find the face in the next frame (H, W, 3) uint8 RGB; None if there is none."""

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
    def follower(self, config: DetectConfig) -> Follower:
        """Begin to follow a face."""


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
