"""Tracks of one clip side by side, and the filters that adaptation has to beat, as a Markdown table.

    python -m eval.compare plain_track adapted_track --filters

With `--filters`, Savitzky-Golay and 1-Euro filters run over the first track, tuned until it is as steady as the second
(screen.ratio + local.ratio): if adaptation were mere smoothing, they would be as close to the pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from eval.agreement import inter_ocular
from eval.filters import Filter, filtered, one_euro, savitzky_golay
from eval.metrics import Metrics, mesh_stability, track_metrics
from tracker import load
from tracker.points import Window, find_windows
from tracker.track_file import Track
from tracker.video import VideoReader

COLUMNS = ("skin.mean", "screen.ratio", "local.ratio", "landmarks.mean")
BETAS = (0.0, 0.1, 0.3)  # of the 1-Euro filter: Hz per standard deviation/s
CUTOFFS = (0.02, 50.0)  # Hz, between which it is tuned
MAX_WINDOW = 61  # frames, of Savitzky-Golay


def skin_windows(track: Track) -> list[Window]:
    """Skin points of the track's clip, which is read again.

    Raises:
        VideoError: the clip cannot be read.
    """
    window = {name: track.settings()[name] for name in ("start", "duration")}
    with VideoReader(Path(track.clip), **window) as reader:
        return find_windows(_grey(reader, len(track)), track.landmarks)


def compare(tracks: dict[str, Track], windows: list[Window], filters: bool = False) -> dict[str, Metrics]:
    """The figures of tracks of one clip, by name; with the filters on the first, tuned to the second.

    Raises:
        ValueError: tracks of different clips or lengths; filters without a second track.
    """
    first, *others = tracks.values()
    if any((other.clip_hash, len(other)) != (first.clip_hash, len(first)) for other in others):
        raise ValueError("the tracks are not of the same clip: compare tracks of the same frames of one file")
    if filters and not others:
        raise ValueError("filters are tuned to the steadiness of a second track: name one")
    rows = {name: track_metrics(track, windows) for name, track in tracks.items()}
    if filters:
        target = _unsteadiness(others[0])
        for name, smooth in _tuned(first, target).items():
            rows[name] = track_metrics(filtered(first, smooth), windows)
    return rows


def bisect(steady: Callable[[float], bool], low: float, high: float, steps: int = 9) -> float:
    """The border in low..high between values that are steady (small ones) and those that are not."""
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if steady(middle) else (low, middle)
    return (low + high) / 2


def table(rows: dict[str, Metrics]) -> str:
    """A Markdown table of the figures."""
    lines = ["| track | " + " | ".join(COLUMNS) + " | points |", "|---" * (len(COLUMNS) + 2) + "|"]
    for name, metrics in rows.items():
        values = metrics.values()
        cells = [f"{values[column]:.3f}" for column in COLUMNS] + [str(int(metrics.skin.under))]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _tuned(track: Track, target: float) -> dict[str, Filter]:
    """The filters by name, each with the setting that makes the track about as steady as the target."""

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
    iod = float(np.nanmedian(inter_ocular(track.landmarks)))
    return sum(part.ratio.value() for part in mesh_stability(track.vertices, track.ok, iod))


def _grey(reader: VideoReader, count: int) -> Iterator[tuple[int, np.ndarray]]:
    for frame in reader:
        if frame.index < count:
            yield frame.index, cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY)


def main(
    folders: Annotated[list[Path], typer.Argument(help="Folders written by `track`, of one clip.")],
    filters: Annotated[bool, typer.Option("--filters", help="Add filters, tuned to the second track.")] = False,
) -> None:
    """Print a table of the tracks in FOLDERS: skin points and landmarks in percent IOD, stability 1 is perfect."""
    tracks = {str(folder): load(folder) for folder in folders}
    print(table(compare(tracks, skin_windows(next(iter(tracks.values()))), filters)))


if __name__ == "__main__":
    typer.run(main)
