"""Figures of curves against their closed forms."""

import numpy as np
import pytest

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.eval.meaning.curves import CurveSums, summary
from selftrack.eval.meaning.surface import similarity_distance

JAW, SMILE_L, SMILE_R, PUCKER = (
    ARKIT_NAMES.index(name) for name in ("jawOpen", "mouthSmileLeft", "mouthSmileRight", "mouthPucker")
)


def moving(frames: int = 400) -> np.ndarray:
    rng = np.random.default_rng(0)
    true = np.zeros((frames, 52))
    for i in (JAW, SMILE_L, SMILE_R):
        true[:, i] = np.where(rng.random(frames) < 0.3, 0, rng.random(frames))
    return true


def test_gain_correlation_and_rest() -> None:
    true = moving()
    tracked = true.copy()
    tracked[:, JAW] = 0.5 * true[:, JAW] + 0.1
    sums = CurveSums.of(true, tracked)
    assert sums.gain()[JAW] == pytest.approx(0.5) and sums.correlation()[JAW] == pytest.approx(1)
    assert sums.gain()[SMILE_L] == pytest.approx(1) and sums.rest_offset()[SMILE_L] == pytest.approx(0)
    rests = true[true[:, JAW] <= 0.05, JAW]
    assert sums.rest_offset()[JAW] == pytest.approx(0.1 - 0.5 * rests.mean())
    assert sums.moving.sum() == 3 and np.isnan(sums.correlation()[PUCKER])
    noisy = true + np.random.default_rng(1).normal(0, 0.2, true.shape)
    expected = np.corrcoef(true[:, JAW], noisy[:, JAW])[0, 1]
    assert CurveSums.of(true, noisy).correlation()[JAW] == pytest.approx(expected)


def test_cross_talk_finds_the_leak() -> None:
    true = moving(3000)
    tracked = true.copy()
    tracked[:, PUCKER] = 0.3 * true[:, JAW]
    talk = CurveSums.of(true, tracked).cross_talk()
    assert talk[JAW, PUCKER] == pytest.approx(0.3, abs=0.02)
    assert abs(talk[SMILE_L, PUCKER]) < 0.01 and talk[JAW, JAW] == pytest.approx(1, abs=0.03)


def test_sides() -> None:
    true = moving()
    both = true.copy()
    both[:, [SMILE_L, SMILE_R]] = true[:, [SMILE_L, SMILE_R]].mean(1, keepdims=True)  # one-sided smiles are lost
    assert CurveSums.of(true, true).side_correlation()["smile"] == pytest.approx(1)
    assert np.isnan(CurveSums.of(true, both).side_correlation()["smile"])


def test_sums_of_parts_are_those_of_the_whole() -> None:
    true = moving()
    tracked = true * 0.7 + 0.05
    known = np.ones(52, bool)
    whole = summary(CurveSums.of(true, tracked), known)
    parts = summary(CurveSums.of(true[:150], tracked[:150]) + CurveSums.of(true[150:], tracked[150:]), known)
    assert whole == pytest.approx(parts, nan_ok=True)
    assert whole["curves"] == 3 and whole["gain"] == pytest.approx(0.7) and whole["full_strength"] == 0


def test_a_surface_is_found_under_any_similarity() -> None:
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 25), np.linspace(-1, 1, 25)), -1).reshape(-1, 2)
    bowl = np.c_[grid, 0.5 * grid[:, 0] ** 2 + 0.2 * grid[:, 1] ** 2 + 0.1 * grid[:, 0]]
    index = np.arange(625).reshape(25, 25)
    a, b, c, d = (index[i : 24 + i, j : 24 + j].ravel() for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)))
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])
    angle = 0.1
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    inner = bowl[(np.abs(grid) < 0.8).all(1)]
    assert similarity_distance(1.1 * inner @ turn.T + [3, -2, 5], bowl, faces) < 0.01
    off = inner + [0, 0, 0.05] * np.sign(np.random.default_rng(0).normal(size=(len(inner), 1)))
    assert similarity_distance(off, bowl, faces) == pytest.approx(0.05, rel=0.25)
