"""Lag: by how many frames a mesh follows after the pixels.

The steps of the skin points from frame to frame, as their pixels went, are compared with the steps of the mesh pinned
to them, some frames later: the shift at which both correlate best is the lag, to a part of a frame by a parabola
through the best shift and its neighbours. 0 is none, positive is late, as after a filter without look-ahead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from selftrack.eval.metrics.neutral import Mesh
from selftrack.tracker.results.skin_points import Window, pin

REACH = 4  # frames, the largest shift that is looked at


@dataclass(frozen=True)
class Lag:
    """Sums of products of steps, per shift -REACH..REACH of the mesh: (2 REACH + 1,) each."""

    both: np.ndarray
    seen: np.ndarray
    said: np.ndarray

    def __add__(self, other: Self) -> Self:
        return type(self)(self.both + other.both, self.seen + other.seen, self.said + other.said)

    @classmethod
    def none(cls) -> Self:
        """Of nothing."""
        return cls(*np.zeros((3, 2 * REACH + 1)))

    def correlations(self) -> np.ndarray:
        """(2 REACH + 1,) by shift; NaN where nothing moves."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.both / np.sqrt(self.seen * self.said)

    def correlation(self) -> float:
        """The best one: near 0 says that the motion is too small to tell a lag."""
        correlations = self.correlations()
        return float(correlations.max()) if np.isfinite(correlations).all() else float("nan")

    def value(self) -> float:
        """Frames; NaN where nothing moves or mesh and pixels do not move alike; at most REACH."""
        correlations = self.correlations()
        if not self.correlation() > 0:
            return float("nan")
        best = int(correlations.argmax())
        if best in (0, 2 * REACH):
            return float(best - REACH)
        before, peak, after = correlations[best - 1 : best + 2]
        return float(best - REACH + (before - after) / 2 / (before - 2 * peak + after))


def lag(seen: np.ndarray, said: np.ndarray) -> Lag:
    """The sums of N points' steps.

    Args:
        seen: (N,W,2) steps of the pixels.
        said: (N,W + 2 REACH,2) steps of the mesh, from REACH frames before to REACH frames after, same unit.
    """
    length = seen.shape[1]
    assert said.shape == (len(seen), length + 2 * REACH, 2), f"got {seen.shape} and {said.shape}"
    shifted = [said[:, shift : shift + length] for shift in range(2 * REACH + 1)]
    both = np.array([(seen * part).sum() for part in shifted])
    return Lag(both, np.full(len(both), (seen**2).sum()), np.array([(part**2).sum() for part in shifted]))


def mesh_lag(mesh: Mesh, windows: list[Window], size: tuple[int, int]) -> Lag:
    """The lag of a mesh in a clip of frames (H,W), from windows that have REACH good frames before and after them."""
    total = Lag.none()
    for window in windows:
        rows = slice(window.start - REACH, window.start + window.paths.shape[1] + REACH)
        if rows.start < 0 or rows.stop > len(mesh.ok) or not mesh.ok[rows].all():
            continue
        vertices = mesh.vertices(rows)
        pins = pin(window.paths[:, 0], vertices[REACH], mesh.faces, size)
        paths = window.paths[pins.hit], pins.follow(vertices)
        seen, said = (100 / window.iod * np.diff(path.astype(np.float64), axis=1) for path in paths)
        total += lag(seen, said)
    return total
