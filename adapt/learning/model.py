"""What adaptation trains: a copy of I2ZNet's heads, the clip's colour correction, one inverse camera distance and,
where the points have not told it, one identity.

The streams stay frozen; so do the convolutions that compress their maps, unless the clip keeps these.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from selftrack.adapt.frames.clip import Clip
from selftrack.decoders.base import Decoder
from selftrack.tracker.geometry.pose import project, to_image
from selftrack.tracker.network.i2znet import I2ZNet
from selftrack.tracker.refinement.controls import bound
from selftrack.tracker.refinement.subject import Subject


class Prediction(NamedTuple):
    """Of B frames."""

    z: Tensor  # (B,128)
    pose: Tensor  # (B,6) in the crop
    pose_image: Tensor  # (B,6) in the image

    def select(self, rows: Tensor) -> Prediction:
        """Take those of the frames `rows` (b,)."""
        return Prediction(*(part[rows] for part in self))


class Adapted(nn.Module):
    """What adaptation trains, on a copy of the network's heads."""

    condition: Tensor
    """(112,) what the heads are conditioned on, or (0,)."""
    rest: Tensor
    """(52,) curves of the face at rest; those of the prediction are on top."""

    def __init__(self, network: I2ZNet, subject: Subject, arkit: bool = False, compression: bool = False) -> None:
        """Copy the heads.

        Args:
            network: the un-adapted one.
            subject: the un-adapted tracker's.
            arkit: whether the curves are ARKit's, and so stay within what these can be.
            compression: whether the convolutions that compress the maps are trained, too.
        """
        super().__init__()
        self.arkit = arkit
        self.heads = copy.deepcopy(network.heads).requires_grad_(True)
        # The first estimate is of the subject, which is fixed, and of appearance, which no loss depends on.
        fixed = [] if compression else [level.compress for level in self.heads.levels]
        for part in (*fixed, self.heads.first, self.heads.attention):
            if part is not None:
                part.requires_grad_(False)
        self.identity = nn.Parameter(subject.identity.clone())
        self.register_buffer("condition", subject.network.clone())
        self.register_buffer("rest", subject.rest.clone())
        self.expression = slice(network.config.identity, network.config.identity + network.config.expression)
        self.colour = nn.Parameter(torch.cat([torch.eye(3), torch.zeros(3, 1)], 1))  # C of Eq. 8, a 1x1 convolution
        self.inverse_distance = nn.Parameter(torch.tensor(float(subject.inverse_distance)))

    def subject(self) -> Subject:
        """Who is seen, and through which camera, as it is learned so far."""
        identity, rest = self.identity.detach().cpu().clone(), self.rest.cpu()
        return Subject(self.condition.cpu(), identity, self.inverse_distance.item(), rest)

    def forward(self, clip: Clip, rows: Tensor) -> Prediction:
        """Predict frames `rows` (B,) of the clip."""
        codes = self.heads.regress(clip.features(self.heads, rows), self.condition.expand(len(rows), -1))
        curves = codes.z[:, self.expression]
        identity = self.identity.expand(len(rows), -1)
        z = torch.cat([identity, bound(curves) if self.arkit else curves, codes.z[:, self.expression.stop :]], 1)
        return Prediction(z, codes.pose, to_image(codes.pose, clip.transform[rows]))

    @torch.no_grad()
    def predict_all(self, clip: Clip) -> Prediction:
        """Predict all frames of the clip, without gradient."""
        chunks = torch.arange(len(clip), device=clip.points.device).split(64)
        return Prediction(*(torch.cat(part) for part in zip(*(self(clip, c) for c in chunks), strict=True)))

    def in_image(self, points: Tensor, prediction: Prediction) -> Tensor:
        """Project points (B,N,3) of the head frame, metres, into the image frame (B,N,3), pixels."""
        return project(points, prediction.pose_image, self.inverse_distance)

    def vertices(self, decoder: Decoder, prediction: Prediction) -> Tensor:
        """Place the decoder's vertices (B,V,3) in the image frame."""
        return self.in_image(decoder.geometry(prediction.z), prediction)

    def correct(self, texture: Tensor) -> Tensor:
        """C(T): texture (...,3,N) corrected."""
        return self.colour[:, :3] @ texture + self.colour[:, 3:]
