"""The filters against closed forms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from selftrack.eval.compare.filters import filtered, one_euro, savitzky_golay
from selftrack.tracker.results.track_file import Track

RATE = 30.0


@pytest.fixture
def track(make_track: Callable[..., Track]) -> Track:
    """A track of noise, two of its frames lost; the roll runs through half a turn's wrap."""
    count, rng = 40, np.random.default_rng(4)
    pose = rng.normal(size=(count, 6))
    pose[:, 3] = np.remainder(3.0 + 0.02 * np.arange(count) + np.pi, 2 * np.pi) - np.pi
    still = make_track(np.arange(count) / RATE, lost=(18, 19))
    return replace(still, z=rng.normal(size=still.z.shape).astype(np.float32), H_image=pose.astype(np.float32))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_savitzky_golay_keeps_polynomials(order: int) -> None:
    t = np.linspace(-1, 2, 50)[:, None]
    values = np.concatenate([sum((k + 1) * t**k for k in range(order + 1)), 0 * t + 7], 1)
    assert savitzky_golay(values, 11, order) == pytest.approx(values, abs=1e-9)
    assert np.abs(savitzky_golay(t ** (order + 3), 11, order) - t ** (order + 3)).max() > 1e-4


def test_savitzky_golay_has_the_published_weights() -> None:
    impulse = np.zeros((21, 1))
    impulse[10] = 1
    weights = savitzky_golay(impulse, 5)[8:13, 0]
    assert weights == pytest.approx(np.array([-3, 12, 17, 12, -3]) / 35)
    assert savitzky_golay(impulse, 5, order=0)[8:13, 0] == pytest.approx(np.full(5, 0.2))


def test_savitzky_golay_of_short_clips_and_narrow_windows() -> None:
    noise = np.random.default_rng(0).normal(size=(3, 2))
    assert (savitzky_golay(noise, 9) == noise).all()  # a parabola goes through three points
    line = np.arange(4.0)[:, None]
    assert savitzky_golay(line, 99) == pytest.approx(line)
    with pytest.raises(ValueError, match="odd"):
        savitzky_golay(noise, 4)


def test_one_euro_without_cutoff_changes_nothing() -> None:
    noise, times = np.random.default_rng(1).normal(size=(30, 3)), np.arange(30) / RATE
    assert one_euro(noise, times, np.inf, 0.0) == pytest.approx(noise)


def test_one_euro_without_speed_is_an_exponential_filter() -> None:
    step, times = np.r_[0, np.ones(200)][:, None], np.arange(201) / RATE
    out = one_euro(step, times, 1.5, 0.0)
    keep = 1 - 1 / (1 + RATE / (2 * np.pi * 1.5))
    assert out[:, 0] == pytest.approx(1 - keep ** np.arange(201))  # and so converges
    assert out[-1, 0] == pytest.approx(1)


def test_one_euro_lags_less_where_beta_is_larger() -> None:
    ramp, times = np.arange(100.0)[:, None], np.arange(100) / RATE
    lags = [(ramp - one_euro(ramp, times, 1.0, beta))[-1, 0] for beta in (0.0, 0.1, 1.0)]
    assert lags[0] > lags[1] > lags[2] > 0
    assert lags[0] == pytest.approx(RATE / (2 * np.pi), rel=1e-3)  # speed times the filter's time constant


def test_filtered_unwraps_angles_and_keeps_runs_apart(track: Track) -> None:
    same = filtered(track, lambda values, times: values)
    assert same.z == pytest.approx(track.z, abs=1e-6) and same.H_image == pytest.approx(track.H_image, abs=1e-6)
    runs = []

    def flat(values: np.ndarray, times: np.ndarray) -> np.ndarray:
        runs.append(len(times))
        return savitzky_golay(values, 9)

    out = filtered(track, flat)
    assert runs == [18, 20] and (out.z[18:20] == track.z[18:20].astype(np.float32)).all()
    turned = np.angle(np.exp(1j * (out.H_image[:, 3] - track.H_image[:, 3])))
    assert np.abs(turned[track.ok]).max() < 1e-5  # steady through the wrap, and a parabola keeps it
    assert np.abs(out.H_image).max(0)[3] <= np.pi + 1e-6


def test_filtered_without_a_face(track: Track) -> None:
    lost = replace(track, ok=np.zeros(40, bool))
    assert filtered(lost, lambda v, t: 0 * v).z == pytest.approx(track.z, abs=1e-6)
