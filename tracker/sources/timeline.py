"""One timeline from a file's time stamps: parts that start again are joined, what is missing or wrong is replaced."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import TypeVar

import av

from selftrack.tracker.sources.container import time_base

T = TypeVar("T")
BACK = Fraction(1, 10)  # seconds; packets of one part are never that much earlier than those before them
LEAP = Fraction(10)  # seconds; a longer gap in a format whose clock may jump is a jump of the clock
DEFAULT_RATE = Fraction(25)  # frames/s where nothing says a rate


class Timeline:
    """Moves the packets of a stream whose time stamps start again, so that each part goes on where the last ended.

    Two recordings that were joined as they are start again at the join. `shifts` has the seconds by which the second,
    third ... part so far was moved.
    """

    def __init__(self, leaps: bool, step: Fraction = Fraction(0), known: Sequence[Fraction] = ()) -> None:
        """Begin before the first packet.

        Args:
            leaps: whether a gap of more than `LEAP` is a jump of the clock; else it is a gap.
            step: seconds that a packet lasts which does not say so.
            known: shifts found in another stream of the file, which keep the two together.
        """
        self.shifts: list[Fraction] = []
        self.end = Fraction(0)  # seconds on the new timeline, of all packets so far
        self.joins: list[Fraction] = []  # seconds on the new timeline, by the container's clock, where a part begins
        self._leaps, self._step, self._known = leaps, step, known
        self._last: Fraction | None = None  # decoding time of the packet before, as it was

    def __call__(self, packets: Iterable[av.Packet]) -> Iterator[av.Packet]:
        """Move packets in place and yield them."""
        for packet, following in _with_next(packets):
            wrong = self._is_elsewhere(packet, BACK)
            if wrong and (following is None or self._is_elsewhere(following, Fraction(0))):
                self._begin_part(packet)
                wrong = False
            if self.shifts:
                ticks = round(self.shifts[-1] / time_base(packet))
                packet.dts = None if packet.dts is None else packet.dts + ticks
                packet.pts = None if packet.pts is None else packet.pts + ticks
            if not wrong:  # else a single wrong stamp
                self._note_end(packet)
            yield packet

    def _is_elsewhere(self, packet: av.Packet, back: Fraction) -> bool:
        """Whether the decoding time of a packet, as it was, is more than `back` before the last one, or leaps."""
        if packet.dts is None or self._last is None:
            return False
        decoded = packet.dts * time_base(packet)
        return decoded < self._last - back or (self._leaps and decoded > self._last + LEAP)

    def _begin_part(self, packet: av.Packet) -> None:
        stamp, number = packet.dts if packet.pts is None else packet.pts, len(self.shifts)
        assert stamp is not None
        own = self.end - stamp * time_base(packet)
        self.shifts.append(self._known[number] if number < len(self._known) else own)
        self.joins.append(self.end)

    def _note_end(self, packet: av.Packet) -> None:
        """Remember how far the timeline has come with a packet that has been moved."""
        tick, shift = time_base(packet), self.shifts[-1] if self.shifts else Fraction(0)
        if packet.dts is not None:
            self._last = packet.dts * tick - shift
        if packet.pts is not None:
            self.end = max(self.end, packet.pts * tick + (packet.duration * tick if packet.duration else self._step))


class Stamps:
    """Strictly increasing times of frames, in the order in which they are shown; `mended` counts wrong stamps."""

    def __init__(self, step: Fraction) -> None:
        """`step` is what a frame lasts, seconds."""
        self.mended = 0
        self._step = step

    def __call__(self, timed: Iterable[tuple[Fraction | None, T]]) -> Iterator[tuple[float, T]]:
        """Pair what is shown with its time in seconds; None where the file has no stamp.

        A stamp that does not lie between its neighbours is replaced by their middle; where the neighbours are no help,
        and where there is none, it is a step after the one before.
        """
        previous: Fraction | None = None
        for (time, shown), following in _with_next(timed):
            after = None if following is None else following[0]
            if previous is None:
                previous = time or Fraction(0)
            elif time is None:
                previous += self._step
            elif after is not None and self._is_wrong(previous, time, after):
                previous, self.mended = (previous + after) / 2, self.mended + 1
            elif time <= previous:
                previous, self.mended = previous + self._step, self.mended + 1
            else:
                previous = time
            yield float(previous), shown

    def _is_wrong(self, previous: Fraction, time: Fraction, after: Fraction) -> bool:
        """Whether a time does not lie between its neighbours, which do increase."""
        if not previous < after or previous < time <= after:
            return False
        # of two that are the wrong way round, the one farther from where it would be at an even rate
        return time <= previous or abs(time - previous - self._step) > abs(after - previous - 2 * self._step)


def _with_next(items: Iterable[T]) -> Iterator[tuple[T, T | None]]:
    """Pair each item with the one after it.

    >>> list(_with_next("ab"))
    [('a', 'b'), ('b', None)]
    """
    iterator = iter(items)
    for held in iterator:
        for item in iterator:
            yield held, item
            held = item
        yield held, None
