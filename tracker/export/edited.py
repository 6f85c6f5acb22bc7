"""Curves and head pose that were changed by hand, taken back from a table like curves.csv."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from selftrack.errors import UserError

if TYPE_CHECKING:
    from selftrack.tracker.results.track_file import Track

_POSE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "scale": np.log,
    "pitch": np.radians,
    "yaw": np.radians,
    "roll": np.radians,
    "tx": np.asarray,
    "ty": np.asarray,
}
"""Columns of the pose in the order of H, and how each becomes its entry."""
_POSE_ROUNDING, _CURVE_ROUNDING = 1e-3, 1e-5
"""By how much numbers of curves.csv may be off those of the track."""
_SAME_TIME = 1e-3  # seconds


def with_table(track: Track, path: Path) -> Track:
    """The track with the curves and the head pose of a table, and the mesh that they make.

    The table has the rows of curves.csv, and any of its columns; those that it lacks, and numbers that are the track's
    own but for rounding, stay.

    Raises:
        UserError: it cannot be read, has other rows, no such columns, or values that cannot be; or the decoder's
            expressions are not weights of shapes.
    """
    import torch

    from selftrack.tracker.geometry.pose import through

    decoder = track.model()
    if not decoder.has_blendshapes:
        raise UserError(
            "--curves moves the mesh by curves that are weights of shapes, which this track's decoder does not have; "
            "leave it out"
        )
    read, own = _read(path, track), track.pose() | track.curves()
    z, pose = track.z.copy(), track.H_image.copy()
    weights = z[:, decoder.expression]
    for column, name in enumerate(track.curve_names):
        if name in read:
            _check(path, name, read[name], (read[name] >= 0) & (read[name] <= 1), "from 0 to 1")
            changed = np.abs(read[name] - own[name]) > _CURVE_ROUNDING
            weights[changed, column] = read[name][changed]
    for column, (name, entry) in enumerate(_POSE.items()):
        if name in read:
            possible = np.isfinite(read[name]) & ((read[name] > 0) | (name != "scale"))
            _check(path, name, read[name], possible, "a number above 0" if name == "scale" else "a number")
            changed = np.abs(read[name] - own[name]) > _POSE_ROUNDING
            pose[changed, column] = entry(read[name][changed])
    inside = through(torch.from_numpy(pose), torch.from_numpy(track.crop)).numpy()
    return replace(track.with_codes(z), H=inside, H_image=pose)


def _read(path: Path, track: Track) -> dict[str, np.ndarray]:
    """Columns (T,) of a table that are curves or pose of a track, by name."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            header = next(rows, [])
            known = [name for name in ("time", *_POSE, *track.curve_names) if name in header]
            cells = (_number(row, header.index(name)) for row in rows if row for name in known)
            numbers = np.fromiter(cells, float)  # not as texts: those of an hour would take half a gigabyte
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV ({error}); name a table like curves.csv") from error
    if not set(known) - {"time"}:
        raise UserError(f"{path}: has no column of curves.csv, such as yaw or {track.curve_names[0]}; add one")
    table = numbers.reshape(-1, len(known))
    if len(table) != len(track):
        raise UserError(
            f"{path}: has {len(table)} rows, and the track {len(track)}; name a table with the rows of its curves.csv"
        )
    read = dict(zip(known, table.T, strict=True))
    times = read.pop("time", track.times)
    _check(path, "time", times, np.abs(times - track.times) <= _SAME_TIME, "that of the track's row")
    return read


def _number(row: list[str], column: int) -> float:
    """The number of a cell; NaN, which no column may have, where it is none."""
    try:
        return float(row[column])
    except (ValueError, IndexError):
        return float("nan")


def _check(path: Path, name: str, values: np.ndarray, possible: np.ndarray, what: str) -> None:
    """Refuse the first value that is not possible."""
    if not possible.all():
        row = int(np.argmin(possible))
        raise UserError(f"{path}: row {row}: {name} must be {what}; got {values[row]:g}")
