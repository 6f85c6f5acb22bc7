"""The refinement of one clip's or stream's frames, in their order."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from selftrack.tracker.refinement import controls
from selftrack.tracker.refinement.flow import FlowConfig, Followed, View, follow, skin_rows
from selftrack.tracker.refinement.keys import KeyConfig, KeyFollower, KeyFrames, merged
from selftrack.tracker.refinement.observation import Refined
from selftrack.tracker.refinement.refiner import LEAST_SECONDS, STEP, Before, Refiner


@dataclass(frozen=True)
class RecentConfig:
    """Settings of how the skin is followed from a frame some time ago: from frame to frame small errors add up."""

    seconds: float = 0.2
    """How long ago at most; what is nearer counts less, as it says what the frame before says."""
    error: float = 0.004
    """Standard deviation of how far stiff skin is followed from it, in inter-ocular distances."""
    stiff: float = 0.0015
    """Metres by which acts move skin, root mean square over recordings, that counts half: what the head does is seen
    where the face hardly moves, and the rest of it is to follow the acts of the moment."""
    flow: FlowConfig = FlowConfig(window=15)


BESIDE_KEYS = RecentConfig(error=0.0025)
"""Key frames keep a mesh in place that would drift by its own shape's errors, so that skin counts more."""


class _Seen(NamedTuple):
    """A frame from which the skin is followed."""

    time: float
    """Seconds."""
    view: View
    detected: np.ndarray
    """(L,2) pixels."""
    placed: np.ndarray
    """(L,2) the same points of the mesh."""


class Refinement:
    """Refines frames one after the other; all memory is here."""

    def __init__(
        self,
        refiner: Refiner,
        keys: KeyFrames | None = None,
        following: KeyConfig | None = None,
        recent: RecentConfig | None = None,
    ) -> None:
        """`keys` are key frames of the same clip, from which the skin is followed, too, as `following` says."""
        self._refiner, self._recent = refiner, recent or (RecentConfig() if keys is None else BESIDE_KEYS)
        self._stiffness = 1 / (1 + (refiner.motion() / self._recent.stiff) ** 2)
        self._time, self._identity, self._face = -np.inf, np.zeros(0), refiner.mean
        self._skin = skin_rows(len(refiner.mean))
        self._keys = KeyFollower(keys, self._skin, following) if keys is not None and len(self._skin) else None
        self.reset()

    def reset(self) -> None:
        """Forget the frames so far: the next one does not follow them."""
        self._before: Before | None = None
        self._seen: deque[_Seen] = deque()  # the frames of the last moments, without a gap up to the frame before

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
        followed, teeth = self._follow(points, view, time), None if view is None else view.teeth_in_image()
        found = self._refiner(points, network, self._face, before, followed, teeth)
        gaze = found.controls[controls.GAZE]
        if before is not None and self._refiner.visible_gaze(points) < 1:
            gaze = before.gaze
        self._before, self._time = Before(found, 0.0, gaze), time
        if view is None or not len(self._skin):
            self._seen.clear()
        else:
            self._seen.append(_Seen(time, view, points, self._refiner.place(found, self._face)))
        return found

    def _follow(self, points: np.ndarray, view: View | None, time: float) -> Followed | None:
        """Follow the skin to a frame with detected points (L,2): from the frame before, from one some time ago, and
        from key frames."""
        if view is None or not len(self._skin):
            return None
        found, guess, sigma = None, points, self._refiner.config.flow
        if self._seen:
            last = self._seen[-1]
            share = STEP / max(time - last.time, LEAST_SECONDS)  # errors add up in time
            found = self._follow_from(last, points, view, last.placed + points - last.detected, share)
            guess = np.where(found.weight[:, None] > 0, found.points, points)
            earlier = self._earliest(time)
            if earlier is not None:
                share = (sigma / self._recent.error) ** 2 * (time - earlier.time) / self._recent.seconds
                recent = self._follow_from(earlier, points, view, guess, share, self._recent.flow)
                found = merged(found, recent._replace(weight=recent.weight * self._stiffness))
        if self._keys is not None:
            found = merged(found, self._keys(points, view, time, guess, sigma))
        return found

    def _earliest(self, time: float) -> _Seen | None:
        """Find the earliest frame of the last moments; forget those before it."""
        while len(self._seen) > 1 and time - self._seen[0].time > self._recent.seconds + LEAST_SECONDS:
            self._seen.popleft()
        first = self._seen[0]
        return first if time - first.time <= self._recent.seconds + LEAST_SECONDS else None

    def _follow_from(
        self,
        seen: _Seen,
        points: np.ndarray,
        view: View,
        guess: np.ndarray,
        share: float,
        config: FlowConfig | None = None,
    ) -> Followed:
        """Follow the skin from an earlier frame to the one where the points (L,2) were detected; `guess` (L,2) is where
        the mesh's may lie, and `share` how much it counts."""
        rows, target, weight = self._skin, points.copy(), np.zeros(len(points))
        target[rows], weight[rows] = follow(seen.view, view, seen.placed[rows], guess[rows], config)
        return Followed(target, weight * share)
