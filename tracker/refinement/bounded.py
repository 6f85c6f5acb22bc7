"""Least squares within bounds."""

from __future__ import annotations

import numpy as np
from scipy.linalg.lapack import dposv

_ROUNDS = 30


def solve_bounded(normal: np.ndarray, right: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Find the x (K,) that minimises x'Nx/2 - b'x with lower <= x <= upper, for a positive definite N (K,K) and b (K,).

    A primal-dual active set: what leaves its bounds is held there, and let go where it would move inwards
    (Hintermueller, Ito, Kunisch 2002). It ends in a few rounds; if it does not, the last answer is clipped.
    """
    # -1 at the lower bound, 1 at the upper one; a step from a bound mostly stays there
    held = np.where(lower >= 0, -1, np.where(upper <= 0, 1, 0)).astype(np.int8)
    x = np.zeros_like(right)
    for _ in range(_ROUNDS):
        free = held == 0
        inner, outer = np.flatnonzero(free), np.flatnonzero(held)
        x[outer] = np.where(held[outer] < 0, lower[outer], upper[outer])
        if len(inner):
            rows = normal[inner]
            _, x[inner], info = dposv(rows[:, inner], right[inner] - rows[:, outer] @ x[outer])
            if info:
                raise np.linalg.LinAlgError("the matrix is not positive definite")
        inwards = right - normal @ x
        now = np.where(
            free,
            np.where(x < lower, -1, np.where(x > upper, 1, 0)),
            np.where(held * inwards < 0, 0, held),
        )
        if (now == held).all():
            break
        held = now.astype(np.int8)
    return x.clip(lower, upper)
