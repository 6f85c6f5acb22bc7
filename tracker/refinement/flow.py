"""Where the skin has gone since the frame before, by optical flow: a detector's points slide over it, pixels do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np

from selftrack.decoders.landmarks import (
    BROWS,
    EYE_CONTOURS,
    FACE_OVAL,
    INNER_LIP_CONTOUR,
    IRISES,
    LIPS,
    MIRRORED,
    POINTS,
)
from selftrack.tracker.geometry import crop as crops
from selftrack.tracker.refinement.mouth import Teeth, see_teeth


@dataclass(frozen=True)
class FlowConfig:
    """Settings of how skin is followed."""

    window: int = 9
    """Side of the patches in pixels of the crop."""
    levels: int = 2
    """Of the image pyramid, on top of the crop itself."""
    steps: int = 10
    """Iterations at most per level."""
    agree: float = 0.5
    """A point that returns to this far from its beginning, in pixels of the crop, counts a third."""


class View(NamedTuple):
    """A frame's crop."""

    grey: np.ndarray
    """(256,256) uint8."""
    transform: np.ndarray
    """(2,3) image -> crop."""
    teeth: Teeth = Teeth()
    """What is seen between the lips, in pixels of the crop."""

    @classmethod
    def of(cls, picture: np.ndarray, transform: np.ndarray, points: np.ndarray) -> View:
        """Of a crop (256,256,3) uint8 RGB, with points (L,2) detected in it, image pixels."""
        teeth = see_teeth(picture, crops.apply(transform, points))
        return cls(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.asarray(transform, float), teeth)

    def teeth_in_image(self) -> Teeth:
        """What is seen between the lips, in pixels of the image; see `Teeth.scaled`."""
        return self.teeth.scaled(1 / crops.scale_of(self.transform))


class Followed(NamedTuple):
    """Where points of the mesh should lie in a frame, if the skin under them in the frame before was theirs."""

    points: np.ndarray
    """(L,2) pixels."""
    weight: np.ndarray
    """(L,) how surely each was followed, 0..1; 0 for those that are not on bare skin."""


def skin_rows(points: int) -> np.ndarray:
    """List every second of so many detected points that lies on bare skin, on both sides the same; of 68 points none
    does."""
    if points != POINTS:
        return np.arange(0)
    features = (
        *LIPS,
        *INNER_LIP_CONTOUR,
        *EYE_CONTOURS[0],
        *EYE_CONTOURS[1],
        *BROWS[0],
        *BROWS[1],
        *IRISES,
        *FACE_OVAL,
    )
    bare = np.setdiff1d(np.arange(POINTS), features)
    one_side = np.unique(np.minimum(bare, np.array(MIRRORED)[bare]))[::2]
    return np.union1d(one_side, np.array(MIRRORED)[one_side])


def follow(
    before: View, now: View, start: np.ndarray, guess: np.ndarray, config: FlowConfig | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Follow points from one frame to the next (pyramidal Lucas-Kanade, Bouguet 2000), and back.

    Args:
        before: the frame before.
        now: the next one.
        start: (N,2) in the frame before, image pixels.
        guess: (N,2) where they may have gone.
        config: settings.

    Returns:
        Where they are (N,2), image pixels, and how surely (N,), 0..1: how near the way back ends to the beginning.
    """
    c = config or FlowConfig()
    a, b = (_in_crop(view, points) for view, points in ((before, start), (now, guess)))
    settings: dict[str, Any] = {
        "winSize": (c.window, c.window),
        "maxLevel": c.levels,
        "criteria": (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, c.steps, 0.03),
        "flags": cv2.OPTFLOW_USE_INITIAL_FLOW,
    }
    there, found, _ = cv2.calcOpticalFlowPyrLK(before.grey, now.grey, a, b, **settings)
    back, returned, _ = cv2.calcOpticalFlowPyrLK(now.grey, before.grey, there, a.copy(), **settings)
    off = np.linalg.norm(back - a, axis=2)[:, 0]
    sure = np.exp(-((off / c.agree) ** 2)) * found[:, 0] * returned[:, 0]
    to_image = cv2.invertAffineTransform(now.transform)
    return crops.apply(to_image, there[:, 0].astype(float)), sure


def _in_crop(view: View, points: np.ndarray) -> np.ndarray:
    """Points (N,2) in the crop, as OpenCV takes them (N,1,2)."""
    return crops.apply(view.transform, points).astype(np.float32, order="C").reshape(-1, 1, 2)
