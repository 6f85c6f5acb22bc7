"""Linear algebra of a fixed number of steps against NumPy's and SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import lsq_linear

from selftrack.tracker.engine.linear import BoundedSolver, inverse


@pytest.mark.parametrize("condition", [1.0, 30.0, 1000.0])
def test_the_inverse_of_matrices_in_any_units(condition: float) -> None:
    rng = np.random.default_rng(0)
    turn, _ = np.linalg.qr(rng.normal(size=(53, 53)))
    matrix = turn @ np.diag(np.geomspace(1, condition, 53)) @ turn.T
    units = np.diag(10.0 ** rng.uniform(-4, 4, 53))
    found = inverse(torch.from_numpy(units @ matrix @ units)).numpy()
    np.testing.assert_allclose(units @ found @ units, np.linalg.inv(matrix), atol=1e-6)


def test_in_single_precision_the_inverse_is_as_good_as_a_solver_s() -> None:
    rng = np.random.default_rng(1)
    a = rng.normal(size=(70, 53)).astype(np.float32)
    matrix, right = a.T @ a, rng.normal(size=53).astype(np.float32)
    exact = np.linalg.solve(matrix.astype(float), right)
    found = inverse(torch.from_numpy(matrix)).numpy() @ right
    assert np.abs(found - exact).max() < 4 * np.abs(np.linalg.solve(matrix, right) - exact).max() + 1e-6


@pytest.mark.parametrize("seed", range(8))
def test_the_minimum_within_bounds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(80, 30)) @ np.diag(rng.uniform(0.3, 3, 30)), rng.normal(size=80) * 3
    lower, upper = -rng.uniform(0, 0.3, 30), rng.uniform(0, 0.3, 30)
    expected = lsq_linear(a, b, (lower, upper), tol=1e-12).x
    problem = (torch.from_numpy(x) for x in (a.T @ a, a.T @ b, lower, upper))
    np.testing.assert_allclose(BoundedSolver(*problem).solve(8), expected, atol=1e-6)


def test_other_bounds_are_solved_from_where_it_is() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(80, 30)), rng.normal(size=80) * 3
    lower, upper = -rng.uniform(0, 0.3, 30), rng.uniform(0, 0.3, 30)
    closer = np.where(np.arange(30) < 5, 1e-3, upper)
    expected = lsq_linear(a, b, (lower, closer), tol=1e-12).x
    solver = BoundedSolver(*(torch.from_numpy(x) for x in (a.T @ a, a.T @ b, lower, upper)))
    solver.solve(8)
    np.testing.assert_allclose(solver.solve(5, torch.from_numpy(closer)), expected, atol=1e-6)
