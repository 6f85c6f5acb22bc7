"""`curves.csv`: the animation curves, one row per decoded frame."""

import csv
from pathlib import Path

import numpy as np

from tracker.track_file import Track

NAME = "curves.csv"


def write_curves(track: Track, folder: Path) -> Path:
    """Write `curves.csv` into a folder.

    Columns: frame (row number), time (seconds), ok (1 or 0), confidence (0..1), yaw, pitch, roll (degrees),
    scale (pixels per metre), tx, ty (pixels), see `Track.pose`, and the 52 ARKit names (0..1), Apple's order.
    A lost frame repeats the last good values with ok 0.
    """
    columns = {
        "frame": [str(i) for i in range(len(track))],
        "time": _text(track.times, 6),
        "ok": [str(int(ok)) for ok in track.ok],
        "confidence": _text(track.confidence, 4),
    }
    columns |= {name: _text(values, 3) for name, values in track.pose().items()}
    columns |= {name: _text(values, 5) for name, values in track.curves().items()}
    path = Path(folder) / NAME
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def _text(values: np.ndarray, decimals: int) -> list[str]:
    return [f"{value:.{decimals}f}" for value in values]
