"""The clip that a track was made from, read again."""

from __future__ import annotations

from collections.abc import Iterator, Set

from selftrack.errors import UserError
from selftrack.tracker.results.track_file import Track
from selftrack.tracker.sources.base import Frame, FrameSource
from selftrack.tracker.sources.opening import open_source

_SAME_TIME = 1e-5  # seconds by which the times of a frame may differ between two passes


def open_clip(track: Track, verify: bool = False) -> FrameSource:
    """Open what a track was made from, with the same window: its rows are those of the track.

    Args:
        verify: also compare its fingerprint, for which all of it is read.

    Raises:
        UserError: it is gone, was never a file, cannot be read, or is not the one that was tracked.
    """
    if not track.clip:
        raise UserError("this track is of pictures from memory, which cannot be read again; track a file of them")
    if not track.clip_hash:
        raise UserError(
            f"this track was recorded live, from {track.clip}, whose pictures were not kept: there is no clip to "
            "compare it with or to draw on; use its curves.csv and the formats of track-export that show no clip, or "
            "film into a file and track that"
        )
    settings = track.settings()
    names = ("start", "duration", "fps", "stream")
    window = {name: settings[name] for name in names if settings.get(name) is not None}
    try:
        source = open_source(track.clip, **window)
    except UserError as error:
        raise UserError(f"the clip of this track cannot be read ({error}); put it back, or track it again") from error
    if verify and source.fingerprint() != track.clip_hash:
        raise UserError(f"{track.clip}: is not the clip that was tracked; track it again")
    return source


def read_rows(track: Track, rows: Set[int], verify: bool = False) -> Iterator[Frame]:
    """Read the frames of some rows of a track, in order.

    Of a few rows of a long clip the frames between are not decoded, unless the times of those that come are not the
    track's: then frames are missing in between, as of a damaged file, and only a whole pass tells which row is which.
    Raises as `open_clip`.
    """
    with open_clip(track, verify) as source:
        left = set(rows)
        for frame in source.glimpses(rows):
            if abs(frame.time - track.times[frame.index]) > _SAME_TIME:
                break
            left.remove(frame.index)
            yield frame
        if left:
            yield from source.frames(only=left)


def has_clip(track: Track) -> bool:
    """Whether what was tracked is still there, unchanged."""
    try:
        with open_clip(track, verify=True):
            return True
    except UserError:
        return False
