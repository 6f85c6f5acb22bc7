"""Similarities: turn, scale and shift, as matrices (4,4)."""

from __future__ import annotations

import numpy as np


def similarity(points: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Find the turn, scale and shift (4,4) that bring points (L,3) nearest to others, with weights (L,) of the squared
    distances, alike by default (Umeyama 1991)."""
    share = np.full(len(points), 1 / len(points)) if weights is None else weights / weights.sum()
    middle, at = share @ points, share @ target
    away = points - middle
    u, strength, v = np.linalg.svd((target - at).T @ (share[:, None] * away))
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ v))])
    out = np.eye(4)
    out[:3, :3] = (strength * sign).sum() / (share @ (away**2).sum(1)) * (u * sign @ v)
    out[:3, 3] = at - out[:3, :3] @ middle
    return out


def moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Points (...,3) under a matrix (4,4)."""
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def inverse(matrix: np.ndarray) -> np.ndarray:
    """The matrix (4,4) that takes back what another one does."""
    return np.linalg.inv(matrix)
