"""Is the confidence right? Frames whose skin-point error is known are good where it is under the limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import stats

from selftrack.eval.metrics.registry import metric, once
from selftrack.eval.metrics.skin import frame_errors
from selftrack.eval.metrics.subject import TrackedClip
from selftrack.tracker.results.confidence import LIMIT

BINS = 10


@dataclass(frozen=True)
class Reliability:
    """The predicted confidence, and how often it was right, in bins of 0..1 of one width."""

    count: np.ndarray
    """(10,) frames."""
    predicted: np.ndarray
    """(10,) mean confidence, NaN in an empty bin."""
    right: np.ndarray
    """(10,) share of good frames, NaN in an empty bin."""

    @classmethod
    def of(cls, confidence: np.ndarray, good: np.ndarray) -> Self:
        """Count confidences (N,) in 0..1 and whether the frames are good (N,)."""
        at = np.minimum((confidence * BINS).astype(int), BINS - 1)
        count, predicted, right = (np.bincount(at, w, BINS) for w in (np.ones(len(at)), confidence, good.astype(float)))
        filled = np.where(count > 0, count, np.nan)
        return cls(count, predicted / filled, right / filled)

    def error(self) -> float:
        """Compute the expected calibration error (Guo et al. 2017): the mean gap, weighted by the count."""
        return float(np.nansum(self.count * np.abs(self.predicted - self.right)) / self.count.sum())


def auroc(confidence: np.ndarray, good: np.ndarray) -> float:
    """Compute the chance that a good frame has more confidence than a bad one, ties half; NaN if all are alike."""
    if good.all() or not good.any():
        return float("nan")
    return float(stats.mannwhitneyu(confidence[good], confidence[~good]).statistic / (good.sum() * (~good).sum()))


@once
def judged(clip: TrackedClip) -> tuple[np.ndarray, np.ndarray]:
    """Take the confidences (N,) of frames whose skin-point error is known, and whether it is under the limit (N,)."""
    assert clip.track is not None
    errors = frame_errors(clip)
    known = clip.mesh.ok & np.isfinite(errors)
    return clip.track.confidence[known], errors[known] < LIMIT


def _confidence(clip: TrackedClip) -> np.ndarray:
    assert clip.track is not None
    return clip.track.confidence.astype(float)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


@metric(
    "confidence.good",
    "Good frames",
    "0..1",
    f"Share of the frames whose skin-point error is under {LIMIT:g} % IOD.",
    better="higher",
    needs=("track",),
    headline=False,
    scale=(0.95, 0.8),
)
def share(clip: TrackedClip) -> float:
    """Average over frames."""
    return _mean(judged(clip)[1])


@metric(
    "confidence.mean",
    "Confidence",
    "0..1",
    "Share of the frames that the confidence promises to be good: its mean over the frames that can be judged.",
    better="neither",
    needs=("track",),
    headline=False,
    over_time=_confidence,
)
def mean(clip: TrackedClip) -> float:
    """Average over frames."""
    return _mean(judged(clip)[0])


@metric(
    "confidence.ece",
    "Calibration error",
    "0..1",
    "Expected calibration error: the mean gap between the confidence and the share of good frames.",
    needs=("track",),
    headline=False,
)
def calibration(clip: TrackedClip) -> float:
    """Compare in bins."""
    confidence, good = judged(clip)
    return Reliability.of(confidence, good).error() if len(good) else float("nan")


@metric(
    "confidence.auroc",
    "Discrimination of the confidence",
    "0..1",
    "Chance that a good frame has more confidence than a bad one.",
    better="higher",
    needs=("track",),
    headline=False,
)
def discrimination(clip: TrackedClip) -> float:
    """Compare all pairs."""
    return auroc(*judged(clip))
