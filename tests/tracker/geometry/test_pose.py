"""Pose against SciPy's rotations and against projection by hand."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from selftrack.tracker.geometry.pose import (
    angles_of,
    fit_weak_perspective,
    inverse,
    project,
    rotation,
    through,
    to_image,
)


def random_pose(n: int, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    low = torch.tensor([5.0, -1.0, -1.2, -2.5, 50.0, 50.0])
    high = torch.tensor([7.5, 1.0, 1.2, 2.5, 200.0, 200.0])
    return low + (high - low) * torch.rand(n, 6, generator=g)


def similarity(scale: float, angle: float, tx: float, ty: float) -> torch.Tensor:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return torch.tensor([[[c, -s, tx], [s, c, ty]]], dtype=torch.float32)


def test_rotation_is_rz_ry_rx() -> None:
    angles = random_pose(50)[:, 1:4]
    expected = Rotation.from_euler("xyz", angles.numpy()).as_matrix()  # extrinsic x, y, z = Rz Ry Rx
    assert np.allclose(rotation(angles).numpy(), expected, atol=1e-6)
    assert torch.allclose(angles_of(rotation(angles)), angles, atol=1e-5)


def test_project_by_hand() -> None:
    x = torch.randn(4, 7, 3) * 0.1
    pose = random_pose(4)
    for b in range(4):
        r = Rotation.from_euler("xyz", pose[b, 1:4].numpy()).as_matrix()
        turned = np.exp(pose[b, 0].item()) * (x[b].numpy() @ r.T)
        turned[:, :2] += pose[b, 4:6].numpy()
        assert np.allclose(project(x, pose)[b].numpy(), turned, atol=1e-3)


def test_signs() -> None:
    """A positive ry turns the nose (z < 0) to the image's left; a positive rx moves it down; rz turns clockwise."""
    nose, ear = torch.tensor([[[0.0, 0.0, -0.1]]]), torch.tensor([[[0.1, 0.0, 0.0]]])
    at = torch.tensor([[0.0, 0.3, 0.0, 0.0, 0.0, 0.0]])
    assert project(nose, at)[0, 0, 1] > 0
    assert project(nose, torch.tensor([[0.0, 0.0, 0.3, 0.0, 0.0, 0.0]]))[0, 0, 0] < 0
    assert project(ear, torch.tensor([[0.0, 0.0, 0.0, 0.3, 0.0, 0.0]]))[0, 0, 1] > 0


def test_perspective_is_a_pinhole_camera() -> None:
    """A camera 0.5 m before the head's origin with focal length s/2: x = f X / (d + Z), scaled as the weak one."""
    x, angles = torch.randn(1, 40, 3) * 0.05, torch.tensor([[0.2, -0.3, 0.1]])
    pose = torch.cat([torch.tensor([[6.5]]), angles, torch.tensor([[30.0, 40.0]])], 1)
    turned = x @ rotation(angles).mT
    scale = torch.tensor(6.5).exp()
    expected = 0.5 * scale * turned[..., :2] / (0.5 + turned[..., 2:]) + torch.tensor([30.0, 40.0])
    seen = project(x, pose, 2.0)
    assert torch.allclose(seen[..., :2], expected, atol=1e-3)
    assert torch.equal(seen[..., 2], project(x, pose)[..., 2])


def test_pose_through_a_similarity_moves_the_projection_with_it() -> None:
    x, pose = torch.randn(6, 9, 3) * 0.1, random_pose(6)
    m = similarity(0.4, 1.1, 30.0, -12.0).expand(6, 2, 3)
    seen = project(x, pose)[..., :2] @ m[0, :, :2].T + m[0, :, 2]
    assert torch.allclose(project(x, through(pose, m))[..., :2], seen, atol=1e-3)
    assert torch.allclose(to_image(through(pose, m), m)[:, [0, 1, 2, 4, 5]], pose[:, [0, 1, 2, 4, 5]], atol=1e-3)


def test_inverse_of_a_similarity() -> None:
    m = similarity(2.5, -0.7, 3.0, 8.0)
    p = torch.randn(10, 2)
    there = p @ m[0, :, :2].T + m[0, :, 2]
    back = inverse(m)[0]
    assert torch.allclose(there @ back[:, :2].T + back[:, 2], p, atol=1e-5)


def test_fit_is_the_inverse_of_projection() -> None:
    points = torch.randn(20, 60, 3) * 0.05
    pose = torch.rand(20, 6) * torch.tensor([0.5, 1, 1.5, 0.6, 60, 60]) + torch.tensor([6.5, -0.5, -0.7, -0.3, 90, 90])
    assert torch.allclose(fit_weak_perspective(points, project(points, pose)[..., :2]), pose, atol=2e-3)
