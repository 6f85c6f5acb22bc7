"""Cameras and crops by hand."""

from __future__ import annotations

import numpy as np
import torch

from selftrack.synthetic.cameras import CameraConfig, project, rotation_matrix, sample_camera
from selftrack.tracker.geometry.pose import rotation


def test_rotations_are_those_of_the_pose() -> None:
    angles = np.random.default_rng(0).uniform(-1.4, 1.4, (50, 3))
    np.testing.assert_allclose(rotation_matrix(angles), rotation(torch.from_numpy(angles)).numpy(), atol=1e-12)


def test_cameras_are_where_the_settings_say() -> None:
    rng, config = np.random.default_rng(0), CameraConfig(distance=(0.3, 0.9), yaw=0.2, pitch=0.1, roll=0.05)
    shots = [sample_camera(rng, config) for _ in range(4000)]
    distances = np.array([position[2] for _, position in shots])
    assert distances.min() >= 0.3 and distances.max() <= 0.9
    assert abs(np.exp(np.log(distances).mean()) - np.sqrt(0.3 * 0.9)) < 0.01  # uniform in the logarithm
    roll = np.array([np.arctan2(matrix[1, 0], matrix[0, 0]) for matrix, _ in shots])
    assert abs(roll.std() - 0.05) < 0.003
    np.testing.assert_allclose([np.linalg.det(matrix) for matrix, _ in shots], 1)


def test_projection_keeps_the_head_at_its_distance() -> None:
    """x and y by similar triangles; depth is magnified as x and y are at the mean depth."""
    points = np.array([[0.1, 0, 0.5], [0.1, 0, 0.7], [0, 0, 0.6]])
    x, y, depth = project(points, 600.0, (101, 51)).T
    np.testing.assert_allclose(x, [50 + 600 * 0.1 / 0.5, 50 + 600 * 0.1 / 0.7, 50])
    np.testing.assert_allclose(y, 25)
    np.testing.assert_allclose(depth, 1000 * points[:, 2])  # 600 pixels at 0.6 m
