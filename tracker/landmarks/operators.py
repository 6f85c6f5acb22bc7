"""MediaPipe's custom operators in NumPy, for one image (H, W, C) as LiteRT lays it out.

The twins of those in `tflite`, which are for batches in torch: on arrays this small, NumPy takes a third of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from selftrack.tracker.landmarks import tflite


def crop_matrix(
    points: np.ndarray,
    subset: Sequence[int],
    level: tuple[int, int],
    margin: tuple[float, float],
    size: tuple[int, int],
) -> np.ndarray:
    """points (N, 3) -> (4, 4); see `tflite.crop_matrix`."""
    step = points[level[1], :2] - points[level[0], :2]
    cos, sin = step / max(float(np.hypot(*step)), np.finfo(points.dtype).tiny) if step.any() else (1.0, 0.0)
    rotation = np.array([[cos, -sin], [sin, cos]], points.dtype)
    upright = points[subset, :2] @ rotation
    low, high = upright.min(0), upright.max(0)
    linear = rotation * ((high - low) * margin / size)
    matrix = np.eye(4, dtype=points.dtype)
    matrix[:2, :2] = linear
    matrix[:2, 3] = rotation @ ((low + high) / 2) - linear @ (np.array(size) / 2)
    return matrix


def sample_affine(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """image (H, W, C), matrix (4, 4) -> (height, width, C); see `tflite.sample_affine`."""
    rows, columns, channels = image.shape
    source = transform_points(_centres(size), matrix) - 0.5
    last = (columns - 1, rows - 1)
    inside = np.all((source >= 0) & (source <= last), axis=1, keepdims=True)
    corner = np.minimum(source.astype(int).clip(0), (columns - 2, rows - 2))
    right, down = (source - corner).T
    shares = np.stack([(1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down], 1) * inside
    first = corner @ (1, columns)
    pixels = image.reshape(-1, channels)[first[:, None] + (0, 1, columns, columns + 1)]
    return (shares.astype(image.dtype)[:, None] @ pixels).reshape(size[1], size[0], channels)


@cache
def _centres(size: tuple[int, int]) -> np.ndarray:
    """The centres (width * height, 2) of a crop's pixels, row by row."""
    x, y = np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5)
    return np.column_stack([x.ravel(), y.ravel()])


def transform_points(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """points (N, 2), matrix (4, 4) -> (N, 2); see `tflite.transform_points`."""
    return points @ matrix[:2, :2].T + matrix[:2, 3]


_TWINS: dict[Callable[..., Any], Callable[..., np.ndarray]] = {
    tflite.crop_matrix: crop_matrix,
    tflite.sample_affine: sample_affine,
    tflite.transform_points: transform_points,
}


def custom_function(op: tflite.Op) -> tuple[Callable[..., np.ndarray], dict[str, Any]]:
    """What a custom operator computes: a function of its arrays without their first axis, and its settings."""
    function, settings = tflite.custom_function(op)
    return _TWINS[function], settings
