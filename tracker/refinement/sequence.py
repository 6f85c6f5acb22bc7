"""The refinement of one clip's or stream's frames, in their order."""

from __future__ import annotations

import numpy as np

from selftrack.tracker.refinement import controls
from selftrack.tracker.refinement.refiner import Before, Refined, Refiner


class Refinement:
    """Refines frames one after the other; all memory is here."""

    def __init__(self, refiner: Refiner, inverse_distance: float = 0.0) -> None:
        self._refiner, self._inverse_distance = refiner, inverse_distance
        self._time, self._identity, self._face = -np.inf, np.zeros(0), refiner.mean
        self.reset()

    def reset(self) -> None:
        """Forget the frames so far: the next one does not follow them."""
        self._before: Before | None = None

    def __call__(self, points: np.ndarray, network: Refined, identity: np.ndarray, time: float) -> Refined:
        """Refine the next frame.

        Args:
            points: (L,2) detected, image pixels.
            network: its answer.
            identity: (K,) of the person.
            time: seconds.
        """
        points = points.astype(float)
        if not np.array_equal(identity, self._identity):
            self._identity, self._face = identity.copy(), self._refiner.face(identity)
        before = self._before
        if before is not None:
            before = before._replace(seconds=time - self._time)
        found = self._refiner(points, network, self._face, self._inverse_distance, before)
        gaze = found.controls[controls.GAZE]
        if before is not None and self._refiner.visible_gaze(points) < 1:
            gaze = before.gaze
        self._before, self._time = Before(found, 0.0, gaze), time
        return found
