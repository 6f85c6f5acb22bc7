"""What a metric measures: one tracker's mesh in one clip, and what is known of the clip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from selftrack.synthetic.truth import Truth, load_truth
from selftrack.tracker.geometry.crop import inter_ocular
from selftrack.tracker.mapped import pieces
from selftrack.tracker.results.skin_points import Window
from selftrack.tracker.results.track_file import Track


@dataclass(frozen=True)
class Mesh:
    """A mesh that moves through a clip of T frames."""

    vertices: Callable[[slice], np.ndarray]
    """Rows -> (w,V,3) image frame; rows that are not ok hold anything finite."""
    faces: np.ndarray
    """(F,3) int64."""
    ok: np.ndarray
    """(T,) bool, there is a face."""

    @classmethod
    def of(cls, track: Track) -> Mesh:
        """Take the mesh of a track of our own."""
        return cls(track.vertices, track.model().faces.numpy(), track.ok)


class Marks(NamedTuple):
    """Where a person has marked one point, in the order of frames."""

    rows: np.ndarray
    """(K,) int64."""
    points: np.ndarray
    """(K,2) image pixels."""


Annotations = dict[str, Marks]
"""Marks by the points' names."""


@dataclass(frozen=True)
class TrackedClip:
    """A mesh in a clip of T frames."""

    mesh: Mesh
    """Its `ok` (T,): the frames that count."""
    windows: list[Window]
    """Skin points of the clip, of `selftrack.tracker.results.skin_points.find_windows`."""
    landmarks: np.ndarray
    """(T,L,2) detected points, image pixels, NaN where lost; L is 478 or 68."""
    size: tuple[int, int]
    """(H,W) of the frames."""
    lost: int
    """Frames in which the tracker has no face."""
    track: Track | None = None
    """Of a tracker of our own."""
    annotations: Annotations | None = None
    truth: Truth | None = None
    """Of a synthetic clip."""
    kept: dict[Callable[..., Any], Any] = field(default_factory=dict, repr=False, compare=False)
    """Results that metrics share, see `registry.once`."""

    @classmethod
    def of(cls, track: Track, windows: list[Window], annotations: Annotations | None = None) -> TrackedClip:
        """Take a track of our own in all frames with a face, and the truth that lies beside its clip."""
        known = track.landmarks, track.size[::-1], int((~track.ok).sum())
        return cls(Mesh.of(track), windows, *known, track, annotations, truth_beside(track))

    @cached_property
    def iod(self) -> float:
        """Pixels, median over the clip; NaN without a face."""
        return median_iod(self.landmarks)


def median_iod(landmarks: np.ndarray) -> float:
    """Take a clip's inter-ocular distance, pixels, of landmarks (T,L,2), NaN where lost; NaN without any."""
    known = [np.zeros(0)]
    for rows in pieces(landmarks):
        points = landmarks[rows]
        known.append(inter_ocular(points[np.isfinite(points).all((1, 2))]))
    found = np.concatenate(known)
    return float(np.median(found)) if len(found) else float("nan")


def truth_path(clip: Path) -> Path:
    """Name the file beside a synthetic clip that has its truth."""
    return clip.with_name(f"{clip.stem}.truth.npz")


def truth_beside(track: Track) -> Truth | None:
    """Read the truth beside a track's clip; None where there is none of the track's own frames and topology."""
    path = truth_path(Path(track.clip)) if track.clip else None
    if path is None or not path.exists():
        return None
    truth, decoder = load_truth(path), track.model()
    fits = len(truth) == len(track) and truth.vertices.shape[1:] == decoder.mean.shape and decoder.has_arkit_curves
    return truth if fits else None
