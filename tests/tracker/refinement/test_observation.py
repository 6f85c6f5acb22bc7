"""Where points of a face lie and what moves them, against the decoder, the projection and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from selftrack.decoders.head.model import Head, load_head
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.refinement import controls
from selftrack.tracker.refinement.motion import load_motion
from selftrack.tracker.refinement.observation import FacePoints, ObservationConfig, Refined


@pytest.fixture(scope="module")
def head() -> Head:
    return load_head()


@pytest.fixture(scope="module")
def face_points(head: Head) -> FacePoints:
    return FacePoints(head, 478, ObservationConfig())


def test_the_camera_is_that_of_the_projection(head: Head, face_points: FacePoints) -> None:
    """Where points lie, and what moves them, through a near lens; the slopes against finite differences."""

    def in_eyes(points: np.ndarray) -> np.ndarray:
        """Irises from the middle between the corners of their eyes."""
        right, left = points[[33, 133]].mean(0), points[[362, 263]].mean(0)
        return np.concatenate([points[:468], points[468:473] - right, points[473:] - left])

    near = face_points.through(1.2)
    pose = np.array([7.2, 0.2, 0.0, 0.05, 320.0, 240.0])
    act = np.zeros(controls.COUNT)
    for name, value in {"jawWithLips": 0.4, "mouthSmileLeft": 0.8, "eyeBlinkLeft": 0.3, "gazeSide": 0.4}.items():
        act[controls.NAMES.index(name)] = value
    frame = Refined(act, pose)
    z = torch.zeros(1, head.size)
    z[0, head.expression] = torch.from_numpy(frame.curves).float()
    shown = project(head.landmarks(478)(head.geometry(z)), torch.from_numpy(pose[None]).float(), 1.2)
    placed = near.place(frame, near.mean)
    np.testing.assert_allclose(placed, shown[0, :, :2].numpy(), atol=1e-2)
    evidence = near.evidence(placed, frame, near.mean)
    np.testing.assert_allclose(evidence.residual, 0, atol=1e-6)
    for number in range(6):
        step = 1e-5 * np.eye(6)[number]
        ends = (in_eyes(near.place(frame._replace(pose=pose + sign * step), near.mean)) for sign in (1, -1))
        np.testing.assert_allclose(evidence.by_pose[:, number], np.subtract(*ends).T / 2e-5, atol=0.05)
    ends = (in_eyes(face_points.through(1.2 + change).place(frame, near.mean)) for change in (1e-4, -1e-4))
    np.testing.assert_allclose(evidence.by_lens[:, 0], np.subtract(*ends).T / 2e-4, atol=0.02)


@pytest.mark.parametrize(("right", "left", "shut"), [(0.06, 0.13, True), (0.13, 0.06, True), (0.06, 0.2, False)])
def test_an_eye_beside_a_shut_one_is_shut_unless_it_is_open(
    face_points: FacePoints, right: float, left: float, shut: bool
) -> None:
    """Lids whose middles are so far apart, in widths of the eye."""
    points = np.zeros((478, 2))
    for opening, (upper, lower, inner, outer) in ((right, (159, 145, 33, 133)), (left, (386, 374, 362, 263))):
        points[[upper, lower, inner, outer]] = [0, -50 * opening], [0, 50 * opening], [-50, 0], [50, 0]
    surely = face_points.shut_eyes(points)
    assert surely.max() == 1 and surely.min() == shut


def test_motion_is_the_root_mean_square_of_drawn_acts(face_points: FacePoints) -> None:
    rng, covariance = np.random.default_rng(0), load_motion().covariance()[: controls.SIDE, : controls.SIDE]
    drawn = rng.multivariate_normal(np.zeros(controls.SIDE), covariance, 4000)
    moved = np.einsum("nk,kc,acl->nal", drawn, controls.TURNS[: controls.SIDE], face_points.acts, optimize=True)
    expected = np.sqrt((moved**2).sum(1).mean(0))
    np.testing.assert_allclose(face_points.motion(), expected, rtol=0.06, atol=1e-6)
