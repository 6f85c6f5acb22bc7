"""How far long work is: who is told, and what the passes over a clip are called, in words for users."""

from __future__ import annotations

from collections.abc import Callable

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


def no_steps(done: int, total: int) -> None:
    """Show nothing."""


def no_progress(stage: str, done: int, total: int) -> None:
    """Show nothing."""
