"""Trackers side by side on one clip: ours, anybody's in the neutral format, and filters as baselines.

With filters, Savitzky-Golay and 1-Euro run over the first track, tuned until it is as steady as the second
(screen.ratio + local.ratio): if adaptation were mere smoothing, they would be as close to the pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from selftrack.errors import UserError
from selftrack.eval.annotate.marks import read_annotations
from selftrack.eval.compare.filters import Filter, filtered, one_euro, savitzky_golay
from selftrack.eval.compare.neutral import load_mesh
from selftrack.eval.compare.reference import Reference
from selftrack.eval.metrics import headline, measure
from selftrack.eval.metrics.stability import mesh_stability
from selftrack.eval.metrics.subject import Annotations, Mesh, median_iod
from selftrack.io import json_text, markdown_table, nested, write_text
from selftrack.tracker import load
from selftrack.tracker.progress import Progress, no_progress
from selftrack.tracker.results.track_file import NAME, Track
from selftrack.tracker.sources.names import is_picture, is_sequence
from selftrack.tracker.sources.opening import open_source

BETAS = (0.0, 0.1, 0.3)
"""Of the 1-Euro filter: Hz per standard deviation/s."""
CUTOFFS = (0.02, 50.0)
"""Hz, between which it is tuned."""
MAX_WINDOW = 61
"""Frames, of Savitzky-Golay."""
Figures = dict[str, float]
"""By the metrics' names."""


def score_files(
    paths: list[Path],
    filters: bool = False,
    points: Path | None = None,
    progress: Progress = no_progress,
) -> dict[str, Figures]:
    """Score `[CLIP] TRACK TRACK ...`: folders that `track` has written and files in the neutral format.

    The skin points' landmarks and the part of the clip are those of the first folder; without one, our own detector
    runs over CLIP. `points` is a CSV of marked points, see `selftrack.eval.annotate.marks`.

    Raises:
        UserError: a file that is neither, no clip, or tracks that are not of the same frames.
    """
    missing = [path for path in paths if not (path.exists() or is_sequence(path))]
    if missing:
        raise UserError(f"{missing[0]}: no such file or folder; name a folder that track has written, or an .npz")
    clip = None if _is_track(paths[0]) else paths[0]
    tracks = {str(path): load_any(path) for path in paths[clip is not None :]}
    ours = next((track for track in tracks.values() if isinstance(track, Track)), None)
    if ours is not None:
        if clip is not None:
            with open_source(clip) as source:
                if source.fingerprint() != ours.clip_hash:
                    raise UserError(f"{clip}: is not the clip of the tracks; name theirs, or leave it out")
        reference = Reference.of(ours, progress)
    elif clip is not None and tracks:
        reference = Reference.detect(clip, progress)
    else:
        raise UserError("what to score? track-eval DIR, or track-eval CLIP TRACK ... with folders of `track` or .npz")
    marks = read_annotations(points, len(reference.landmarks), reference.size) if points else None
    return score(reference, tracks, filters, marks)


def load_any(path: Path) -> Track | Mesh:
    """Load a track of our own (its folder or its track.npz), or a mesh in the neutral format."""
    return load(path) if path.is_dir() or path.name == NAME else load_mesh(path)


def score(
    reference: Reference, tracks: dict[str, Track | Mesh], filters: bool = False, annotations: Annotations | None = None
) -> dict[str, Figures]:
    """Measure trackers of one clip, by name, in the frames in which every one has a face; with filters of the first,
    tuned to the second.

    Raises:
        UserError: other clips or lengths than the reference's; filters that have no two tracks of our own.
    """
    count = len(reference.landmarks)
    for name, track in tracks.items():
        if isinstance(track, Track) and track.clip_hash != reference.clip_hash:
            raise UserError(f"{name}: the tracks are not of the same clip; name tracks of one")
        if len(track.ok) != count:
            raise UserError(
                f"{name}: has {len(track.ok)} rows, but {count} frames are compared; write one row per frame"
            )
    if filters:
        first, second = [*tracks.values(), None, None][:2]
        if not isinstance(first, Track) or not isinstance(second, Track):
            raise UserError("--filters smooths a folder of `track` to the steadiness of a second one; name two first")
        tracks = tracks | {name: filtered(first, smooth) for name, smooth in _tuned(first, second).items()}
    ok = np.logical_and.reduce([track.ok for track in tracks.values()])
    return {name: measure(reference.tracked(track, ok, annotations)) for name, track in tracks.items()}


def table(scores: dict[str, Figures]) -> str:
    """Write a Markdown table, one row a track, of the headline metrics that any track has."""
    columns = headline(list(scores.values()))
    header = ["track", *(metric.name.removeprefix("stability.") for metric in columns)]
    return markdown_table(header, [[name, *(cell(row[m.name]) for m in columns)] for name, row in scores.items()])


def cell(value: float, decimals: int = 3) -> str:
    """Write a figure for a table: a dash where it could not be measured, counts without decimals."""
    if not math.isfinite(value):
        return "–"
    return f"{value:d}" if isinstance(value, int) else f"{value:.{decimals}f}"


def write_json(scores: dict[str, Figures], path: Path) -> None:
    """Write all figures by the tracks' names, nested at the dots of theirs."""
    write_text(path, json_text({name: nested(row) for name, row in scores.items()}))


def bisect(steady: Callable[[float], bool], low: float, high: float, steps: int = 9) -> float:
    """Find the border in low..high between values that are steady (small ones) and those that are not."""
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if steady(middle) else (low, middle)
    return (low + high) / 2


def _is_track(path: Path) -> bool:
    """Whether it is none of a clip: a folder without pictures, or a file of arrays."""
    if path.is_dir():
        return (path / NAME).exists() or not any(is_picture(file) for file in path.iterdir())
    return path.suffix == ".npz"


def _tuned(track: Track, second: Track) -> dict[str, Filter]:
    """The filters by name, each with the setting that makes the track about as steady as the second one."""
    target = _unsteadiness(second)

    def steady(smooth: Filter) -> bool:
        return _unsteadiness(filtered(track, smooth)) <= target

    def polynomial(narrow: float) -> tuple[int, Filter]:
        window = 2 * round(-narrow / 2) + 1  # bisection wants the steady ones, wide windows, to be small
        return window, lambda values, times: savitzky_golay(values, window)

    def euro(beta: float, log_cutoff: float) -> Filter:
        return lambda values, times: one_euro(values, times, math.exp(log_cutoff), beta)

    window, smooth = polynomial(bisect(_composed(steady, lambda x: polynomial(x)[1]), -MAX_WINDOW, -3, 6))
    found = {f"Savitzky-Golay {window}": smooth}
    for beta in BETAS:
        of_cutoff = partial(euro, beta)
        low, high = map(math.log, CUTOFFS)
        log_cutoff = bisect(_composed(steady, of_cutoff), low, high)
        found[f"1-Euro {math.exp(log_cutoff):.2f} Hz, beta {beta:g}"] = of_cutoff(log_cutoff)
    return found


def _composed(steady: Callable[[Filter], bool], make: Callable[[float], Filter]) -> Callable[[float], bool]:
    return lambda setting: steady(make(setting))


def _unsteadiness(track: Track) -> float:
    """screen.ratio + local.ratio."""
    return sum(part.ratio.value() for part in mesh_stability(track.vertices, track.ok, median_iod(track.landmarks)))
