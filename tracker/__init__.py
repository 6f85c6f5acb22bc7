"""From a video's frames to face codes: `load` reads what the command `track` has written."""

from selftrack.tracker.results.track_file import Track, load

__all__ = ["Track", "load"]
