"""Key frames of the clip that a model was adapted to: the skin of a frame is followed from them, too.

From one frame to the next the skin drifts, and small errors add up. A key frame is a frame of the clip with the mesh as
it was fitted there. A frame that looks like it shows the same skin at the same places of the mesh, however long ago it
was: what the model should look like is what the clip has shown (model-to-observation consistency, Yoon et al. 2019,
Eq. 8), and it is compared by optical flow. A lamp that has moved meanwhile changes the picture by a smooth factor, so
both pictures are divided by their own mean around each pixel first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from selftrack.decoders.landmarks import OUTER_EYE_CORNERS
from selftrack.tracker.geometry import crop as crops
from selftrack.tracker.refinement.flow import Followed, View, follow

_IOD = 80.0  # pixels between the outer eye corners in the crop, of a frontal face
_DARKEST = 8.0  # grey levels below which noise would be made the picture


@dataclass(frozen=True)
class KeyConfig:
    """Settings of how the skin is followed from key frames."""

    nearest: int = 6
    """From so many of them, whose detected points lie most alike."""
    alike: float = 0.1
    """Root mean square, in inter-ocular distances, by which the points of a key frame lie otherwise that counts a
    third."""
    apart: float = 0.2
    """Seconds that these are away at least: a frame says nothing of itself."""
    error: float = 0.002
    """Standard deviation of how far skin is followed from a key frame, in inter-ocular distances."""
    shade: float = 0.1
    """Standard deviation of the window, in inter-ocular distances, over which the mean is taken for light."""
    reach: float = 0.06
    """Inter-ocular distances from where a point should be by the frame before, at which it counts a third."""


class KeyFrames(NamedTuple):
    """K frames with the mesh as it was fitted. Places are image pixels."""

    times: np.ndarray
    """(K,) float64 seconds."""
    grey: np.ndarray
    """(K,256,256) uint8, the crops."""
    transform: np.ndarray
    """(K,2,3) float32, image -> crop."""
    detected: np.ndarray
    """(K,L,2) float32, the detector's points."""
    placed: np.ndarray
    """(K,L,2) float32, the same points of the mesh."""

    def __len__(self) -> int:
        return len(self.times)


class KeyFollower:
    """Follows the skin from key frames."""

    def __init__(self, keys: KeyFrames, rows: np.ndarray, config: KeyConfig | None = None) -> None:
        """`rows` (N,) are those of the points that lie on bare skin."""
        self.keys, self.rows, self.config = keys, rows, config or KeyConfig()
        views = zip(keys.grey, keys.transform.astype(float), strict=True)
        self._views = [self._evened(View(grey, transform)) for grey, transform in views]
        shapes = [_shape(points, view) for points, view in zip(keys.detected, self._views, strict=True)]
        self._shapes = np.array(shapes).reshape(len(keys), -1)

    def __call__(self, points: np.ndarray, view: View, time: float, guess: np.ndarray, sigma: float) -> Followed:
        """Follow the skin to a frame.

        Args:
            points: (L,2) detected there.
            view: its crop.
            time: of it, seconds.
            guess: (L,2) where the mesh's points may lie.
            sigma: standard deviation, in inter-ocular distances, of what has a weight of 1.

        Returns:
            Where the mesh's points should lie, by all key frames that were looked at, and how much that counts.
        """
        c = self.config
        target, weight, view = np.zeros_like(guess), np.zeros(len(guess)), self._evened(view)
        iod = float(np.linalg.norm(points[OUTER_EYE_CORNERS[0]] - points[OUTER_EYE_CORNERS[1]]))
        expected = guess[self.rows]
        for key, likeness in self._alike(points, view, time):
            start = self.keys.placed[key][self.rows].astype(float)
            found, sure = follow(self._views[key], view, start, expected)
            sure = likeness * sure * np.exp(-((np.linalg.norm(found - expected, axis=1) / (c.reach * iod)) ** 2))
            target[self.rows] += sure[:, None] * found
            weight[self.rows] += sure
        target = np.where(weight[:, None] > 0, target / np.maximum(weight, 1e-12)[:, None], guess)
        return Followed(target, weight * (sigma / c.error) ** 2 / c.nearest)

    def _evened(self, view: View) -> View:
        return view._replace(grey=evened(view.grey, self.config.shade * _IOD))

    def _alike(self, points: np.ndarray, view: View, time: float) -> list[tuple[int, float]]:
        """The numbers of the key frames that are most like a frame and not too near in time, and how like they are,
        0..1."""
        c, own = self.config, _shape(points, view)
        apart = np.flatnonzero(np.abs(self.keys.times - time) >= c.apart)
        distance = np.linalg.norm(self._shapes[apart] - own, axis=1) / np.sqrt(len(points))
        order = np.argsort(distance, kind="stable")[: c.nearest]
        likeness = np.exp(-((distance[order] / (c.alike * _IOD)) ** 2))
        return list(zip(apart[order].tolist(), likeness.tolist(), strict=True))


def evened(grey: np.ndarray, deviation: float) -> np.ndarray:
    """Divide a picture (H,W) uint8 by its mean under a Gaussian window, whose standard deviation is in pixels."""
    picture = grey.astype(np.float32) + _DARKEST
    even: np.ndarray = 100.0 * picture / cv2.GaussianBlur(picture, (0, 0), deviation)
    return even.clip(0, 255).astype(np.uint8)


def _shape(points: np.ndarray, view: View) -> np.ndarray:
    """How points (L,2) lie to each other in the crop, (2L,)."""
    inside = crops.apply(view.transform, points.astype(float))
    return (inside - inside.mean(0)).ravel()


def merged(a: Followed | None, b: Followed) -> Followed:
    """What both say, by their weights."""
    if a is None:
        return b
    weight = a.weight + b.weight
    places = a.weight[:, None] * a.points + b.weight[:, None] * b.points
    return Followed(np.where(weight[:, None] > 0, places / np.maximum(weight, 1e-12)[:, None], a.points), weight)
