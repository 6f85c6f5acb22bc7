"""Frames in which a tracker has no face."""

from __future__ import annotations

from selftrack.eval.metrics.registry import metric
from selftrack.eval.metrics.subject import TrackedClip


@metric("lost", "Lost frames", "frames", "Number of frames in which the tracker has no face.")
def lost(clip: TrackedClip) -> float:
    """Count the frames."""
    return clip.lost
