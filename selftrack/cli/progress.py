"""Progress on stderr: a bar for each stage on a terminal, plain lines with the time left elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from selftrack.command import quiet

_EVERY = 10.0  # seconds between plain lines


class Stages:
    """Shows how far the stages of a job are; use it as a context manager. Nothing is shown with --quiet."""

    def __init__(self, lines: bool = True) -> None:
        """`lines`: whether there are lines where no terminal shows bars."""
        self.shown: _Bars | _Lines | None = None
        if not quiet() and (lines or sys.stderr.isatty()):
            self.shown = _Bars() if sys.stderr.isatty() else _Lines(sys.stderr)

    def __enter__(self) -> Stages:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.shown:
            self.shown.stop()

    def show(self, stage: str, done: int, total: int, figures: Mapping[str, float] | None = None) -> None:
        """Show that `done` of `total` steps of a stage are done, and figures by name such as errors."""
        if self.shown:
            self.shown.show(stage, done, total, "".join(f" {name} {v:.2f}" for name, v in (figures or {}).items()))

    def say(self, line: str) -> None:
        """Show a line beside the stages."""
        if self.shown:
            self.shown.say(line)


class _Bars:
    """One bar per stage."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description:>20}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._tasks: dict[str, int] = {}

    def stop(self) -> None:
        if self._tasks:
            self._progress.stop()

    def show(self, stage: str, done: int, total: int, figures: str) -> None:
        if stage not in self._tasks:
            self._progress.start()  # only now: an error before it is a line of its own
            self._tasks[stage] = self._progress.add_task(stage, total=total)
        task = self._progress.tasks[self._tasks[stage]]
        self._progress.update(task.id, completed=done, total=total, description=stage + figures)

    def say(self, line: str) -> None:
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)


class _Lines:
    """A line now and then, and one at the end of each stage."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._began: dict[str, tuple[float, int]] = {}  # when a stage was first shown, and how far it was
        self._last = time.monotonic()

    def stop(self) -> None:
        """All lines have been written."""

    def say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)

    def show(self, stage: str, done: int, total: int, figures: str) -> None:
        now = time.monotonic()
        began, first = self._began.setdefault(stage, (now, done))
        if done < total and now - self._last < _EVERY:
            return
        self._last = now
        left = ""
        if first < done < total:
            left = f", {_duration((now - began) / (done - first) * (total - done))} left"
        print(f"{stage:<19} {done}/{total}{left}{figures}", file=self._stream, flush=True)


def _duration(seconds: float) -> str:
    """As "45 s" or "3 min"."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
