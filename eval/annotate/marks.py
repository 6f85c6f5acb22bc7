"""The file of points that a person has marked in a clip, such as moles; `eval.metrics.annotated` measures against them.

It is a CSV with the header `frame,name,x,y`: row number of the frame (that of curves.csv), the point's name, and
image pixels, the centre of the top-left pixel at (0, 0). `eval.annotate.page` makes a page to mark them in.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from selftrack.errors import UserError, reason
from selftrack.eval.metrics.subject import Annotations, Marks

HEADER = ["frame", "name", "x", "y"]


def read_annotations(path: Path, count: int, size: tuple[int, int]) -> Annotations:
    """Read the CSV of a clip of `count` frames (H,W).

    Raises:
        UserError: no such file, or a line that does not hold; the message names it.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        advice = "name a CSV that annotate.html has saved"
        raise UserError(f"{path}: cannot be read as text ({reason(error)}); {advice}") from error
    if not lines or [cell.strip() for cell in lines[0]] != HEADER:
        raise UserError(f"{path}: the first line must be {','.join(HEADER)}")
    marks: dict[str, dict[int, tuple[float, float]]] = {}
    for number, line in enumerate(lines[1:], 2):
        if not line:
            continue
        try:
            row, name, x, y = int(line[0]), line[1].strip(), float(line[2]), float(line[3])
        except (ValueError, IndexError) as error:
            raise UserError(f"{path}: line {number}: expected frame,name,x,y, got {','.join(line)!r}") from error
        if not 0 <= row < count:
            raise UserError(
                f"{path}: line {number}: frame {row} is not in 0..{count - 1}; correct it, or delete the line"
            )
        if not (-0.5 <= x <= size[1] - 0.5 and -0.5 <= y <= size[0] - 0.5):
            raise UserError(
                f"{path}: line {number}: ({x:g}, {y:g}) is outside of the {size[1]}x{size[0]} frame; correct it, or "
                "delete the line"
            )
        if row in marks.setdefault(name, {}):
            raise UserError(f"{path}: line {number}: {name} is marked twice in frame {row}; keep one of the lines")
        marks[name][row] = x, y
    ordered = {name: sorted(rows.items()) for name, rows in marks.items()}
    return {
        name: Marks(np.array([row for row, _ in pairs]), np.array([point for _, point in pairs]))
        for name, pairs in ordered.items()
    }
