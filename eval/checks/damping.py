"""Did adaptation damp the performance? The range of every active curve before and after, and of what the face does.

    python -m selftrack.eval.checks.damping plain_track adapted_track

A curve is active when its range, from the 5th to the 95th percentile, is at least 0.1 before. One that lost more than a
tenth of it is put back in the adapted track, as it was or shifted towards its new mean by as much as leaves it its
range, whichever fits best: if the mesh then lies farther from the detected points that this curve moves, it was the
un-adapted value that was wrong. (A code may be below 0, a curve is cut off there: shifted down far enough, none of its
range is left.)
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from selftrack.command import run
from selftrack.decoders.landmarks import DISTANCES
from selftrack.eval.metrics.landmarks import projected_landmarks
from selftrack.io import markdown_table
from selftrack.tracker import load
from selftrack.tracker.geometry.crop import inter_ocular
from selftrack.tracker.results.track_file import Track

ACTIVE, KEPT = 0.1, 0.9
"""Least range of an active curve; share of it that is not damped."""


class Damped(NamedTuple):
    """A curve that lost range."""

    name: str
    before: float
    """Its range, before adaptation."""
    after: float
    distance: float
    """From its points to the detected ones, % IOD, adapted."""
    restored: float
    """The same with the curve's range as before."""

    @property
    def justified(self) -> bool:
        """The landmarks speak against the range that it had."""
        return self.restored > self.distance


def spread(values: np.ndarray) -> np.ndarray:
    """Measure the range of values (T,...) from the 5th to the 95th percentile over the frames."""
    low, high = np.nanpercentile(values, (5, 95), axis=0)
    return high - low


def moved_points(track: Track, curve: int) -> np.ndarray:
    """List those of the 478 points that curve number `curve` of 52 moves by at least half of its most."""
    head = track.model()
    moved = head.landmarks478(head.shapes[head.expression.start + curve][None])[0].norm(dim=1)
    return np.flatnonzero(moved >= moved.max() / 2)


def restored(before: Track, after: Track, curve: int) -> list[Track]:
    """Put the curve of `before` into `after`: as it was, and shifted in steps towards the mean of `after`, as far as it
    keeps its range there."""
    column, both = after.model().expression.start + curve, before.ok & after.ok
    shift = after.z[both, column].mean() - before.z[both, column].mean()
    tracks, least = [], KEPT * spread(_values(before, curve)[both])
    for offset in np.linspace(0, shift, 11):
        z = after.z.copy()
        z[:, column] = before.z[:, column] + offset
        track = after.with_codes(z)
        if spread(_values(track, curve)[both]) >= least:
            tracks.append(track)
    return tracks


def _values(track: Track, curve: int) -> np.ndarray:
    return track.curve_values[:, curve]


def damped(before: Track, after: Track) -> tuple[list[str], list[Damped]]:
    """List the names of the active curves, and those of them that lost more than a tenth of their range."""
    both, detected = before.ok & after.ok, after.landmarks.astype(np.float64)
    curves = [track.curve_values[both] for track in (before, after)]
    (was, now), names = [spread(values) for values in curves], before.curve_names
    lost, active = [], np.flatnonzero(was >= ACTIVE)

    def distance(track: Track, points: np.ndarray) -> float:
        apart = np.linalg.norm(projected_landmarks(track)[:, points] - detected[:, points], axis=2).mean(1)
        return float(np.nanmean((100 * apart / inter_ocular(detected))[both]))

    for curve in active[now[active] < KEPT * was[active]]:
        points = moved_points(after, curve)
        best = min(distance(track, points) for track in restored(before, after, curve))
        lost.append(Damped(names[curve], float(was[curve]), float(now[curve]), distance(after, points), best))
    return [names[curve] for curve in active], lost


def openings(track: Track) -> dict[str, tuple[float, float]]:
    """Measure the range of the mesh's and of the detected openings of the face, % IOD."""
    detected = track.landmarks.astype(np.float64)
    mesh, iod = projected_landmarks(track), inter_ocular(detected)

    def of(points: np.ndarray, a: int, b: int) -> float:
        return float(spread((100 * np.linalg.norm(points[:, a] - points[:, b], axis=1) / iod)[track.ok]))

    return {name: (of(mesh, *pair), of(detected, *pair)) for name, pair in DISTANCES.items()}


@torch.no_grad()
def main(before: Path, after: Path) -> None:
    """Print two Markdown tables."""
    plain, adapted = load(before), load(after)
    active, lost = damped(plain, adapted)
    print(f"{len(active)} active curves, {len(active) - len(lost)} keep at least {KEPT:.0%} of their range\n")
    rows = [[row.name, *(f"{value:.2f}" for value in row[1:]), "yes" if row.justified else "no"] for row in lost]
    header = ["curve", "range before", "after", "landmarks % IOD", "with the range of before", "justified"]
    print(markdown_table(header, rows))
    then, now = openings(plain), openings(adapted)
    ranges = [[name, *(f"{value:.1f}" for value in (now[name][1], then[name][0], now[name][0]))] for name in DISTANCES]
    print(markdown_table(["range, % IOD", "detected", "mesh before", "mesh after"], ranges), end="")


if __name__ == "__main__":
    run("python -m selftrack.eval.checks.damping", damping=main)
