"""The face at rest, from some seconds in which it is relaxed: what the curves still read there is the person's own."""

from __future__ import annotations

import numpy as np

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.tracker.frame_result import FrameResult
from selftrack.tracker.refinement.observation import RESTING
from selftrack.tracker.tracker import Tracker

ROUNDS = 2
"""In so many equal parts of the time what the curves still read is added to the rest."""
_OPEN = np.array([not name.startswith("eye") for name in ARKIT_NAMES])
"""(52,) curves that a relaxed face may have: how open the eyes are changes with each blink."""


class Calibration:
    """Finds the rest of a stream's person, once it has begun, over the time in which a face is seen."""

    def __init__(self, tracker: Tracker, seconds: float) -> None:
        """`seconds` of the face are used. The face model must have a rest, see `can_rest`."""
        self._tracker, self._part = tracker, seconds / ROUNDS
        self._rounds = 0
        self._curves: list[np.ndarray] = []
        self._said: list[np.ndarray] = []
        self._seen = 0.0
        self._last: float | None = None

    @property
    def runs(self) -> bool:
        """Whether it is at work."""
        return self._rounds > 0

    def begin(self) -> None:
        """Begin anew: the next seconds show the face at rest."""
        self._tracker.rest_on(np.zeros(len(ARKIT_NAMES), np.float32))
        self._rounds = ROUNDS
        self._next_part()

    def add(self, result: FrameResult) -> bool:
        """Take in the next frame; returns whether that was the last one that was needed."""
        if not self.runs or not result.ok:
            self._last = None  # time without a face does not count
            return False
        self._seen += 0.0 if self._last is None else result.time - self._last
        self._last = result.time
        self._curves.append(np.array([result.curves[name] for name in ARKIT_NAMES]))
        self._said.append(self._tracker.said)
        if self._seen < self._part:
            return False
        # of a median a blink or a word has no part
        left, said = (np.median(values, axis=0) * RESTING * _OPEN for values in (self._curves, self._said))
        self._tracker.rest_on((self._tracker.rest + left).clip(0, 1), said)
        self._rounds -= 1
        self._next_part()
        return not self.runs

    def _next_part(self) -> None:
        self._curves, self._said, self._seen, self._last = [], [], 0.0, None


def can_rest(tracker: Tracker) -> bool:
    """Whether the tracker's face model has a rest of its own to calibrate."""
    return tracker.model.refiner is not None and tracker.model.decoder.has_blendshapes
