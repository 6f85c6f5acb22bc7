"""How a landmark detector errs, drawn at random: what I2ZNet is trained on in place of true points."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from selftrack.decoders.base import Decoder, SurfacePoints
from selftrack.decoders.landmarks import BROWS, FACE_OVAL, LOWER_LIP, MESH_POINTS, POINTS, UPPER_LIP
from selftrack.tracker.geometry.pose import fit_weak_perspective, project
from selftrack.tracker.landmarks.attention_mesh import LandmarkNet

IOD_PIXELS = 80.0
"""A typical inter-ocular distance in the crop; landmark losses are in percent of it."""


@dataclass(frozen=True)
class NoiseConfig:
    """How the detector errs, in percent of the inter-ocular distance; the network must not copy it."""

    identity: float = 1.0
    """Smooth offset that is the same for all frames of a person."""
    identity_point: float = 0.5
    """The same, independent per point."""
    frame: float = 0.5
    """Smooth offset of a frame."""
    point: float = 0.4
    """Independent per point and frame."""
    contour: float = 1.2
    """Factor for what is constant of the face's contour."""
    reach: float = 0.02
    """Length scale of smooth offsets, metres."""
    brows: float = 4.0
    """Height of a person's brows: hair does not grow where the head's bone would have it."""
    lips: float = 0.8
    """Thickness of a person's lips."""
    outlier: float = 6.0
    """Smooth error around one place, as behind a hand."""
    outliers: float = 0.1
    """Share of the frames that have one."""
    outlier_reach: float = 0.03
    """How far it reaches, metres."""
    missed: float = 1.0
    """Largest share of what an expression does to the skin between the features that is not detected."""


class LandmarkNoise(nn.Module):
    """Draws the detector's errors; see `NoiseConfig`."""

    smooth: Tensor
    """(478,478) from independent numbers to smooth ones."""
    weight: Tensor
    """(478,1) of what is constant for a person."""
    near: Tensor
    """(478,478) how far an outlier at one point reaches to another, 0..1."""
    features: Tensor
    """(4,478) see `_feature_heights`."""
    skin: Tensor
    """(478,1) 1 for the points between the features."""

    def __init__(self, decoder: Decoder, config: NoiseConfig) -> None:
        super().__init__()
        self.config = config
        at = decoder.landmarks478(decoder.mean[None])[0]
        kernel = torch.exp(-(torch.cdist(at, at) ** 2) / (2 * config.reach**2)) + 1e-3 * torch.eye(len(at))
        weight = torch.ones(len(at))
        weight[list(FACE_OVAL)] = config.contour
        self.register_buffer("smooth", torch.linalg.cholesky(kernel))
        self.register_buffer("weight", weight[:, None])
        self.register_buffer("near", torch.exp(-(torch.cdist(at, at) ** 2) / (2 * config.outlier_reach**2)))
        self.register_buffer("features", _feature_heights(config))
        skin = torch.ones(len(at), 1)
        skin[[*FACE_OVAL, *range(MESH_POINTS, POINTS), *LandmarkNet.refined_points()]] = 0
        self.register_buffer("skin", skin)

    def forward(self, points: Tensor, neutral: Tensor) -> Tensor:
        """Draw what a detector finds of points (P,S,478,2) of P people and S shots, crop pixels.

        It follows lips, eyes, brows and the contour, but knows the cheeks from where faces mostly have them: per
        person, they stay behind by some share, on the way from where they would be without an expression, `neutral`
        (P,S,478,2).
        """
        people, shots, count, _ = points.shape
        c, unit = self.config, IOD_PIXELS / 100
        share = c.missed * torch.rand(people, 1, 1, 1, device=points.device) * self.skin
        points = points.lerp(neutral, share)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, count, 2, device=points.device)

        def smooth(*shape: int) -> Tensor:
            return torch.einsum("kl,...lc->...kc", self.smooth, draw(*shape))

        constant = self.weight * (c.identity * smooth(people, 1) + c.identity_point * draw(people, 1))
        heights = torch.randn(people, 1, len(self.features), device=points.device) @ self.features  # (P,1,478)
        frame = c.frame * smooth(people, shots) + c.point * draw(people, shots)
        # no two people's, and no two pictures', errors are equally large
        constant = constant * torch.rand(people, 1, 1, 1, device=points.device) * 1.6
        frame = frame * torch.rand(people, shots, 1, 1, device=points.device) * 1.6
        place = self.near[torch.randint(count, (people, shots), device=points.device), :, None]
        struck = torch.rand(people, shots, 1, 1, device=points.device) < c.outliers
        outlier = c.outlier * struck * place * smooth(people, shots)
        offset = constant + frame + outlier
        offset[..., 1] += heights
        return points + unit * offset


@torch.no_grad()
def neutral_points(landmarks: SurfacePoints, points: Tensor, code: Tensor, expression: slice) -> Tensor:
    """Compute where the points (B,L,2) of faces with codes (B,Z) would be in the picture if these had no expression."""
    face = landmarks(code)
    pose = fit_weak_perspective(face, points)
    neutral = code.clone()
    neutral[:, expression] = 0
    return points + project(landmarks(neutral), pose)[..., :2] - project(face, pose)[..., :2]


def _feature_heights(config: NoiseConfig) -> Tensor:
    """Compute by how much (4,478) each point is lower for one standard deviation of: both brows, the left against the
    right brow, the upper lip, the lower lip."""
    heights = torch.zeros(4, 478)
    left, right = (list(brow) for brow in BROWS)
    heights[0, left + right] = config.brows
    heights[1, left], heights[1, right] = 0.3 * config.brows, -0.3 * config.brows
    heights[2, list(UPPER_LIP)] = heights[3, list(LOWER_LIP)] = config.lips
    return heights
