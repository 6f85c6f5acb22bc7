"""The square crop that the networks see: a similarity transform of the frame, stabilised through time.

Image frame: pixels of the displayed frame, x right, y down, centre of the top-left pixel at (0, 0). Crop
frame: the same in a (size, size) picture, so that the crop's centre is ((size - 1) / 2, (size - 1) / 2).
A transform M (2, 3) takes image pixels to crop pixels: q = M[:, :2] p + M[:, 2].
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from selftrack.decoders.landmarks import IBUG_LAYOUT, LAYOUTS, MESH_POINTS, layout

CROP_SIZE = 256
SIDE_PER_FACE = 1.5
"""Side of the crop over the longer side of the landmarks' bounding box."""

_FOREHEAD_68 = 0.4
"""Forehead over nose bridge, per chin-to-bridge distance (0.39 in MediaPipe's canonical face model)."""


def face_similarity(points: np.ndarray, size: int = CROP_SIZE) -> np.ndarray:
    """Similarity that puts a face upright into the middle of a square crop.

    The angle sums the eye line and the midline (turned by 90 degrees), so that it is well conditioned in
    profile, where the eye line shrinks. In the upright frame the crop is centred on the bounding box of the
    points, and its side is 1.5 times the longer side of that box. For 68 points, which end at the brows, the
    box includes an extrapolated forehead point, so that both sets give about the same crop.

    Args:
        points: (..., L, 2) image pixels; L is 68, 468 or 478, of which the first 468 count (no irises).
        size: side of the crop in pixels.

    Returns:
        (..., 2, 3) float64, image pixels -> crop pixels.

    Raises:
        ValueError: wrong shape, points that are not finite, or a face without extent.
    """
    points = np.asarray(points, np.float64)
    if points.ndim < 2 or points.shape[-1] != 2 or points.shape[-2] not in LAYOUTS:
        raise ValueError(f"expected points (..., L, 2) with L of {sorted(LAYOUTS)}, got shape {points.shape}")
    axes = LAYOUTS[points.shape[-2]]
    left, right = axes.eyes
    eyes = points[..., right, :] - points[..., left, :]
    up = points[..., axes.midline, :] - points[..., axes.chin, :]
    direction = eyes + np.stack([-up[..., 1], up[..., 0]], -1)
    if axes is IBUG_LAYOUT:
        forehead = points[..., axes.midline, :] + _FOREHEAD_68 * up
        outline = np.concatenate([points, forehead[..., None, :]], -2)
    else:
        outline = points[..., :MESH_POINTS, :]
    angle = np.arctan2(direction[..., 1], direction[..., 0])
    upright = outline @ np.swapaxes(_rotation(-angle), -1, -2)
    low, high = upright.min(-2), upright.max(-2)
    side = SIDE_PER_FACE * (high - low).max(-1)
    if not (np.isfinite(side).all() and (side > 0).all()):
        raise ValueError("cannot place a crop: the points are not finite or coincide; drop this detection")
    return _from_upright((low + high) / 2, side, angle, size)


def face_crop(frame: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A frame (H, W, 3) uint8 around a face with landmarks (L, 2) as the networks see it, (256, 256, 3), and the
    landmarks in it. Raises ValueError as `face_similarity`."""
    transform = face_similarity(points)
    return warp(frame, transform), apply(transform, points)


def inter_ocular(points: np.ndarray) -> np.ndarray:
    """Inter-ocular distance (...) in pixels, between the outer eye corners, of points (..., L, 2); L as above."""
    left, right = layout(points.shape[-2]).eyes
    return np.linalg.norm(points[..., left, :] - points[..., right, :], axis=-1)


def invert(transform: np.ndarray) -> np.ndarray:
    """Inverse of an affine transform (..., 2, 3); for a crop's M: crop pixels -> image pixels."""
    transform = np.asarray(transform)
    if transform.shape[-2:] != (2, 3):
        raise ValueError(f"expected a transform (..., 2, 3), got shape {transform.shape}")
    linear = np.linalg.inv(transform[..., :2])
    return np.concatenate([linear, -linear @ transform[..., 2:]], -1)


def apply(transform: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (..., L, 2) moved by an affine transform (..., 2, 3); the leading dimensions broadcast."""
    transform, points = np.asarray(transform), np.asarray(points)
    if transform.shape[-2:] != (2, 3) or points.ndim < 2 or points.shape[-1] != 2:
        raise ValueError(
            f"expected a transform (..., 2, 3) and points (..., L, 2), got {transform.shape}, {points.shape}"
        )
    return points @ np.swapaxes(transform[..., :2], -1, -2) + transform[..., None, :, 2]


def scale_of(transform: np.ndarray) -> float:
    """Compute by how much a similarity (2, 3) makes things larger; it may mirror them."""
    return float(np.sqrt(abs(np.linalg.det(transform[:, :2]))))


def warp(frame: np.ndarray, transform: np.ndarray, size: int | tuple[int, int] = CROP_SIZE) -> np.ndarray:
    """Samples the crop, bilinear, averaged over areas beforehand where the crop makes the frame smaller.

    Outside the frame the crop is black: replicated edges would smear a cut-off face into streaks of skin.

    Args:
        frame: (H, W, 3) uint8.
        transform: (2, 3) similarity, image pixels -> crop pixels.
        size: side of the crop in pixels, or its width and height.

    Returns:
        (size, size, 3) uint8.
    """
    width, height = (size, size) if isinstance(size, int) else size
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise ValueError(f"expected a frame (H, W, 3) uint8, got {frame.shape} {frame.dtype}")
    to_image = invert(transform)
    corners = apply(to_image, np.array([[-1, -1], [width, -1], [width, height], [-1, height]], np.float64))
    bounds = np.array(frame.shape[1::-1])
    low = np.clip(np.floor(corners.min(0)), 0, bounds).astype(int)
    high = np.clip(np.ceil(corners.max(0)) + 1, 0, bounds).astype(int)
    if (high <= low).any():
        return np.zeros((height, width, 3), np.uint8)
    region = frame[low[1] : high[1], low[0] : high[0]]
    shrink = np.ones(2)
    scale = scale_of(transform)
    if scale < 1:
        small = np.maximum(np.rint((high - low) * scale), 1).astype(int)
        region = cv2.resize(region, (int(small[0]), int(small[1])), interpolation=cv2.INTER_AREA)
        shrink = small / (high - low)
    # region pixels -> image pixels: pixel centres are integers, so edges lie at -0.5
    from_region = np.concatenate([np.diag(1 / shrink), (0.5 / shrink - 0.5 + low)[:, None]], 1)
    linear = transform[:, :2] @ from_region[:, :2]
    offset = transform[:, :2] @ from_region[:, 2:] + transform[:, 2:]
    flags = cv2.INTER_LINEAR
    return cv2.warpAffine(region, np.concatenate([linear, offset], 1), (width, height), flags=flags)


@dataclass(frozen=True)
class CropConfig:
    """Settings of the stabilised crop."""

    size: int = CROP_SIZE
    """Side of the crop in pixels."""
    max_offset: float = 0.06
    """The face's centre stays within this fraction of the crop's side from the crop's centre."""
    max_scale: float = 0.08
    """The crop's side stays within this fraction (as a difference of logarithms) of the ideal side."""
    max_roll: float = 5.0
    """The crop's angle stays within this many degrees of the face's."""
    slack: float = 0.5
    """Fraction of each of the three ranges in which the face moves freely while the crop stands still."""
    time_constant: float = 0.15
    """Seconds in which an excess over the slack falls to 1/e of itself."""
    cut: float = 8.0
    """A face that leaves its range by this factor between two frames has jumped: the crop starts anew."""


class CropStabiliser:
    """A crop on a leash: still while the face stays near its middle, else drawn along smoothly.

    Three leashes hold centre, size and angle. Within the slack nothing moves, so landmark noise does not
    reach the crop; beyond it the excess decays exponentially, and however fast the face moves, it stays
    within the ranges of the settings. Forward only; the state is the last crop.
    """

    def __init__(self, config: CropConfig | None = None) -> None:
        self.config = config or CropConfig()
        self.reset()

    def reset(self) -> None:
        """Forgets the last crop: the next one is centred on its face. For cuts and lost faces."""
        self._centre: np.ndarray | None = None
        self._log_side = 0.0
        self._angle = 0.0
        self._time = 0.0

    def __call__(self, points: np.ndarray, time: float) -> np.ndarray:
        """Advances by one frame.

        Args:
            points: (L, 2) landmarks in image pixels, as for `face_similarity`.
            time: seconds, not less than in the call before.

        Returns:
            (2, 3) float64, image pixels -> crop pixels.
        """
        if np.ndim(points) != 2:
            raise ValueError(f"expected the points (L, 2) of one frame, got shape {np.shape(points)}")
        centre, log_side, angle = _parameters(face_similarity(points, self.config.size), self.config.size)
        if self._centre is None:
            self._snap(centre, log_side, angle)
        elif time < self._time:
            raise ValueError(f"time went back from {self._time} s to {time} s; call reset() to start over")
        else:
            self._follow(centre, log_side, angle, time - self._time)
        self._time = time
        upright = _rotation(-self._angle) @ self._centre
        return _from_upright(upright, np.exp(self._log_side), self._angle, self.config.size)

    def _snap(self, centre: np.ndarray, log_side: float, angle: float) -> None:
        self._centre, self._log_side, self._angle = centre, log_side, angle

    def _follow(self, centre: np.ndarray, log_side: float, angle: float, elapsed: float) -> None:
        """Draws the crop towards the target (image pixels, log of pixels, radians)."""
        config = self.config
        # each error in units of its range, and the factor that the leash leaves of it
        shift = (centre - self._centre) / (np.exp(log_side) * config.max_offset)
        zoom = (log_side - self._log_side) / config.max_scale
        roll = np.remainder(angle - self._angle + np.pi, 2 * np.pi) - np.pi
        roll = roll / np.radians(config.max_roll)
        errors = np.array([np.hypot(*shift), abs(zoom), abs(roll)])
        if (errors > config.cut).any():
            return self._snap(centre, log_side, angle)
        kept = _leash(errors, config.slack, np.exp(-elapsed / config.time_constant))
        self._centre = centre - shift * kept[0] * np.exp(log_side) * config.max_offset
        self._log_side = log_side - zoom * kept[1] * config.max_scale
        self._angle = angle - roll * kept[2] * np.radians(config.max_roll)


def _leash(errors: np.ndarray, slack: float, decay: float) -> np.ndarray:
    """Factor that is left of each error >= 0 (in units of its range) after one step.

    It is 1 within the slack; beyond, the excess decays and what remains of the error saturates smoothly at 1.
    """
    excess = decay * np.maximum(errors - slack, 0)
    left = np.minimum(errors, slack) + (1 - slack) * np.tanh(excess / (1 - slack))
    return np.divide(left, errors, out=np.ones_like(errors), where=errors > 0)


def _rotation(angle: np.ndarray | float) -> np.ndarray:
    """Rotation matrices (..., 2, 2) that turn x towards y by `angle` (...) radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)


def _from_upright(centre: np.ndarray, side: np.ndarray | float, angle: np.ndarray | float, size: int) -> np.ndarray:
    """Crop (..., 2, 3) from its centre in the frame turned upright (..., 2), side (...) and angle (...)."""
    scale = np.asarray(size / side)[..., None]
    offset = (size - 1) / 2 - scale * centre
    return np.concatenate([scale[..., None] * _rotation(-angle), offset[..., None]], -1)


def _parameters(transform: np.ndarray, size: int) -> tuple[np.ndarray, float, float]:
    """Centre (2,) in image pixels, log of the side in image pixels, and angle in radians of a crop (2, 3)."""
    centre = apply(invert(transform), np.full((1, 2), (size - 1) / 2))[0]
    cos, sin = transform[0, :2]
    return centre, float(np.log(size / np.hypot(cos, sin))), float(np.arctan2(sin, cos))
