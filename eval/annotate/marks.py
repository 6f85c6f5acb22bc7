"""Points that a person has marked in a clip, such as moles: what no landmark detector knows (Yoon et al. 2019, Sec. 4).

The file is a CSV with the header `frame,name,x,y`: row number of the frame (that of curves.csv), the point's name, and
image pixels, the centre of the top-left pixel at (0, 0). Each point is pinned to the mesh where it is first marked;
where the mesh takes it is compared with where it is marked later. `eval.annotate.page` makes a page to mark them in.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from selftrack.errors import UserError
from selftrack.eval.metrics.clip import Ratio
from selftrack.eval.metrics.neutral import Mesh
from selftrack.tracker.geometry.crop import inter_ocular
from selftrack.tracker.results.skin_points import pin

HEADER = ["frame", "name", "x", "y"]


class Marks(NamedTuple):
    """One point, in the order of frames."""

    rows: np.ndarray
    """(K,) int64."""
    points: np.ndarray
    """(K,2) image pixels."""


Annotations = dict[str, Marks]
"""Marks by the points' names."""


@dataclass(frozen=True)
class AnnotationError:
    """How far a mesh is from marked points, in all but their first frames."""

    share: dict[str, Ratio]
    """By name: mean distance in percent of the frame's IOD."""
    pixels: dict[str, Ratio]
    """By name: mean distance in pixels."""

    def values(self) -> dict[str, float]:
        """The figures by name; each mark counts alike."""
        nothing = Ratio()
        return {
            "annotated.mean": sum(self.share.values(), nothing).value(),
            "annotated.pixels": sum(self.pixels.values(), nothing).value(),
            "annotated.marks": sum(part.under for part in self.share.values()),
        }


def read_annotations(path: Path, count: int, size: tuple[int, int]) -> Annotations:
    """Read the CSV of a clip of `count` frames (H,W).

    Raises:
        ValueError: no such file, or a line that does not hold; the message names it.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text ({error})") from error
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
            raise UserError(f"{path}: line {number}: frame {row} is not in 0..{count - 1}")
        if not (-0.5 <= x <= size[1] - 0.5 and -0.5 <= y <= size[0] - 0.5):
            raise UserError(f"{path}: line {number}: ({x:g}, {y:g}) is outside of the {size[1]}x{size[0]} frame")
        if row in marks.setdefault(name, {}):
            raise UserError(f"{path}: line {number}: {name} is marked twice in frame {row}")
        marks[name][row] = x, y
    ordered = {name: sorted(rows.items()) for name, rows in marks.items()}
    return {
        name: Marks(np.array([row for row, _ in pairs]), np.array([point for _, point in pairs]))
        for name, pairs in ordered.items()
    }


def annotation_error(
    annotations: Annotations, mesh: Mesh, landmarks: np.ndarray, size: tuple[int, int]
) -> AnnotationError:
    """The distance of a mesh from marks in frames (H,W), whose landmarks (T,L,2) give the IOD.

    Frames without a face and points with no mesh under them where they are first marked count nowhere.
    """
    share, pixels = {}, {}
    for name, marks in annotations.items():
        good = mesh.ok[marks.rows] & np.isfinite(landmarks[marks.rows]).all((1, 2))
        rows, points = marks.rows[good], marks.points[good]
        share[name] = pixels[name] = Ratio()
        if len(rows) < 2:
            continue
        vertices = np.concatenate([mesh.vertices(slice(row, row + 1)) for row in rows])
        path = pin(points[:1], vertices[0], mesh.faces, size).follow(vertices)
        if not len(path):
            continue
        moved = path[0] - path[0, 0] - (points - points[0])
        distance = np.linalg.norm(moved, axis=-1)[1:]
        pixels[name] = Ratio(float(distance.sum()), len(distance))
        share[name] = Ratio(float((100 * distance / inter_ocular(landmarks[rows[1:]])).sum()), len(distance))
    return AnnotationError(share, pixels)
