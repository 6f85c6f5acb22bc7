"""All faces of single frames: boxes, the landmarks in them, and a second look that tells faces from patterns.

Image frame: pixels of the displayed frame, x right, y down, centre of the top-left pixel at (0, 0).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from torch import Tensor

from selftrack.decoders.landmarks import MESH_POINTS
from selftrack.errors import UserError
from selftrack.tracker.geometry import crop
from selftrack.tracker.landmarks import boxes
from selftrack.tracker.landmarks.attention_mesh import SIZE, LandmarkNet
from selftrack.tracker.landmarks.base import Detection
from selftrack.tracker.landmarks.boxes import BoxConfig, BoxDetector, FaceBoxes
from selftrack.tracker.landmarks.visibility import VisibilityHead, visible_at

_MIN_SIDE = 16
"""Frames with a side of fewer pixels show no face worth tracking."""
_FILLS = (0.35, 0.5, 0.65)
"""Shares of the second look's pictures that the face fills: what looks like a face at one size alone is none."""
_SURE = 0.8
"""With that score upright, a face is not looked at in other turns."""
_LIKELY = 0.6
"""With a lower score in every turn, it is not looked at any more."""
_BETTER = 0.1
"""In another turn the score is better by at least that."""
_ONE = 0.3
"""Findings of a frame that overlap by more (intersection over union) are one face."""
_INSIDE = 0.7
"""A finding that lies with more of itself inside another one is of the same face."""
_CENSUS = 2
"""Levels that are searched for further faces when one is found already."""


@dataclass(frozen=True)
class DetectConfig:
    """Settings of detection and following."""

    face: int = 0
    """Which face of the clip, see `cast.find_cast`. Of a stream: 0 the largest, N the N-th larger than it of the first
    frame that shows so many."""
    min_presence: float = 0.5
    """Below this probability of a face among the landmarks, there is none."""
    min_score: float = 0.72
    """Cut out upright, what is found must look like a face to the box detector: people's are above 0.78, patterns below
    0.68."""
    max_lag: float = 0.06
    """A face off the region's centre by more of its side, or larger or smaller by more, is looked at again."""
    max_jump: float = 0.2
    """If it is off by more, it has jumped and is searched for."""
    same_face: float = 0.2
    """A face that overlaps the last one by more (intersection over union) is the same."""
    min_followed: float = 0.6
    """Where a followed face looks less like one than that, it is lost."""
    every: float = 0.25
    """Seconds between such looks."""
    box: BoxConfig = field(default_factory=BoxConfig)
    """The search for faces."""
    region: crop.CropConfig = field(
        default_factory=lambda: crop.CropConfig(size=SIZE, max_offset=0.04, max_scale=0.04, max_roll=3)
    )
    """How the followed region is kept from shaking: noise of the landmarks must not feed back into them."""

    def __post_init__(self) -> None:
        if self.face < 0:
            raise UserError(f"face is 0 for the largest, 1 for the next; got {self.face}")


class FaceSearch:
    """Finds the faces of single frames; keeps no memory of them, so that followers may share it."""

    def __init__(self, net: LandmarkNet, boxes: BoxDetector) -> None:
        self._net, self._boxes = net, boxes
        self._visibility = VisibilityHead.load().to(net.device)

    def __call__(self, frame: np.ndarray, at_least: int = 1, config: DetectConfig | None = None) -> list[Detection]:
        """Faces of a frame (H, W, 3) uint8 RGB, the largest first.

        Ever finer levels are searched until `at_least` faces are found; where there is none, the frame's edges, over
        which a face may reach, and the frame in other turns.
        """
        return self._faces(frame, at_least, _CENSUS if at_least > 1 else 1, config or DetectConfig())

    def all(self, frame: np.ndarray, config: DetectConfig | None = None) -> list[Detection]:
        """Faces of a frame, the largest first, without those that are far smaller than another one."""
        return self._faces(frame, 1, _CENSUS, config or DetectConfig())

    def _faces(self, frame: np.ndarray, at_least: int, levels: int, config: DetectConfig) -> list[Detection]:
        if min(frame.shape[:2]) < _MIN_SIDE:
            return []
        found: list[Detection] = []
        for level, regions in enumerate(self._regions(frame, config.box), 1):
            for region in regions:
                points = self._glance(frame, region, config.min_presence)
                if points is None or any(_same(points, known.points) for known in found):
                    continue
                face = self._face(frame, points, config)
                if face is not None and not any(_same(face.points, known.points) for known in found):
                    found.append(face)
            if len(found) >= at_least and level >= levels:
                break
        else:
            if not found:
                found = self._hidden(frame, config)
        return sorted(found, key=lambda face: -_area(face))

    def _regions(self, frame: np.ndarray, config: BoxConfig) -> Iterator[list[np.ndarray]]:
        """Regions (2, 3) where a face may be, image -> crop, level by level."""
        for faces in self._boxes.levels(frame, config):
            yield _regions_of(faces)

    def _hidden(self, frame: np.ndarray, config: DetectConfig) -> list[Detection]:
        """A face that reaches over the frame's edge or that is turned, if there is one."""
        for view, to_view in _views(frame):
            for region in _regions_of(next(self._boxes.levels(view, config.box))):
                points = self._glance(frame, compose(region, to_view), config.min_presence)
                face = None if points is None else self._face(frame, points, config)
                if face is not None:
                    return [face]
        return []

    def _face(self, frame: np.ndarray, points: np.ndarray, config: DetectConfig) -> Detection | None:
        """The face whose landmarks (478, 2) are about there, upright to itself; None where there is none."""
        turn = self._turn(frame, points)
        if turn is None:
            return None
        # once more, in the region that following would use: the answer depends on it a little
        steady = compose(_quarter_turns(turn, SIZE), crop.face_similarity(points, SIZE))
        found = self.read(frame, steady, config.min_presence)
        if turn and found is not None:
            found = self.read(frame, crop.face_similarity(found.points, SIZE), config.min_presence)
        if found is None or self.score(frame, found.points) < config.min_score:
            return None
        return found

    def _turn(self, frame: np.ndarray, points: np.ndarray) -> int | None:
        """By how many quarters of a circle a face with landmarks (L, 2) has to be turned to be upright; None where it
        looks like a face in no turn."""
        scores = [self.score(frame, points, fills=_FILLS[1:2])]
        if scores[0] >= _SURE:
            return 0
        scores += [self.score(frame, points, quarters, _FILLS[1:2]) for quarters in (1, 2, 3)]
        best = int(np.argmax(scores))
        best = best if scores[best] > scores[0] + _BETTER else 0
        return best if scores[best] >= _LIKELY else None

    def _picture(self, frame: np.ndarray, region: np.ndarray) -> Tensor:
        """The picture (1, 3, 192, 192) of a region (2, 3) image -> crop."""
        step = max(int(1 / (3 * crop.scale_of(region))), 1)  # of a huge face every step-th pixel says enough
        picture = crop.warp(frame[::step, ::step], region * (step, step, 1), SIZE).astype(np.float32) / 255
        return torch.from_numpy(picture)[None].to(self._net.device).permute(0, 3, 1, 2)

    def _glance(self, frame: np.ndarray, region: np.ndarray, min_presence: float) -> np.ndarray | None:
        """Where the landmarks (478, 2) of a region (2, 3) are about; None if the network sees no face."""
        output = self._net(self._picture(frame, region))
        if output.presence[0] < min_presence:
            return None
        return crop.apply(crop.invert(region), output.points[0, :, :2].cpu().numpy())

    def read(self, frame: np.ndarray, region: np.ndarray, min_presence: float) -> Detection | None:
        """The landmark network's answer for a region (2, 3) image -> crop; None if it sees no face."""
        output = self._net.both_ways(self._picture(frame, region))
        confidence = float(output.presence[0])
        if confidence < min_presence:
            return None
        points = output.points[0].cpu().numpy()
        flat, depth = crop.apply(crop.invert(region), points[:, :2]), points[:, 2] / crop.scale_of(region)
        with torch.no_grad():
            hidden = self._visibility(output.maps)[0].sigmoid().cpu().numpy()
        visible = visible_at(hidden, points[:, :2], SIZE)
        return Detection(flat.astype(np.float32), depth.astype(np.float32), confidence, visible)

    def score(
        self, frame: np.ndarray, points: np.ndarray, quarters: int = 0, fills: tuple[float, ...] = _FILLS
    ) -> float:
        """How much a face with landmarks (L, 2) looks like one to the box detector, 0..1, when it is cut out upright
        in some sizes and turned by quarters of a circle."""
        upright = compose(_quarter_turns(quarters, boxes.SIZE), crop.face_similarity(points, boxes.SIZE))
        cut = (self._cut(frame, compose(_smaller(fill * crop.SIDE_PER_FACE), upright), quarters) for fill in fills)
        return float(np.mean([self._boxes.score(picture) for picture in cut]))

    @staticmethod
    def _cut(frame: np.ndarray, region: np.ndarray, quarters: int) -> np.ndarray:
        """The picture (128, 128, 3) of a region (2, 3) around a face. What lies off the frame is filled with the face's
        other half."""
        side = boxes.SIZE
        picture = crop.warp(frame, region, side)
        inside = cv2.warpAffine(np.ones(frame.shape[:2], np.uint8), region, (side, side), flags=cv2.INTER_NEAREST)
        flipped = picture[:, ::-1] if quarters % 2 == 0 else picture[::-1]
        return np.where(inside[..., None] > 0, picture, flipped)


def bounding_box(points: np.ndarray) -> np.ndarray:
    """Upright box (4,) left, top, right, bottom of points (L, 2), without the irises."""
    points = points[:MESH_POINTS]
    return np.concatenate([points.min(0), points.max(0)])


def compose(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The affine transform (2, 3) that does `first`, then `second`."""
    return second[:, :2] @ first + np.concatenate([np.zeros((2, 2)), second[:, 2:]], 1)


def _views(frame: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Small copies of a frame in which the box detector sees more, each with the transform (2, 3) from the image to it:
    continued beyond its edges, and in the three other turns."""
    side = 2 * boxes.SIZE
    scale = min(side / max(frame.shape), 1.0)
    width, height = (max(round(n * scale), 1) for n in frame.shape[1::-1])
    small = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    ratio = np.array([width / frame.shape[1], height / frame.shape[0]])
    to_small = np.concatenate([np.diag(ratio), (ratio / 2 - 0.5)[:, None]], 1)
    edge = min(width, height) // 4
    shift = np.array([[1.0, 0, edge], [0, 1, edge]])
    yield cv2.copyMakeBorder(small, edge, edge, edge, edge, cv2.BORDER_REFLECT_101), compose(shift, to_small)
    right, bottom = width - 1, height - 1
    turns = ([[0, 1, 0], [-1, 0, right]], [[-1, 0, right], [0, -1, bottom]], [[0, -1, bottom], [1, 0, 0]])
    for quarters, turn in enumerate(turns, 1):
        yield np.ascontiguousarray(np.rot90(small, quarters)), compose(np.array(turn, float), to_small)


def _quarter_turns(quarters: int, side: int) -> np.ndarray:
    """The transform (2, 3) that turns a square picture of a side by quarters of a circle about its centre."""
    cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarters % 4]
    linear = np.array([[cos, sin], [-sin, cos]], float)
    centre = np.full(2, (side - 1) / 2)
    return np.concatenate([linear, (centre - linear @ centre)[:, None]], 1)


def _smaller(scale: float) -> np.ndarray:
    """The transform (2, 3) that shrinks the box detector's picture about its centre."""
    centre = (boxes.SIZE - 1) / 2
    return np.array([[scale, 0, centre * (1 - scale)], [0, scale, centre * (1 - scale)]])


def _regions_of(faces: FaceBoxes) -> list[np.ndarray]:
    """Regions (2, 3), image -> crop: 1.5 times each box, the eyes, first two of its points, level."""
    return [_region(*face) for face in zip(faces.corners, faces.points, strict=True)]


def _region(corners: np.ndarray, points: np.ndarray) -> np.ndarray:
    across = points[1] - points[0]
    angle = np.arctan2(across[1], across[0])
    scale = SIZE / (crop.SIDE_PER_FACE * (corners[2:] - corners[:2]).max())
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    linear = np.array([[cos, sin], [-sin, cos]])
    centre = (corners[:2] + corners[2:]) / 2
    return np.concatenate([linear, ((SIZE - 1) / 2 - linear @ centre)[:, None]], 1)


def _area(face: Detection) -> float:
    box = bounding_box(face.points)
    return float(np.prod(box[2:] - box[:2]))


def _same(points: np.ndarray, others: np.ndarray) -> bool:
    """Whether landmarks (L, 2) and (L, 2) are of one face: they overlap, or one lies inside the other."""
    box, known = bounding_box(points), bounding_box(others)
    return bool(boxes.overlaps(box[None], known)[0] > _ONE or boxes.inside(box[None], known)[0] > _INSIDE)
