"""How far long work is: who is told, and what the passes over a clip are called, in words for users."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
Steps = Callable[[int, int], None]
"""Called with the frames or steps that are done and the number of all."""
Progress = Callable[[str, int, int], None]
"""Called as progress(stage, done, total): the same of a stage by its name."""

FINDING = "finding faces"
"""In frames spread over the clip."""
FOLLOWING = "following faces"
"""Everyone, in all frames."""
TRACKING = "tracking"
"""One face or several."""
DRAWING = "drawing the overlay"


def counted(items: Iterable[T], total: int, progress: Steps) -> Iterator[T]:
    """Pass on items, of which there are `total`; each counts as done when the next one is asked for."""
    for done, item in enumerate(items, 1):
        yield item
        progress(done, total)


def no_steps(done: int, total: int) -> None:
    """Show nothing."""


def no_progress(stage: str, done: int, total: int) -> None:
    """Show nothing."""
