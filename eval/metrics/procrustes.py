"""Alignment of shapes: the rigid motion, or the similarity, that brings one nearest to another."""

from __future__ import annotations

import numpy as np


def mean_shape(vertices: np.ndarray, rounds: int = 3) -> np.ndarray:
    """Average shapes (T,V,3) without position, size and rotation: (V,3) by generalised Procrustes (Gower 1975).

    Its centre is 0 and its vertices are 1 away from it, root mean square.
    """
    shape = _normalised(vertices[:1])[0]
    for _ in range(rounds):
        shape = _normalised(aligned(vertices, shape).mean(0, keepdims=True))[0]
    return shape


def aligned(vertices: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Rotate shapes (T,V,3) onto one (V,3), all with centre 0 and size 1: ordinary Procrustes."""
    assert vertices.ndim == 3 and vertices.shape[1:] == shape.shape, f"got {vertices.shape} and {shape.shape}"
    centred = _normalised(vertices)
    return centred @ _rotations(centred, shape)


def rigidly_aligned(vertices: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Rotate and move vertices (T,V,3) onto the truth (T,V,3) by least squares, each frame by itself, never scaled."""
    middle = truth.mean(1, keepdims=True)
    centred = vertices - vertices.mean(1, keepdims=True)
    return centred @ _rotations(centred, truth - middle) + middle


def _rotations(centred: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The rotations (T,3,3), to be applied from the right, of shapes (T,V,3) onto targets (Kabsch 1976)."""
    left, _, right = np.linalg.svd(np.swapaxes(centred, 1, 2) @ target)
    left[:, :, 2] *= np.sign(np.linalg.det(left) * np.linalg.det(right))[:, None]  # a rotation, never a mirror image
    return left @ right


def _normalised(vertices: np.ndarray) -> np.ndarray:
    """(T,V,3) float64 with centre 0 and root mean square distance 1 from it."""
    centred = vertices.astype(np.float64)
    centred -= centred.mean(1, keepdims=True)
    return centred / np.sqrt((centred**2).sum(2).mean(1))[:, None, None]
