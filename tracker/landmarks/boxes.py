"""Face boxes: MediaPipe's short-range BlazeFace (Bazarevsky et al. 2019) on a pyramid of the frame.

The network sees 128x128 pixels and misses faces under about a tenth of them. So overlapping tiles of larger copies of
the frame are searched, too, where the whole frame does not show enough faces.

Image frame: pixels of the displayed frame, x right, y down, centre of the top-left pixel at (0, 0).
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, log2
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from selftrack.tracker.landmarks.litert import LiteSession

MODEL = Path(__file__).parents[1] / "assets" / "face_detection_short_range.tflite"
SIZE = 128
_GRIDS = ((16, 2), (8, 6))
"""Cells along a side, and predictions of each cell, in the order of the network's outputs."""
_MAX_LOGIT = 100.0
_COARSEST = 5  # pixels of the frame that one of the finest copy may span
_OVERLAP = 48


@dataclass(frozen=True)
class BoxConfig:
    """Settings of the box detector."""

    min_score: float = 0.5
    """Boxes that the network believes in less are dropped."""
    max_overlap: float = 0.3
    """Boxes whose intersection over union exceeds this are one face, and averaged."""
    levels: int = 3
    """Copies of the frame that may be searched; each has twice the side of the one before, the first 128. Frames of
    more than 2560 pixels get one more, and so on: a face of 100 pixels is worth finding in any frame."""

    def levels_of(self, side: int) -> int:
        """How many copies of a frame whose longer side is `side` pixels may be searched."""
        return max(self.levels, ceil(log2(max(side, 1) / _COARSEST / SIZE)) + 1)


class FaceBoxes(NamedTuple):
    """Faces of one frame, in image pixels."""

    corners: np.ndarray
    """(N, 4) left, top, right, bottom: brows to chin, ear to ear."""
    points: np.ndarray
    """(N, 6, 2): eye on the image's left, eye on its right, nose tip, mouth, ear left, ear right."""
    scores: np.ndarray
    """(N,) in 0..1."""

    def take(self, rows: np.ndarray) -> "FaceBoxes":
        """Some of the faces, by index or mask."""
        return FaceBoxes(self.corners[rows], self.points[rows], self.scores[rows])


class BoxDetector:
    """Finds the faces of single frames; keeps no memory of them, so threads may share it."""

    def __init__(self) -> None:
        self._session = LiteSession(MODEL.read_bytes())

    def levels(self, frame: np.ndarray, config: BoxConfig | None = None) -> Iterator[FaceBoxes]:
        """Faces of a frame (H, W, 3) uint8 RGB, the largest first: those of the whole frame, then of tiles of ever
        larger copies of it, each level searched on its own when it is asked for."""
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise ValueError(f"expected a frame (H, W, 3) uint8, got {frame.shape} {frame.dtype}")
        config = config or BoxConfig()
        finest = SIZE << (config.levels_of(max(frame.shape)) - 1)
        step = max(max(frame.shape) // (3 * finest), 1)  # of a huge frame every step-th pixel says enough
        base, side = _shrink(frame[::step, ::step], finest), SIZE
        while True:
            tiles = self._search(_shrink(base, side), frame.shape, config)
            found = drop_nested(merge_boxes(tiles, config.max_overlap))
            yield found.take(np.argsort(-_areas(found.corners), kind="stable"))
            side *= 2
            if side > max(base.shape):
                return

    def score(self, tile: np.ndarray) -> float:
        """The score 0..1 of the surest face in a picture (128, 128, 3) uint8 RGB."""
        return float(self._run(tile, 0.0).scores.max())

    def _search(self, picture: np.ndarray, shape: tuple[int, ...], config: BoxConfig) -> FaceBoxes:
        """What the network finds in the tiles of a picture, not merged, in pixels of the frame of a shape."""
        height, width = picture.shape[:2]
        scale = np.array([shape[1] / width, shape[0] / height])
        results = []
        for top in _tile_starts(height):
            for left in _tile_starts(width):
                tile = np.zeros((SIZE, SIZE, 3), np.uint8)
                part = picture[top : top + SIZE, left : left + SIZE]
                tile[: part.shape[0], : part.shape[1]] = part
                faces = self._run(tile, config.min_score)
                corners = (faces.corners.reshape(-1, 2, 2) + (left, top)) * scale - 0.5
                points = (faces.points + (left, top)) * scale - 0.5
                results.append(FaceBoxes(corners.reshape(-1, 4), points, faces.scores))
        return FaceBoxes(*(np.concatenate(column) for column in zip(*results, strict=True)))

    def _run(self, tile: np.ndarray, min_score: float) -> FaceBoxes:
        """One pass of the network: tile (128, 128, 3) uint8 -> faces, in pixels from the tile's corner."""
        image = tile[None].astype(np.float32) / 127.5 - 1
        outputs = self._session({self._session.inputs[0]: image})
        raw = {value.shape[-1]: value[0] for value in outputs.values()}
        faces = decode(raw[16], raw[1][:, 0])
        return faces.take(faces.scores >= min_score)


def _shrink(picture: np.ndarray, side: int) -> np.ndarray:
    """The picture (H, W, 3) with its longer side reduced to `side`, if it is longer."""
    if max(picture.shape) <= side:
        return picture
    height, width = (max(round(n * side / max(picture.shape)), 1) for n in picture.shape[:2])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def _tile_starts(length: int) -> list[int]:
    """First pixels of the tiles along a side, the last one flush with the end.

    Their overlap holds any face that the next coarser level is too coarse for.
    """
    return [*range(0, length - SIZE, SIZE - _OVERLAP), max(length - SIZE, 0)]


@functools.cache
def anchors() -> np.ndarray:
    """Centres (896, 2) of the network's predictions, x and y in fractions of its input."""
    centres = []
    for cells, repeats in _GRIDS:
        y, x = np.divmod(np.arange(cells * cells), cells)
        centres.append(np.repeat((np.stack([x, y], -1) + 0.5) / cells, repeats, axis=0))
    return np.concatenate(centres)


def decode(boxes: np.ndarray, logits: np.ndarray) -> FaceBoxes:
    """The network's outputs in pixels of its input, from the corner of its first pixel.

    boxes (896, 16), pixels, x before y: the centre's offset from the anchor, size, offsets of six points;
    logits (896,). Source: MediaPipe, tensors_to_detections_calculator.cc with this model's options.
    """
    pairs = boxes.reshape(-1, 8, 2)
    if pairs.shape[0] != logits.shape[0] or pairs.shape[0] != 896:
        raise ValueError(f"expected boxes (896, 16) and logits (896,), got {boxes.shape} and {logits.shape}")
    origin = SIZE * anchors()
    centre, half = pairs[:, 0] + origin, pairs[:, 1] / 2
    scores = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -_MAX_LOGIT, _MAX_LOGIT)))
    return FaceBoxes(np.concatenate([centre - half, centre + half], -1), pairs[:, 2:] + origin[:, None], scores)


def merge_boxes(faces: FaceBoxes, max_overlap: float) -> FaceBoxes:
    """Non-maximum suppression that averages the boxes of a face by score and keeps the highest score.

    Source: MediaPipe, non_max_suppression_calculator.cc, weighted.
    """
    pending = faces.take(np.argsort(-faces.scores, kind="stable"))
    merged = []
    while len(pending.scores):
        same = overlaps(pending.corners, pending.corners[0]) > max_overlap
        same[0] = True
        group = pending.take(same)
        average = (np.average(values, 0, weights=group.scores) for values in group[:2])
        merged.append((*average, group.scores[0]))
        pending = pending.take(~same)
    if not merged:
        return pending
    return FaceBoxes(*(np.stack(column) for column in zip(*merged, strict=True)))


def drop_nested(faces: FaceBoxes, max_inside: float = 0.7) -> FaceBoxes:
    """Without boxes of which a larger share lies inside a box with a higher score: one face, found again on a part
    of itself or around itself at another scale."""
    order = np.argsort(-faces.scores, kind="stable")
    kept: list[int] = []
    for row in order:
        if not (inside(faces.corners[kept], faces.corners[row]) > max_inside).any():
            kept.append(int(row))
    return faces.take(np.array(sorted(kept), int))


def inside(corners: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Area that boxes (N, 4) share with one box (4,), over that of the smaller one of both -> (N,)."""
    smaller = np.minimum(_areas(corners), _areas(other))
    return _intersections(corners, other) / np.maximum(smaller, np.finfo(float).tiny)


def _intersections(corners: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Areas (N,) that boxes (N, 4) share with one box (4,)."""
    return _areas(np.concatenate([np.maximum(corners[:, :2], other[:2]), np.minimum(corners[:, 2:], other[2:])], -1))


def _areas(corners: np.ndarray) -> np.ndarray:
    return np.prod(np.maximum(corners[..., 2:] - corners[..., :2], 0), -1)


def overlaps(corners: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (N, 4) with one box (4,) -> (N,)."""
    shared = _intersections(corners, other)
    return shared / np.maximum(_areas(corners) + _areas(other) - shared, np.finfo(float).tiny)
