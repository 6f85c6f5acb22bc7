"""`curves.csv`: the animation curves, one row per decoded frame."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.errors import UserError
from selftrack.tracker.results.regions import REGIONS, region_of

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
AROUND = 0.1
"""Seconds before and after a moment whose frames tell what is seen there."""
MOST_AT_REST = 0.6
"""Of a curve of a face that is said to rest."""
TRACKED = "_raw"
"""Ends the names of columns that hold what was tracked, beside what the clean-up made of it."""
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


def by_motion(track: Track) -> list[str]:
    """The names of the curves, those first that move most: by range over the frames with a face times mean confidence
    of the region that a curve is read from, or of the frames where that is not known."""
    if not track.ok.any():
        return list(track.curve_names)
    trust = {region: float(values[track.ok].mean()) for region, values in track.regions().items()}
    of_frames = float(track.confidence[track.ok].mean())
    motion = {
        name: float(np.ptp(values[track.ok])) * (trust[region_of(name)] if name in ARKIT_NAMES else of_frames)
        for name, values in track.curves().items()
    }
    return sorted(motion, key=lambda name: motion[name], reverse=True)


def most_moving(track: Track, count: int) -> list[str]:
    """The curves that move most, see `by_motion`: of a left and a right one, or of several of one gaze, the first."""
    chosen: dict[str, str] = {}
    for name in by_motion(track):
        chosen.setdefault(_act(name), name)
    return list(chosen.values())[:count]


def _act(name: str) -> str:
    """What a curve is of: both sides of a face, and both eyes, mostly do the same."""
    one = name.removesuffix("Left").removesuffix("Right")
    return {"eyeLookIn": "eyeLookSide", "eyeLookOut": "eyeLookSide", "eyeLookDown": "eyeLookUp"}.get(one, one)


def write_curves(track: Track, folder: Path) -> Path:
    """Write `curves.csv`, the columns of `table`, into a folder."""
    path = Path(folder) / NAME
    write_table(path, table(track))
    return path


def write_table(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """Write columns (T,) by the names of `table` as CSV: curves to 5 decimals, pose to 3, confidences to 4, time to 6.

    It goes in pieces: as texts, all rows of an hour would take half a gigabyte.
    """
    count = len(next(iter(columns.values())))
    slices = (slice(first, first + _CHUNK) for first in range(0, count, _CHUNK))
    write_pieces(path, ({name: values[rows] for name, values in columns.items()} for rows in slices), _text)


def write_pieces(
    path: Path,
    pieces: Iterable[Mapping[str, np.ndarray]],
    text: Callable[[str, np.ndarray], list[str]],
    end: str = "\r\n",
) -> None:
    """Write columns by name as CSV whose lines end with `end`; they come in pieces of some rows, one at
    least. `text(name, values)` makes texts of some values."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator=end)
        for number, columns in enumerate(pieces):
            if number == 0:
                writer.writerow(columns)
            writer.writerows(zip(*(text(name, values) for name, values in columns.items()), strict=True))


def _text(name: str, values: np.ndarray) -> list[str]:
    if values.dtype.kind in "iU":
        return [str(value) for value in values]
    decimals = _DECIMALS.get(name.removesuffix(TRACKED), _CURVE_DECIMALS)
    return [f"{value:.{decimals}f}" for value in values]


def rows_around(track: Track, second: float, option: str) -> np.ndarray:
    """Rows of the frames with a face within `AROUND` of a moment of the clip, one at least.

    Raises:
        UserError: there is none; `option` is what names the moment.
    """
    rows = np.flatnonzero((np.abs(track.times - second) <= AROUND) & track.ok)
    if not len(rows):
        raise UserError(
            f"{option}: no face was found around second {second:g}; the track goes from {track.times[0]:.2f} to "
            f"{track.times[-1]:.2f} s"
        )
    return rows


def check_rest(seen: Mapping[str, float], second: float) -> None:
    """Make sure that a face rests at the moment of `--neutral`, by what its curves show. Raises UserError."""
    worst = max(seen, key=lambda name: seen[name])
    if seen[worst] > MOST_AT_REST:
        raise UserError(
            f"--neutral {second:g}: no resting face, {worst} is {seen[worst]:.2f} there; name another second"
        )
