"""What is between the lips: teeth that fill the opening are shut, however far the lips are drawn apart.

A detector's points outline lips and chin, and a grin moves both as a jaw does that opens a little. The picture between
the lips tells them apart: teeth are brighter and less red than the lips around them, the hollow behind them is dark.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from torch import Tensor

from selftrack.decoders.landmarks import POINTS

EDGES_OF_LIPS = {
    "upper": (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),
    "lower": (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308),
    "upper_outline": (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
    "lower_outline": (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291),
}
"""Inner edges and outlines of both lips, from the image's left corner of the mouth to the right one."""
UPPER_LIP_MIDDLE, LOWER_LIP_MIDDLE = [82, 13, 312], [87, 14, 317]
"""Points of both edges that lie one above the other."""
_LUMA = np.array([0.299, 0.587, 0.114])

Array = TypeVar("Array", np.ndarray, Tensor)  # the engine's twin measures in torch


@dataclass(frozen=True)
class MouthConfig:
    """Settings of how teeth are seen."""

    middle: tuple[float, float] = (3.0, 7.0)
    """Where along the edges it is looked: between the corners it is dark beside shut teeth, too."""
    columns: int = 17
    rows: int = 25
    """Samples along and across the opening."""
    red: float = 0.7
    """Teeth are brighter than either lip, and less red for their brightness than either by this factor."""
    colourless: float = 0.04
    """Lips less red than this have no colour by which teeth could be told from them."""
    dark: float = 0.8
    """What is less bright than the lips by this factor is the hollow of the mouth, not the lower lip's edge."""
    deep: float = 0.75
    """The gap is as high as in this quantile of the columns."""


class Teeth(NamedTuple):
    """What is seen of them in a frame."""

    share: float = 0.0
    """Of the opening's height that teeth fill."""
    gap: float = 0.0
    """Height of what is seen between the lips and is neither teeth nor lip, pixels of the picture."""
    opening: float = 0.0
    """Height between the lips, pixels of the picture, or of the one that was looked at where that had fewer."""

    def scaled(self, factor: float) -> Teeth:
        """The same in a picture that is larger by a factor, in which no more of the opening has been seen."""
        return Teeth(self.share, self.gap * factor, self.opening * min(factor, 1.0))


def see_teeth(picture: np.ndarray, points: np.ndarray, config: MouthConfig | None = None) -> Teeth:
    """Look between the lips.

    Args:
        picture: (H,W,3) uint8 RGB.
        points: (L,2) detected, its pixels; of 68 points nothing is told.
        config: settings.
    """
    if len(points) != POINTS:
        return Teeth()
    c = config or MouthConfig()
    upper, lower, *outline = (_along(points, edge, c) for edge in EDGES_OF_LIPS.values())
    lips = (np.stack([upper, lower]) + np.stack(outline)) / 2
    between = upper + (lower - upper) * np.linspace(0, 1, c.rows)[:, None, None]
    luma, red = _colour(_sample(picture, between))
    lip_luma, lip_red = (np.median(part, 1) for part in _colour(_sample(picture, lips)))
    limit = c.red * lip_red.min() if lip_red.min() > c.colourless else -np.inf
    teeth = (luma > lip_luma.max()) & (red < limit)
    above, below = np.maximum.accumulate(teeth), np.maximum.accumulate(teeth[::-1])[::-1]
    hollow = ~teeth & ((above & below) | (luma < c.dark * np.median(lip_luma)))
    height = np.linalg.norm(lower - upper, axis=1)
    gap = np.quantile(hollow.mean(0) * height, c.deep)
    return Teeth(float(np.median(teeth.mean(0))), float(gap), float(np.median(height)))


def lip_gap(points: Array) -> Array:
    """Measure the height () between the lips' inner edges in their middle, of points (478,2), in their unit; below 0
    where the edges overlap."""
    across = points[308] - points[78]
    gap = (points[LOWER_LIP_MIDDLE] - points[UPPER_LIP_MIDDLE]).mean(0)
    width = (across * across).sum() ** 0.5
    return (across[0] * gap[1] - across[1] * gap[0]) / width.clip(min=1e-6)


def _along(points: np.ndarray, edge: tuple[int, ...], config: MouthConfig) -> np.ndarray:
    """Places (N,2) in the middle of an edge."""
    at, places = np.linspace(*config.middle, config.columns), points[list(edge)]
    return np.stack([np.interp(at, np.arange(len(edge)), places[:, axis]) for axis in (0, 1)], -1)


def _sample(picture: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The picture (H,W,3) at places (...,2), pixels: (...,3)."""
    x, y = places.astype(np.float32).reshape(1, -1, 2).transpose(2, 0, 1)
    return cv2.remap(picture, x, y, cv2.INTER_LINEAR).reshape(*places.shape[:-1], 3).astype(np.float64)


def _colour(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Brightness, and how red for that, of RGB (...,3)."""
    luma = values @ _LUMA
    return luma, (values[..., 0] - values[..., 1]) / np.maximum(luma, 1.0)
