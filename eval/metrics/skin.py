"""Skin-point error: does the mesh stick to the skin? See `selftrack.tracker.results.skin_points`."""

from __future__ import annotations

import numpy as np

from selftrack.eval.metrics.registry import Ratio, metric, once
from selftrack.eval.metrics.subject import TrackedClip
from selftrack.tracker.results.skin_points import SkinError, frame_error, skin_error


@once
def errors(clip: TrackedClip) -> SkinError:
    """Measure every point."""
    return skin_error(clip.windows, clip.mesh.vertices, clip.mesh.faces, clip.size, clip.mesh.ok)


@once
def frame_errors(clip: TrackedClip) -> np.ndarray:
    """Measure every frame: (T,) percent IOD, NaN where no point is known."""
    return frame_error(clip.windows, clip.mesh.vertices, clip.mesh.faces, clip.size, clip.mesh.ok)


def skin_ratio(error: SkinError) -> Ratio:
    """Sum the error over points."""
    return Ratio(float(error.points.sum()), error.used)


def percentile(values: np.ndarray, percent: float) -> float:
    """Take a percentile of the values that are known; NaN without any."""
    known = values[np.isfinite(values)]
    return float(np.percentile(known, percent)) if len(known) else float("nan")


@metric(
    "skin.mean",
    "Skin-point error",
    "% IOD",
    "Distance of the mesh from corners of the skin that optical flow follows, mean over points.",
    decisive=True,
    over_time=frame_errors,
    scale=(0.5, 1.0),
)
def mean(clip: TrackedClip) -> Ratio:
    """Average over points."""
    return skin_ratio(errors(clip))


@metric(
    "skin.p50",
    "Skin-point error, median frame",
    "% IOD",
    "The skin-point error that half of the frames stay under.",
    headline=False,
    scale=(0.35, 0.8),
)
def median(clip: TrackedClip) -> float:
    """Take the median over frames."""
    return percentile(frame_errors(clip), 50)


@metric(
    "skin.p90",
    "Skin-point error, 90th percentile",
    "% IOD",
    "The skin-point error that nine tenths of the frames stay under.",
    headline=False,
    scale=(0.7, 1.3),
)
def high(clip: TrackedClip) -> float:
    """Take the 90th percentile over frames."""
    return percentile(frame_errors(clip), 90)


@metric(
    "skin.points",
    "Skin points",
    "points",
    "Number of skin points that had the mesh under them.",
    better="neither",
)
def points(clip: TrackedClip) -> float:
    """Count the points."""
    return errors(clip).used
