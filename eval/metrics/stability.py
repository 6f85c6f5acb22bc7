"""Temporal stability, Eq. 10 of Yoon et al. 2019: the path over two frames over the straight line between its ends.

For vertices G the path is |G(t+1) - G(t)| + |G(t) - G(t-1)|, the line |G(t+1) - G(t-1)|; 1 is perfect. All is kept as
sums, so that parts of a clip, or several clips, merge exactly by `+`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from selftrack.eval.metrics.procrustes import aligned, mean_shape
from selftrack.eval.metrics.registry import Ratio, RootMeanSquare, metric, once
from selftrack.eval.metrics.subject import TrackedClip

MAX_RATIO = 100.0
"""Largest fraction of one vertex: there and back again has no finite one."""
MOVED = 1e-9
"""A shorter path is none; a still vertex has the ratio 1."""
CHUNK = 64
"""Frames decoded at a time."""
SHAPE_FRAMES = 256
"""At most so many frames, evenly spaced, make the clip's mean shape."""
SMOOTH = 15
"""Frames over which the ratio is summed for a plot over time."""


class Stability(NamedTuple):
    """Eq. 10 over all vertices and triples of consecutive good frames, and the acceleration."""

    mean: Ratio
    """Mean of ratios, as in the paper: a vertex that barely moves weighs as much as any other."""
    ratio: Ratio
    """Ratio of the sums of both: robust for still faces."""
    acceleration: RootMeanSquare
    """RMS of |G(t+1) - 2 G(t) + G(t-1)|, in the unit of the points per squared frame: the jitter of a still face."""


class Triples(NamedTuple):
    """Means over the vertices for each of T frames and the two around it: (T,) each, NaN where one is lost."""

    quotient: np.ndarray
    """Of Eq. 10's fraction."""
    path: np.ndarray
    """Of its numerator."""
    line: np.ndarray
    """Of its denominator."""
    bend: np.ndarray
    """Of the squared acceleration."""

    def total(self) -> Stability:
        """Sum over all frames."""
        count = int(np.isfinite(self.path).sum())
        quotient, path, line, bend = (float(np.nansum(part)) for part in self)
        return Stability(Ratio(quotient, count), Ratio(path, line), RootMeanSquare(bend, count))

    def running_ratio(self) -> np.ndarray:
        """Compute the ratio of sums (T,) over the frames around each; NaN where a frame is lost."""
        window = np.ones(min(SMOOTH, len(self.path)))
        path, line = (np.convolve(np.nan_to_num(part), window, "same") for part in (self.path, self.line))
        ratio = np.divide(path, line, out=np.full(len(path), np.nan), where=line > 0)
        return np.where(np.isfinite(self.path), ratio, np.nan)


def triples(points: np.ndarray, ok: np.ndarray) -> Triples:
    """Measure temporal stability, frame by frame, of points (T,V,D), any unit, over frames ok (T,)."""
    assert points.ndim == 3 and ok.shape == points.shape[:1], f"got {points.shape} and {ok.shape}"
    out = Triples(*np.full((4, len(ok)), np.nan))
    middle = 1 + np.flatnonzero(ok[2:] & ok[1:-1] & ok[:-2])
    before, now, after = (points[middle + step].astype(np.float64) for step in (-1, 0, 1))
    path = _length(after - now) + _length(now - before)
    line = _length(after - before)
    bend = ((after - 2 * now + before) ** 2).sum(-1)
    values = np.minimum((path + MOVED) / (line + MOVED), MAX_RATIO), path, line, bend
    for into, value in zip(out, values, strict=True):
        into[middle] = value.mean(1)
    return out


def stability(points: np.ndarray, ok: np.ndarray) -> Stability:
    """Measure temporal stability of points (T,V,D), any unit, over frames ok (T,).

    Parts of a clip merge exactly if each begins with the last two frames of the one before.
    """
    return triples(points, ok).total()


def mesh_stability(vertices: Callable[[slice], np.ndarray], ok: np.ndarray, iod: float) -> tuple[Stability, Stability]:
    """Sum `mesh_triples` up."""
    screen, local = mesh_triples(vertices, ok, iod)
    return screen.total(), local.total()


def mesh_triples(vertices: Callable[[slice], np.ndarray], ok: np.ndarray, iod: float) -> tuple[Triples, Triples]:
    """Measure stability in the image plane (percent IOD) and with the rigid motion removed (percent of head radius).

    Args:
        vertices: rows -> (w,V,3) image frame, such as `Track.vertices`; called for chunks of frames.
        ok: (T,) bool.
        iod: pixels.
    """
    screen, local = (Triples(*np.full((4, len(ok)), np.nan)) for _ in range(2))
    good = np.flatnonzero(ok)
    if not len(good):
        return screen, local
    some = slice(int(good[0]), len(ok), -(-len(ok) // SHAPE_FRAMES))
    shape = mean_shape(vertices(some)[ok[some]])
    for rows in _overlapping(len(ok)):
        part = vertices(rows)
        inner = slice(rows.start + 1, rows.stop - 1)
        for whole, points in ((screen, 100 / iod * part[..., :2]), (local, 100 * aligned(part, shape))):
            for into, values in zip(whole, triples(points, ok[rows]), strict=True):
                into[inner] = values[1:-1]
    return screen, local


@once
def of_clip(clip: TrackedClip) -> tuple[Triples, Triples]:
    """Measure both, see `mesh_triples`."""
    return mesh_triples(clip.mesh.vertices, clip.mesh.ok, clip.iod)


def _overlapping(count: int) -> Iterator[slice]:
    """Chunks of `count` rows, each beginning with the last two of the one before."""
    for start in range(0, max(count - 2, 0), CHUNK - 2):
        yield slice(start, min(start + CHUNK, count))


def _length(vectors: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vectors, axis=-1)


@metric(
    "stability.screen.ratio",
    "Stability in the image",
    "1 is perfect",
    "How much longer the paths of points over two frames are than the straight lines between their ends, in the image "
    "plane, as a ratio of sums (Yoon et al. 2019, Eq. 10).",
    decisive=True,
    scale=(1.03, 1.08),
)
def screen_ratio(clip: TrackedClip) -> Ratio:
    """Take the ratio of sums in the image plane."""
    return of_clip(clip)[0].total().ratio


@metric(
    "stability.screen.mean",
    "Stability in the image, paper's mean",
    "1 is perfect",
    "As stability in the image, but the mean of ratios, as in the paper: harsh on faces that rest.",
)
def screen_mean(clip: TrackedClip) -> Ratio:
    """Take the mean of ratios in the image plane."""
    return of_clip(clip)[0].total().mean


@metric(
    "stability.local.ratio",
    "Stability of the shape",
    "1 is perfect",
    "As stability in the image, with the rigid motion of the head removed.",
    decisive=True,
    over_time=lambda clip: of_clip(clip)[1].running_ratio(),
    scale=(1.1, 1.4),
)
def local_ratio(clip: TrackedClip) -> Ratio:
    """Take the ratio of sums without the rigid motion."""
    return of_clip(clip)[1].total().ratio


@metric(
    "stability.local.mean",
    "Stability of the shape, paper's mean",
    "1 is perfect",
    "As stability of the shape, but the mean of ratios, as in the paper.",
)
def local_mean(clip: TrackedClip) -> Ratio:
    """Take the mean of ratios without the rigid motion."""
    return of_clip(clip)[1].total().mean


@metric(
    "stability.screen.acceleration",
    "Acceleration in the image",
    "% IOD/frame²",
    "RMS acceleration of the vertices in the image plane: jitter, and the motion itself.",
    over_time=lambda clip: np.sqrt(of_clip(clip)[0].bend),
)
def screen_acceleration(clip: TrackedClip) -> RootMeanSquare:
    """Take the acceleration in the image plane."""
    return of_clip(clip)[0].total().acceleration


@metric(
    "stability.local.acceleration",
    "Acceleration of the shape",
    "% radius/frame²",
    "RMS acceleration without the rigid motion; the radius is the RMS distance of the vertices from their centre.",
    headline=False,
)
def local_acceleration(clip: TrackedClip) -> RootMeanSquare:
    """Take the acceleration without the rigid motion."""
    return of_clip(clip)[1].total().acceleration
