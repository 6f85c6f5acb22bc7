"""The refinement of one clip's or stream's frames, in their order."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from selftrack.tracker.refinement import controls
from selftrack.tracker.refinement.flow import Followed, View, follow, skin_rows
from selftrack.tracker.refinement.keys import KeyFollower, KeyFrames, merged
from selftrack.tracker.refinement.refiner import LEAST_SECONDS, STEP, Before, Refined, Refiner


class _Seen(NamedTuple):
    """The frame before, from which the skin is followed."""

    view: View
    detected: np.ndarray
    """(L,2) pixels."""
    placed: np.ndarray
    """(L,2) the same points of the mesh."""


class Refinement:
    """Refines frames one after the other; all memory is here."""

    def __init__(self, refiner: Refiner, keys: KeyFrames | None = None) -> None:
        """`keys` are key frames of the same clip, from which the skin is followed, too."""
        self._refiner = refiner
        self._time, self._identity, self._face = -np.inf, np.zeros(0), refiner.mean
        self._skin = skin_rows(len(refiner.mean))
        self._keys = KeyFollower(keys, self._skin) if keys is not None and len(self._skin) else None
        self.reset()

    def reset(self) -> None:
        """Forget the frames so far: the next one does not follow them."""
        self._before: Before | None = None
        self._seen: _Seen | None = None

    def __call__(
        self, points: np.ndarray, network: Refined, identity: np.ndarray, time: float, view: View | None = None
    ) -> Refined:
        """Refine the next frame.

        Args:
            points: (L,2) detected, image pixels.
            network: its answer.
            identity: (K,) of the person.
            time: seconds.
            view: the crop, in which the skin is followed.
        """
        points = points.astype(float)
        if not np.array_equal(identity, self._identity):
            self._identity, self._face = identity.copy(), self._refiner.face(identity)
        before = self._before
        if before is not None:
            before = before._replace(seconds=time - self._time)
        found = self._refiner(points, network, self._face, before, self._follow(points, view, time))
        gaze = found.controls[controls.GAZE]
        if before is not None and self._refiner.visible_gaze(points) < 1:
            gaze = before.gaze
        self._before, self._time = Before(found, 0.0, gaze), time
        self._seen = None if view is None else _Seen(view, points, self._refiner.place(found, self._face))
        return found

    def _follow(self, points: np.ndarray, view: View | None, time: float) -> Followed | None:
        """Follow the skin to a frame with detected points (L,2), from the frame before and from key frames."""
        if view is None:
            return None
        near = self._follow_last(points, view, time)
        if self._keys is None:
            return near
        guess = points if near is None else np.where(near.weight[:, None] > 0, near.points, points)
        return merged(near, self._keys(points, view, time, guess, self._refiner.config.flow))

    def _follow_last(self, points: np.ndarray, view: View, time: float) -> Followed | None:
        """Follow the skin from the frame before; it counts less the longer ago that was, as errors add up in time."""
        seen, rows = self._seen, self._skin
        if seen is None or not len(rows):
            return None
        start = seen.placed[rows]
        target, weight = points.copy(), np.zeros(len(points))
        target[rows], weight[rows] = follow(seen.view, view, start, start + points[rows] - seen.detected[rows])
        return Followed(target, weight * STEP / max(time - self._time, LEAST_SECONDS))
