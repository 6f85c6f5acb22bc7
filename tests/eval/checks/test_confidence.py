"""Figures of calibration, the fit, and the labels that it learns from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from selftrack.decoders.head.model import load_head
from selftrack.eval.checks.confidence import Judged, fit, reliability_plot, table, true_frame_error
from selftrack.eval.metrics.calibration import Reliability, auroc
from selftrack.synthetic.truth import Truth
from selftrack.tracker.results.confidence import SIGNALS
from selftrack.tracker.results.skin_points import Window, frame_error
from selftrack.tracker.results.track_file import Track

HEAD = load_head()


def drawn(seed: int, count: int, weights: np.ndarray, bias: float) -> Judged:
    """Frames whose goodness follows a logistic model."""
    rng = np.random.default_rng(seed)
    values = rng.normal(3, 2, (count, len(SIGNALS)))
    chance = 1 / (1 + np.exp(-((values - 3) / 2 @ weights + bias)))
    return Judged(f"seed {seed}", values, rng.random(count) < chance, chance)


def test_the_fit_finds_what_the_frames_were_drawn_from() -> None:
    weights = np.zeros(len(SIGNALS))
    weights[[0, 1, 4]] = 0.8, -0.5, 0.3
    model = fit([drawn(0, 4000, weights, 0.4), drawn(1, 400, weights, 0.4)])
    assert np.array(model.mean) == pytest.approx(3, abs=0.2) and np.array(model.spread) == pytest.approx(2, abs=0.2)
    assert np.array(model.weights) == pytest.approx(weights, abs=0.2) and model.bias == pytest.approx(0.4, abs=0.2)
    fresh = drawn(2, 4000, weights, 0.4)
    given = model(fresh.signals)
    assert Reliability.of(given, fresh.good).error() < 0.05 and auroc(given, fresh.good) > 0.65
    assert "**all** | 8000" in table([fresh, drawn(3, 4000, weights, 0.4)])


def test_no_signal_counts_the_wrong_way() -> None:
    weights = np.zeros(len(SIGNALS))
    weights[SIGNALS.index("jitter")] = 1.0
    assert fit([drawn(0, 2000, weights, 0.0)]).weights[SIGNALS.index("jitter")] == 0


def test_tracks_weigh_the_same_whatever_their_length() -> None:
    signals = np.zeros((1000, len(SIGNALS)))
    often, seldom = (
        Judged(name, signals[:n], np.full(n, good), np.zeros(n))
        for name, n, good in (("a", 1000, True), ("b", 10, False))
    )
    assert fit([often, seldom])(signals[:1]) == pytest.approx(0.5, abs=1e-3)


def test_a_frame_is_judged_against_the_others_of_its_window() -> None:
    """A square that jumps by 10 pixels in its third frame, over points that stand still; the IOD is 100 pixels."""
    square = np.array([[0.0, 0, 0], [50, 0, 0], [50, 50, 0], [0, 50, 0]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    meshes = np.stack([square] * 5 + [square + 1000])
    meshes[3] += [6, 8, 0]
    paths = np.tile(np.array([[20.0, 10], [10, 30]], np.float32)[:, None], (1, 4, 1))
    error = frame_error([Window(1, 100.0, paths)], lambda rows: meshes[rows], faces, (60, 60), np.ones(6, bool))
    assert np.isnan(error[[0, 5]]).all()
    assert error[1:5] == pytest.approx([10 / 3, 10 / 3, 10, 10 / 3])
    lost = frame_error([Window(1, 100.0, paths)], lambda rows: meshes[rows], faces, (60, 60), np.arange(6) != 2)
    assert np.isnan(lost).all()


def test_the_true_error_is_of_the_same_vertices(tmp_path: Path) -> None:
    count, focal = 24, 600.0
    curves = np.zeros((count, 52), np.float32)
    truth = Truth(
        np.arange(count) / 30,
        np.tile(HEAD.mean.numpy(), (count, 1, 1)),
        np.zeros((count, 3)),
        np.tile([0.0, 0.0, 1e3], (count, 1)),  # so far away that perspective is weak
        1e3 * focal,
        (400, 400),
        curves,
        np.zeros(60),
        np.zeros(count),
    )
    pose = np.tile(np.array([np.log(focal), 0, 0, 0, 199.5, 199.5], np.float32), (count, 1))
    shifted = pose.copy()
    shifted[5, 4] += 3.0  # pixels
    eyes = HEAD.landmarks478(HEAD.mean[None])[0].numpy()
    iod = focal * np.linalg.norm(eyes[33, :2] - eyes[263, :2])
    track = Track(
        *(truth.times, np.arange(count) != 15, *(np.ones(count) for _ in range(3))),
        *(np.zeros((count, HEAD.size), np.float32), pose, np.zeros((count, 2, 3)), shifted),
        *(np.zeros((count, 478, 2)), HEAD.curve_names, np.zeros((count, 52)), np.zeros(60), 0.0, (400, 400)),
        *("", "", HEAD.name, HEAD.hash, "", "{}"),
    )
    error = true_frame_error(track, truth)
    assert error[5] == pytest.approx(300 / iod, rel=0.01)
    assert error[[0, 11]] == pytest.approx(300 / iod / 11, rel=0.02)
    assert np.isnan(error[12:]).all()  # a window with a lost frame


def test_the_reliability_diagram_is_drawn(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    given = rng.random(500)
    reliability_plot(given, rng.random(500) < given, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"
