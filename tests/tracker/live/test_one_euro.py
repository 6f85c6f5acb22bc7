"""The One-Euro filter against its equations and closed forms."""

from collections.abc import Callable

import numpy as np
import pytest

from selftrack.tracker.live.one_euro import OneEuro, SmoothConfig, Smoother


def casiez(times: np.ndarray, values: np.ndarray, cutoff: float, beta: float, speed_cutoff: float) -> list[float]:
    """The filter for one value, as gery.casiez.net/1euro writes it: alpha by te and tau, smoothed twice."""

    def alpha(te: float, fc: float) -> float:
        tau = 1.0 / (2 * np.pi * fc)
        return 1.0 / (1.0 + tau / te)

    out, speed = [float(values[0])], 0.0
    for i in range(1, len(values)):
        te = times[i] - times[i - 1]
        a = alpha(te, speed_cutoff)
        speed = a * (values[i] - out[-1]) / te + (1 - a) * speed
        a = alpha(te, cutoff + beta * abs(speed))
        out.append(a * values[i] + (1 - a) * out[-1])
    return out


def filtered(
    times: np.ndarray, values: np.ndarray, cutoff: float, beta: float, speed_cutoff: float = 1.0
) -> np.ndarray:
    count = values.shape[1]
    one = OneEuro(np.full(count, cutoff), np.full(count, beta), speed_cutoff)
    return np.array([one(row, time) for row, time in zip(values, times, strict=True)])


def test_by_its_equations() -> None:
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.01, 0.08, 200))
    values = np.cumsum(rng.normal(0, 0.1, (200, 3)), axis=0)
    found = filtered(times, values, 1.7, 0.6, 1.3)
    for column in range(3):
        np.testing.assert_allclose(found[:, column], casiez(times, values[:, column], 1.7, 0.6, 1.3), atol=1e-12)


def test_a_step_without_slope_is_an_exponential() -> None:
    """1 - (1 - a)^n, a = 1 / (1 + rate / (2 pi cutoff))."""
    times, values = np.arange(60) / 30, np.ones((60, 1))
    values[0] = 0
    a = 1 / (1 + 30 / (2 * np.pi * 2))
    np.testing.assert_allclose(filtered(times, values, 2.0, 0.0)[:, 0], 1 - (1 - a) ** np.arange(60), atol=1e-12)


def test_noise_is_damped_and_a_quick_act_kept() -> None:
    """White noise through a first-order filter of weight a has a / (2 - a) of its variance; a jump passes soon."""
    rng, times = np.random.default_rng(1), np.arange(3000) / 30
    noise = rng.normal(0, 0.01, (3000, 1))
    a = 1 / (1 + 30 / (2 * np.pi * 2))
    assert filtered(times, noise, 2.0, 0.0).std() == pytest.approx(0.01 * np.sqrt(a / (2 - a)), rel=0.05)
    jump = (times[:30, None] > 0.5).astype(float)
    quick, slow = (filtered(times[:30], jump, 2.0, beta)[17, 0] for beta in (4.0, 0.0))
    assert quick > 0.75 and slow < 0.55


def test_the_same_time_again_changes_nothing() -> None:
    one = OneEuro(np.ones(1), np.zeros(1))
    one(np.zeros(1), 0.0)
    before = one(np.ones(1), 0.1).copy()
    assert one(np.full(1, 9.0), 0.1) == before


def test_performances_are_smoothed_and_begin_anew_after_a_loss(shown: Callable) -> None:
    smoother = Smoother(SmoothConfig(curves=(1.0, 0.0), angles=(1.0, 0.0), place=(1.0, 0.0)))
    assert smoother(shown(time=0.0, yaw=10.0)) == shown(time=0.0, yaw=10.0)
    a = 1 / (1 + 30 / (2 * np.pi))
    second = smoother(shown(time=1 / 30, yaw=20.0, tx=420.0))
    assert second.pose["yaw"] == pytest.approx(10 + 10 * a) and second.pose["tx"] == pytest.approx(320 + 100 * a)
    assert second.curves == pytest.approx(shown().curves) and list(second.curves) == list(shown().curves)
    assert smoother(shown(ok=False, time=2 / 30)) == shown(ok=False, time=2 / 30)
    assert smoother(shown(time=3 / 30, yaw=50.0)).pose["yaw"] == 50.0


def test_an_angle_that_wraps_goes_the_short_way(shown: Callable) -> None:
    smoother = Smoother(SmoothConfig(angles=(1.0, 0.0)))
    smoother(shown(time=0.0, roll=179.0))
    roll = smoother(shown(time=1 / 30, roll=-179.0)).pose["roll"]
    assert roll == pytest.approx(179 + 2 / (1 + 30 / (2 * np.pi)))
