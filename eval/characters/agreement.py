"""How sliders that were found agree with true ones, and how far their deviations are true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from selftrack.decoders.makehuman.sliders import Sliders, population
from selftrack.eval.characters.people import Drawn
from selftrack.tracker.makehuman.character import SEEN
from selftrack.tracker.makehuman.fit import Fitted, ShapeEvidence, fit_sliders, of_points
from selftrack.tracker.makehuman.reading import MANY, Reading, ShapeCodes, evidence_of

_NOISE = 0.01
"""Error of true points, in distances of the eyes' outer corners."""


@dataclass(frozen=True)
class Agreement:
    """How N people's sliders agree with what was found."""

    within: float
    """Share of the true values within one deviation; 0.68 of errors as they are said."""
    explained: float
    """Share of the sliders' variance that is explained."""
    seen: float
    """Mean number of sliders that were seen."""
    explained_seen: float
    """Share of their variance that is explained."""


def agreement(true: np.ndarray, fitted: Sequence[Fitted]) -> Agreement:
    """Compare true sliders (N,K) with those that were found."""
    values, deviations = np.array([one.values for one in fitted]), np.array([one.deviations for one in fitted])
    off, away = (true - values) ** 2, (true - population()[0]) ** 2
    seen = deviations < SEEN * np.sqrt(population()[1].diagonal())
    explained = 1 - off[seen].sum() / away[seen].sum() if seen.any() else float("nan")
    return Agreement(
        float((off < deviations**2).mean()), float(1 - off.sum() / away.sum()), float(seen.sum(1).mean()), explained
    )


def read_again(people: Sequence[Drawn], sliders: Sliders, codes: ShapeCodes) -> dict[str, list[Fitted]]:
    """Find the sliders of drawn people from true points, one picture and many."""
    alone, together = (Reading.load(pictures, drawn=True) for pictures in (1, MANY))
    found: dict[str, list[Fitted]] = {name: [] for name in ("true points", "one picture", f"{MANY} pictures")}
    rng = np.random.default_rng(0)
    for one in people:
        found["true points"].append(fit_sliders(sliders, true_points(sliders, codes, one.sliders, rng)))
        found["one picture"].append(fit_sliders(sliders, evidence_of(one.single[0], alone, codes, sliders)))
        found[f"{MANY} pictures"].append(fit_sliders(sliders, evidence_of(one.many, together, codes, sliders)))
    return found


def true_points(sliders: Sliders, codes: ShapeCodes, values: np.ndarray, rng: np.random.Generator) -> ShapeEvidence:
    """Tell what the detector's points of a head by sliders (K,) say, where each has an error of `_NOISE`."""
    deviation = _NOISE * codes.iod
    points = codes.points(sliders.vertices(values))
    seen = points + rng.normal(0, deviation, points.shape)
    return of_points(seen, codes.points(sliders.base), codes.points(sliders.targets), deviation)
