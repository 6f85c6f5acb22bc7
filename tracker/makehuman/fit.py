"""The sliders that explain what is known of a head's shape best, and how sure each of them is.

What is known are D numbers that are linear in the targets, with a precision: points, or a tracked identity.
Gauss-Newton steps within the sliders' ends minimise

    (known - said(values))' precision (known - said(values)) + (values - mean)' population^-1 (values - mean)

and the inverse of the last normal equations is the posterior covariance. A slider that nothing is known of keeps the
population's mean and deviation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from selftrack.decoders.makehuman.sliders import Sliders, population
from selftrack.tracker.refinement.bounded import solve_bounded

_STEPS = 20
_STILL = 1e-6
"""Change of the sliders below which no further step is taken."""
_SHORTEST = 1 / 64
"""Share of a step: where a slider changes its end, a whole one may lead too far."""


@dataclass(frozen=True)
class ShapeEvidence:
    """What is known of a head's shape."""

    known: np.ndarray
    """(D,)"""
    precision: np.ndarray
    """(D,D) inverse covariance of its errors; 0 along what is not known."""
    base: np.ndarray
    """(D,) what MakeHuman's base mesh says there."""
    targets: np.ndarray
    """(T,D) what each target adds at 1."""


class Fitted(NamedTuple):
    """The sliders found."""

    values: np.ndarray
    """(K,) within their ends."""
    covariance: np.ndarray
    """(K,K) of the posterior, as if there were no ends."""

    @property
    def deviations(self) -> np.ndarray:
        """(K,) standard deviations."""
        return np.sqrt(self.covariance.diagonal())


def fit_sliders(sliders: Sliders, evidence: ShapeEvidence) -> Fitted:
    """Find the sliders of a head."""
    mean, covariance = population()
    prior = np.linalg.inv(covariance)

    def off(values: np.ndarray) -> np.ndarray:
        return evidence.known - evidence.base - sliders.weights(values) @ evidence.targets

    def cost(values: np.ndarray) -> float:
        left, away = off(values), values - mean
        return float(left @ evidence.precision @ left + away @ prior @ away)

    def normal(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        slopes = sliders.slopes(values) @ evidence.targets
        weighed = slopes @ evidence.precision
        return weighed @ slopes.T + prior, weighed @ off(values) - prior @ (values - mean)

    values = mean.clip(sliders.low, sliders.high)
    for _ in range(_STEPS):
        matrix, right = normal(values)
        step = solve_bounded(matrix, right, sliders.low - values, sliders.high - values)
        share, least = 1.0, cost(values)
        while cost(values + share * step) > least and share > _SHORTEST:
            share /= 2
        if cost(values + share * step) > least:
            break
        values = values + share * step
        if np.abs(share * step).max() < _STILL:
            break
    return Fitted(values, np.linalg.inv(normal(values)[0]))


def of_points(points: np.ndarray, base: np.ndarray, targets: np.ndarray, deviation: float) -> ShapeEvidence:
    """Tell what points of a head say whose place, turn and size are not known.

    Args:
        points: (L,3) metres, head frame, about as large as the average head.
        base: (L,3) the same of MakeHuman's base mesh.
        targets: (T,L,3) what each target moves them by.
        deviation: standard deviation of each coordinate, metres.
    """
    # around the base, not around the points: else a smaller head would have smaller errors
    unit, _ = np.linalg.qr(similarities(base).reshape(7, -1).T)
    precision = (np.eye(points.size) - unit @ unit.T) / deviation**2
    return ShapeEvidence(points.ravel(), precision, base.ravel(), targets.reshape(len(targets), -1))


def similarities(points: np.ndarray) -> np.ndarray:
    """Compute how points (L,3) move under small shifts, turns and a change of size (7,L,3)."""
    shifts = np.broadcast_to(np.eye(3)[:, None], (3, *points.shape))
    turns = [np.cross(axis, points) for axis in np.eye(3)]
    return np.concatenate([shifts, turns, (points - points.mean(0))[None]])
