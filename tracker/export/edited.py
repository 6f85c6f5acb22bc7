"""Curves and head pose that were changed by hand, taken back from a table like curves.csv."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from selftrack.errors import UserError, reason
from selftrack.tracker.results.curves import OTHERS, TRACKED

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
_ANGLES = ("pitch", "yaw", "roll")
_LEAST_SCALE, _MOST = 0.01, 1e6
"""Bounds of the scale, and of all numbers of the pose: beyond them the mesh is no longer finite in 32 bits."""
_POSE_ROUNDING, _CURVE_ROUNDING = 1e-3, 1e-5
"""By how much numbers of curves.csv may be off those of the track."""
_SAME_TIME = 1e-3  # seconds


def with_table(track: Track, path: Path) -> Track:
    """The track with the curves and the head pose of a table, and the mesh that they make.

    The table has the rows of curves.csv, and any of its columns; those that it lacks, and numbers that are the track's
    own but for rounding, stay. Angles are taken as those nearest to the track's own, which go on beyond 180 degrees
    where a table begins anew at -180. Between cells there are commas or, as spreadsheets of many countries save it,
    semicolons, and then a comma may be the decimal point.

    Raises:
        UserError: it cannot be read, has other rows or columns, or values that cannot be; or the decoder's expressions
            are not weights of shapes.
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
            least, values = _LEAST_SCALE if name == "scale" else -_MOST, read[name]
            possible = (values >= least) & (values <= _MOST)
            _check(path, name, values, possible, f"a number from {least:g} to {_MOST:g}")
            if name in _ANGLES:
                values = own[name] + (values - own[name] + 180) % 360 - 180
            changed = np.abs(values - own[name]) > _POSE_ROUNDING
            pose[changed, column] = entry(values[changed])
    inside = through(torch.from_numpy(pose), torch.from_numpy(track.crop)).numpy()
    return replace(track.with_codes(z), H=inside, H_image=pose)


def _read(path: Path, track: Track) -> dict[str, np.ndarray]:
    """Columns (T,) of a table that are curves or pose of a track, by name."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            cells = ";" if ";" in first else ","
            header = [name.strip() for name in next(csv.reader([first], delimiter=cells), [])]
            known = _known(path, header, track)
            columns, decimal = [header.index(name) for name in known], "," if cells == ";" else "."
            rows = _rows(path, csv.reader(file, delimiter=cells), len(header))
            numbers = np.fromiter(_numbers(rows, columns, decimal), float)  # as texts: half a gigabyte an hour
    except (OSError, UnicodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV ({reason(error)}); name a table like curves.csv") from error
    table = numbers.reshape(-1, len(known))
    if len(table) != len(track):
        raise UserError(
            f"{path}: has {len(table)} rows, and the track {len(track)}; name a table with the rows of its curves.csv"
        )
    read = dict(zip(known, table.T, strict=True))
    times = read.pop("time", track.times)
    _check(path, "time", times, np.abs(times - track.times) <= _SAME_TIME, "that of the track's row")
    return read


def _known(path: Path, header: Sequence[str], track: Track) -> list[str]:
    """Those names of a header that are read. Columns without a name, as pandas writes its index, do not count.

    Raises:
        UserError: there is none, a name twice, or one that curves.csv does not have.
    """
    read = ("time", *_POSE, *track.curve_names)
    allowed = {name.lower(): name for name in (*read, *OTHERS)}
    for name in filter(None, header):
        if name not in allowed.values() and name.removesuffix(TRACKED) not in allowed.values():
            close = difflib.get_close_matches(name.lower(), allowed, 1)
            hint = f"did you mean {allowed[close[0]]}?" if close else "leave it out"
            raise UserError(f"{path}: {name} is no column of curves.csv; {hint}")
        if header.count(name) > 1:
            raise UserError(f"{path}: has {header.count(name)} columns {name}; leave one")
    known = [name for name in read if name in header]
    if not set(known) - {"time"}:
        raise UserError(f"{path}: has no column of curves.csv, such as yaw or {track.curve_names[0]}; add one")
    return known


def _rows(path: Path, rows: Iterable[list[str]], width: int) -> Iterator[list[str]]:
    """Rows that are not empty. Raises UserError where one is wider than the header, as by a comma within a number."""
    for number, row in enumerate(filter(None, rows)):
        if any(row[width:]):
            raise UserError(
                f"{path}: row {number}: has {len(row)} cells, and the header {width}; where commas are decimal points, "
                "put semicolons between the cells"
            )
        yield row


def _numbers(rows: Iterable[list[str]], columns: Sequence[int], decimal: str) -> Iterator[float]:
    """The numbers of some cells of each row; NaN, which no column may have, where there is none."""
    for row in rows:
        for column in columns:
            try:
                yield float(row[column].replace(decimal, "."))
            except (ValueError, IndexError):
                yield float("nan")


def _check(path: Path, name: str, values: np.ndarray, possible: np.ndarray, what: str) -> None:
    """Refuse the first value that is not possible."""
    if not possible.all():
        row = int(np.argmin(possible))
        raise UserError(f"{path}: row {row}: {name} must be {what}; got {values[row]:g}")
