"""Where frames come from: the interface of video files, sequences of pictures and cameras.

Image frame: pixels of the frame as displayed, x right, y down, the centre of the top-left pixel is (0, 0). Times are
seconds on the source's own timeline.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Container, Generator, Iterator, Set
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from selftrack.errors import UserError
from selftrack.tracker.sources.prefetch import prefetch

MOST_PIXELS = 8192 * 8192
"""Of a frame. Damaged headers promise larger ones, which would take gigabytes."""
_MOST_AHEAD, _AHEAD = 4, 2**28  # frames that are read ahead, and bytes of them, at most
_TOLERANCE = 1e-6  # seconds; window edges are compared with times that went through floating point


@dataclass(frozen=True)
class Frame:
    """One displayed frame: its row number, its time in seconds and its pixels (H,W,3) uint8 RGB."""

    index: int
    time: float
    image: np.ndarray


@dataclass(frozen=True)
class SourceInfo:
    """What a source says about itself. Width and height in pixels as displayed, rate in frames/s (average)."""

    name: str  # what results are named after
    path: Path | None  # what `open_source` opens again; None for a camera
    width: int
    height: int
    rate: Fraction
    duration: float | None  # seconds, None where the source does not say
    time_base: Fraction  # seconds per tick of the source's timestamps
    has_audio: bool = False
    shifts: tuple[Fraction, ...] = ()  # seconds added to the second, third ... part, where time stamps start again
    timecode: str = ""  # of time 0, HH:MM:SS:FF, see `selftrack.tracker.timecode`; empty where the source has none


def check_size(path: Path, width: int, height: int) -> None:
    """Raise UserError of pictures that are too large to be read."""
    if width * height > MOST_PIXELS:
        raise UserError(
            f"{path}: its picture is {width}x{height}, or damaged; at most {MOST_PIXELS / 1e6:.0f} million pixels are "
            "read; make it smaller"
        )


@dataclass(frozen=True)
class Window:
    """A part of a source's timeline in seconds: start <= time < start + duration."""

    start: float = 0.0
    duration: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and self.start >= 0):
            raise UserError(f"--start {self.start}: must be a number of seconds, at least 0")
        if self.duration is not None and not (math.isfinite(self.duration) and self.duration > 0):
            raise UserError(f"--duration {self.duration}: must be a number of seconds, more than 0")

    def is_before(self, time: float) -> bool:
        """Whether the window begins after that time."""
        return time < self.start - _TOLERANCE

    def is_over(self, time: float) -> bool:
        """Whether the window has ended at that time."""
        return self.duration is not None and time >= self.start + self.duration - _TOLERANCE


class FrameSource(ABC):
    """Frames of one clip or camera, in order, read ahead in a background thread. Use it as a context manager.

    Times increase strictly. `notes` say what the user should know, one line each: what was found, what was done, and
    what to do. After a pass they have what was found in it, such as damage, too.
    """

    info: SourceInfo
    window: Window
    fps: float | None = None
    """Of a sequence of pictures, how many are shown a second."""
    stream: int | None = None
    """Of a file with several videos, the number of the one that was asked for."""
    notes: tuple[str, ...] = ()
    repeatable: bool = True
    """Whether `frames` can be called more than once."""

    def __init__(self) -> None:
        self._passes: list[Generator[Frame, None, None]] = []
        self._on_opening: tuple[str, ...] = ()  # notes that hold for every pass

    @property
    def title(self) -> str:
        """What messages call it: a file by its path as it was given, a camera by its name."""
        return self.info.name

    def __enter__(self) -> FrameSource:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    def frames(self, only: Container[int] | None = None) -> Iterator[Frame]:
        """Begin a pass over the source.

        Args:
            only: row numbers whose frames are wanted; the others are dropped, which is cheaper.
        """
        return self._ahead(self._read(only))

    def glimpses(self, rows: Set[int]) -> Iterator[Frame]:
        """Begin a pass over a few frames that lie far apart. Where only some of the others have to be decoded for that,
        it takes a fraction of the time of `frames`; of a damaged file the rows may be off by those that do not decode.
        """
        return self._ahead(self._read_few(rows))

    def _ahead(self, reading: Iterator[Frame]) -> Iterator[Frame]:
        self.notes = self._on_opening
        ahead = _AHEAD // (3 * self.info.width * self.info.height)
        frames = prefetch(reading, depth=min(max(ahead, 1), _MOST_AHEAD))
        self._passes.append(frames)
        return frames

    def close(self) -> None:
        """End all passes and their threads."""
        while self._passes:
            self._passes.pop().close()

    @abstractmethod
    def count(self) -> int | None:
        """Return how many frames a pass will yield, None where that cannot be known."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a SHA-256 in hex by which the source is known again."""

    @abstractmethod
    def _read(self, only: Container[int] | None) -> Iterator[Frame]:
        """Yield the frames; called in the background thread."""

    def _read_few(self, rows: Set[int]) -> Iterator[Frame]:
        """Yield the frames of these rows; called in the background thread."""
        return self._read(rows)
