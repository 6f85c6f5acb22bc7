"""What adaptation trains: a copy of I2ZNet's heads, one identity of the clip, its colour correction and one inverse
camera distance. The streams stay frozen, and the convolutions that compress their maps."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from selftrack.adapt.clip import Clip
from selftrack.tracker.geometry.pose import to_image
from selftrack.tracker.network.i2znet import I2ZNet


class Prediction(NamedTuple):
    """Of B frames."""

    z: Tensor  # (B,128)
    pose: Tensor  # (B,6) in the crop
    pose_image: Tensor  # (B,6) in the image


class Adapted(nn.Module):
    """What adaptation trains, on a copy of the network's heads."""

    def __init__(self, network: I2ZNet, person: Tensor) -> None:
        """`person` (112,) or (0,) is the un-adapted network's, see `I2ZNet.person`."""
        super().__init__()
        self.heads = copy.deepcopy(network.heads).requires_grad_(True)
        # The clip keeps what is compressed; the first guess is of a person, who is given, and of an appearance, at
        # which no loss looks.
        for part in (*(level.compress for level in self.heads.levels), self.heads.first, self.heads.trust):
            if part is not None:
                part.requires_grad_(False)
        self.identity = nn.Parameter(person[: network.config.identity].clone())
        self.register_buffer("habit", person[network.config.identity :].clone())
        self.colour = nn.Parameter(torch.cat([torch.eye(3), torch.zeros(3, 1)], 1))  # C of Eq. 8, a 1x1 convolution
        self.inverse_distance = nn.Parameter(torch.zeros(()))

    def person(self) -> Tensor:
        """(112,) identity and habit, or (0,)."""
        return torch.cat([self.identity, self.habit])

    def forward(self, clip: Clip, rows: Tensor) -> Prediction:
        """Predict frames `rows` (B,) of the clip."""
        points = clip.crop_points[rows]
        for_z, for_pose = self.heads.vectors([level[rows] for level in clip.compressed], points)
        codes = self.heads.regress(for_z, for_pose, points, self.person().expand(len(rows), -1))
        return Prediction(codes.z, codes.pose, to_image(codes.pose, clip.transform[rows]))

    def correct(self, texture: Tensor) -> Tensor:
        """C(T): texture (...,3,N) corrected."""
        return self.colour[:, :3] @ texture + self.colour[:, 3:]
