"""One timeline from a file's time stamps: parts that start again are joined, what is missing or wrong is replaced."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import TypeVar

import av

T = TypeVar("T")
BACK = Fraction(1, 10)  # seconds; packets of one part are never that much earlier than those before them
LEAP = Fraction(10)  # seconds; a longer gap in a format whose clock may jump is a jump of the clock
MOST_LED = 16  # frames that may come before the first one with a stamp: codecs hold back no more
DEFAULT_RATE = Fraction(25)  # frames/s where nothing says a rate


class Timeline:
    """Moves the packets of a stream whose time stamps start again, so that each part goes on where the last ended.

    Two recordings that were joined as they are start again at the join. `shifts` has the seconds by which the second,
    third ... part so far was moved, `joins` the seconds by the container's clock at which these parts begin now.
    """

    def __init__(
        self, tick: Fraction, leaps: bool, step: Fraction = Fraction(0), known: Sequence[Fraction] = ()
    ) -> None:
        """Begin before the first packet.

        Args:
            tick: seconds per tick of the packets' stamps.
            leaps: whether a gap of more than `LEAP` is a jump of the clock; else it is a gap.
            step: seconds that a packet lasts which does not say so.
            known: shifts found in another stream of the file, which keep the two together.
        """
        self.shifts: list[Fraction] = []
        self.joins: list[Fraction] = []
        self._tick, self._known = tick, known
        # whole ticks from here on: fractions would cost more than all the rest of reading a packet
        self._back, self._step = round(BACK / tick), round(step / tick)
        self._leap = round(LEAP / tick) if leaps else None
        self._end = self._shift = 0  # where the packets so far end, and by how much those of this part are moved
        self._last: int | None = None  # decoding time of the packet before, as it was

    @property
    def end(self) -> Fraction:
        """Seconds by the container's clock at which all packets so far end."""
        return self._end * self._tick

    def __call__(self, packets: Iterable[av.Packet]) -> Iterator[av.Packet]:
        """Move packets in place and yield them."""
        for packet, following in _with_next(packets):
            decoded, shown = packet.dts, packet.pts
            wrong = self._is_elsewhere(decoded, self._back)
            if wrong and (following is None or self._is_elsewhere(following.dts, 0)):
                self._begin_part(decoded if shown is None else shown)
                wrong = False
            if self._shift:
                packet.dts = None if decoded is None else decoded + self._shift
                packet.pts = None if shown is None else shown + self._shift
            if not wrong:  # else a single wrong stamp
                self._last = self._last if decoded is None else decoded
                if shown is not None:
                    self._end = max(self._end, shown + self._shift + (packet.duration or self._step))
            yield packet

    def _is_elsewhere(self, decoded: int | None, back: int) -> bool:
        """Whether a decoding time, as it was, is more than `back` before the last one, or leaps."""
        if decoded is None or self._last is None:
            return False
        return decoded < self._last - back or (self._leap is not None and decoded > self._last + self._leap)

    def _begin_part(self, stamp: int | None) -> None:
        """Let a part whose first packet has that stamp begin at the end of those before, or where it is known to."""
        assert stamp is not None
        number = len(self.shifts)
        known = round(self._known[number] / self._tick) if number < len(self._known) else None
        self._shift = self._end - stamp if known is None else known
        self.shifts.append(self._shift * self._tick)
        self.joins.append(self.end)


class Stamps:
    """Strictly increasing times of frames, in the order in which they are shown; `mended` counts wrong stamps."""

    def __init__(self, step: Fraction) -> None:
        """`step` is what a frame lasts, seconds."""
        self.mended = 0
        self._step = step

    def __call__(self, timed: Iterable[tuple[Fraction | None, T]]) -> Iterator[tuple[float, T]]:
        """Pair what is shown with its time in seconds; None where the file has no stamp.

        A stamp that does not lie between its neighbours is replaced by their middle; where the neighbours are no help,
        and where there is none, it is a step after the one before. Frames before the first stamp come before it.
        """
        previous: Fraction | None = None
        for (time, shown), following in _with_next(self._led(timed)):
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

    def _led(self, timed: Iterable[tuple[Fraction | None, T]]) -> Iterator[tuple[Fraction | None, T]]:
        """The same with times of frames before the first stamp, steps before it, unless it is too far."""
        iterator, led = iter(timed), list[T]()
        for time, shown in iterator:
            led.append(shown)
            if time is not None or len(led) > MOST_LED:
                for behind, early in zip(reversed(range(len(led))), led, strict=True):
                    yield None if time is None else time - behind * self._step, early
                break
        else:
            yield from ((None, shown) for shown in led)
        yield from iterator

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
