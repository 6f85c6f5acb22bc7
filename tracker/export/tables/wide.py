"""Plain tables: wide (CSV, Parquet) and long (Unreal)."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from selftrack.tracker.export.options import ExportOptions
from selftrack.tracker.export.registry import Need, exporter
from selftrack.tracker.export.tables.livelink import livelink_curves
from selftrack.tracker.export.timing import frame_rate
from selftrack.tracker.results.curves import TRACKED, table, write_table

if TYPE_CHECKING:
    from selftrack.tracker.results.track_file import Track

_UNCLEANED = ("frame", "time", "confidence", "held")  # columns that begin so; the clean-up leaves them alone


def wide_table(track: Track, raw: Track | None = None) -> dict[str, np.ndarray]:
    """Collect the columns of `curves.table`; after a clean-up those of the raw track follow, named `<name>_raw`."""
    columns = table(track)
    if raw is not None:
        columns |= {
            f"{name}{TRACKED}": values for name, values in table(raw).items() if not name.startswith(_UNCLEANED)
        }
    return columns


@exporter("csv", "{clip}.csv", timecode=True)
def export_csv(track: Track, path: Path, options: ExportOptions) -> None:
    """Write the wide table as CSV, as curves.csv has it."""
    write_table(path, wide_table(track, options.raw))


@exporter("parquet", "{clip}.parquet", package="pyarrow", timecode=True)
def export_parquet(track: Track, path: Path, options: ExportOptions) -> None:
    """Write the wide table as Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(wide_table(track, options.raw)), path)


@exporter("unreal", "{clip}_unreal.csv", needs=[Need.ARKIT_CURVES])
def export_unreal(track: Track, path: Path, options: ExportOptions) -> None:
    """Write Unreal's long CSV, see `write_long`, of the 61 Live Link values (radians)."""
    write_long(track, path, livelink_curves(track))


def write_long(track: Track, path: Path, curves: Mapping[str, np.ndarray]) -> None:
    """Write curves (T,) by name as `curve_name,frame_number,value`, as Unreal's Rig Mapper plugin reads and writes it
    (URigMapperEditorSubsystem, ConvertCsvToAnimSequence); found frames only.

    A frame number is the time on the clip's `frame_rate`, so a clip of varying rate stays in time; of two frames that
    fall on one number the first counts. The plugin lays the smallest number at the sequence's start, so that frame 0
    is always there: before the first found frame it has that one's values.
    """
    numbers, at = np.unique(np.rint(track.times * frame_rate(track.times)).astype(int)[track.ok], return_index=True)
    rows = np.flatnonzero(track.ok)[at]
    if numbers[0] > 0:
        numbers, rows = np.append(0, numbers), np.append(rows[0], rows)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["curve_name", "frame_number", "value"])
        for name, values in curves.items():
            for number, value in zip(numbers, values[rows], strict=True):
                writer.writerow([name, number, f"{value:.10f}"])
