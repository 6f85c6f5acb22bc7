"""How sliders that are found agree with true ones."""

import numpy as np
import pytest

from selftrack.decoders.makehuman.sliders import SLIDERS, population
from selftrack.eval.characters.agreement import agreement
from selftrack.tracker.makehuman.fit import Fitted


def test_agreement_of_errors_as_they_are_said() -> None:
    rng = np.random.default_rng(2)
    mean, covariance = population()
    true = rng.multivariate_normal(mean, covariance, 400)
    half = 0.5 * covariance
    errors = rng.multivariate_normal(np.zeros(len(SLIDERS)), half, 400)
    found = agreement(true, [Fitted(value, half) for value in true + errors])
    assert found.within == pytest.approx(0.683, abs=0.01)
    assert found.explained == pytest.approx(0.5, abs=0.02)
    assert found.seen == len(SLIDERS)
