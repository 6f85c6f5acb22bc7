"""Head pose H = (f, rx, ry, rz, tx, ty): weak perspective from the head frame to an image.

s = exp(f) in pixels per metre; R = Rz(rz) Ry(ry) Rx(rx), radians; (tx, ty) pixels. x = s P R X + t, P the first two
rows of the identity (Yoon et al. 2019, Eq. 3). Head frame: metres, x to the image's right at rest, y down, z away
from the camera. A similarity M (2,3) takes pixels of one image to pixels of another (frame -> crop).
"""

from __future__ import annotations

import torch
from torch import Tensor


def rotation(angles: Tensor) -> Tensor:
    """R (...,3,3) = Rz Ry Rx of angles (...,3) = (rx, ry, rz) in radians."""
    assert angles.shape[-1] == 3, f"expected angles (...,3), got {tuple(angles.shape)}"
    (sx, sy, sz), (cx, cy, cz) = angles.sin().unbind(-1), angles.cos().unbind(-1)
    rows = [
        torch.stack([cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx], -1),
        torch.stack([sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx], -1),
        torch.stack([-sy, cy * sx, cy * cx], -1),
    ]
    return torch.stack(rows, -2)


def angles_of(matrix: Tensor) -> Tensor:
    """The angles (...,3) = (rx, ry, rz) of rotations (...,3,3), |ry| <= pi/2: the inverse of `rotation`."""
    rx = torch.atan2(matrix[..., 2, 1], matrix[..., 2, 2])
    ry = torch.asin((-matrix[..., 2, 0]).clamp(-1, 1))
    rz = torch.atan2(matrix[..., 1, 0], matrix[..., 0, 0])
    return torch.stack([rx, ry, rz], -1)


def project(points: Tensor, pose: Tensor, inverse_distance: Tensor | float = 0.0) -> Tensor:
    """Head-frame points (B,V,3) in metres under poses (B,6) -> (B,V,3): x, y and depth in pixels, larger = farther.

    `inverse_distance` of the camera, in 1/metres, gives perspective about the head's origin; 0 is weak perspective.
    """
    assert pose.ndim == 2 and pose.shape[1] == 6, f"expected pose (B,6), got {tuple(pose.shape)}"
    turned = points @ rotation(pose[:, 1:4]).transpose(1, 2)
    shift = torch.nn.functional.pad(pose[:, 4:6], (0, 1))
    nearness = 1 / (1 + inverse_distance * turned[..., 2:])
    flat = turned[..., :2] * nearness
    return torch.cat([flat, turned[..., 2:]], -1) * pose[:, :1, None].exp() + shift[:, None]


def fit_weak_perspective(points: Tensor, image: Tensor) -> Tensor:
    """Find the poses (B,6) that best take head-frame points (B,L,3) to image points (B,L,2), the inverse of `project`.

    Least squares for an affine camera, then the nearest rotation.
    """
    x, y = points - points.mean(1, keepdim=True), image - image.mean(1, keepdim=True)
    affine = torch.linalg.solve(x.mT @ x, x.mT @ y).mT  # (B,2,3)
    u, s, vt = torch.linalg.svd(affine, full_matrices=False)
    rows = u @ vt
    matrix = torch.cat([rows, torch.linalg.cross(rows[:, :1], rows[:, 1:])], 1)
    scale = s.mean(1)
    shift = image.mean(1) - scale[:, None] * (rows @ points.mean(1)[..., None])[..., 0]
    return torch.cat([scale.log()[:, None], angles_of(matrix), shift], 1)


def view_of(pose: Tensor) -> Tensor:
    """(B,3) unit vectors from the head towards the camera, head frame, under poses (B,6)."""
    return -rotation(pose[:, 1:4])[:, 2]


def through(pose: Tensor, similarity: Tensor) -> Tensor:
    """The pose (B,6) seen in another image, whose pixels are M x: `similarity` M (B,2,3), scale and turn only."""
    assert similarity.shape[-2:] == (2, 3), f"expected similarity (B,2,3), got {tuple(similarity.shape)}"
    similarity = similarity.to(pose)
    scale = similarity[..., 0].norm(dim=-1)
    angle = torch.atan2(similarity[..., 1, 0], similarity[..., 0, 0])
    t = (similarity[..., :2] @ pose[:, 4:6, None])[..., 0] + similarity[..., 2]
    rz = torch.remainder(pose[:, 3] + angle + torch.pi, 2 * torch.pi) - torch.pi
    return torch.cat([(pose[:, 0] + scale.log())[:, None], pose[:, 1:3], rz[:, None], t], 1)


def inverse(similarity: Tensor) -> Tensor:
    """The inverse (B,2,3) of similarities (B,2,3)."""
    linear = torch.linalg.inv(similarity[..., :2])
    return torch.cat([linear, -linear @ similarity[..., 2:]], -1)


def mirrored_pose(pose: Tensor, width: int) -> Tensor:
    """Poses (N,6) of what a mirror shows, in a picture of a width in pixels."""
    turned = pose * pose.new_tensor([1, 1, -1, -1, -1, 1])
    return turned + pose.new_tensor([0, 0, 0, 0, width - 1, 0])


def to_image(pose: Tensor, crop: Tensor) -> Tensor:
    """Pose (B,6) of a crop -> pose (B,6) in the frame, for crops M (B,2,3) that take frame pixels to crop pixels."""
    return through(pose, inverse(crop))
