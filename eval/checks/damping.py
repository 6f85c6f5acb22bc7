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
from selftrack.eval.metrics.agreement import projected_landmarks
from selftrack.tracker import load
from selftrack.tracker.geometry.crop import inter_ocular
from selftrack.tracker.results.track_file import Track

ACTIVE, KEPT = 0.1, 0.9


class Damped(NamedTuple):
    """A curve that lost range."""

    name: str
    before: float
    after: float
    distance: float  # of its points to the detected ones, % IOD, adapted
    restored: float  # the same with the curve's range as before

    @property
    def justified(self) -> bool:
        """The landmarks speak against the range that it had."""
        return self.restored > self.distance


def spread(values: np.ndarray) -> np.ndarray:
    """From the 5th to the 95th percentile over the frames, of (T,...)."""
    low, high = np.nanpercentile(values, (5, 95), axis=0)
    return high - low


def moved_points(track: Track, curve: int) -> np.ndarray:
    """Of the 478 points those that curve number `curve` of 52 moves by at least half of its most."""
    head = track.model()
    moved = head.landmarks478(head.shapes[head.expression.start + curve][None])[0].norm(dim=1)
    return np.flatnonzero(moved >= moved.max() / 2)


def restored(before: Track, after: Track, curve: int) -> list[Track]:
    """`after`, with the curve's course of `before`, and that course at levels between its own and the mean of `after`,
    as far as it keeps its range there."""
    column, both = after.model().expression.start + curve, before.ok & after.ok
    shift = after.z[both, column].mean() - before.z[both, column].mean()
    tracks, least = [], KEPT * spread(_shown(before, curve)[both])
    for level in np.linspace(0, shift, 11):
        z = after.z.copy()
        z[:, column] = before.z[:, column] + level
        track = after.with_codes(z)
        if spread(_shown(track, curve)[both]) >= least:
            tracks.append(track)
    return tracks


def _shown(track: Track, curve: int) -> np.ndarray:
    return list(track.curves().values())[curve]


def damped(before: Track, after: Track) -> tuple[list[str], list[Damped]]:
    """The names of the active curves; and those of them that lost more than a tenth of their range."""
    both, seen = before.ok & after.ok, after.landmarks.astype(np.float64)
    curves = [np.stack(list(track.curves().values()), 1)[both] for track in (before, after)]
    ranges, names = [spread(values) for values in curves], list(before.curves())
    lost, active = [], np.flatnonzero(ranges[0] >= ACTIVE)

    def distance(track: Track, points: np.ndarray) -> float:
        apart = np.linalg.norm(projected_landmarks(track)[:, points] - seen[:, points], axis=2).mean(1)
        return float(np.nanmean((100 * apart / inter_ocular(seen))[both]))

    for curve in active[ranges[1][active] < KEPT * ranges[0][active]]:
        points = moved_points(after, curve)
        then = min(distance(track, points) for track in restored(before, after, curve))
        lost.append(Damped(names[curve], *(float(r[curve]) for r in ranges), distance(after, points), then))
    return [names[curve] for curve in active], lost


def openings(track: Track) -> dict[str, tuple[float, float]]:
    """Range of the mesh's and of the detected openings of the face, % IOD."""
    seen = track.landmarks.astype(np.float64)
    mesh, iod = projected_landmarks(track), inter_ocular(seen)

    def of(points: np.ndarray, a: int, b: int) -> float:
        return float(spread((100 * np.linalg.norm(points[:, a] - points[:, b], axis=1) / iod)[track.ok]))

    return {name: (of(mesh, *pair), of(seen, *pair)) for name, pair in DISTANCES.items()}


@torch.no_grad()
def main(before: Path, after: Path) -> None:
    """Print two Markdown tables."""
    plain, adapted = load(before), load(after)
    active, lost = damped(plain, adapted)
    print(f"{len(active)} active curves, {len(active) - len(lost)} keep at least {KEPT:.0%} of their range\n")
    print(
        "| curve | range before | after | landmarks % IOD | with the range of before | justified |\n" + "|---" * 6 + "|"
    )
    for row in lost:
        print(
            f"| {row.name} | {row.before:.2f} | {row.after:.2f} | {row.distance:.2f} | {row.restored:.2f} "
            f"| {'yes' if row.justified else 'no'} |"
        )
    print("\n| range, % IOD | detected | mesh before | mesh after |\n" + "|---" * 4 + "|")
    then, now = openings(plain), openings(adapted)
    for name in DISTANCES:
        print(f"| {name} | {now[name][1]:.1f} | {then[name][0]:.1f} | {now[name][0]:.1f} |")


if __name__ == "__main__":
    run("python -m selftrack.eval.checks.damping", damping=main)
