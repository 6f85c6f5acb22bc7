"""Errors against ground truth, of known mistakes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from selftrack.eval.metrics.clip import Ratio
from selftrack.eval.metrics.truth import curve_error, gaze_error, pose_error, vertex_error
from selftrack.tracker.geometry.pose import rotation

OK = np.ones(4, bool)


def turns(angles: list[list[float]]) -> np.ndarray:
    """(T,3,3) of angles in radians about x, y, z."""
    return rotation(torch.tensor(angles, dtype=torch.float64)).numpy()


def body() -> np.ndarray:
    """(4,50,3) metres."""
    return np.random.default_rng(0).normal(scale=0.1, size=(4, 50, 3))


def test_a_shift_is_its_length_and_none_when_aligned() -> None:
    moved = body() + [0.003, 0, 0.004]
    assert vertex_error(moved, body(), OK).value() == pytest.approx(5)
    assert vertex_error(moved, body(), OK, aligned=True).value() == pytest.approx(0, abs=1e-9)


def test_alignment_turns_but_neither_scales_nor_mirrors() -> None:
    angles = [[0.1, 2.0, -3.0], [0, 0, 0.5], [1, 1, 1], [3.1, 0, 0]]
    assert vertex_error(body() @ turns(angles) + 1, body(), OK, aligned=True).value() == pytest.approx(0, abs=1e-9)
    radius = np.linalg.norm(body() - body().mean(1, keepdims=True), axis=-1).mean()
    assert vertex_error(1.1 * body(), body(), OK, aligned=True).value() == pytest.approx(100 * radius)
    assert vertex_error(body() * [-1, 1, 1], body(), OK, aligned=True).value() > 10


def test_only_good_frames_count_and_parts_merge() -> None:
    off = body()
    off[2] += 7
    ok = np.array([True, True, False, True])
    assert vertex_error(off, body(), ok) == Ratio(0, 150)
    off[:2, :, 1] += 0.001
    assert (vertex_error(off[:2], body()[:2], ok[:2]) + vertex_error(off[2:], body()[2:], ok[2:])).value() == (
        pytest.approx(vertex_error(off, body(), ok).value())
    )
    assert np.isnan(vertex_error(off, body(), np.zeros(4, bool)).value())


@pytest.mark.parametrize("degrees", [1e-6, 0.3, 30.0, 90.0, 179.9])
def test_a_turn_is_its_angle_about_any_axis(degrees: float) -> None:
    first = turns([[0.2, 0.5, -1.0]] * 3)
    angle = np.radians(degrees)
    left = turns([[angle, 0, 0], [0, 0, angle], [0, min(angle, np.pi / 2), 0]])
    error = pose_error(first @ left, first, np.array([True, True, degrees <= 90]))
    assert error.value() == pytest.approx(degrees, rel=1e-6)


def test_gaze_is_the_angle_of_directions_of_any_length() -> None:
    ahead = np.tile([0.0, 0, -2], (4, 2, 1))
    aside = np.stack([[np.sin(a), 0, -np.cos(a)] for a in np.radians([1e-5, 10, 90, 180])])[:, None].repeat(2, 1)
    assert gaze_error(aside, ahead, OK).value() == pytest.approx((1e-5 + 10 + 90 + 180) / 4)
    assert gaze_error(aside, ahead, np.array([1, 0, 0, 0], bool)).value() == pytest.approx(1e-5)


def test_curves() -> None:
    truth = np.zeros((4, 2))
    said = np.array([[0.1, 0], [-0.1, 0], [9, 9], [0, 0.4]])
    assert curve_error(said, truth, np.array([True, True, False, True])).value() == pytest.approx(0.1)
