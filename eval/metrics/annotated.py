"""Distance from points that a person has marked in a clip, such as moles: what no landmark detector knows
(Yoon et al. 2019, Sec. 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from selftrack.eval.metrics.registry import Ratio, metric, once
from selftrack.eval.metrics.subject import Annotations, Mesh, TrackedClip
from selftrack.tracker.geometry.crop import inter_ocular
from selftrack.tracker.results.skin_points import pin


@dataclass(frozen=True)
class AnnotationError:
    """How far a mesh is from marked points, in all but their first frames."""

    share: dict[str, Ratio]
    """By name: mean distance in percent of the frame's IOD."""
    pixels: dict[str, Ratio]
    """By name: mean distance in pixels."""


def annotation_error(
    annotations: Annotations, mesh: Mesh, landmarks: np.ndarray, size: tuple[int, int]
) -> AnnotationError:
    """Measure the distance of a mesh from marks in frames (H,W), whose landmarks (T,L,2) give the IOD.

    Each point is pinned to the mesh where it is first marked. Frames without a face and points with no mesh under them
    where they are first marked count nowhere.
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


@once
def error(clip: TrackedClip) -> AnnotationError:
    """Measure every point."""
    assert clip.annotations is not None
    return annotation_error(clip.annotations, clip.mesh, clip.landmarks, clip.size)


@metric(
    "annotated.mean",
    "Distance from your marks",
    "% IOD",
    "Distance of the mesh from points that were marked by hand, mean over marks.",
    needs=("annotations",),
)
def mean(clip: TrackedClip) -> Ratio:
    """Average over marks."""
    return sum(error(clip).share.values(), Ratio())


@metric(
    "annotated.pixels",
    "Distance from your marks, pixels",
    "pixels",
    "Distance of the mesh from points that were marked by hand, in pixels of the clip.",
    needs=("annotations",),
    headline=False,
)
def pixels(clip: TrackedClip) -> Ratio:
    """Average over marks, pixels."""
    return sum(error(clip).pixels.values(), Ratio())


@metric(
    "annotated.marks",
    "Marks",
    "marks",
    "Number of marks by hand that were compared: all but the first one of each point.",
    better="neither",
    needs=("annotations",),
    headline=False,
)
def count(clip: TrackedClip) -> float:
    """Count the marks."""
    return sum(part.under for part in error(clip).share.values())
