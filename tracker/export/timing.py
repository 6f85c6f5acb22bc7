"""How the times of a track, seconds, are counted in frames and written as timecode."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from selftrack.errors import UserError
from selftrack.tracker.timecode import Timecode

if TYPE_CHECKING:
    from selftrack.tracker.results.track_file import Track

_DAY = 86_400  # seconds
_TICKS = 60_000  # a second, in thousandths of the 60 frames on which the Live Link Face app counts
_TICK = Fraction(1, 90_000)  # seconds, of a clip whose rate varies
_ROUNDING = 0.0025  # seconds by which times may be off a steady rate, as containers round them
_RATES = np.array([24000 / 1001, 24, 25, 30000 / 1001, 30, 48, 50, 60000 / 1001, 60, 100, 120000 / 1001, 120])


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
    usual = np.abs(steps - np.median(steps)) < 0.0025
    if usual.mean() > 0.9:  # steady but for rounding and gaps: the mean is finer and parts 24 from 23.976
        rate = 1 / steps[usual].mean()
    nearest = _RATES[np.abs(_RATES / rate - 1).argmin()]
    return float(nearest if abs(nearest / rate - 1) < 0.02 else rate)


def clock(times: np.ndarray) -> tuple[Fraction, Fraction, np.ndarray]:
    """Find the rate of frames at times (T,) seconds, the tick that they are counted in, seconds, and their counts (T,)
    from the first one: of frames where the rate is steady, so that programs see one that they know."""
    rate, since = Fraction(frame_rate(times)).limit_denominator(1001), times - times[0]
    counts = np.rint(since * float(rate)).astype(int)
    if np.abs(since - counts / float(rate)).max() < _ROUNDING and (np.diff(counts) > 0).all():
        return rate, 1 / rate, counts
    return rate, _TICK, np.rint(since / float(_TICK)).astype(int)


def times_before(times: np.ndarray) -> np.ndarray:
    """Find times, seconds, at the clip's rate from 0 up to the first of times (T,), itself left out.

    Raises:
        UserError: that is more than a day.
    """
    if times[0] >= _DAY:
        raise UserError(
            f"the clip begins at {times[0]:.0f} s of its own time, and this format has rows from 0 s on; put it into a "
            "file whose time begins at 0, or export csv"
        )
    step = 1 / frame_rate(times)
    return np.arange(0, times[0] - step / 2, step)


def timecode_rate(track: Track) -> float:
    """Find the rate, frames per second, that timecode counts: what the clip says, or where that is not known the
    `frame_rate` of its times."""
    return track.timecode_rate or frame_rate(track.times)


def with_timecode(track: Track, text: str) -> Track:
    """The track with this timecode at the clip's time 0, see `timecode_rate`.

    Raises:
        UserError: it is no timecode, or not one at this rate.
    """
    start = Timecode.parse(text, timecode_rate(track))
    return replace(track, timecode=str(start), timecode_rate=float(start.rate))
