"""Plain tables: wide (CSV, Parquet) and long (Unreal)."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from selftrack.tracker.export.options import ExportOptions
from selftrack.tracker.export.registry import Need, exporter
from selftrack.tracker.export.tables.livelink import livelink_curves
from selftrack.tracker.results.curves import table

if TYPE_CHECKING:
    from selftrack.tracker.results.track_file import Track

_RATES = np.array([24000 / 1001, 24, 25, 30000 / 1001, 30, 48, 50, 60000 / 1001, 60, 100, 120])
_UNCLEANED = ("frame", "time", "confidence", "held")  # columns that begin so; the clean-up leaves them alone


def wide_table(track: Track, raw: Track | None = None) -> dict[str, np.ndarray]:
    """Collect the columns of `curves.table`; after a clean-up those of the raw track follow, named `<name>_raw`."""
    columns = table(track)
    if raw is not None:
        columns |= {f"{name}_raw": values for name, values in table(raw).items() if not name.startswith(_UNCLEANED)}
    return columns


@exporter("csv", "{clip}.csv")
def export_csv(track: Track, path: Path, options: ExportOptions) -> None:
    """Write the wide table as CSV, to nine significant digits (exact for the curves)."""
    columns = wide_table(track, options.raw)
    texts = [[f"{value:.9g}" for value in values.tolist()] for values in columns.values()]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*texts, strict=True))


@exporter("parquet", "{clip}.parquet", package="pyarrow")
def export_parquet(track: Track, path: Path, options: ExportOptions) -> None:
    """Write the wide table as Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(wide_table(track, options.raw)), path)


def frame_rate(times: np.ndarray) -> float:
    """Find the rate, frames per second, by which to count frames at times (T,) seconds.

    It is the usual rate nearest to the clip's median one, if within 2 % (containers may round times to milliseconds),
    else the median one.
    """
    if len(times) < 2:
        return 30.0
    steps = np.diff(times)
    rate = 1 / np.median(steps)
    if np.ptp(steps) < 0.0025:  # steady but for the rounding: the mean is finer and parts 24 from 23.976
        rate = 1 / steps.mean()
    nearest = _RATES[np.abs(_RATES / rate - 1).argmin()]
    return float(nearest if abs(nearest / rate - 1) < 0.02 else rate)


@exporter("unreal", "{clip}_unreal.csv", needs=[Need.ARKIT_CURVES])
def export_unreal(track: Track, path: Path, options: ExportOptions) -> None:
    """Write Unreal's long CSV, `curve_name,frame_number,value`, as its Rig Mapper plugin reads and writes it
    (URigMapperEditorSubsystem, ConvertCsvToAnimSequence): the 61 Live Link values (radians), found frames only.

    A frame number is the time on the clip's `frame_rate`, so a clip of varying rate stays in time; of two frames that
    fall on one number the first counts.
    """
    numbers = np.rint(track.times * frame_rate(track.times)).astype(int)
    fresh = np.zeros(len(track), bool)
    fresh[np.flatnonzero(track.ok)[np.unique(numbers[track.ok], return_index=True)[1]]] = True
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["curve_name", "frame_number", "value"])
        for name, values in livelink_curves(track).items():
            for number, value in zip(numbers[fresh], values[fresh], strict=True):
                writer.writerow([name, number, f"{value:.10f}"])
