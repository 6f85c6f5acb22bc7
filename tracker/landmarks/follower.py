"""The face in the frames of a video: found once, then followed by its own landmarks.

Image frame: pixels of the displayed frame, x right, y down, centre of the top-left pixel at (0, 0).
"""

from dataclasses import dataclass, field

import numpy as np
import torch

from selftrack.decoders.landmarks import MESH_POINTS
from selftrack.errors import UserError
from selftrack.tracker.geometry import crop
from selftrack.tracker.landmarks.attention_mesh import SIZE, LandmarkNet
from selftrack.tracker.landmarks.base import Detection, Follower
from selftrack.tracker.landmarks.boxes import BoxConfig, BoxDetector, FaceBoxes, overlaps

_MIN_SIDE = 16
"""Frames with a side of fewer pixels show no face worth tracking."""
_ATTEMPTS = 4
"""So often a fast face is looked at in one frame before it counts as lost."""
_RATE = 30.0
"""Frames per second that the stabiliser of the region assumes; its time constant is in seconds."""


@dataclass(frozen=True)
class DetectConfig:
    """Settings of detection and following."""

    face: int = 0
    """Which face: 0 the largest, N the N-th larger than it of the first frame that shows so many."""
    min_presence: float = 0.5
    """Below this probability of a face in the followed region, it is lost and searched for again."""
    max_lag: float = 0.06
    """A face off the region's centre by more of its side, or larger or smaller by more, is looked at again."""
    max_jump: float = 0.2
    """If it is off by more, it has jumped and is searched for."""
    same_face: float = 0.2
    """A box that overlaps the last one by more (intersection over union) is the same face."""
    box: BoxConfig = field(default_factory=BoxConfig)
    """The search for faces."""
    region: crop.CropConfig = field(
        default_factory=lambda: crop.CropConfig(size=SIZE, max_offset=0.04, max_scale=0.04, max_roll=3)
    )
    """How the followed region is kept from shaking: noise of the landmarks must not feed back into them."""


class FaceFollower(Follower):
    """Follows one face through a video, forward only. Its memory is the last points and the last region.

    The region that the landmark network sees comes from the points of the frame before. When the face leaves
    it (lost, or jumped at a cut) all faces are searched for, and the one that overlaps the last place is
    taken, else the one that the settings name.
    """

    def __init__(self, net: LandmarkNet, boxes: BoxDetector, config: DetectConfig | None = None) -> None:
        """`net` and `boxes` are shared with other followers and have no memory."""
        self.config = config or DetectConfig()
        if self.config.face < 0:
            raise UserError(f"face is 0 for the largest, 1 for the next; got {self.config.face}")
        self._net, self._boxes = net, boxes
        self._region = crop.CropStabiliser(self.config.region)
        self.reset()

    def reset(self) -> None:
        """Forgets the face: the next frame is searched as the first."""
        self._points: np.ndarray | None = None
        self._place: np.ndarray | None = None
        self._count = 0
        self._region.reset()

    def __call__(self, frame: np.ndarray) -> Detection | None:
        """The next frame (H, W, 3) uint8 RGB -> its face, or None if there is none."""
        _check_frame(frame)
        self._count += 1
        found = self._follow(frame)
        if found is None:
            self._region.reset()
            found = self._search(frame, self._place)
        self._points = None if found is None else found.points
        if found is not None:
            self._place = bounding_box(found.points)
        return found

    def detect_once(self, frame: np.ndarray) -> Detection | None:
        """The face of a single frame (H, W, 3) uint8 RGB; neither uses nor changes what is remembered."""
        _check_frame(frame)
        return self._search(frame, None)

    def _follow(self, frame: np.ndarray) -> Detection | None:
        """The face near its last points, None if it is not there."""
        if self._points is None:
            return None
        region = self._region(self._points, self._count / _RATE)
        for _ in range(_ATTEMPTS):
            found = self._read(frame, region)
            lag = np.inf if found is None else _lag(region, found.points)
            if lag < self.config.max_lag:
                return found
            if found is None or lag > self.config.max_jump:
                return None
            # the network expects a face to fill its region, so its answer lags behind, too
            region = crop.face_similarity(found.points, SIZE)
        return None

    def _search(self, frame: np.ndarray, place: np.ndarray | None) -> Detection | None:
        """The face at a place (4,) if there is one, else the one of the settings' rank."""
        if min(frame.shape[:2]) < _MIN_SIDE:
            return None
        boxes = self._boxes(frame, self.config.face + 1, self.config.box)
        for row in _candidates(boxes, self.config, place):
            found = self._read(frame, _region_of_box(boxes.corners[row], boxes.points[row]))
            if found is not None:
                # once more, in the region that following would use: the answer depends on it a little
                return self._read(frame, crop.face_similarity(found.points, SIZE))
        return None

    def _read(self, frame: np.ndarray, region: np.ndarray) -> Detection | None:
        """The landmark network's answer for a region (2, 3) image -> crop; None if it sees no face."""
        scale = np.sqrt(np.linalg.det(region[:, :2]))
        step = max(int(1 / (3 * scale)), 1)  # of a huge face every step-th pixel says enough
        picture = crop.warp(frame[::step, ::step], region * (step, step, 1), SIZE).astype(np.float32) / 255
        images = torch.from_numpy(picture).to(self._net.device).permute(2, 0, 1)[None]
        points, presence = self._net(images)
        confidence = float(presence[0])
        if confidence < self.config.min_presence:
            return None
        points = points[0].cpu().numpy()
        flat = crop.apply(crop.invert(region), points[:, :2])
        return Detection(flat.astype(np.float32), (points[:, 2] / scale).astype(np.float32), confidence)


def bounding_box(points: np.ndarray) -> np.ndarray:
    """Upright box (4,) left, top, right, bottom of points (L, 2), without the irises."""
    points = points[:MESH_POINTS]
    return np.concatenate([points.min(0), points.max(0)])


def _check_frame(frame: np.ndarray) -> None:
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise ValueError(f"expected a frame (H, W, 3) uint8, got {frame.shape} {frame.dtype}")


def _candidates(boxes: FaceBoxes, config: DetectConfig, place: np.ndarray | None) -> list[int]:
    """Rows of the boxes in the order to try: the one at the last place, then from the asked rank down."""
    rows = list(range(config.face, len(boxes.scores)))
    if place is not None and len(boxes.scores):
        shared = overlaps(boxes.corners, place)
        if shared.max() > config.same_face:
            rows.insert(0, int(shared.argmax()))
    return rows


def _region_of_box(corners: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Region (2, 3), image -> crop: 1.5 times a box (4,), the eyes, first two of points (6, 2), level."""
    across = points[1] - points[0]
    angle = np.arctan2(across[1], across[0])
    scale = SIZE / (crop.SIDE_PER_FACE * (corners[2:] - corners[:2]).max())
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    linear = np.array([[cos, sin], [-sin, cos]])
    centre = (corners[:2] + corners[2:]) / 2
    return np.concatenate([linear, ((SIZE - 1) / 2 - linear @ centre)[:, None]], 1)


def _lag(region: np.ndarray, points: np.ndarray) -> float:
    """How far points (L, 2) are from filling a region (2, 3) as they should.

    Offset of the centre in sides or logarithm of the relative size, whichever is larger.
    """
    box = bounding_box(crop.apply(region, points))
    offset = np.hypot(*((box[:2] + box[2:]) / 2 - (SIZE - 1) / 2)) / SIZE
    size = np.log(crop.SIDE_PER_FACE * (box[2:] - box[:2]).max() / SIZE)
    return max(float(offset), abs(float(size)))
