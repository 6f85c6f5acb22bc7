"""The truth of a clip is where its picture is."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from selftrack.synthetic.truth import Truth, find_clips, load_truth
from selftrack.tracker.geometry.pose import rotation


def truth_of(vertices: np.ndarray, angles: list[float], position: list[float]) -> Truth:
    """One frame of 200x100 pixels, focal length 300."""
    return Truth(
        np.zeros(1),
        vertices[None].astype(np.float32),
        np.array([angles]),
        np.array([position]),
        300.0,
        (200, 100),
        np.zeros((1, 52), np.float32),
        np.zeros(60),
        np.zeros(1),
    )


def test_the_truth_is_projected_by_a_pinhole_camera() -> None:
    corners = np.array([[0.0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0, 0, 0.3]])
    got = truth_of(corners, [0, 0, 0], [0.0, 0.0, 0.6]).in_image()[0]
    middle = np.array([99.5, 49.5])
    assert got[:, :2] == pytest.approx(middle + [[0, 0], [50, 0], [0, 50], [0, 0]], abs=1e-4)
    assert np.argmax(got[:, 2]) == 3
    turned = truth_of(corners, [0, 0, np.pi / 2], [0.0, 0.0, 0.6]).in_image()[0]
    assert turned[1, :2] == pytest.approx(middle + [0, 50], abs=1e-4)  # a roll is clockwise on the screen


def test_apparent_angles_are_the_rotation_against_the_ray() -> None:
    position = np.array([0.2, -0.1, 0.5])
    ray = position / np.linalg.norm(position)
    axis = np.cross([0, 0, 1.0], ray)
    facing = cv2.Rodrigues(axis / np.linalg.norm(axis) * np.arccos(ray[2]))[0]
    own = rotation(torch.tensor([0.2, -0.3, 0.4], dtype=torch.float64)).numpy()
    matrix = facing @ own
    angles = [
        np.arctan2(matrix[2, 1], matrix[2, 2]),
        np.arcsin(-matrix[2, 0]),
        np.arctan2(matrix[1, 0], matrix[0, 0]),
    ]
    assert truth_of(np.zeros((1, 3)), angles, position.tolist()).apparent_angles()[0] == pytest.approx([0.2, -0.3, 0.4])


def test_a_folder_without_clips_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no synthetic clips"):
        find_clips(tmp_path)
    np.savez(tmp_path / "clip00.truth.npz", other=1)
    with pytest.raises(ValueError, match="not the truth"):
        load_truth(tmp_path / "clip00.truth.npz")
