"""Errors against ground truth, where a clip has it: pure sums that merge by `+`; frames not ok count nowhere."""

from __future__ import annotations

import numpy as np

from selftrack.eval.metrics.clip import Ratio


def vertex_error(vertices: np.ndarray, truth: np.ndarray, ok: np.ndarray, aligned: bool = False) -> Ratio:
    """Mean distance of vertices from the true ones, millimetres.

    Args:
        vertices, truth: (T,V,3) metres, in one frame of axes.
        ok: (T,) bool.
        aligned: every frame is first turned and moved, never scaled, onto the truth: the error of the shape alone.
    """
    assert vertices.ndim == 3 and vertices.shape == truth.shape, f"got {vertices.shape} and {truth.shape}"
    vertices, truth = vertices[ok].astype(np.float64), truth[ok].astype(np.float64)
    if aligned:
        vertices = rigidly_aligned(vertices, truth)
    return _mean(1000 * np.linalg.norm(vertices - truth, axis=-1))


def rigidly_aligned(vertices: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Vertices (T,V,3) turned and moved onto the truth (T,V,3) by least squares, each frame by itself (Kabsch 1976)."""
    middle = truth.mean(1, keepdims=True)
    centred = vertices - vertices.mean(1, keepdims=True)
    left, _, right = np.linalg.svd(np.swapaxes(centred, 1, 2) @ (truth - middle))
    left[:, :, 2] *= np.sign(np.linalg.det(left) * np.linalg.det(right))[:, None]  # turn, never mirror
    return centred @ (left @ right) + middle


def pose_error(rotations: np.ndarray, truth: np.ndarray, ok: np.ndarray) -> Ratio:
    """Mean angle of the turn that is left between rotations (T,3,3) and the true ones (T,3,3), degrees (geodesic)."""
    assert rotations.shape == truth.shape and rotations.shape[1:] == (3, 3), f"got {rotations.shape}, {truth.shape}"
    chord = np.linalg.norm(rotations[ok] - truth[ok], axis=(1, 2)) / np.sqrt(8)  # sin of half the angle
    return _mean(np.degrees(2 * np.arcsin(np.clip(chord, 0, 1))))


def gaze_error(directions: np.ndarray, truth: np.ndarray, ok: np.ndarray) -> Ratio:
    """Mean angle between directions (T,...,3) of any length and the true ones, degrees."""
    assert directions.shape == truth.shape and directions.shape[-1] == 3, f"got {directions.shape}, {truth.shape}"
    a, b = _unit(directions[ok]), _unit(truth[ok])
    return _mean(np.degrees(2 * np.arctan2(np.linalg.norm(a - b, axis=-1), np.linalg.norm(a + b, axis=-1))))


def curve_error(curves: np.ndarray, truth: np.ndarray, ok: np.ndarray) -> Ratio:
    """Mean absolute error of curves (T,C), in their own unit (0..1)."""
    assert curves.shape == truth.shape, f"got {curves.shape} and {truth.shape}"
    return _mean(np.abs(curves[ok].astype(np.float64) - truth[ok]))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _mean(values: np.ndarray) -> Ratio:
    return Ratio(float(values.sum()), values.size)
