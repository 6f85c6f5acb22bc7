"""What a face does at one moment, as it is sent: of a tracked frame, or of one without a face."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from selftrack.tracker.frame_result import FrameResult


@dataclass(frozen=True)
class Performance:
    """One frame for the senders. Where no face was found (ok False), the values are those of the last with one."""

    index: int
    """Counted from 0."""
    time: float
    """Seconds of the stream."""
    moment: float
    """When the frame was taken, seconds of the Unix epoch."""
    ok: bool
    """Whether a face was found."""
    confidence: float
    """See `FrameResult.confidence`."""
    curves: dict[str, float]
    """The animation curves by name, 0..1."""
    pose: dict[str, float]
    """yaw, pitch, roll (degrees), scale (pixels per metre), tx, ty (pixels), as of `Track.pose`."""

    @classmethod
    def of(cls, result: FrameResult, moment: float) -> Self:
        """What a tracked frame shows."""
        f, rx, ry, rz, tx, ty = result.H_image.astype(float).tolist()
        pitch, yaw, roll = np.degrees([rx, ry, rz]).tolist()
        pose = {"yaw": yaw, "pitch": pitch, "roll": roll, "scale": float(np.exp(f)), "tx": tx, "ty": ty}
        return cls(result.index, result.time, moment, result.ok, result.confidence, result.curves, pose)

    def without_face(self, seconds: float) -> Self:
        """The state some seconds later, when nothing is seen."""
        return replace(self, time=self.time + seconds, moment=self.moment + seconds, ok=False, confidence=0.0)
