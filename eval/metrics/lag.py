"""Lag: by how many frames a mesh follows after the pixels.

The steps of the skin points from frame to frame, as their pixels went, are compared with the steps of the mesh pinned
to them, some frames later: the shift at which both correlate best is the lag, to a part of a frame by a parabola
through the best shift and its neighbours. 0 is none, positive is late, as after a filter without look-ahead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from selftrack.eval.metrics.registry import metric, once
from selftrack.eval.metrics.subject import Mesh, TrackedClip
from selftrack.tracker.results.skin_points import Window, pin

REACH = 4
"""Frames, the largest shift that is tried."""
NOTICEABLE = 0.25
"""Frames; short clips tell no smaller lag."""


@dataclass(frozen=True)
class Lag:
    """Sums of products of steps, per shift -REACH..REACH of the mesh: (2 REACH + 1,) each."""

    both: np.ndarray
    pixels: np.ndarray
    mesh: np.ndarray

    def __add__(self, other: Self) -> Self:
        return type(self)(self.both + other.both, self.pixels + other.pixels, self.mesh + other.mesh)

    @classmethod
    def none(cls) -> Self:
        """Sum nothing."""
        return cls(*np.zeros((3, 2 * REACH + 1)))

    def correlations(self) -> np.ndarray:
        """Correlate by shift: (2 REACH + 1,), NaN where nothing moves."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.both / np.sqrt(self.pixels * self.mesh)

    def correlation(self) -> float:
        """Take the best correlation: near 0, the motion is too small to tell a lag."""
        correlations = self.correlations()
        return float(correlations.max()) if np.isfinite(correlations).all() else float("nan")

    def value(self) -> float:
        """Find the lag, frames, at most REACH; NaN where nothing moves or mesh and pixels do not move alike."""
        correlations = self.correlations()
        if not self.correlation() > 0:
            return float("nan")
        best = int(correlations.argmax())
        if best in (0, 2 * REACH):
            return float(best - REACH)
        before, peak, after = correlations[best - 1 : best + 2]
        return float(best - REACH + (before - after) / 2 / (before - 2 * peak + after))


def lag(pixels: np.ndarray, mesh: np.ndarray) -> Lag:
    """Sum the products of N points' steps.

    Args:
        pixels: (N,W,2) steps of the pixels.
        mesh: (N,W + 2 REACH,2) steps of the mesh, from REACH frames before to REACH frames after, same unit.
    """
    length = pixels.shape[1]
    assert mesh.shape == (len(pixels), length + 2 * REACH, 2), f"got {pixels.shape} and {mesh.shape}"
    shifted = [mesh[:, shift : shift + length] for shift in range(2 * REACH + 1)]
    both = np.array([(pixels * part).sum() for part in shifted])
    return Lag(both, np.full(len(both), (pixels**2).sum()), np.array([(part**2).sum() for part in shifted]))


def mesh_lag(mesh: Mesh, windows: list[Window], size: tuple[int, int]) -> Lag:
    """Sum over the windows that have REACH good frames before and after them, in a clip of frames (H,W)."""
    total = Lag.none()
    for window in windows:
        rows = slice(window.start - REACH, window.start + window.paths.shape[1] + REACH)
        if rows.start < 0 or rows.stop > len(mesh.ok) or not mesh.ok[rows].all():
            continue
        vertices = mesh.vertices(rows)
        pins = pin(window.paths[:, 0], vertices[REACH], mesh.faces, size)
        paths = window.paths[pins.hit], pins.follow(vertices)
        steps = (100 / window.iod * np.diff(path.astype(np.float64), axis=1) for path in paths)
        total += lag(*steps)
    return total


@once
def of_clip(clip: TrackedClip) -> Lag:
    """Sum over the clip."""
    return mesh_lag(clip.mesh, clip.windows, clip.size)


@metric(
    "lag.frames",
    "Lag after the pixels",
    "frames",
    "By how many frames the mesh follows after the pixels: 0 is none, positive is late.",
    better="zero",
    same=NOTICEABLE,
    scale=(0.1, NOTICEABLE),
)
def frames(clip: TrackedClip) -> Lag:
    """Find the lag."""
    return of_clip(clip)


@metric(
    "lag.correlation",
    "Likeness of the motions",
    "-1..1",
    "Correlation of the steps of mesh and pixels at that lag; near 0, the motion is too small to tell a lag.",
    better="higher",
    headline=False,
)
def likeness(clip: TrackedClip) -> float:
    """Take the best correlation."""
    return of_clip(clip).correlation()
