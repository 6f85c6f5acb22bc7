"""How well a stream runs: frames a second, and the time from frame to packet, in constant memory over any length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_BIN, _BINS = 0.0005, 8000
"""Seconds of a bin of the histogram, and how many there are: the last one takes all from 4 s on."""


@dataclass(frozen=True)
class Figures:
    """Of the frames of a second, or of all."""

    frames: int
    lost: int
    """Without a face."""
    dropped: int
    """That came while others were worked on."""
    seconds: float
    p50: float
    """Seconds from frame to packet that half of the frames stay under; nan of no frame."""
    p95: float
    """That 95 % stay under."""

    def __str__(self) -> str:
        """As a line for the user."""
        rate = self.frames / self.seconds if self.seconds > 0 else 0.0
        text = f"{rate:.1f} frames/s"
        if self.frames:
            text += f", frame to packet {1000 * self.p50:.0f} ms, 95 % under {1000 * self.p95:.0f} ms"
        return text


class Statistics:
    """Counts frames and latencies, of all and of those since the last line."""

    def __init__(self, began: float) -> None:
        """`began`: the time, seconds of any clock."""
        self._whole, self._recent = _Tally(began), _Tally(began)

    def add(self, latency: float, ok: bool) -> None:
        """Count a frame that was sent `latency` seconds after it was taken."""
        for tally in (self._whole, self._recent):
            tally.add(latency, ok)

    def recent(self, now: float, dropped: int) -> Figures:
        """The figures since the last call, by the time and how many frames were dropped so far."""
        figures = self._recent.figures(now, dropped)
        self._recent = _Tally(now, dropped)
        return figures

    def whole(self, now: float, dropped: int) -> Figures:
        """The figures of all frames."""
        return self._whole.figures(now, dropped)


class _Tally:
    def __init__(self, began: float, dropped: int = 0) -> None:
        self._began, self._dropped = began, dropped
        self._lost, self._bins = 0, np.zeros(_BINS, np.int64)

    def add(self, latency: float, ok: bool) -> None:
        self._bins[min(max(int(latency / _BIN), 0), _BINS - 1)] += 1
        self._lost += not ok

    def figures(self, now: float, dropped: int) -> Figures:
        count = int(self._bins.sum())
        p50, p95 = (self._quantile(share, count) for share in (0.5, 0.95))
        return Figures(count, self._lost, dropped - self._dropped, now - self._began, p50, p95)

    def _quantile(self, share: float, count: int) -> float:
        """The upper edge of the bin that the share of the frames ends in."""
        if not count:
            return float("nan")
        return float((np.searchsorted(self._bins.cumsum(), share * count) + 1) * _BIN)
