"""Nearest places of a surface."""

import numpy as np
import pytest

from selftrack.decoders.mesh.closest import closest_points

GRID = np.stack(np.meshgrid(np.arange(6.0), np.arange(6.0)), -1).reshape(-1, 2)
PLANE = np.c_[GRID, np.zeros(36)]
INDEX = np.arange(36).reshape(6, 6)
A, B, C, D = (INDEX[i : 5 + i, j : 5 + j].ravel() for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)))
FACES = np.concatenate([np.stack([A, B, C], 1), np.stack([B, D, C], 1)])


def places(points: np.ndarray) -> np.ndarray:
    triangle, weights = closest_points(points, PLANE, FACES)
    np.testing.assert_allclose(weights.sum(1), 1)
    assert (weights >= 0).all()
    return (PLANE[FACES[triangle]] * weights[..., None]).sum(1)


def test_above_a_plane_the_nearest_place_is_below() -> None:
    points = np.random.default_rng(0).uniform([0, 0, -2], [5, 5, 2], (200, 3))
    np.testing.assert_allclose(places(points), points * [1, 1, 0], atol=1e-9)


def test_beyond_the_border_it_lies_on_the_border() -> None:
    placed = places(np.array([[7.0, 2.5, 0.0], [-1.0, -1.0, 1.0]]))
    assert placed[0, 0] == pytest.approx(5) and abs(placed[0, 1] - 2.5) < 0.6
    np.testing.assert_allclose(placed[1], 0, atol=1e-9)
