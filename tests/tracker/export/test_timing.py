"""Times in frames and timecode: usual rates, the app's sixtieths."""

import numpy as np
import pytest

from selftrack.tracker.export.timing import frame_rate, timecode, times_before


@pytest.mark.parametrize(
    "at,code",
    [
        (0.0, "00:00:00:00.000"),
        (1 / 30, "00:00:00:02.000"),
        (1 / 24, "00:00:00:02.500"),
        (31.652 / 60 + 4 + 13 * 60 + 13 * 3600, "13:13:04:31.652"),  # a row of a recorded take
        (0.999999, "00:00:01:00.000"),  # never :60.000
        (59.9999999, "00:01:00:00.000"),
        (3599.9999999, "01:00:00:00.000"),
    ],
)
def test_timecode(at: float, code: str) -> None:
    assert timecode(at) == code


@pytest.mark.parametrize("rate", [24000 / 1001, 24, 25, 30000 / 1001, 30, 50, 60000 / 1001, 60, 120000 / 1001, 120])
def test_frame_rate_from_rounded_times(rate: float) -> None:
    times = (np.arange(600) / rate).round(3)
    assert frame_rate(times) == pytest.approx(rate, abs=1e-9)
    assert frame_rate(np.delete(times, [100, 101, 250, 400])) == pytest.approx(rate, abs=1e-9), "with frames missing"
    assert frame_rate(np.arange(300) / 12.5) == pytest.approx(12.5)
    assert frame_rate(np.array([0.0])) == 30


@pytest.mark.parametrize(("first", "count"), [(0.0, 0), (0.004, 0), (1 / 25, 1), (3.0, 75), (3.01, 75), (3.03, 76)])
def test_times_before_the_first_are_from_0_at_the_rate(first: float, count: int) -> None:
    before = times_before(first + np.arange(50) / 25)
    np.testing.assert_allclose(before, np.arange(count) / 25, atol=1e-12)
    assert not count or 0.019 < first - before[-1] < 0.061
