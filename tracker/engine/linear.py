"""Linear algebra of a fixed number of steps, out of matrix products alone: engines have no LAPACK, and no loops.

The matrices here are the normal equations of least squares with a prior, so that they are positive definite and, scaled
to a diagonal of ones, well conditioned.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_CONDITION = 4000.0
"""The largest eigenvalue, or what is known of it, over the smallest, up to which an inverse is one."""
_AT_BOUND = 1e-6  # what is so near to a bound lies on it


def _factors(condition: float) -> list[float]:
    """What each step of Newton's iteration is multiplied by, until the inverse is one to single precision.

    The eigenvalues of X N, in least..1 at first, are brought about 1 before each step, which brings them nearer to it:
    the least one becomes four times as large, where without that it would double.
    """
    least, factors = 1 / condition, []
    while least < 1 - 1e-7:
        factors.append(2 / (1 + least))
        least = 4 * least / (1 + least) ** 2
    return factors


_FACTORS = _factors(_CONDITION)


def constant(values: np.ndarray, like: Tensor) -> Tensor:
    """An array as a tensor like another one: a tensor that torch itself makes would become an operator of the file."""
    return torch.from_numpy(values).to(like)


def unit_matrix(size: int, like: Tensor) -> Tensor:
    """The identity matrix (size,size), see `constant`."""
    return constant(np.eye(size), like)


def diagonal(matrix: Tensor) -> Tensor:
    """The diagonal (K,) of a matrix (K,K)."""
    return (matrix * unit_matrix(len(matrix), matrix)).sum(1)


def spread(values: Tensor) -> Tensor:
    """The matrix (K,K) that has values (K,) on its diagonal and is 0 elsewhere."""
    return unit_matrix(len(values), values) * values


def inverse(matrix: Tensor) -> Tensor:
    """Invert a positive definite matrix (K,K) by Newton's iteration X <- X (2 - N X) (Schulz 1933)."""
    scale = diagonal(matrix).rsqrt()
    scaled = scale[:, None] * matrix * scale
    return scale[:, None] * _inverse_of_scaled(scaled, _largest(scaled)) * scale


def _largest(matrix: Tensor) -> Tensor:
    """A number () that no eigenvalue of a matrix (K,K) exceeds."""
    return matrix.abs().sum(1).amax()


def _inverse_of_scaled(matrix: Tensor, largest: Tensor) -> Tensor:
    """Invert a positive definite matrix (K,K) whose eigenvalues are not over `largest` ()."""
    one, first = unit_matrix(len(matrix), matrix), _FACTORS[0] / largest
    x = first * (2 * one - first * matrix)
    for factor in _FACTORS[1:]:
        x = x @ torch.addmm(one, matrix, x, beta=2 * factor, alpha=-(factor**2))
    return x


class BoundedSolver:
    """Finds the x (K,) that minimises x'Nx/2 - b'x within bounds; see `refinement.bounded.solve_bounded`.

    It is the same active set, with a fixed number of rounds: the minimum is one alone, so that it does not matter on
    which way it was found.
    """

    def __init__(self, normal: Tensor, right: Tensor, lower: Tensor, upper: Tensor) -> None:
        """Of N (K,K), positive definite, and b, and bounds (K,)."""
        self._scale = diagonal(normal).rsqrt()  # of x, so that N has a diagonal of ones
        self._normal = self._scale[:, None] * normal * self._scale
        self._right = self._scale * right
        self._largest = _largest(self._normal).clamp(min=1)  # of a part of it, too
        self._lower, self._upper = lower / self._scale, upper / self._scale
        one = constant(np.ones(len(right)), right)
        self._held = torch.where(lower >= -_AT_BOUND, -one, torch.where(upper <= _AT_BOUND, one, 0 * one))
        """-1 at the lower bound, 1 at the upper one, 0 free."""

    def solve(self, rounds: int, upper: Tensor | None = None) -> Tensor:
        """Go on from what was held last, with other upper bounds (K,) where there are such; returns x (K,)."""
        high = self._upper if upper is None else upper / self._scale
        one = constant(np.ones(len(high)), high)
        self._held, x = torch.where(high < self._upper, one, self._held), 0 * one
        for _ in range(rounds):
            held = self._held
            free = 1 - held.abs()
            fixed = torch.where(held < 0, self._lower, torch.where(held > 0, high, 0 * high))
            inner = self._normal * (free[:, None] * free) + spread(1 - free)
            x = fixed + free * (
                _inverse_of_scaled(inner, self._largest) @ (free * (self._right - self._normal @ fixed))
            )
            inwards = held * (self._right - self._normal @ x)
            moved = torch.where(x < self._lower, -one, torch.where(x > high, one, 0 * one))
            self._held = torch.where(free > 0, moved, torch.where(inwards < 0, 0 * one, held))
        return self._scale * torch.minimum(torch.maximum(x, self._lower), high)
