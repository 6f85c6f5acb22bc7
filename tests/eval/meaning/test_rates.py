"""One performance at several rates: the same frames at common times, and a comparison that finds what differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from selftrack.eval.meaning.rates import RATES, STILL, Differences, common_rows, compare, draw, table
from selftrack.synthetic.scene import FPS, Stage
from selftrack.tracker.results.track_file import Track


def test_a_performance_is_the_same_at_any_rate() -> None:
    stage = Stage(replace(STILL, size=96, exposures=1))
    slow, fast = draw(stage, 0, 1, 5), draw(stage, 0, 1, 10)
    assert len(slow) == 5 and len(fast) == 10
    for one, other in zip(slow, fast[::2], strict=True):
        assert one.time == pytest.approx(other.time)
        np.testing.assert_array_equal(one.image, other.image)
    assert np.abs(fast[0].image.astype(int) - fast[7].image).mean() > 0.5  # and something moves


@pytest.mark.parametrize("rate", RATES)
def test_common_rows_are_of_common_times(rate: int) -> None:
    ours, usual = common_rows(rate, FPS, 3)
    np.testing.assert_allclose(ours / rate, usual / FPS, atol=1e-12)
    assert len(ours) == 3 * np.gcd(rate, FPS) and ours.max() < 3 * rate


@pytest.mark.parametrize("rate", RATES)
def test_what_depends_on_the_rate_is_found(rate: int, make_track: Callable[..., Track]) -> None:
    def track(rate: int, more: float) -> Track:
        times = np.arange(2 * rate) / rate
        made = make_track(times, {"jawOpen": 0.3 + 0.2 * np.sin(times) + more})
        return replace(made, confidence=made.confidence - np.float32(more))

    same, other = (compare(track(rate, more), track(FPS, 0.0), rate, 2) for more in (0.0, 0.1))
    assert same.curves.max() == pytest.approx(0, abs=1e-6) and same.confidence == pytest.approx(0, abs=1e-6)
    assert other.curves.max() == pytest.approx(0.1, abs=1e-6) and other.confidence == pytest.approx(-0.1, abs=1e-6)


def test_the_table_has_a_row_for_each_rate() -> None:
    found = {rate: Differences(np.full(52, 0.01), 0.02) for rate in RATES}
    assert all(f"| {rate} | 0.0100 |" in table([found, found]) for rate in RATES)
