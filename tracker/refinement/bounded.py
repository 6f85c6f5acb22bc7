"""Least squares within bounds."""

from __future__ import annotations

import numpy as np

_ROUNDS = 30


def solve_bounded(
    normal: np.ndarray, right: np.ndarray, lower: np.ndarray, upper: np.ndarray, near: np.ndarray | float = 0.0
) -> np.ndarray:
    """Find the x (K,) that minimises x'Nx/2 - b'x with lower <= x <= upper, for a positive definite N (K,K) and b (K,).

    A primal-dual active set: what leaves its bounds is held there, and let go where it would move inwards
    (Hintermueller, Ito, Kunisch 2002). It ends in a few rounds, the fewer the nearer x is to `near`, as a step from a
    bound mostly stays there; if it does not, the last answer is clipped.

    Raises:
        LinAlgError: N is singular, or a number is none.
    """
    held = _beyond(near, lower, upper)
    for _ in range(_ROUNDS):
        free = held == 0
        inner = free.nonzero()[0]
        x = np.where(free, 0.0, np.where(held < 0, lower, upper))
        if len(inner):
            rows = normal[inner]
            x[inner] = np.linalg.solve(rows[:, inner], right[inner] - rows @ x)
        inwards = held * (right - normal @ x) < 0
        now = np.where(free, _beyond(x, lower, upper), held * ~inwards)
        if (now == held).all():
            break
        held = now
    if not np.isfinite(x).all():
        raise np.linalg.LinAlgError("the least squares have no finite answer")
    return x.clip(lower, upper)


def _beyond(x: np.ndarray | float, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Tell whether each x (K,) is at the lower bound or below it (-1), at the upper one or above it (1), or neither."""
    return np.where(x <= lower, -1, np.where(x >= upper, 1, 0))
