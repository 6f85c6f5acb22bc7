"""What the losses take for known and renew every few steps, without gradient."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from selftrack.adapt.learning.model import Prediction
from selftrack.adapt.terms.context import ClipContext, upright
from selftrack.adapt.terms.texture import match_exposure
from selftrack.decoders.base import Decoder
from selftrack.decoders.mesh.normals import vertex_normals
from selftrack.decoders.mesh.unwrap import confidence

TEXTURE_FRAMES = 48
"""Frames spread over the clip, of whose textures the median is taken."""


@dataclass
class State:
    """What is renewed every few steps; of held-out frames nothing."""

    visibility: Tensor  # (T,N) confidence of the skin's texels, 0 in held-out frames
    texture: Tensor  # (3,N) the clip's median texture
    known: Tensor  # (N,) bool, texels of it that some frame shows
    contrast: Tensor  # () mean square of what a shift by 1 % IOD changes in the observed textures
    residual: Tensor  # (L,2) median from the mesh's landmarks to the detector's, percent of the IOD, upright face
    landmark_cosine: Tensor  # (T,L) cosine of the incident angle of the surface there, 0 in held-out frames


@torch.no_grad()
def renew_state(context: ClipContext) -> State:
    """Measure visibility, texture and residuals with the present model."""
    clip, face, config, model, rows = context.clip, context.face, context.config, context.model, context.train_rows
    now = model.predict_all(clip)
    visibility = torch.zeros(len(clip), len(face.skin), device=clip.points.device)
    cosine = torch.zeros(clip.points.shape[:2], device=clip.points.device)
    for some in rows.split(16):
        vertices = model.vertices(face.decoder, now.select(some))
        visibility[some] = confidence(vertices, face.decoder.faces, face.texels, clip.size[::-1], config.least_cosine)
        cosine[some] = _landmark_cosine(face.decoder, vertices, clip.points.shape[1])
    texture, known, contrast = _median_texture(context, now, visibility)
    placed = model.in_image(face.landmarks(now.z), now)[..., :2]
    residual = upright(clip.points - placed, now.pose_image)[rows] * (100 / clip.iod[rows])[:, None, None]
    return State(visibility, texture, known, contrast, residual.median(0).values, cosine)


def _landmark_cosine(decoder: Decoder, vertices: Tensor, points: int) -> Tensor:
    """(B,L) cosine of the incident angle at so many landmarks, of vertices (B,V,3) in the image frame."""
    normals = decoder.landmarks(points)(vertex_normals(vertices, decoder.faces))
    return -nn.functional.normalize(normals, dim=2)[..., 2]


def _median_texture(context: ClipContext, now: Prediction, visibility: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(3,N) per-texel median of what confident frames show, brought to one exposure; where there is any (N,); and the
    contrast ()."""
    clip, learn = context.clip, context.train_rows
    rows = learn[torch.linspace(0, len(learn) - 1, TEXTURE_FRAMES).round().long().unique()]
    there = now.select(rows)
    points = context.model.in_image(context.face.skin(there.z), there)[..., :2]
    texture, inside = clip.pixels.sample(rows, points)
    weight = visibility[rows] * inside
    middle = _nanmedian(match_exposure(texture, _nanmedian(texture, weight)[None], weight), weight)
    percent = clip.iod[rows][:, None, None] / 100
    shifts = points.new_tensor([[1, 0], [0, 1]])
    shifted = [clip.pixels.sample(rows, points + percent * shift)[0] for shift in shifts]
    change = sum((other - texture).square().mean(1) for other in shifted) / 2 * weight.square()
    return middle, (weight > 0).any(0), (change.sum() / weight.square().sum().clamp(min=1)).clamp(min=1e-6)


def _nanmedian(texture: Tensor, weight: Tensor) -> Tensor:
    hidden = (weight <= 0.5 * weight.amax(0).clamp(min=1e-6))[:, None]
    return texture.masked_fill(hidden, torch.nan).nanmedian(0).values.nan_to_num()
