"""`curves.csv`: the animation curves, one row per decoded frame."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from selftrack.tracker.results.regions import REGIONS

if TYPE_CHECKING:
    from selftrack.tracker.results.track_file import Track

NAME = "curves.csv"
_DECIMALS = (
    {"time": 6, "confidence": 4}
    | {f"confidence_{region}": 4 for region in REGIONS}
    | dict.fromkeys(("yaw", "pitch", "roll", "scale", "tx", "ty"), 3)
)
_CURVE_DECIMALS = 5
OTHERS = (
    *("frame", "ok", "confidence", "timecode"),
    *(f"confidence_{region}" for region in REGIONS),
    *(f"held_{region}" for region in REGIONS if region != "pose"),
)
"""Columns that are neither time nor pose nor curves."""
_CHUNK = 1000  # rows that are made into text at a time


def table(track: Track) -> dict[str, np.ndarray]:
    """The wide table by column, (T,) each.

    frame (row number), time (seconds), ok (1 or 0), confidence (0..1, see `results.confidence`), yaw, pitch, roll
    (degrees), scale (pixels per metre), tx, ty (pixels), see `Track.pose`, the curves, of ARKit's 52 in Apple's order
    (0..1); then confidence_eyes, confidence_brows, confidence_mouth, confidence_pose (0..1, see `results.regions`), and
    held_eyes, held_brows, held_mouth (1 where something hides them, so that their curves hold the last sure values).
    A lost frame repeats the last good values with ok 0. Where the clip has timecode, `timecode` is the last column.
    """
    columns = {"frame": np.arange(len(track)), "time": track.times, "ok": track.ok.astype(int)}
    columns |= {"confidence": track.confidence} | track.pose() | track.curves()
    columns |= {f"confidence_{region}": values for region, values in track.regions().items()}
    columns |= {f"held_{region}": values.astype(int) for region, values in track.held().items()}
    start = track.start_timecode()
    return columns | ({} if start is None else {"timecode": np.array([str(start.after(t)) for t in track.times])})


def write_curves(track: Track, folder: Path) -> Path:
    """Write `curves.csv`, the columns of `table`, into a folder."""
    path = Path(folder) / NAME
    write_columns(path, table(track), _text)
    return path


def write_columns(
    path: Path, columns: Mapping[str, np.ndarray], text: Callable[[str, np.ndarray], list[str]], end: str = "\r\n"
) -> None:
    """Write columns (T,) by name as CSV whose lines end with `end`; `text(name, values)` makes texts of some values.

    It goes in pieces: as texts, all rows of an hour would take half a gigabyte.
    """
    count = len(next(iter(columns.values())))
    slices = (slice(first, first + _CHUNK) for first in range(0, count, _CHUNK))
    write_pieces(path, ({name: values[rows] for name, values in columns.items()} for rows in slices), text, end)


def write_pieces(
    path: Path,
    pieces: Iterable[Mapping[str, np.ndarray]],
    text: Callable[[str, np.ndarray], list[str]],
    end: str = "\r\n",
) -> None:
    """As `write_columns`, of columns that come in pieces, some rows at a time; of one piece at least."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator=end)
        for number, columns in enumerate(pieces):
            if number == 0:
                writer.writerow(columns)
            writer.writerows(zip(*(text(name, values) for name, values in columns.items()), strict=True))


def _text(name: str, values: np.ndarray) -> list[str]:
    if values.dtype.kind in "iU":
        return [str(value) for value in values]
    return [f"{value:.{_DECIMALS.get(name, _CURVE_DECIMALS)}f}" for value in values]
