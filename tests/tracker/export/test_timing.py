"""Times in frames and timecode: usual rates, the app's sixtieths."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from selftrack.errors import UserError
from selftrack.tracker.export.timing import frame_rate, timecode, times_before, with_timecode
from selftrack.tracker.results.track_file import Track


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


def test_timecode_counts_at_the_rate_that_the_clip_says(make_track: Callable[..., Track]) -> None:
    """A few times in whole milliseconds do not part 29.97 from 30, which has no drop-frame."""
    few = make_track(np.array([0.0, 0.033, 0.067, 0.1]))
    with pytest.raises(UserError, match="this clip has 30"):
        with_timecode(few, "01:00:00;00")
    coded = with_timecode(replace(few, timecode_rate=2997 / 100), "01:00:00;00")
    assert (coded.timecode, coded.timecode_rate) == ("01:00:00;00", 30000 / 1001)


def test_rows_before_a_clip_that_begins_after_a_day_are_refused() -> None:
    """As damaged time stamps say; the rows would take all memory."""
    assert len(times_before(np.array([3600.0, 3600.04]))) == 90_000
    with pytest.raises(UserError, match="begins at 2147483 s of its own time"):
        times_before(np.array([2147483.0, 2147483.04]))
