"""How real faces move: moments of recordings of ARKit's curves. See ASSETS.md for where they are from."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from selftrack.tracker.refinement import controls

ASSET = Path(__file__).parents[1] / "assets" / "motion.npz"
LEAST = 0.1
"""No control's standard deviation is less: recordings hardly move the jaw sideways, people do."""
OWN = 0.03
"""Standard deviation of each control alone, on top of what it shares with others."""
ONE_SIDED = ("browOuterUp", "eyeBlink", "mouthSmile")
"""What people do with one side of the face: recordings of ARKit, which ties both sides, hardly have it."""
SIDED = 0.12
"""Standard deviation of the difference between the sides of these, on top."""
TONGUE = controls.NAMES.index("tongueOut")
"""No point shows it: it goes with nothing else, and so stays near what the network says."""


class Motion(NamedTuple):
    """Moments of the 47 controls, see `controls`; both sides of the face alike."""

    mean: np.ndarray
    """(47,)"""
    deviation: np.ndarray
    """(47,)"""
    correlation: np.ndarray
    """(47,47)"""
    speed: np.ndarray
    """(47,) root mean square, per second."""

    def covariance(self) -> np.ndarray:
        """Compute the covariance (47,47) with no deviation under `LEAST`, and sides that may differ.

        The gaze goes with the rest of the face by the lids alone: where actors look while they raise their brows is
        what their recordings were of. So given the lids the two are independent, and their block of the inverse is 0.
        """
        spread = np.maximum(self.deviation, LEAST)
        spread[TONGUE] = 0
        covariance = self.correlation * np.outer(spread, spread) + np.eye(len(spread)) * OWN**2
        for act in ONE_SIDED:
            sides = [controls.NAMES.index(act + side) for side in ("Left", "Right")]
            covariance[np.ix_(sides, sides)] += SIDED**2 / 4 * np.array([[1, -1], [-1, 1]])
        gaze, lids, others = (np.flatnonzero(part) for part in _parts())
        by_lids = np.linalg.solve(covariance[np.ix_(lids, lids)], covariance[np.ix_(lids, others)])
        shared = covariance[np.ix_(gaze, lids)] @ by_lids
        covariance[np.ix_(gaze, others)], covariance[np.ix_(others, gaze)] = shared, shared.T
        return covariance


def _parts() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tell which controls are the gaze, the lids', and neither (47,) bool each."""
    gaze = np.zeros(controls.COUNT, bool)
    gaze[controls.GAZE] = True
    lids = np.array([name.startswith("eye") for name in controls.NAMES])
    return gaze, lids, ~(gaze | lids)


@cache
def load_motion(path: Path = ASSET) -> Motion:
    """Read the moments."""
    with np.load(path, allow_pickle=False) as data:
        if tuple(data["names"]) != controls.NAMES:
            raise ValueError(f"{path}: moments of other controls; rebuild it with scripts/build_motion.py")
        return Motion(*(data[name].astype(float) for name in Motion._fields))
