"""Notes for the user on what is to be seen in a track."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from selftrack.errors import NoFaceError
from selftrack.tracker.results import regions
from selftrack.tracker.results.track_file import TRUSTED, Track

_NO_FACE = 0.03
"""Share of trusted frames below which what was found may be no face."""


def noted(track: Track, notes: Iterable[str]) -> Track:
    """The track with these notes and those of what is to be seen in it."""
    return replace(track, notes=(*notes, *seen_in(track)))


def no_face(
    title: str, frames: int | None, notes: Iterable[str] = (), outcome: str = "nothing was written"
) -> NoFaceError:
    """The error of a clip without a face.

    Args:
        title: what messages call the clip, see `FrameSource.title`.
        frames: how many it has; 1 for a picture, None where that is not known.
        notes: what else is known of it.
        outcome: what came of the work.
    """
    among = f" in any of {frames} frames" if frames is not None and frames > 1 else ""
    what = "a picture" if frames == 1 else "footage, or seconds of it,"
    advice = f"take {what} that shows the face larger, in more light or more from the front"
    return NoFaceError(f"{title}: " + "; ".join([f"no face was found{among}", outcome, *notes, advice]))


def check_face(track: Track, title: str) -> None:
    """Make sure that a face was found in a clip of that title. Raises NoFaceError, which has the notes of the track."""
    if not track.ok.any():
        raise no_face(title, len(track), track.notes)


def seen_in(track: Track) -> list[str]:
    """Notes of what is to be seen in a track; none where it has no face."""
    return [*_hidden(track), *_doubt(track)] if track.ok.any() else []


def _hidden(track: Track) -> list[str]:
    """A note for each of eyes, brows and mouth that something hides."""
    notes = []
    for region, flags in track.held().items():
        spans = [f"{first:.1f} to {last:.1f} s" for first, last in regions.spans(track.times, flags)]
        if spans:
            more = f" and {len(spans) - 3} times more" if len(spans) > 3 else ""
            notes.append(
                f"{region} hidden, on one side at least, from {', '.join(spans[:3])}{more}; what was seen last is held "
                "there; look at the overlay, or film that uncovered"
            )
    return notes


def _doubt(track: Track) -> list[str]:
    """A note where most of the frames are not to be trusted."""
    if track.trusted() >= 0.5:
        return []
    share, good = track.trusted(), track.confidence[track.ok] >= TRUSTED
    advice = "look at the worst ones with track-eval, and film the face larger, sharper or in more light"
    if good.mean() >= 0.5:
        advice = f"in {(~track.ok).sum()} of {len(track)} no face was found"
    elif share < _NO_FACE:
        advice = "look at the overlay: perhaps what was found is no face"
    found = f"only {100 * share:.0f} % of the frames are to be trusted (confidence 0.5 or more)"
    return [f"{found}; all were written; {advice}"]
