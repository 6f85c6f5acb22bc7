"""The landmark detectors that are built in: MediaPipe's attention mesh, and face-alignment's FAN.

A further one is a class like these, registered by `register_landmarks`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from selftrack.decoders.landmarks import IBUG_68
from selftrack.errors import UserError, of_extra
from selftrack.tracker.landmarks.attention_mesh import LandmarkNet
from selftrack.tracker.landmarks.base import Detection, Follower, LandmarkSource, Places, register_landmarks
from selftrack.tracker.landmarks.boxes import BoxDetector
from selftrack.tracker.landmarks.follower import FaceFollower
from selftrack.tracker.landmarks.search import DetectConfig, FaceSearch, bounding_box


@register_landmarks("mediapipe")
class AttentionMesh(LandmarkSource):
    """MediaPipe's face boxes and attention mesh: 468 points of the face and ten of the irises. Bundled."""

    points = 478

    def __init__(self, device: torch.device) -> None:
        self._search = FaceSearch(LandmarkNet().to(device).eval(), BoxDetector())

    def follower(self, config: DetectConfig, places: Places | None = None) -> FaceFollower:
        return FaceFollower(self._search, config, places)

    def faces(self, frame: np.ndarray, config: DetectConfig) -> list[Detection]:
        return self._search.all(frame, config)


@register_landmarks("fan")
class Fan(LandmarkSource):
    """68 points of face-alignment's FAN (Bulat and Tzimiropoulos 2017), on the face that the attention mesh follows.

    That library downloads its weights on first use.
    """

    points = 68

    def __init__(self, device: torch.device) -> None:
        self._mesh = AttentionMesh(device)
        self._fan = _load_fan(str(device))

    def follower(self, config: DetectConfig, places: Places | None = None) -> Follower:
        return _FanFollower(self._mesh.follower(config, places), self._fan)

    def faces(self, frame: np.ndarray, config: DetectConfig) -> list[Detection]:
        return [_align(self._fan, frame, face) for face in self._mesh.faces(frame, config)]


class _FanFollower(Follower):
    """FAN's points on the face of another follower."""

    def __init__(self, follower: Follower, fan: Any) -> None:
        self._follower, self._fan = follower, fan

    def reset(self) -> None:
        self._follower.reset()

    def __call__(self, frame: np.ndarray, time: float | None = None) -> Detection | None:
        found = self._follower(frame, time)
        return None if found is None else _align(self._fan, frame, found)

    def detect_once(self, frame: np.ndarray) -> Detection | None:
        found = self._follower.detect_once(frame)
        return None if found is None else _align(self._fan, frame, found)


def _align(fan: Any, frame: np.ndarray, found: Detection) -> Detection:
    """FAN's points of a face that was found."""
    points = fan.get_landmarks_from_image(frame, [bounding_box(found.points)])[0]
    visible = None if found.visible is None else found.visible[list(IBUG_68)]
    return Detection(points.astype(np.float32), np.zeros(len(points), np.float32), found.confidence, visible)


def _load_fan(device: str) -> Any:
    """face-alignment's aligner without a face detector of its own."""
    with of_extra("paper"):
        import face_alignment

    try:
        return face_alignment.FaceAlignment(
            face_alignment.LandmarksType.TWO_D, device=device, face_detector="folder", compile=False
        )
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"the weights of the FAN landmarks cannot be downloaded ({error}); go online once or use others"
        ) from error
