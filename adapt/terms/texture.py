"""Texture consistency: the skin looks the same from frame to frame (Eq. 6) and like the model's texture (Eq. 8).

Shapes: B frames or pairs of frames, N texels; textures are RGB in 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from selftrack.adapt.terms.context import StepContext
from selftrack.adapt.terms.registry import term
from selftrack.tracker.geometry.pose import view_of


def texture_difference(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """Compute |W (a - b)|^2 (B,N), mean of the channels, of textures (B,3,N), `b` perhaps (1,3,N), and weights (B,N).

    As printed in Eq. 6 and 8, the norm squares the weights: W_t W_{t-1} there, W_t here.
    """
    assert a.shape[1:] == b.shape[1:] and weight.shape == (len(a), a.shape[2]), (a.shape, b.shape, weight.shape)
    return weight.square() * (a - b).square().mean(1)


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Average `values`, which have their weights in them already, over the elements whose weight is not 0."""
    return values.sum() / (weight > 0).sum().clamp(min=1)


def match_exposure(texture: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Bring `texture` (B,3,N) closest to `target` (B or 1,3,N) by a gain and a bias per picture and channel.

    Least squares under `weight` (B,N); the gain stays within 0.5..2, and no gradient flows through gain and bias, so
    that they explain light and not motion.
    """
    with torch.no_grad():
        w = weight[:, None] / weight.sum(1).clamp(min=1e-6)[:, None, None]
        mean, aim = (w * texture).sum(2, keepdim=True), (w * target).sum(2, keepdim=True)
        spread, other = texture - mean, target - aim
        variance = (w * spread * spread).sum(2, keepdim=True)
        gain = ((w * spread * other).sum(2, keepdim=True) + 1e-4) / (variance + 1e-4)
        gain = gain.clamp(0.5, 2)
        bias = aim - gain * mean
    return gain * texture + bias


def robust_weight(residual: Tensor, scale: float) -> Tensor:
    """Compute weights (B,N) in 0..1 of residuals (B,3,N): 1/(1+r^2/scale^2)^2 (Geman and McClure), small for an
    occluder and constant to the gradient."""
    return (1 + residual.detach().square().mean(1) / scale**2).reciprocal().square()


@term("cftc", weight=510.0)
def cftc(step: StepContext) -> Tensor:
    """Consecutive-frame texture consistency (Eq. 6), over pairs of frames of one shot.

    Divided by what a shift by 1 % of the inter-ocular distance changes in this clip, so that one weight serves soft and
    sharp pictures alike.
    """
    texture, confidence = step.observed
    late, early = step.batch.pairs.unbind(1)
    # index_select adds its gradients up in one order, indexing does not
    now, before = texture.index_select(0, late), texture.index_select(0, early)
    weight = confidence[late] * confidence[early]
    before = match_exposure(before, now, weight)
    weight = weight * robust_weight(now - before, step.config.occlusion).sqrt()  # the loss squares it
    return weighted_mean(texture_difference(now, before, weight), weight) / step.state.contrast


@dataclass(frozen=True)
class MotcConfig:
    """Settings of model-to-observation consistency."""

    frames: int = 8
    """Frames per step that a decoder whose texture follows the view paints, as that takes long."""


@term("motc", weight=128.0, settings=MotcConfig)
def motc(step: StepContext, settings: MotcConfig) -> Tensor:
    """Model-to-observation texture consistency (Eq. 8), in the units of `cftc`."""
    rows, model, known = model_texture(step, settings)
    weight = step.observed.confidence[rows] * known
    painted = match_exposure(step.observed.texture[rows], model, weight)
    weight = weight * robust_weight(painted - model, step.config.occlusion).sqrt()
    return weighted_mean(texture_difference(painted, model, weight), weight) / step.state.contrast


def model_texture(step: StepContext, settings: MotcConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Find what the observed textures are compared with.

    It is what a person's own model paints for code and view, in a few frames; else the clip's median texture, as that
    of the bundled head is nobody's.

    Returns:
        The places (b,) in the batch of the frames compared, the colour-corrected texture C(T) (b or 1,3,n), and which
        of its texels are known (n,).
    """
    prediction, texels = step.prediction, step.batch.texels
    every = torch.arange(len(step.rows), device=step.rows.device)
    known = step.state.known[texels]
    if not step.face.decoder.paints_view:
        return every, step.model.correct(step.state.texture[:, texels])[None], known
    some = every[torch.linspace(0, len(every) - 1, min(settings.frames, len(every))).round().long()]
    painted = step.face.painted(prediction.z[some], view_of(prediction.pose[some]), texels)
    return some, step.model.correct(painted), torch.ones_like(known)
