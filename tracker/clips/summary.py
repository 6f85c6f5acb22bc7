"""What a run over a clip did, for the user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from selftrack.tracker.results import overlay
from selftrack.tracker.results.track_file import NAME, Track


class FaceSummary(NamedTuple):
    """What a run did for one of several faces."""

    frames: int
    lost: int
    trusted: float
    """Share of the frames, 0..1, whose confidence is 0.5 or more."""
    notes: tuple[str, ...]
    """What is to be known of it alone, one line each."""

    @classmethod
    def of(cls, track: Track, notes: tuple[str, ...]) -> FaceSummary:
        """Sum up a track."""
        return cls(len(track), int((~track.ok).sum()), track.trusted(), notes)


@dataclass(frozen=True)
class Summary:
    """What a run did."""

    folder: Path
    frames: int
    """Of the clip."""
    lost: int
    """Frames without the face; of several, those of all of them."""
    trusted: float
    """Share of the frames, 0..1, whose confidence is 0.5 or more; of several faces, the mean."""
    fps: float
    """Frames of the clip per second from file to all of track.npz, the model's loading included."""
    took: float
    """Seconds from file to all results, the overlay among them, adaptations left out."""
    seconds: dict[str, float]
    """Time by stage."""
    notes: tuple[str, ...]
    """One line each of what the user should know; of several faces, what concerns all."""
    names: tuple[str, ...]
    """Of the files and folders that were written."""
    adaptation: float = 0.0
    """Seconds of the adaptation that came before, reading the clip included; 0 where there was none."""
    faces: Mapping[int, FaceSummary] = field(default_factory=dict)
    """By number, where several were tracked."""

    def __str__(self) -> str:
        """One screen for the user."""
        adapted = f", after {self.adaptation:.0f} s of adaptation" if self.adaptation >= 0.5 else ""
        beside = f"{'the overlay and ' if {overlay.NAME, overlay.PICTURE} & {*self.names} else ''}all other files"
        of_all = " of all" if self.faces else ""
        each = [f"face {number:<3} {face.frames} frames, {_counts(face)}" for number, face in self.faces.items()]
        lines = [
            *(each or [f"frames   {self.frames}, {_counts(self)}"]),
            f"speed    {self.fps:.1f} frames/s from clip to {NAME}{of_all}, {self.frames / self.took:.1f} with {beside}"
            f"{adapted}",
            f"results  {self.folder}: {', '.join(self.names)}",
            *(f"note     {note}" for note in self.notes),
            *(f"note     face {number}: {note}" for number, face in self.faces.items() for note in face.notes),
        ]
        return "\n".join(lines)


def _counts(of: FaceSummary | Summary) -> str:
    return f"lost {of.lost}, {100 * of.trusted:.0f} % to be trusted (confidence >= 0.5)"
