"""Random expressions are plausible."""

from __future__ import annotations

import numpy as np

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.synthetic.expressions import sample_expression


def test_expressions_are_in_range_and_varied() -> None:
    rng = np.random.default_rng(0)
    e = np.stack([sample_expression(rng) for _ in range(2000)])
    assert e.min() >= 0 and e.max() <= 1
    assert ((e > 0.15).mean(0) > 0.002).all(), "every curve is used"
    i = ARKIT_NAMES.index
    assert (e[:, i("mouthClose")] <= e[:, i("jawOpen")] + 1e-6).all()
    assert (np.minimum(e[:, i("eyeLookUpLeft")], e[:, i("eyeLookDownLeft")]) == 0).all()
    # both eyes look the same way
    assert np.allclose(e[:, i("eyeLookOutLeft")], e[:, i("eyeLookInRight")], atol=1e-6)
