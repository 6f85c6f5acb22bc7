"""Figures of calibration against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from selftrack.eval.metrics.calibration import Reliability, auroc


def test_calibration_error_is_the_gap_between_given_and_right() -> None:
    given = np.array([0.05] * 10 + [0.75] * 30)
    good = np.array([True] * 2 + [False] * 8 + [True] * 15 + [False] * 15)
    reliability = Reliability.of(given, good)
    assert reliability.count.tolist() == [10, 0, 0, 0, 0, 0, 0, 30, 0, 0]
    assert reliability.right[[0, 7]] == pytest.approx([0.2, 0.5])
    assert reliability.error() == pytest.approx((10 * 0.15 + 30 * 0.25) / 40)
    assert Reliability.of(np.ones(4), np.ones(4, bool)).error() == 0


def test_auroc_counts_pairs() -> None:
    rng = np.random.default_rng(0)
    given, good = rng.integers(0, 6, 60) / 6, rng.random(60) < 0.4
    pairs = given[good][:, None] - given[~good][None]
    assert auroc(given, good) == pytest.approx((pairs > 0).mean() + 0.5 * (pairs == 0).mean())
    assert auroc(np.arange(4), np.array([False, False, True, True])) == 1
    assert np.isnan(auroc(np.arange(3), np.ones(3, bool)))
