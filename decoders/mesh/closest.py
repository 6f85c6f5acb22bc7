"""The places of a surface that are nearest to given points."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

_CANDIDATES = 16  # triangles with the nearest middles; a nearer one that is much larger would be missed


def closest_points(points: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the places of a mesh, vertices (V,3) and faces (F,3), that are nearest to points (N,3).

    Returns:
        The triangles (N,) that they lie on, and their barycentric weights (N,3). Beyond an edge the weights are
        clipped, which is the nearest place up to the edge's slope.
    """
    corners = vertices[faces]
    _, candidates = cKDTree(corners.mean(1)).query(points, k=min(_CANDIDATES, len(faces)))
    candidates = candidates.reshape(len(points), -1)
    a, b, c = np.moveaxis(corners[candidates], 2, 0)  # (N,K,3) each
    ab, ac, ap = b - a, c - a, points[:, None] - a
    d00, d01, d11 = (ab * ab).sum(-1), (ab * ac).sum(-1), (ac * ac).sum(-1)
    d20, d21 = (ap * ab).sum(-1), (ap * ac).sum(-1)
    area = d00 * d11 - d01 * d01 + 1e-30
    v, w = (d11 * d20 - d01 * d21) / area, (d00 * d21 - d01 * d20) / area
    weights = np.stack([1 - v - w, v, w], -1).clip(0)
    weights /= weights.sum(-1, keepdims=True)
    placed = weights[..., :1] * a + weights[..., 1:2] * b + weights[..., 2:] * c
    best = np.linalg.norm(placed - points[:, None], axis=-1).argmin(1)
    rows = np.arange(len(points))
    return candidates[rows, best], weights[rows, best]
