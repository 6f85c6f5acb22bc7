"""Lag of motions shifted by known times."""

from __future__ import annotations

import numpy as np
import pytest

from selftrack.eval.compare.filters import one_euro, savitzky_golay
from selftrack.eval.metrics.lag import REACH, Lag, lag, mesh_lag
from selftrack.eval.metrics.subject import Mesh
from selftrack.tracker.results.skin_points import Window

SIZE = (240, 320)
FACES = np.array([[0, 1, 2], [1, 3, 2]])


def nod(times: np.ndarray) -> np.ndarray:
    """(...,2) pixels: a head that moves at a few Hz, at 30 frames/s."""
    return np.stack([9 * np.sin(times / 4) + 4 * np.sin(times / 7 + 1), 6 * np.cos(times / 5)], -1)


def card(path: np.ndarray, ok: np.ndarray | None = None) -> Mesh:
    """Two triangles that move along path (T,2)."""
    corners = np.array([[100, 60, 5], [220, 60, 5], [100, 180, 5], [220, 180, 5]], np.float32)
    vertices = corners + np.pad(path, ((0, 0), (0, 1)))[:, None].astype(np.float32)
    return Mesh(lambda rows: vertices[rows], FACES, np.ones(len(path), bool) if ok is None else ok)


def windows(count: int, width: int = 12) -> list[Window]:
    """Points that follow the nod exactly."""
    starts = range(0, count - width + 1, width)
    place = np.array([[140.0, 100], [170, 130], [150, 150]])
    return [Window(s, 60.0, (place[:, None] + nod(np.arange(s, s + width))).astype(np.float32)) for s in starts]


@pytest.mark.parametrize("late", [0.0, 1.0, 2.0, -1.0, 0.5, 1.25, -0.3])
def test_a_late_mesh(late: float) -> None:
    result = mesh_lag(card(nod(np.arange(120) - late)), windows(120), SIZE)
    assert result.value() == pytest.approx(late, abs=0.03)
    assert result.correlation() > 0.95


def test_noise_does_not_move_it() -> None:
    shaking = nod(np.arange(240) - 1.0) + 0.3 * np.random.default_rng(0).normal(size=(240, 2))
    result = mesh_lag(card(shaking), windows(240), SIZE)
    assert result.value() == pytest.approx(1, abs=0.1) and result.correlation() < 0.99


def test_filters_without_look_ahead_lag_and_those_with_it_do_not() -> None:
    path, times = nod(np.arange(240)), np.arange(240) / 30
    assert mesh_lag(card(one_euro(path, times, 2.0, 0.0)), windows(240), SIZE).value() > 0.8
    assert mesh_lag(card(savitzky_golay(path, 9)), windows(240), SIZE).value() == pytest.approx(0, abs=0.05)


def test_what_cannot_be_told() -> None:
    assert np.isnan(mesh_lag(card(np.zeros((60, 2))), windows(60), SIZE).value())
    assert np.isnan(Lag.none().value()) and np.isnan(Lag.none().correlation())
    still = lag(np.zeros((3, 5, 2)), np.ones((3, 5 + 2 * REACH, 2)))
    assert np.isnan(still.value())


def test_windows_without_room_or_with_lost_frames_are_left_out() -> None:
    path, all_ = nod(np.arange(60)), windows(60)
    whole = mesh_lag(card(path), all_, SIZE)
    assert whole.pixels[0] > 0 and whole.pixels == pytest.approx(mesh_lag(card(path), all_[1:4], SIZE).pixels)
    ok = np.ones(60, bool)
    ok[25] = False  # in the third window, and within reach of the second
    part = mesh_lag(card(path, ok), all_, SIZE)
    assert part.pixels[0] > 0 and part.pixels == pytest.approx(mesh_lag(card(path), all_[3:4], SIZE).pixels)


def test_parts_merge() -> None:
    mesh, all_ = card(nod(np.arange(120) - 1.0)), windows(120)
    merged = mesh_lag(mesh, all_[:4], SIZE) + mesh_lag(mesh, all_[4:], SIZE)
    assert merged.value() == pytest.approx(mesh_lag(mesh, all_, SIZE).value())
