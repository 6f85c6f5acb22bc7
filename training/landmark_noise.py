"""How a landmark detector errs, drawn at random: what I2ZNet is trained on in place of true points."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from selftrack.decoders.base import Decoder
from selftrack.decoders.landmarks import BROWS, FACE_OVAL, LOWER_LIP, MESH_POINTS, POINTS, UPPER_LIP
from selftrack.tracker.landmarks.attention_mesh import LandmarkNet

IOD_PIXELS = 80.0  # a typical inter-ocular distance in the crop; landmark losses are in percent of it


@dataclass(frozen=True)
class NoiseConfig:
    """How the detector errs, in percent of the inter-ocular distance; the network must not copy it."""

    person: float = 1.0  # smooth offset, the same for all frames of a person
    person_point: float = 0.5  # the same, independent per point
    frame: float = 0.5  # smooth offset of a frame
    point: float = 0.4  # independent per point and frame
    contour: float = 1.2  # factor for what is constant of the face's contour
    reach: float = 0.02  # metres over which smooth offsets agree
    brows: float = 4.0  # height of a person's brows: hair does not grow where the head's bone would have it
    lips: float = 0.8  # thickness of a person's lips
    blunder: float = 6.0  # smooth error around one place, as behind a hand ...
    blunders: float = 0.1  # ... in this share of the frames
    blunder_reach: float = 0.03  # metres
    still: float = 1.0  # at most this share of what an expression does to the skin between the features goes unseen


class LandmarkNoise(nn.Module):
    """Draws the detector's errors; see NoiseConfig."""

    def __init__(self, decoder: Decoder, config: NoiseConfig) -> None:
        super().__init__()
        self.config = config
        at = decoder.landmarks478(decoder.mean[None])[0]
        kernel = torch.exp(-(torch.cdist(at, at) ** 2) / (2 * config.reach**2)) + 1e-3 * torch.eye(len(at))
        weight = torch.ones(len(at))
        weight[list(FACE_OVAL)] = config.contour
        self.register_buffer("smooth", torch.linalg.cholesky(kernel))
        self.register_buffer("weight", weight[:, None])
        self.register_buffer("near", torch.exp(-(torch.cdist(at, at) ** 2) / (2 * config.blunder_reach**2)))
        self.register_buffer("features", _feature_heights(config))
        skin = torch.ones(len(at), 1)
        skin[[*FACE_OVAL, *range(MESH_POINTS, POINTS), *LandmarkNet.refined_points()]] = 0
        self.register_buffer("skin", skin)

    def forward(self, points: Tensor, resting: Tensor) -> Tensor:
        """points (P,S,478,2) of P people and S shots, crop pixels, and where they would be without an expression ->
        what a detector says.

        It follows lips, eyes, brows and the contour, but knows the cheeks from where faces mostly have them: per
        person, they stay behind by some share.
        """
        people, shots, count, _ = points.shape
        c, unit = self.config, IOD_PIXELS / 100
        share = c.still * torch.rand(people, 1, 1, 1, device=points.device) * self.skin
        points = points.lerp(resting, share)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, count, 2, device=points.device)

        def smooth(*shape: int) -> Tensor:
            return torch.einsum("kl,...lc->...kc", self.smooth, draw(*shape))

        person = self.weight * (c.person * smooth(people, 1) + c.person_point * draw(people, 1))
        heights = torch.randn(people, 1, len(self.features), device=points.device) @ self.features  # (P,1,478)
        frame = c.frame * smooth(people, shots) + c.point * draw(people, shots)
        # no two people's, and no two pictures', errors are equally large
        person = person * torch.rand(people, 1, 1, 1, device=points.device) * 1.6
        frame = frame * torch.rand(people, shots, 1, 1, device=points.device) * 1.6
        place = self.near[torch.randint(count, (people, shots), device=points.device), :, None]
        struck = torch.rand(people, shots, 1, 1, device=points.device) < c.blunders
        blunder = c.blunder * struck * place * smooth(people, shots)
        offset = person + frame + blunder
        offset[..., 1] += heights
        return points + unit * offset


def _feature_heights(config: NoiseConfig) -> Tensor:
    """(4,478) by how much each point is lower for one standard deviation of: both brows, the left against the right
    brow, the upper lip, the lower lip."""
    heights = torch.zeros(4, 478)
    left, right = (list(brow) for brow in BROWS)
    heights[0, left + right] = config.brows
    heights[1, left], heights[1, right] = 0.3 * config.brows, -0.3 * config.brows
    heights[2, list(UPPER_LIP)] = heights[3, list(LOWER_LIP)] = config.lips
    return heights
