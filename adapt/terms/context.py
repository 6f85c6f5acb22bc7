"""What the terms of the loss are computed from: the clip, and a step with what several terms share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from selftrack.adapt.frames.clip import Clip
from selftrack.adapt.learning.face import Face
from selftrack.adapt.learning.model import Adapted, Prediction
from selftrack.tracker.geometry.pose import rotation

if TYPE_CHECKING:
    from selftrack.adapt.frames.sampling import Batch
    from selftrack.adapt.learning.state import State
    from selftrack.adapt.learning.trainer import AdaptConfig


@dataclass
class ClipContext:
    """What stays the same in all steps, and the model."""

    clip: Clip
    face: Face
    model: Adapted
    config: AdaptConfig
    unadapted: Prediction
    """Of all frames, by the un-adapted tracker."""
    train_rows: Tensor
    """Positions in the clip of the frames to learn from."""

    @property
    def expression(self) -> slice:
        """Entries of z with one value per frame."""
        return self.face.decoder.expression


class Observed(NamedTuple):
    """Textures of B frames at n texels."""

    texture: Tensor
    """(B,3,n) RGB in 0..1."""
    confidence: Tensor
    """(B,n) the cosine of the incident angle, 0 where the surface is not visible; a constant to the gradient, or the
    losses would shrink it instead of moving the mesh."""


class StepContext:
    """One step: B frames, pairs of them, n texels and m vertices; what terms share is computed once, when first asked
    for."""

    def __init__(self, context: ClipContext, state: State, batch: Batch) -> None:
        self.context, self.state, self.batch = context, state, batch
        self.clip, self.face, self.model, self.config = context.clip, context.face, context.model, context.config

    @property
    def rows(self) -> Tensor:
        """(B,) positions in the clip of the frames, ascending."""
        return self.batch.rows

    @cached_property
    def prediction(self) -> Prediction:
        """Codes and poses of the frames, by the present model."""
        return self.model(self.clip, self.rows)

    @cached_property
    def expression(self) -> Tensor:
        """(B,E) the expression entries of z."""
        return self.prediction.z[:, self.context.expression]

    @cached_property
    def unadapted(self) -> Prediction:
        """Codes and poses of the frames, by the un-adapted network."""
        return self.context.unadapted.select(self.rows)

    @cached_property
    def iod(self) -> Tensor:
        """(B,) inter-ocular distances in pixels."""
        return self.clip.iod[self.rows]

    @cached_property
    def texel_points(self) -> Tensor:
        """(B,n,2) texels of the skin, image frame."""
        return self.model.in_image(self.face.skin(self.prediction.z, self.batch.texels), self.prediction)[..., :2]

    @cached_property
    def observed(self) -> Observed:
        """What the frames show there (Eq. 7)."""
        texture, inside = self.clip.pixels.sample(self.rows, self.texel_points)
        return Observed(texture, self.state.visibility[self.rows][:, self.batch.texels] * inside)

    @cached_property
    def vertices(self) -> Tensor:
        """(B,m,3) vertices of the head, metres, head frame."""
        return self.face.vertices(self.prediction.z, self.batch.vertices)

    @cached_property
    def landmarks(self) -> Tensor:
        """(B,L,2) the mesh's, image frame, displaced by what is taken for the detector's bias."""
        prediction = self.prediction
        points = self.model.in_image(self.face.landmarks(prediction.z), prediction)[..., :2]
        residual = self.config.bias * self.state.residual
        bias = upright(residual.expand(len(points), -1, -1), prediction.pose_image, back=True)
        return points + bias * (self.iod / 100)[:, None, None]

    @cached_property
    def detected(self) -> Tensor:
        """(B,L,2) the detector's landmarks, image frame."""
        return self.clip.points[self.rows]

    @cached_property
    def triples(self) -> Tensor:
        """(N,3) positions in the batch of frames that are three neighbours of one shot."""
        device = self.rows.device
        last = torch.arange(2, len(self.rows), device=device)
        shot = torch.from_numpy(self.clip.shot).to(device)[self.rows]
        number = torch.from_numpy(self.clip.rows).to(device)[self.rows]
        last = last[(number[last] - number[last - 2] == 2) & (shot[last] == shot[last - 2])]
        return torch.stack([last - 2, last - 1, last], 1)

    def zero(self) -> Tensor:
        """The value () of a term that has nothing to compare in this step."""
        return self.clip.points.new_zeros(())


def upright(vectors: Tensor, pose: Tensor, back: bool = False) -> Tensor:
    """Turn vectors (B,L,2) of the image by the roll of poses (B,6), so that they are those of an upright face; or back.

    The roll is a constant to the gradient.
    """
    roll = torch.zeros_like(pose[:, 1:4])
    roll[:, 2] = pose[:, 3]
    turned = rotation(roll.detach())[:, :2, :2]
    return vectors @ (turned.mT if back else turned)
