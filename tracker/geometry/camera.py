"""The pinhole camera and the head's place before it, for formats that want metres.

A track knows the head in weak perspective: its scale is focal length over distance, and one video separates them
poorly. So the focal length is set by the user, or taken from the perspective that the clip was fitted with; without
any, the camera is so far away that it draws none.
Camera frame (OpenCV): metres, x right, y down, z away from the camera; the principal point is the frame's centre.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.spatial.transform import Rotation

    from selftrack.tracker.results.track_file import Track

AXES = np.array([1.0, -1.0, -1.0])
"""From x right, y down, z away to glTF's and Maya's x right, y up, z towards the viewer, and back."""
FAR = 30.0
"""Metres to a head that was tracked without perspective: from there, outlines with and without agree to 0.6 %."""


def focal_length(track: Track, chosen: float | None = None) -> float:
    """Find the focal length in pixels.

    It is `chosen`, or that which puts the head of median scale at the distance that the clip was fitted with: `FAR`
    where that is without perspective, so that the camera shows the head where the track has it.
    """
    if chosen is not None:
        return chosen
    scale = track.pose()["scale"]
    distance = 1 / track.inverse_distance if track.inverse_distance > 0 else FAR
    return float(np.median(scale[track.ok] if track.ok.any() else scale) * distance)


def principal_point(track: Track) -> np.ndarray:
    """Compute the centre of the frame (2,), pixels."""
    return (np.array(track.size) - 1) / 2


def camera_pose(track: Track, focal: float) -> tuple[np.ndarray, np.ndarray]:
    """Place the head in the camera's frame: R (T,3,3) and t (T,3) metres, x_camera = R x_head + t.

    The depth is focal / scale. The track's rotation is relative to the line of sight, so a head beside the centre
    rotates by the angle of that line too; drawn by the pinhole camera it then lies where the track has it.
    """
    from scipy.spatial.transform import Rotation

    pose = track.H_image.astype(float)
    own = Rotation.from_euler("xyz", pose[:, 1:4])  # R = Rz Ry Rx
    offset = (pose[:, 4:6] - principal_point(track)) / focal
    ray = np.concatenate([offset, np.ones((len(track), 1))], axis=1)
    return (towards(ray) * own).as_matrix(), ray * (focal / np.exp(pose[:, :1]))


def towards(ray: np.ndarray) -> Rotation:
    """Find the smallest rotations (T) that take the z axis to rays (T,3), ray z > 0."""
    from scipy.spatial.transform import Rotation

    x, y, z = (ray / np.linalg.norm(ray, axis=1, keepdims=True)).T
    return Rotation.from_quat(np.stack([-y, x, np.zeros_like(x), 1 + z], axis=1))  # half way from z to the ray


def quaternions(rotation: np.ndarray) -> np.ndarray:
    """Convert rotations (T,3,3) to unit quaternions (T,4), x y z w; neighbours have the same sign."""
    from scipy.spatial.transform import Rotation

    values = Rotation.from_matrix(rotation).as_quat()
    agree = np.where((values[1:] * values[:-1]).sum(axis=1) < 0, -1, 1)
    return values * np.concatenate([[1], np.cumprod(agree)])[:, None]
