"""Both sides of a face alike: where points are placed on it, and which of them are used."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from selftrack.decoders.base import Embedding
from selftrack.decoders.landmarks import IBUG_68, MIRRORED
from selftrack.tracker.geometry.crop import CROP_SIZE

_FLIP = np.array([-1.0, 1.0, 1.0])
_SAME = 1e-4
"""Metres by which a vertex may be off its mirror image."""


def mirrored_points(points: int) -> np.ndarray:
    """For each of 478 or 68 points the one (L,) that a mirror shows in its place."""
    if points == len(MIRRORED):
        return np.array(MIRRORED)
    return np.array([IBUG_68.index(MIRRORED[point]) for point in IBUG_68])


def mirrored_pose(pose: Tensor) -> Tensor:
    """Poses (N,6) in the crop of what a mirror shows."""
    turned = pose * pose.new_tensor([1, 1, -1, -1, -1, 1])
    return turned + pose.new_tensor([0, 0, 0, 0, CROP_SIZE - 1, 0])


def evenly_placed(embedding: Embedding, mean: Tensor) -> Embedding:
    """Place points where they and the mirror images of their partners are in the mean: they lie where a detector saw
    them on drawn heads, and to it left and right are not alike. On vertices (V,3) that are not symmetric, as they are.
    """
    vertices = mean.cpu().numpy()
    off, mirror = cKDTree(vertices).query(vertices * _FLIP)
    if off.max() > _SAME:
        return embedding
    pairs = torch.from_numpy(mirrored_points(len(embedding.triangles))).to(mean.device)
    other = torch.from_numpy(mirror).to(mean.device)[embedding.triangles[pairs]]
    weights = torch.cat([embedding.weights, embedding.weights[pairs]], 1) / 2
    return Embedding(torch.cat([embedding.triangles, other], 1), weights)
