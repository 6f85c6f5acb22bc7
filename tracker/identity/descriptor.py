"""The descriptor of a face: 128 numbers that are near each other for pictures of one person, and how near they are.

Distances are Euclidean. By the network's training, pictures of one person are less than 0.6 apart. Means of several
pictures are nearer each other: those of one person in seven clips within 0.40, those of two people from 0.52 on.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch

from selftrack.decoders.landmarks import IBUG_68
from selftrack.tracker.geometry import crop
from selftrack.tracker.identity.network import LENGTH, SIDE, DescriptorNet

Sample = tuple[np.ndarray, np.ndarray]
"""A picture (H,W,3) uint8 RGB and the landmarks (L,2) of a face in it, pixels."""

_EYES_AND_MOUTH = ((33, 133), (362, 263), (61, 291))
"""Corners of the right eye, the left eye and the mouth."""
_EYES_APART, _MOUTH_BELOW = 0.382, 0.363
"""From eye to eye and from the eyes down to the mouth, shares of the picture's side."""
_MIDDLE = 0.43
"""Where down the picture the mean of eyes and mouth is. Of fifteen sizes and places, these tell people apart best."""
LEGIBLE = 48.0
"""Pixels of the longer side of a face's box: smaller ones are all alike to the network. Means of four pictures of 48
pixels are up to 0.43 from larger ones of the same person, and from 0.52 on from those of others."""
_TURNED = 0.6
"""Eye to eye over eyes to mouth, in the picture: about 0.95 from the front, and less where a face is in profile."""
_AT_A_TIME = 16
"""Pictures that go through the network together."""


def describe(faces: Sequence[Sample]) -> np.ndarray:
    """Describe faces: (N,128) float32, in pictures of any size around them."""
    return describe_aligned([aligned(picture, points) for picture, points in faces])


def describe_aligned(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Describe faces in pictures (150,150,3) as `aligned` gives them: (N,128) float32."""
    if not len(pictures):
        return np.empty((0, LENGTH), np.float32)
    batch = torch.from_numpy(np.stack(pictures))
    with torch.inference_mode():
        parts = [_network()(part.permute(0, 3, 1, 2).float()) for part in batch.split(_AT_A_TIME)]
    return torch.cat(parts).numpy()


def aligned(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The picture (150,150,3) that the network reads: eyes and mouth as near to their places as a similarity brings
    them. Raises ValueError where they coincide."""
    return crop.warp(picture, _similarity(eyes_and_mouth(points), places()), SIDE)


def eyes_and_mouth(points: np.ndarray) -> np.ndarray:
    """The middles of the right eye, the left eye and the mouth (3,2) of 478, 468 or 68 landmarks (L,2)."""
    corners = np.array(_EYES_AND_MOUTH)
    if len(points) == len(IBUG_68):
        corners = np.array([[IBUG_68.index(corner) for corner in pair] for pair in _EYES_AND_MOUTH])
    return np.asarray(points, float)[corners].mean(1)


def is_legible(points: np.ndarray) -> bool:
    """Whether a face with landmarks (L,2), pixels of the picture that it was seen in, is large enough and turned
    towards the camera enough for its descriptor to mean something."""
    right, left, mouth = eyes_and_mouth(points)
    below = np.linalg.norm((right + left) / 2 - mouth)
    return bool(np.ptp(points, axis=0).max() >= LEGIBLE and np.linalg.norm(right - left) >= _TURNED * below)


def distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Euclidean distance (...) of descriptors (...,128), 0 for the same; leading dimensions broadcast."""
    return np.linalg.norm(np.asarray(one) - np.asarray(other), axis=-1)


def csim(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Identity similarity: the cosine (...) of descriptors (...,128), 1 for the same; leading dimensions broadcast.

    These descriptors have a large common part, so that it is high for anybody: in seven clips 0.95 and more for 95 % of
    pairs of one person's pictures, less than 0.90 for 95 % of pairs of two people's.
    """
    one, other = np.asarray(one, float), np.asarray(other, float)
    return (one * other).sum(-1) / (np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1))


@cache
def _network() -> DescriptorNet:
    return DescriptorNet.load()


def places() -> np.ndarray:
    """Where the right eye, the left eye and the mouth of an average face are in the network's picture: (3,2) pixels."""
    out = SIDE * np.array([[-_EYES_APART / 2, 0], [_EYES_APART / 2, 0], [0, _MOUTH_BELOW]])
    return out - out.mean(0) + np.array([0.5, _MIDDLE]) * SIDE - 0.5


def _similarity(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The similarity (2,3) that brings points (N,2) as near as possible to targets (N,2), least squares."""
    a, b = (x - x.mean(0) for x in (points, targets))
    size = (a**2).sum()
    if not size > 0:
        raise ValueError("cannot align a face: eyes and mouth coincide")
    cos, sin = (a * b).sum() / size, (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / size
    turn = np.array([[cos, -sin], [sin, cos]])
    return np.concatenate([turn, (targets.mean(0) - turn @ points.mean(0))[:, None]], 1)
