"""Trackers side by side on one clip: ours, anybody's in the neutral format, and filters as baselines.

With filters, Savitzky-Golay and 1-Euro run over the first track, tuned until it is as steady as the second
(screen.ratio + local.ratio): if adaptation were mere smoothing, they would be as close to the pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from selftrack.errors import UserError
from selftrack.eval.annotate.marks import AnnotationError, Annotations, annotation_error, read_annotations
from selftrack.eval.compare.filters import Filter, filtered, one_euro, savitzky_golay
from selftrack.eval.metrics.clip import Metrics, median_iod, mesh_details, mesh_stability, track_details
from selftrack.eval.metrics.neutral import Mesh, load_mesh
from selftrack.io import json_text, nested, write_text
from selftrack.tracker import load
from selftrack.tracker.landmarks.detectors import AttentionMesh
from selftrack.tracker.landmarks.follower import DetectConfig
from selftrack.tracker.results.clip import open_clip
from selftrack.tracker.results.skin_points import Window, find_windows
from selftrack.tracker.results.track_file import NAME, Track
from selftrack.tracker.sources.base import Frame
from selftrack.tracker.sources.images import is_picture, is_sequence
from selftrack.tracker.sources.opening import open_source

COLUMNS = (
    "skin.mean",
    "stability.screen.ratio",
    "stability.screen.mean",
    "stability.local.ratio",
    "stability.local.mean",
    "stability.screen.acceleration",
    "lag.frames",
)
BETAS = (0.0, 0.1, 0.3)  # of the 1-Euro filter: Hz per standard deviation/s
CUTOFFS = (0.02, 50.0)  # Hz, between which it is tuned
MAX_WINDOW = 61  # frames, of Savitzky-Golay
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Reference:
    """What all trackers of a clip are measured against; no tracker has a say in the skin points."""

    clip_hash: str
    size: tuple[int, int]
    """(H,W)."""
    landmarks: np.ndarray
    """(T,L,2) detected points, image pixels, NaN where lost: they say where the skin is and how long the IOD."""
    windows: list[Window]

    @classmethod
    def of(cls, track: Track, progress: Progress = lambda stage, done, total: None) -> Reference:
        """Of a track's clip, which is read again."""
        return cls(track.clip_hash, track.size[::-1], track.landmarks, skin_windows(track, progress))

    @classmethod
    def detect(cls, clip: Path, progress: Progress = lambda stage, done, total: None) -> Reference:
        """Of a clip in which our own detector follows the largest face; the clip is read twice.

        Raises:
            UserError: the clip cannot be read.
            ValueError: there is no face in it.
        """
        follower, points = AttentionMesh(torch.device("cpu")).follower(DetectConfig()), []
        with open_source(clip) as source:
            size, total = (source.info.height, source.info.width), source.count() or 0
            for frame in source:
                found = follower(frame.image)
                points.append(found.points if found else np.full((478, 2), np.nan, np.float32))
                progress("detect", len(points), max(total, len(points)))
            landmarks = np.stack(points)
            if np.isnan(landmarks).all():
                raise UserError(f"{clip}: no face was found in any frame")
            windows = find_windows(_grey(source.frames(), len(landmarks)), landmarks)
            return cls(source.fingerprint(), size, landmarks, windows)

    @property
    def iod(self) -> float:
        """Pixels, median over the clip."""
        return median_iod(self.landmarks)


@dataclass(frozen=True)
class Score:
    """Of one tracker, in the frames in which every tracker has a face."""

    metrics: Metrics
    lost: int
    """Frames without a face, of all."""
    annotated: AnnotationError | None

    def values(self) -> dict[str, float]:
        """The figures by name."""
        values = self.metrics.values() | {"skin.points": self.metrics.skin.under, "lost": self.lost}
        return values | (self.annotated.values() if self.annotated else {})


def skin_windows(track: Track, progress: Progress = lambda stage, done, total: None) -> list[Window]:
    """Skin points of the track's clip, which is read again.

    Raises:
        UserError: the clip cannot be read.
    """
    with open_clip(track, verify=True) as source:
        return find_windows(_grey(source.frames(), len(track), progress), track.landmarks)


def score_files(
    paths: list[Path],
    filters: bool = False,
    points: Path | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> dict[str, Score]:
    """Score `[CLIP] TRACK TRACK ...`: folders that `track` has written and files in the neutral format.

    The skin points' landmarks and the part of the clip are those of the first folder; without one, our own detector
    runs over CLIP. `points` is a CSV of marked points, see `selftrack.eval.annotate.marks`.

    Raises:
        ValueError: a file that is neither, no clip, or tracks that are not of the same frames.
    """
    missing = [path for path in paths if not (path.exists() or is_sequence(path))]
    if missing:
        raise UserError(f"{missing[0]}: no such file or folder")
    clip = None if _is_track(paths[0]) else paths[0]
    tracks = {str(path): load_any(path) for path in paths[clip is not None :]}
    ours = next((track for track in tracks.values() if isinstance(track, Track)), None)
    if not tracks or ours is None and clip is None:
        raise UserError("what to score? track-eval DIR, or track-eval CLIP TRACK ... with folders of `track` or .npz")
    if clip is not None and ours is not None:
        with open_source(clip) as source:
            if source.fingerprint() != ours.clip_hash:
                raise UserError(f"{clip}: is not the clip of the tracks")
    reference = Reference.detect(clip, progress) if ours is None else Reference.of(ours, progress)
    marks = read_annotations(points, len(reference.landmarks), reference.size) if points else None
    return score(reference, tracks, filters, marks)


def load_any(path: Path) -> Track | Mesh:
    """A track of our own (its folder or its track.npz), or a mesh in the neutral format."""
    return load(path) if path.is_dir() or path.name == NAME else load_mesh(path)


def score(
    reference: Reference, tracks: dict[str, Track | Mesh], filters: bool = False, annotations: Annotations | None = None
) -> dict[str, Score]:
    """The figures of trackers of one clip, by name; with the filters on the first, tuned to the second.

    Raises:
        ValueError: other clips or lengths than the reference's; filters that have no two tracks of our own.
    """
    count = len(reference.landmarks)
    for name, track in tracks.items():
        if isinstance(track, Track) and track.clip_hash != reference.clip_hash:
            raise UserError(f"{name}: the tracks are not of the same clip")
        if len(track.ok) != count:
            raise UserError(f"{name}: has {len(track.ok)} rows, but {count} frames are compared: one row per frame")
    if filters:
        first, second = [*tracks.values(), None, None][:2]
        if not isinstance(first, Track) or not isinstance(second, Track):
            raise UserError("--filters smooths a folder of `track` to the steadiness of a second one: name two first")
        tracks = tracks | {name: filtered(first, smooth) for name, smooth in _tuned(first, second).items()}
    ok = np.logical_and.reduce([track.ok for track in tracks.values()])
    return {name: _score(reference, track, ok, annotations) for name, track in tracks.items()}


def table(scores: dict[str, Score]) -> str:
    """A Markdown table of the figures that every tracker has, one row each."""
    rows = {name: score.values() for name, score in scores.items()}
    optional = [
        column
        for column in ("landmarks.mean", "annotated.mean")
        if all(math.isfinite(row.get(column, math.nan)) for row in rows.values())
    ]
    columns = {column: column.removeprefix("stability.") for column in (*COLUMNS, *optional)}
    lines = ["| track | " + " | ".join(columns.values()) + " | points | lost |", "|---" * (len(columns) + 3) + "|"]
    for name, row in rows.items():
        cells = [f"{row[column]:.3f}" for column in columns] + [f"{row['skin.points']:.0f}", str(row["lost"])]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_json(scores: dict[str, Score], path: Path) -> None:
    """Write all figures by the tracks' names, nested at the dots of theirs."""
    write_text(path, json_text({name: nested(score.values()) for name, score in scores.items()}))


def bisect(steady: Callable[[float], bool], low: float, high: float, steps: int = 9) -> float:
    """The border in low..high between values that are steady (small ones) and those that are not."""
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if steady(middle) else (low, middle)
    return (low + high) / 2


def _is_track(path: Path) -> bool:
    """Whether it is none of a clip: a folder without pictures, or a file of arrays."""
    if path.is_dir():
        return (path / NAME).exists() or not any(is_picture(file) for file in path.iterdir())
    return path.suffix == ".npz"


def _score(reference: Reference, track: Track | Mesh, ok: np.ndarray, annotations: Annotations | None) -> Score:
    own = Mesh.of(track) if isinstance(track, Track) else track
    mesh = replace(own, ok=ok)
    if isinstance(track, Track):
        details = track_details(replace(track, ok=ok), reference.windows)
    else:
        details = mesh_details(mesh, reference.windows, reference.size, reference.iod)
    annotated = annotation_error(annotations, mesh, reference.landmarks, reference.size) if annotations else None
    return Score(details.total(), int((~own.ok).sum()), annotated)


def _tuned(track: Track, second: Track) -> dict[str, Filter]:
    """The filters by name, each with the setting that makes the track about as steady as the second one."""
    target = _unsteadiness(second)

    def steady(smooth: Filter) -> bool:
        return _unsteadiness(filtered(track, smooth)) <= target

    def polynomial(narrow: float) -> tuple[int, Filter]:
        window = 2 * round(-narrow / 2) + 1  # bisection wants the steady ones, wide windows, to be small
        return window, lambda values, times: savitzky_golay(values, window)

    def euro(log_cutoff: float, beta: float) -> Filter:
        return lambda values, times: one_euro(values, times, math.exp(log_cutoff), beta)

    window, smooth = polynomial(bisect(lambda x: steady(polynomial(x)[1]), -MAX_WINDOW, -3, 6))
    found = {f"Savitzky-Golay {window}": smooth}
    for beta in BETAS:
        log_cutoff = bisect(lambda x, beta=beta: steady(euro(x, beta)), *map(math.log, CUTOFFS))
        found[f"1-Euro {math.exp(log_cutoff):.2f} Hz, beta {beta:g}"] = euro(log_cutoff, beta)
    return found


def _unsteadiness(track: Track) -> float:
    """screen.ratio + local.ratio."""
    return sum(part.ratio.value() for part in mesh_stability(track.vertices, track.ok, median_iod(track.landmarks)))


def _grey(
    frames: Iterator[Frame], count: int, progress: Progress = lambda stage, done, total: None
) -> Iterator[tuple[int, np.ndarray]]:
    for frame in frames:
        if frame.index < count:
            yield frame.index, cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY)
            progress("skin", frame.index + 1, count)
