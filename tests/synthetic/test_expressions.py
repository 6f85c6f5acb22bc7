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
    # both eyes look at one point: they may converge, never diverge
    left, right = (e[:, i("eyeLookOut" + side)] - e[:, i("eyeLookIn" + side)] for side in ("Left", "Right"))
    assert (left + right).max() < 1e-6 and (left + right).min() < -0.3
