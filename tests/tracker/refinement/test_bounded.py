"""Bounded least squares against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from selftrack.tracker.refinement.bounded import solve_bounded


@pytest.mark.parametrize("seed", range(8))
def test_the_minimum_within_bounds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(80, 30)) @ np.diag(rng.uniform(0.3, 3, 30)), rng.normal(size=80) * 3
    lower, upper = -rng.uniform(0, 0.3, 30), rng.uniform(0, 0.3, 30)
    expected = lsq_linear(a, b, (lower, upper), tol=1e-12).x
    found = solve_bounded(a.T @ a, a.T @ b, lower, upper)
    assert (found >= lower).all() and (found <= upper).all()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    for near in (found, lower, rng.uniform(lower, upper)):  # wherever the search begins
        np.testing.assert_allclose(solve_bounded(a.T @ a, a.T @ b, lower, upper, near), found, atol=1e-12)


def test_without_active_bounds_it_is_the_solution() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(20, 6))
    normal, right = a.T @ a, rng.normal(size=6)
    wide = np.full(6, 1e9)
    np.testing.assert_allclose(solve_bounded(normal, right, -wide, wide), np.linalg.solve(normal, right), rtol=1e-9)


def test_all_at_their_bounds() -> None:
    found = solve_bounded(np.eye(3), np.array([5.0, -5.0, 5.0]), np.zeros(3), np.ones(3))
    np.testing.assert_array_equal(found, [1, 0, 1])


def test_what_is_no_number_has_no_answer() -> None:
    """It would go on into the curves."""
    with pytest.raises(np.linalg.LinAlgError, match="finite"):
        solve_bounded(np.eye(2), np.array([np.nan, 1.0]), -np.ones(2), np.ones(2))
