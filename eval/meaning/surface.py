"""How far a shape is from a surface, whatever its place, rotation and size."""

from __future__ import annotations

import numpy as np

from selftrack.decoders.mesh.closest import closest_points

ROUNDS = 15
"""Of closest points and alignment."""


def similarity_distance(points: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> float:
    """Mean distance of points (N,3) from a surface, vertices (V,3) and faces (F,3), in their unit.

    The similarity that brings them nearest is removed first: iterated closest points. Both are faces in the head frame,
    and it begins with one tip of the nose, the nearest to the viewer, on the other.
    """
    assert points.shape[1:] == vertices.shape[1:] == (3,), f"{points.shape}, {vertices.shape}"
    placed = points - points[points[:, 2].argmin()] + vertices[vertices[:, 2].argmin()]
    for _ in range(ROUNDS):
        placed = _aligned(points, _closest(placed, vertices, faces))
    return float(np.linalg.norm(placed - _closest(placed, vertices, faces), axis=1).mean())


def _closest(points: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    triangle, weights = closest_points(points, vertices, faces)
    return (vertices[faces[triangle]] * weights[..., None]).sum(1)


def _aligned(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Points (N,3) by the similarity that brings them nearest to targets (N,3), each to its own."""
    a, b = points - points.mean(0), targets - targets.mean(0)
    u, s, vt = np.linalg.svd(a.T @ b)
    u[:, -1] *= np.sign(np.linalg.det(u @ vt))
    scale = (s[:2].sum() + s[2] * np.sign(np.linalg.det(u @ vt))) / (a**2).sum()
    return scale * a @ (u @ vt) + targets.mean(0)
