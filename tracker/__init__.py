"""From a video's frames to face codes: `load` reads what the command `track` has written."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selftrack.tracker.results.track_file import Track, load

__all__ = ["Track", "load"]


def __getattr__(name: str) -> object:
    """Import what is asked for only now: the formats' names and the like need no torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from selftrack.tracker.results import track_file

    return getattr(track_file, name)
