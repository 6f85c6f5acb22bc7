"""What curves mean: tracked curves against true ones, curve by curve. Sums that merge by `+` over clips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from selftrack.decoders.arkit import ARKIT_NAMES

MOVES = 0.3
"""A curve whose truth exceeds this is judged."""
REST = 0.05
"""A true value up to this is rest."""
GOOD_GAIN = (0.75, 1.25)
PAIRS = {"blink": "eyeBlink", "smile": "mouthSmile", "brow": "browOuterUp"}
"""Curves whose sides are compared, by what they are called."""


@dataclass(frozen=True)
class CurveSums:
    """Sufficient statistics of true curves x and tracked ones y over frames, each (52,) or (52,52)."""

    count: float
    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    """(52,52) of x_i x_j."""
    xy: np.ndarray
    """(52,52) of x_i y_j."""
    yy: np.ndarray
    """(52,52)."""
    highest: np.ndarray
    """(52,) the largest true value."""
    rest_count: np.ndarray
    """(52,) frames in which the curve rests."""
    rest_off: np.ndarray
    """(52,) sum of y - x over them."""

    @classmethod
    def of(cls, true: np.ndarray, tracked: np.ndarray) -> Self:
        """Sum up curves (T,52) in the order of `ARKIT_NAMES`."""
        assert true.shape == tracked.shape and true.shape[1] == len(ARKIT_NAMES), f"{true.shape}, {tracked.shape}"
        x, y = true.astype(float), tracked.astype(float)
        rest = x <= REST
        highest = x.max(0, initial=0)
        return cls(len(x), x.sum(0), y.sum(0), x.T @ x, x.T @ y, y.T @ y, highest, rest.sum(0), ((y - x) * rest).sum(0))

    def __add__(self, other: Self) -> Self:
        """Join the frames of both."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in vars(self)}
        return type(self)(**sums | {"highest": np.maximum(self.highest, other.highest)})

    @property
    def moving(self) -> np.ndarray:
        """(52,) bool, the curves that are judged."""
        return self.highest > MOVES

    def covariance(self, a: str, b: str) -> np.ndarray:
        """Covariance (52,52) of x or y with x or y."""
        first, second = getattr(self, a), getattr(self, b)
        return getattr(self, a + b) / self.count - np.outer(first, second) / self.count**2

    def correlation(self) -> np.ndarray:
        """r (52,) of each curve with its truth; NaN where either stands still."""
        over = self.covariance("x", "y").diagonal()
        under = np.sqrt(self.covariance("x", "x").diagonal() * self.covariance("y", "y").diagonal())
        return _divide(over, under)

    def gain(self) -> np.ndarray:
        """Slope (52,) of the regression of each curve on its truth: 1 is full strength."""
        return _divide(self.covariance("x", "y").diagonal(), self.covariance("x", "x").diagonal())

    def rest_offset(self) -> np.ndarray:
        """Mean (52,) of tracked minus true values where the curve rests."""
        return _divide(self.rest_off, self.rest_count.astype(float))

    def cross_talk(self, ridge: float = 1e-3) -> np.ndarray:
        """(52,52): by how much a unit of the true curve i moves the tracked curve j, the other true ones held, by ridge
        regression."""
        own = self.covariance("x", "x")
        return np.linalg.solve(own + ridge * np.eye(len(own)), self.covariance("x", "y"))

    def side_correlation(self) -> dict[str, float]:
        """r of left minus right with its truth, by what the curves are called."""
        found = {}
        for called, name in PAIRS.items():
            d = np.zeros(len(ARKIT_NAMES))
            d[[ARKIT_NAMES.index(name + "Left"), ARKIT_NAMES.index(name + "Right")]] = 1, -1
            over, xx, yy = (d @ self.covariance(*pair) @ d for pair in ("xy", "xx", "yy"))
            found[called] = float(_divide(np.array(over), np.array(np.sqrt(xx * yy))))
        return found


def summary(sums: CurveSums, known: np.ndarray) -> dict[str, float]:
    """Sum up the curves that move and that the rig knows (52,) bool."""
    judged = sums.moving & known
    low, high = GOOD_GAIN
    gain, r = sums.gain()[judged], sums.correlation()[judged]
    return {
        "curves": int(judged.sum()),
        "r": float(np.nan_to_num(r).mean()) if len(r) else float("nan"),
        "gain": float(np.median(gain)) if len(gain) else float("nan"),
        "full_strength": float(((gain >= low) & (gain <= high)).mean()) if len(gain) else float("nan"),
        "rest_offset": float(np.nanmean(np.abs(sums.rest_offset()[known]))) if known.any() else float("nan"),
    } | {f"sides_{called}": r for called, r in sums.side_correlation().items()}


def _divide(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    return np.divide(over, under, out=np.full(np.shape(over), np.nan), where=under > 1e-12)
