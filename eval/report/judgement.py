"""What a report's figures mean in words: excellent, usual or poor, in pixels of the clip, and which region is worst."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from selftrack.eval.metrics import METRICS
from selftrack.eval.metrics.landmarks import FEATURES, by_region
from selftrack.eval.metrics.registry import Metric
from selftrack.eval.metrics.subject import TrackedClip

OF_FACE = "% IOD"
"""The unit of figures that are pixels of a clip, too."""
PLAIN = (
    "skin.mean",
    "landmarks.mean",
    *(f"landmarks.{region}" for region in FEATURES),
    "stability.screen.ratio",
    "stability.local.ratio",
)
"""The figures that a command prints."""


class Weakest(NamedTuple):
    """The one of eyes, brows and mouth that is to be believed least."""

    region: str
    distance: float
    """From the detected points, mean over frames, % IOD."""
    worst: float
    """The same in its worst frame."""
    row: int
    """Of that frame."""
    second: float
    """Of that frame."""
    trust: float
    """Mean confidence over the frames with a face, 0..1."""


def pixels(value: float, unit: str, iod: float) -> float:
    """How many pixels of a clip of that inter-ocular distance (pixels) a figure is; NaN of what is no distance."""
    return value * iod / 100 if unit == OF_FACE else math.nan


def scale(metric: Metric) -> str:
    """Up to where a figure is excellent and usual; empty where that depends on the clip."""
    if metric.scale is None:
        return ""
    ends = "from {:g}" if metric.better == "higher" else "to {:g}"
    return f"excellent {ends.format(metric.scale.excellent)}, usual {ends.format(metric.scale.usual)}"


def table(figures: Mapping[str, float], iod: float) -> list[str]:
    """Lines for people: each figure of `PLAIN` that is known, in pixels of a face of that IOD, in a word, and by which
    scale."""
    rows = []
    for metric in (METRICS[name] for name in PLAIN):
        value = figures.get(metric.name, math.nan)
        if math.isfinite(value):
            size = pixels(value, metric.unit, iod)
            of_face = math.isfinite(size)
            number = f"{value:.2f} {OF_FACE}" if of_face else f"{value:.2f}"
            beside = f"{size:.1f} pixels" if of_face else metric.unit
            rows.append((metric.label, number, beside, metric.word(value), f"({scale(metric)})"))
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{text:<{width}}" for text, width in zip(row, wide, strict=True)).rstrip() for row in rows]
    if math.isfinite(iod):
        unit = f"1 % IOD, the distance of the outer eye corners, is {iod / 100:.1f} pixels here"
        lines.append(f"({unit}; what is beyond usual is poor)")
    return lines


def weakest(clip: TrackedClip) -> Weakest | None:
    """Find the region that is worst by its distance from the detected points, on its scale, or by how little it is to
    be trusted; None where no distance is known."""
    assert clip.track is not None
    ok, trust = clip.track.ok, clip.track.regions()
    found: list[tuple[float, Weakest]] = []
    for region in FEATURES:
        limits, errors = METRICS[f"landmarks.{region}"].scale, by_region(clip)[region]
        if not np.isfinite(errors).any():
            continue
        assert limits is not None
        mean, sure, row = float(np.nanmean(errors)), float(trust[region][ok].mean()), int(np.nanargmax(errors))
        badness = max(limits.place(mean), 4 * (1 - sure))  # 2 where either begins to be poor
        where = Weakest(region, mean, float(errors[row]), row, float(clip.track.times[row]), sure)
        found.append((badness, where))
    return max(found)[1] if found else None


def in_words(region: Weakest, iod: float) -> str:
    """A sentence on the weakest region of a clip of that IOD, pixels."""
    metric = METRICS[f"landmarks.{region.region}"]
    verb = "is" if region.region == "mouth" else "are"
    trust = f", and trusted to {region.trust:.2f} only" if region.trust < 0.9 else ""
    return (
        f"Weakest {verb} the {region.region}: {_off(region.distance, iod)} from where the detector sees "
        f"{'it' if verb == 'is' else 'them'}, which is {metric.word(region.distance)}{trust}; "
        f"{_off(region.worst, iod)} at {region.second:.2f} s (frame {region.row})."
    )


def _off(value: float, iod: float) -> str:
    return f"{value:.2f} % IOD ({pixels(value, OF_FACE, iod):.1f} pixels)"
