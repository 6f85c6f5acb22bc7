"""Times in frames and timecode: usual rates, the app's sixtieths."""

import numpy as np
import pytest

from selftrack.tracker.export.timing import frame_rate, timecode


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


@pytest.mark.parametrize("rate", [24000 / 1001, 24, 25, 30000 / 1001, 30, 50, 60])
def test_frame_rate_from_rounded_times(rate: float) -> None:
    assert frame_rate((np.arange(300) / rate).round(3)) == pytest.approx(rate, abs=1e-9)
    assert frame_rate(np.arange(300) / 12.5) == pytest.approx(12.5)
    assert frame_rate(np.array([0.0])) == 30
