"""How pictures tell of people's shapes: what `tracker/assets/makehuman.npz` has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import brentq

from selftrack.decoders.makehuman.sliders import Sliders
from selftrack.errors import UserError
from selftrack.eval.characters.people import SINGLE, Drawn, Real
from selftrack.io import atomic_path
from selftrack.tracker.makehuman.reading import FACTOR, MANY, PARTS, Reading, ShapeCodes

_LEAST_REAL = 2
_RIDGES = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
_SHRINK = 0.2
"""By how much the covariance of errors is drawn to its diagonal."""


def measure(true: np.ndarray, tracked: np.ndarray) -> Reading:
    """Measure how tracked shapes tell of true ones, both (M,N) codes: least squares, drawn to one gain for all codes
    by as much as people left out are told of best."""
    offsets = true.mean(0), tracked.mean(0)
    x, y = true - offsets[0], tracked - offsets[1]
    usual = (x * y).sum() / (x**2).sum() * np.eye(x.shape[1])

    def fitted(ridge: float) -> tuple[np.ndarray, np.ndarray]:
        """The gain, and the errors of each person by a gain that is measured without."""
        inverse = np.linalg.inv(x.T @ x + ridge * np.eye(x.shape[1]))
        gain = (y.T @ x + ridge * usual) @ inverse
        share = np.einsum("mi,ij,mj->m", x, inverse, x) + 1 / len(x)
        return gain, (y - x @ gain.T) / (1 - share)[:, None]

    gain, errors = min((fitted(ridge) for ridge in _RIDGES), key=lambda found: float((found[1] ** 2).sum()))
    covariance = errors.T @ errors / len(errors)
    covariance += _SHRINK * (np.diag(covariance.diagonal()) - covariance)
    return Reading(gain, offsets[1] - gain @ offsets[0], covariance)


def check_real(seen: Sequence[Real]) -> None:
    """Make sure that there are real people enough to differ from each other. Raises UserError where there are not."""
    many = sum(one.many is not None for one in seen)
    if many < _LEAST_REAL:
        raise UserError(
            f"--real: {many} of {len(seen)} people are seen in {MANY} frames or more; it takes {_LEAST_REAL} to tell "
            "how real people differ; name more clips"
        )


def save_readings(
    people: Sequence[Drawn], real: Sequence[Real], sliders: Sliders, codes: ShapeCodes, path: Path
) -> None:
    """Measure how one picture and many tell of people's shapes, and write the asset."""
    base, targets = codes.of_sliders(sliders)
    true = np.array([base + sliders.weights(one.sliders) @ targets for one in people])
    one = measure(np.repeat(true, len(SINGLE), axis=0), np.concatenate([one.single for one in people]))
    many = measure(true, np.array([one.many for one in people]))
    real_one = np.array([one.single.mean(0) for one in real])
    real_many = np.array([one.many for one in real if one.many is not None])
    arrays: dict[str, Any] = {
        f"{of}_{part}": np.asarray(value, np.float32)
        for of, reading, tracked in (("one", one, real_one), ("many", many, real_many))
        for part, value in zip(PARTS, (*vars(reading).values(), shift(reading, true, tracked)), strict=True)
    }
    arrays[FACTOR] = np.float32(larger(many, true, real_many))
    with atomic_path(path) as part:
        np.savez_compressed(part, **arrays)


def shift(reading: Reading, true: np.ndarray, tracked: np.ndarray) -> np.ndarray:
    """Measure by how much (N,) real people are tracked elsewhere than drawn ones, where the average real person is
    taken for the average drawn one.

    Args:
        reading: of drawn people.
        true: (M,N) codes of drawn people.
        tracked: (P,N) identities of real ones.
    """
    return tracked.mean(0) - (reading.gain @ true.mean(0) + reading.offset)


def larger(reading: Reading, true: np.ndarray, tracked: np.ndarray) -> float:
    """Measure how many times larger the errors of real people are than those of drawn ones: so that each real person is
    as far from the average of the others as their shapes and errors say, in the mean.

    Args are those of `shift`; two real people at least.
    """
    count = len(tracked)
    shapes = reading.gain @ np.cov(true.T) @ reading.gain.T
    away = (tracked - tracked.mean(0)) * count / (count - 1)

    def excess(factor: float) -> float:
        usual = (shapes + factor * reading.covariance) * count / (count - 1)
        return float(np.einsum("pn,pn->", away, np.linalg.solve(usual, away.T).T)) / away.size - 1

    return float(brentq(excess, 1.0, 100.0)) if excess(1.0) > 0 else 1.0
