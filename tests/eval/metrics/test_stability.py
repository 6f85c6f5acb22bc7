"""Stability and its kin against closed forms, and against the independent scorer where it is at hand."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch

from selftrack.eval.metrics.procrustes import aligned, mean_shape
from selftrack.eval.metrics.registry import Ratio, RootMeanSquare
from selftrack.eval.metrics.skin import skin_ratio
from selftrack.eval.metrics.stability import mesh_stability, mesh_triples, stability
from selftrack.tracker.geometry.pose import rotation
from selftrack.tracker.results.skin_points import SkinError


def good(count: int) -> np.ndarray:
    return np.ones(count, bool)


def zigzag(count: int) -> np.ndarray:
    """(T,1,2): 3 to the right each frame, 4 up or down: a step is 5 long, two steps lead 6 on."""
    rows = np.arange(count)
    return np.stack([3 * rows, 4 * (rows % 2)], -1)[:, None].astype(float)


def bodies(count: int, wobble: float, seed: int = 0) -> np.ndarray:
    """(T,V,3) a random body that turns, moves and grows smoothly and changes its shape a little, pixels."""
    rng = np.random.default_rng(seed)
    body, rows = rng.normal(size=(40, 3)), np.arange(count)
    swing = np.stack([0.3 * np.sin(rows / 9), 0.5 * np.sin(rows / 13 + 1), 0.2 * np.sin(rows / 7 + 2)], -1)
    turn = rotation(torch.from_numpy(swing)).numpy()
    changing = body + 0.1 * np.sin(rows / 5)[:, None, None] * rng.normal(size=body.shape)
    changing += wobble * rng.normal(size=changing.shape)
    size = 60 + 5 * np.sin(rows / 11)
    shift = np.stack([200 + 20 * np.sin(rows / 10), 150 + 9 * np.cos(rows / 8), 0 * rows], -1)
    return size[:, None, None] * changing @ np.swapaxes(turn, 1, 2) + shift[:, None]


def test_a_straight_line_is_perfect() -> None:
    line = np.arange(9.0)[:, None, None] * np.array([[1, 2, 3], [0, 0.1, 0]])
    s = stability(line, good(9))
    assert s.mean.value() == pytest.approx(1) and s.ratio.value() == pytest.approx(1)
    assert s.acceleration.value() == pytest.approx(0)


def test_a_zigzag() -> None:
    s = stability(zigzag(10), good(10))
    assert s.mean.value() == pytest.approx(10 / 6) and s.ratio.value() == pytest.approx(10 / 6)
    assert s.acceleration.value() == pytest.approx(8)


def test_mean_of_ratios_and_ratio_of_sums_weigh_differently() -> None:
    rows = np.arange(6.0)[:, None]
    fast = np.concatenate([10 * rows, 0 * rows], 1)[:, None]
    s = stability(np.concatenate([zigzag(6), fast], 1), good(6))
    assert s.mean.value() == pytest.approx((10 / 6 + 1) / 2)
    assert s.ratio.value() == pytest.approx((10 + 20) / (6 + 20))


def test_still_and_back_again() -> None:
    assert stability(np.zeros((5, 3, 2)), good(5)).mean.value() == pytest.approx(1)
    there_and_back = np.array([0.0, 1, 0])[:, None, None]
    assert stability(there_and_back, good(3)).mean.value() == pytest.approx(100)  # the cap


def test_lost_frames_count_nowhere() -> None:
    track, ok = zigzag(20), good(20)
    track[7], ok[7] = 1e6, False
    s = stability(track, ok)
    assert s.mean == Ratio(pytest.approx(15 * 10 / 6), 15)
    nothing = stability(track[:2], ok[:2])
    assert nothing.ratio == Ratio(0, 0) and np.isnan(nothing.ratio.value()) and np.isnan(nothing.acceleration.value())


def test_frame_by_frame_a_jump_shows_where_it_is() -> None:
    body = np.random.default_rng(3).normal(size=(1, 4, 3))
    line = body + np.arange(200.0)[:, None, None]
    line[120:] += 5
    ok = good(200)
    ok[30] = False
    screen, _ = mesh_triples(lambda rows: line[rows], ok, 100.0)
    assert set(np.flatnonzero(np.isnan(screen.path))) == {0, 29, 30, 31, 199}
    assert set(np.flatnonzero(screen.bend > 1e-9)) == {119, 120}
    assert screen.bend[120] == pytest.approx(50)  # 5 % along two axes
    assert screen.total().ratio.value() == pytest.approx(1)


def test_parts_merge_exactly() -> None:
    track = bodies(30, 0.01)
    whole, a, b = (stability(track[r], good(30)[r]) for r in (slice(0, 30), slice(0, 14), slice(12, 30)))
    for all_, first, second in zip(whole, a, b, strict=True):
        assert (first + second).value() == pytest.approx(all_.value(), rel=1e-12)
    assert isinstance(a.acceleration + b.acceleration, RootMeanSquare)


def test_procrustes_removes_similarities() -> None:
    body = np.random.default_rng(1).normal(size=(50, 3))
    turn = rotation(torch.tensor([[0.3, -0.5, 0.9], [2.0, 0.4, -2.5]], dtype=torch.float64)).numpy()
    moved = np.array([3.0, 0.2])[:, None, None] * body @ turn + np.array([[[5, 6, 7]], [[-1, 0, 2]]])
    shape = mean_shape(moved)
    assert np.sqrt((shape**2).sum(1).mean()) == pytest.approx(1) and shape.mean(0) == pytest.approx(np.zeros(3))
    assert aligned(moved, shape) == pytest.approx(np.stack([shape, shape]), abs=1e-12)


def test_procrustes_never_mirrors() -> None:
    body = np.random.default_rng(2).normal(size=(1, 50, 3))
    shape = mean_shape(body)
    assert np.abs(aligned(body * [-1, 1, 1], shape) - shape).max() > 0.1


def test_rigid_motion_is_no_local_motion() -> None:
    frames = bodies(80, 0)
    rigid = bodies(80, 0)[:1].repeat(80, 0) * np.linspace(1, 2, 80)[:, None, None] + np.arange(80.0)[:, None, None]
    screen, local = mesh_stability(lambda rows: rigid[rows], good(80), 50.0)
    assert local.acceleration.value() == pytest.approx(0, abs=1e-9)
    assert screen.ratio.value() == pytest.approx(1) and screen.ratio.over > 0
    assert mesh_stability(lambda rows: frames[rows], good(80), 50.0)[1].ratio.over > 0


def test_without_a_face_there_is_no_figure() -> None:
    screen, _ = mesh_stability(lambda rows: bodies(9, 0)[rows], np.zeros(9, bool), 50.0)
    assert np.isnan(screen.ratio.value())


def test_skin_ratio() -> None:
    error = SkinError(np.array([0, 0]), np.array([[0.0, 1, 2], [0, 3, 4]]), 5)
    assert skin_ratio(error) == Ratio(5.0, 2) and skin_ratio(error).value() == error.mean == 2.5


@pytest.mark.parametrize("wobble", [0.0, 0.003, 0.03])
def test_agrees_with_the_independent_scorer(scorer: ModuleType, wobble: float) -> None:
    frames, ok, iod = bodies(150, wobble), good(150), 70.0
    ok[40:43] = False
    screen, local = mesh_stability(lambda rows: frames[rows], ok, iod)
    theirs = scorer.stability(frames[..., :2] / iod * 100, ok)
    assert screen.ratio.value() == pytest.approx(theirs["ratio"], rel=0.02)
    assert screen.mean.value() == pytest.approx(theirs["mean"], rel=0.02)
    theirs = scorer.stability(scorer.rigid_removed(frames, ok) * np.sqrt(frames.shape[1]), ok)
    assert local.ratio.value() == pytest.approx(theirs["ratio"], rel=0.02)
    assert local.mean.value() == pytest.approx(theirs["mean"], rel=0.02)
