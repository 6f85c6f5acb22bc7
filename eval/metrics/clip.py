"""Figures of a tracked clip that need no ground truth: how steady, how close to the landmarks, how close to the pixels.

All are kept as sums, so that the figures of parts of a clip, or of several clips, merge exactly by `+`. Temporal
stability is Eq. 10 of Yoon et al. 2019: the way over two frames, |G(t+1) - G(t)| + |G(t) - G(t-1)|, over the straight
line |G(t+1) - G(t-1)|; 1 is perfect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from selftrack.eval.metrics.agreement import landmark_distance, projected_landmarks
from selftrack.eval.metrics.lag import Lag, mesh_lag
from selftrack.eval.metrics.neutral import Mesh
from selftrack.tracker.geometry.crop import inter_ocular
from selftrack.tracker.results.skin_points import SkinError, Window, frame_error, skin_error
from selftrack.tracker.results.track_file import Track

MAX_RATIO = 100.0  # of Eq. 10 for one vertex: there and back again has no finite one
MOVED = 1e-9  # a shorter way is none; a still vertex has the ratio 1
CHUNK = 64  # frames decoded at a time
SHAPE_FRAMES = 256  # at most so many frames, evenly spaced, make the clip's mean shape


@dataclass(frozen=True)
class Ratio:
    """A ratio of sums; a mean if the lower sum counts."""

    over: float = 0.0
    under: float = 0.0

    def __add__(self, other: Self) -> Self:
        return type(self)(self.over + other.over, self.under + other.under)

    def value(self) -> float:
        """NaN without anything summed."""
        return self.over / self.under if self.under else float("nan")


class RootMeanSquare(Ratio):
    """The root of a mean of squares."""

    def value(self) -> float:
        return super().value() ** 0.5


class Stability(NamedTuple):
    """Eq. 10 over all vertices and triples of consecutive good frames, and the acceleration."""

    mean: Ratio
    """Mean of ratios, as in the paper: a vertex that barely moves weighs as much as any other."""
    ratio: Ratio
    """Ratio of the sums of both ways: robust for still faces."""
    acceleration: RootMeanSquare
    """RMS of |G(t+1) - 2 G(t) + G(t-1)|, in the unit of the points per squared frame: the jitter of a still face."""


class Triples(NamedTuple):
    """Means over the vertices for each of T frames and the two around it: (T,) each, NaN where one is lost."""

    quotient: np.ndarray
    """Of Eq. 10's fraction."""
    way: np.ndarray
    """Of its numerator."""
    line: np.ndarray
    """Of its denominator."""
    bend: np.ndarray
    """Of the squared acceleration."""

    def total(self) -> Stability:
        """Over all frames."""
        count = int(np.isfinite(self.way).sum())
        quotient, way, line, bend = (float(np.nansum(part)) for part in self)
        return Stability(Ratio(quotient, count), Ratio(way, line), RootMeanSquare(bend, count))


def triples(points: np.ndarray, ok: np.ndarray) -> Triples:
    """Temporal stability, frame by frame, of points (T,V,D), any unit, over frames ok (T,)."""
    assert points.ndim == 3 and ok.shape == points.shape[:1], f"got {points.shape} and {ok.shape}"
    out = Triples(*np.full((4, len(ok)), np.nan))
    middle = 1 + np.flatnonzero(ok[2:] & ok[1:-1] & ok[:-2])
    before, now, after = (points[middle + step].astype(np.float64) for step in (-1, 0, 1))
    way = _length(after - now) + _length(now - before)
    line = _length(after - before)
    bend = ((after - 2 * now + before) ** 2).sum(-1)
    values = np.minimum((way + MOVED) / (line + MOVED), MAX_RATIO), way, line, bend
    for into, value in zip(out, values, strict=True):
        into[middle] = value.mean(1)
    return out


def stability(points: np.ndarray, ok: np.ndarray) -> Stability:
    """Temporal stability of points (T,V,D), any unit, over frames ok (T,).

    Parts of a clip merge exactly if each begins with the last two frames of the one before.
    """
    return triples(points, ok).total()


def mean_shape(vertices: np.ndarray, rounds: int = 3) -> np.ndarray:
    """(V,3) mean of shapes (T,V,3) without place, size and turn: generalised Procrustes (Gower 1975).

    Its centre is 0 and its vertices are 1 away from it, root mean square.
    """
    shape = _normalised(vertices[:1])[0]
    for _ in range(rounds):
        shape = _normalised(aligned(vertices, shape).mean(0, keepdims=True))[0]
    return shape


def aligned(vertices: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Shapes (T,V,3) turned onto one (V,3), all with centre 0 and size 1: ordinary Procrustes (Kabsch 1976)."""
    assert vertices.ndim == 3 and vertices.shape[1:] == shape.shape, f"got {vertices.shape} and {shape.shape}"
    centred = _normalised(vertices)
    left, _, right = np.linalg.svd(np.swapaxes(centred, 1, 2) @ shape)
    left[:, :, 2] *= np.sign(np.linalg.det(left) * np.linalg.det(right))[:, None]  # turn, never mirror
    return centred @ (left @ right)


@dataclass(frozen=True)
class Metrics:
    """The sums behind the figures of one clip, or of several."""

    screen: Stability
    """In the image plane, percent of the clip's IOD."""
    local: Stability
    """With the rigid motion removed, percent of the head's radius (root mean square)."""
    skin: Ratio
    """Distance of the mesh from the skin points, percent IOD, mean over points."""
    lag: Lag
    """Of the mesh after the pixels, frames."""
    landmarks: Ratio = Ratio()
    """Distance of the mesh from the detected points, percent IOD, mean over frames; nothing without landmarks."""

    def __add__(self, other: Self) -> Self:
        screen, local = _merged(self.screen, other.screen), _merged(self.local, other.local)
        skin, landmarks = self.skin + other.skin, self.landmarks + other.landmarks
        return type(self)(screen, local, skin, self.lag + other.lag, landmarks)

    def values(self) -> dict[str, float]:
        """The figures by name."""
        figures = {"skin.mean": self.skin.value()}
        for name, part in (("screen", self.screen), ("local", self.local)):
            figures |= {
                f"stability.{name}.ratio": part.ratio.value(),
                f"stability.{name}.mean": part.mean.value(),
                f"stability.{name}.acceleration": part.acceleration.value(),
            }
        figures |= {"lag.frames": self.lag.value(), "lag.correlation": self.lag.correlation()}
        return figures | {"landmarks.mean": self.landmarks.value()}


class Details(NamedTuple):
    """The figures of one clip where they arise: by frame and by point."""

    screen: Triples
    local: Triples
    skin: SkinError
    frames: np.ndarray
    """(T,) skin-point error of each frame, percent IOD, NaN where none is known: `skin_points.frame_error`."""
    lag: Lag
    landmarks: np.ndarray
    """(T,) percent IOD, NaN where lost or without landmarks."""

    def total(self) -> Metrics:
        """Over the clip."""
        landmarks = Ratio(float(np.nansum(self.landmarks)), int(np.isfinite(self.landmarks).sum()))
        return Metrics(self.screen.total(), self.local.total(), skin_ratio(self.skin), self.lag, landmarks)


def mesh_details(mesh: Mesh, windows: list[Window], size: tuple[int, int], iod: float) -> Details:
    """The figures of any mesh in a clip of frames (H,W), whose inter-ocular distance is `iod` pixels.

    `windows` are skin points of `selftrack.tracker.results.skin_points.find_windows`.
    """
    scene = windows, mesh.vertices, mesh.faces, size, mesh.ok
    screen, local = mesh_triples(mesh.vertices, mesh.ok, iod)
    unknown = np.full(len(mesh.ok), np.nan)
    return Details(screen, local, skin_error(*scene), frame_error(*scene), mesh_lag(mesh, windows, size), unknown)


def track_details(track: Track, windows: list[Window]) -> Details:
    """The figures of a track of our own, which has landmarks, too."""
    details = mesh_details(Mesh.of(track), windows, track.size[::-1], median_iod(track.landmarks))
    seen = track.landmarks.astype(np.float64)
    return details._replace(landmarks=landmark_distance(projected_landmarks(track), seen))


def median_iod(landmarks: np.ndarray) -> float:
    """A clip's inter-ocular distance, pixels, of landmarks (T,L,2), NaN where lost; NaN without any."""
    seen = landmarks[np.isfinite(landmarks).all((1, 2))]
    return float(np.median(inter_ocular(seen))) if len(seen) else float("nan")


def skin_ratio(error: SkinError) -> Ratio:
    """The mean over points as sums."""
    return Ratio(float(error.points.sum()), error.used)


def mesh_stability(vertices: Callable[[slice], np.ndarray], ok: np.ndarray, iod: float) -> tuple[Stability, Stability]:
    """The totals of `mesh_triples`."""
    screen, local = mesh_triples(vertices, ok, iod)
    return screen.total(), local.total()


def mesh_triples(vertices: Callable[[slice], np.ndarray], ok: np.ndarray, iod: float) -> tuple[Triples, Triples]:
    """Stability in the image plane (percent IOD) and with the rigid motion removed (percent of the head's radius).

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


def _overlapping(count: int) -> Iterator[slice]:
    """Chunks of `count` rows, each beginning with the last two of the one before."""
    for start in range(0, max(count - 2, 0), CHUNK - 2):
        yield slice(start, min(start + CHUNK, count))


def _merged(a: Stability, b: Stability) -> Stability:
    return Stability(*(x + y for x, y in zip(a, b, strict=True)))


def _normalised(vertices: np.ndarray) -> np.ndarray:
    """(T,V,3) float64 with centre 0 and root mean square distance 1 from it."""
    centred = vertices.astype(np.float64)
    centred -= centred.mean(1, keepdims=True)
    return centred / np.sqrt((centred**2).sum(2).mean(1))[:, None, None]


def _length(vectors: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vectors, axis=-1)
