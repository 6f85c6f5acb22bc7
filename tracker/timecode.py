"""SMPTE timecode (ST 12-1): numbers of frames from midnight on, with and without drop-frame."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Self

from selftrack.errors import UserError

_TEXT = re.compile(r"(\d\d):(\d\d):(\d\d)([:;])(\d{2,3})", re.ASCII)
_HOURS = 24


def counted_rate(rate: float | Fraction) -> Fraction:
    """Find the rate, frames per second, at which timecode counts a clip of about this rate: a whole number, or that
    over 1.001."""
    exact, whole = Fraction(rate), Fraction(max(round(rate), 1))
    slowed = whole * Fraction(1000, 1001)
    return slowed if abs(exact - slowed) < abs(exact - whole) else whole


@dataclass(frozen=True)
class Timecode:
    """One frame's timecode; the text is HH:MM:SS:FF, with drop-frame HH:MM:SS;FF.

    Drop-frame leaves out the first numbers of each minute but every tenth, two at 29.97 and four at 59.94 frames per
    second, so that it stays with the clock.
    """

    frame: int
    """Frames since midnight."""
    rate: Fraction
    """Frames per second, as `counted_rate`."""
    drop: bool = False

    @classmethod
    def parse(cls, text: str, rate: float | Fraction) -> Self:
        """Read a text, of a clip of about so many frames per second.

        Raises:
            UserError: it is no timecode, or not one at this rate.
        """
        found, exact = _TEXT.fullmatch(text.strip()), counted_rate(rate)
        if found is None:
            raise UserError(
                f"timecode {text!r}: must be HH:MM:SS:FF, such as 01:00:00:00, or HH:MM:SS;FF for drop-frame"
            )
        hours, minutes, seconds, frames = (int(found[i]) for i in (1, 2, 3, 5))
        whole, drop = round(exact), found[4] == ";"
        if hours >= _HOURS or minutes >= 60 or seconds >= 60 or frames >= whole:
            raise UserError(f"timecode {text}: goes from 00:00:00:00 to 23:59:59:{whole - 1:02d} in this clip")
        if drop and not _drops(exact):
            raise UserError(
                f"timecode {text}: drop-frame (;) is for 29.97 and 59.94 frames/s, and this clip has "
                f"{float(exact):.6g}; write it with :"
            )
        minute = 60 * hours + minutes
        number, dropped = (60 * minute + seconds) * whole + frames, whole // 15 if drop else 0
        if minutes % 10 and not seconds and frames < dropped:
            raise UserError(f"timecode {text}: drop-frame leaves this number out; the next one ends with {dropped:02d}")
        return cls(number - dropped * (minute - minute // 10), exact, drop)

    def after(self, seconds: float) -> Self:
        """The timecode of the frame so many seconds later."""
        return replace(self, frame=self.frame + round(seconds * self.rate))

    def seconds(self) -> float:
        """The time of day that the numbers say, seconds; at 23.976 and 29.97 that is not the time which has passed."""
        hours, minutes, seconds, frames = self._numbers()
        return 3600 * hours + 60 * minutes + seconds + frames / round(self.rate)

    def __str__(self) -> str:
        hours, minutes, seconds, frames = self._numbers()
        return f"{hours:02d}:{minutes:02d}:{seconds:02d}{';' if self.drop else ':'}{frames:02d}"

    def _numbers(self) -> tuple[int, int, int, int]:
        """Hours, minutes, seconds and frames; after midnight they begin again."""
        whole, number = round(self.rate), self.frame
        if self.drop:
            dropped = whole // 15
            tens, rest = divmod(number, 600 * whole - 9 * dropped)
            number += dropped * (9 * tens + max(rest - dropped, 0) // (60 * whole - dropped))
        seconds, frames = divmod(number, whole)
        return seconds // 3600 % _HOURS, seconds // 60 % 60, seconds % 60, frames


def _drops(rate: Fraction) -> bool:
    """Whether drop-frame is defined at a rate."""
    return round(rate) in (30, 60) and rate.denominator != 1
