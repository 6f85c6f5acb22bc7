"""How the times of a track, seconds, are counted in frames and written as timecode."""

from __future__ import annotations

import numpy as np

from selftrack.errors import UserError

_TICKS = 60_000  # a second, in thousandths of the 60 frames on which the Live Link Face app counts
_RATES = np.array([24000 / 1001, 24, 25, 30000 / 1001, 30, 48, 50, 60000 / 1001, 60, 100, 120])


def timecode(seconds: float) -> str:
    """Format a time as HH:MM:SS:FF.mmm: FF counts sixtieths of a second and mmm thousandths of those, at any rate."""
    total, ticks = divmod(round(seconds * _TICKS), _TICKS)
    if total < 0:
        raise UserError(f"a frame at {seconds:.3f} s, before the clip's start, has no timecode; export csv instead")
    return f"{total // 3600:02d}:{total // 60 % 60:02d}:{total % 60:02d}:{ticks // 1000:02d}.{ticks % 1000:03d}"


def frame_rate(times: np.ndarray) -> float:
    """Find the rate, frames per second, by which to count frames at times (T,) seconds.

    It is the usual rate nearest to the clip's median one, if within 2 % (containers may round times to milliseconds),
    else the median one.
    """
    if len(times) < 2:
        return 30.0
    steps = np.diff(times)
    rate = 1 / np.median(steps)
    if np.ptp(steps) < 0.0025:  # steady but for the rounding: the mean is finer and parts 24 from 23.976
        rate = 1 / steps.mean()
    nearest = _RATES[np.abs(_RATES / rate - 1).argmin()]
    return float(nearest if abs(nearest / rate - 1) < 0.02 else rate)
