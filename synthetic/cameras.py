"""Cameras drawn at random: where a head is before them, how they project it, and the crop that a tracker takes.

Camera frame: metres, x right, y down, z away from the camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from selftrack.tracker.geometry.crop import CROP_SIZE, face_similarity


@dataclass(frozen=True)
class CameraConfig:
    """Where the head is before a camera of the studio."""

    distance: tuple[float, float] = (0.25, 1.5)
    """Camera to head, metres."""
    yaw: float = 0.45
    """Standard deviation of the head's rotation against the camera, radians."""
    pitch: float = 0.24
    """The same."""
    roll: float = 0.30
    """The same."""


@dataclass(frozen=True)
class CropConfig:
    """How far a tracker's crop may be off, at most."""

    shift: float = 0.05
    """Over the crop's side."""
    scale: float = 0.06
    """Natural logarithm."""
    rotation: float = 0.06
    """Radians."""


def sample_camera(rng: np.random.Generator, config: CameraConfig) -> tuple[np.ndarray, np.ndarray]:
    """Draw the rotation (3,3) and the position (3,), in metres, of a head in front of a camera that looks along +z.

    One head in seven shows any side up to the profile.
    """
    yaw = rng.normal(0, config.yaw) if rng.random() < 0.85 else rng.uniform(-1.35, 1.35)
    angles = [rng.normal(0, config.pitch), np.clip(yaw, -1.4, 1.4), rng.normal(0, config.roll)]
    near, far = np.log(config.distance)
    distance = np.exp(rng.uniform(near, far))
    sideways = rng.normal(0, 0.12, 2) * distance
    return rotation_matrix(angles), np.array([*sideways, distance])


def sample_crop(rng: np.random.Generator, points: np.ndarray, config: CropConfig) -> np.ndarray:
    """Draw a crop (2,3) that a tracker might take of a face with landmarks (478,2), pixels of the picture."""
    half = (CROP_SIZE - 1) / 2
    ideal = face_similarity(points)
    scale = np.exp(rng.uniform(-1, 1) * config.scale)
    angle = rng.uniform(-1, 1) * config.rotation
    shift = rng.uniform(-1, 1, 2) * config.shift * CROP_SIZE
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    offset = half - linear @ np.full(2, half) + shift
    return np.concatenate([linear @ ideal[:, :2], (linear @ ideal[:, 2] + offset)[:, None]], 1)


def rotation_matrix(angles: np.ndarray | list[float]) -> np.ndarray:
    """Compute R = Rz Ry Rx (...,3,3) of angles rx, ry, rz (...,3) in radians; as `tracker.geometry.pose.rotation`."""
    return Rotation.from_euler("xyz", angles).as_matrix()


def project(points: np.ndarray, focal: float, size: tuple[int, int]) -> np.ndarray:
    """Project points (...,V,3) in the camera frame by a pinhole camera, `focal` in pixels.

    Returns:
        (...,V,3): x and y in pixels of a frame of `size` (width, height); depth, as far as x and y are magnified.
    """
    middle = (np.array(size) - 1) / 2
    depth = points[..., 2:]
    scale = focal / depth.mean(-2, keepdims=True)
    return np.concatenate([focal * points[..., :2] / depth + middle, depth * scale], -1)
