"""`contact_sheet.png`: what one look tells of a track, the strongest frame of each expression and the worst frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from selftrack.io import atomic_path
from selftrack.tracker.results.clip import read_rows
from selftrack.tracker.results.painter import Crop, MeshPainter, OverlayConfig, doubts_of
from selftrack.tracker.results.track_file import Track

NAME = "contact_sheet.png"
EXPRESSIONS = (
    ("jawOpen",),
    ("mouthSmileLeft", "mouthSmileRight"),
    ("mouthPucker",),
    ("eyeBlinkLeft", "eyeBlinkRight"),
    ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    ("browDownLeft", "browDownRight"),
    ("eyeLookOutLeft", "eyeLookOutRight"),
)
"""Curves of which the strongest one in any frame is shown."""
STRONG, TURNED = 0.3, 5.0
"""Value of a curve, and degrees of the head's turn, from which they are an act to be shown and not noise."""
_WORST, _APART = 3, 0.5  # frames of little confidence, and seconds between two of them at least
_COLUMNS, _SIDE, _GAP, _LINE, _HEADING = 3, 224, 14, 24, 40  # cells in a row; sides, gaps and lines in pixels
_MARGIN = 0.14  # around a face, as a share of its size
_FONT, _INK, _PALE = cv2.FONT_HERSHEY_SIMPLEX, (30, 30, 30), (110, 110, 110)


class Shot(NamedTuple):
    """A frame to be shown: its row in the track, and why."""

    row: int
    why: str


def strongest(track: Track) -> list[Shot]:
    """Choose the frame whose curves are least in sum, that of each expression's largest curve, from `STRONG` on, and
    that in which the head is turned farthest, from `TURNED` on; of frames with a face only. Curves that the decoder
    does not have are left out."""
    curves, found = track.curves(), np.flatnonzero(track.ok)
    out = []
    if track.model().has_arkit_curves:
        activity = track.curve_values[found].sum(1)
        out.append(Shot(int(found[activity.argmin()]), "least active"))
    for names in EXPRESSIONS:
        if set(names) <= set(curves):
            values = np.stack([curves[name][found] for name in names])
            name, row = np.unravel_index(values.argmax(), values.shape)
            if values[name, row] >= STRONG:
                out.append(Shot(int(found[row]), f"{names[name]} {values[name, row]:.2f}"))
    yaw = track.pose()["yaw"]
    row = found[np.abs(yaw[found]).argmax()]
    return [*out, Shot(int(row), f"yaw {yaw[row]:.0f} degrees")] if abs(yaw[row]) >= TURNED else out


def worst(track: Track) -> list[Shot]:
    """Choose the frames of least confidence among those with a face, some time apart, the worst first."""
    rows: list[int] = []
    for row in np.argsort(np.where(track.ok, track.confidence, np.inf), kind="stable")[: track.ok.sum()].tolist():
        if len(rows) < _WORST and all(abs(track.times[row] - track.times[other]) >= _APART for other in rows):
            rows.append(row)
    return [Shot(row, f"frame {row}") for row in rows]


def write_contact_sheet(track: Track, folder: Path, config: OverlayConfig | None = None) -> Path:
    """Write `contact_sheet.png` into a folder: each frame as a crop with the mesh over it beside the bare crop.

    Reads the clip again, at these frames only. Opacity and colour of the mesh are those of the settings.

    Raises:
        UserError: the clip is not where it was.
    """
    sections = {"Strongest frames": strongest(track), "Least trusted frames": worst(track)}
    painter = MeshPainter(track.model(), replace(config or OverlayConfig(), mode="mesh"))
    rows, doubts, pairs = {shot.row for shots in sections.values() for shot in shots}, doubts_of(track), {}
    for frame in read_rows(track, rows):
        crop = Crop(track.landmarks[frame.index], frame.image, _SIDE, _MARGIN)
        vertices = crop.vertices(track.vertices(slice(frame.index, frame.index + 1))[0])
        meshed = painter(crop.picture, vertices, doubts[frame.index])
        pairs[frame.index] = np.concatenate([crop.picture, meshed], 1)
    parts = [_section(words, shots, pairs, track) for words, shots in sections.items() if shots]
    path = Path(folder) / NAME
    with atomic_path(path) as part:
        part.write_bytes(cv2.imencode(".png", np.concatenate(parts)[..., ::-1])[1].tobytes())
    return path


def _section(words: str, shots: Sequence[Shot], pairs: dict[int, np.ndarray], track: Track) -> np.ndarray:
    """A heading and under it pairs of pictures with their words, `_COLUMNS` of them side by side."""
    width, height = 2 * _SIDE + _GAP, _LINE + _SIDE + _GAP
    out = np.full((_HEADING + -(-len(shots) // _COLUMNS) * height, _GAP + _COLUMNS * width, 3), 255, np.uint8)
    _write(out, words, _GAP, _HEADING - 12, 0.7, _INK)
    for number, shot in enumerate(shots):
        line, column = divmod(number, _COLUMNS)
        x, y = _GAP + column * width, _HEADING + line * height + _LINE
        about = f"{track.times[shot.row]:.3f} s   confidence {track.confidence[shot.row]:.2f}"
        _write(out, shot.why, x, y - 8, 0.5, _INK)
        _write(out, about, x + _SIDE, y - 8, 0.45, _PALE)
        out[y : y + _SIDE, x : x + 2 * _SIDE] = pairs[shot.row]
    return out


def _write(picture: np.ndarray, words: str, x: int, y: int, size: float, ink: tuple[int, int, int]) -> None:
    cv2.putText(picture, words, (x, y), _FONT, size, ink, 1, cv2.LINE_AA)
