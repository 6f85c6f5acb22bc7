"""The losses of self-supervised adaptation (Yoon et al. 2019, Eq. 5-9): pure, unreduced, with their weights.

Shapes: B frames or pairs of frames, N texels, L landmarks. Textures are RGB in 0..1, landmarks in percent of the
inter-ocular distance (IOD). A loss returns its elements; `weighted_mean` reduces them with the weights.
"""

from __future__ import annotations

import torch
from torch import Tensor


def cftc(now: Tensor, before: Tensor, weight: Tensor) -> Tensor:
    """Consecutive-frame texture consistency (Eq. 6), (B,N): |W_t W_{t-1} (T_t - T_{t-1})|^2, mean of the channels.

    `now` and `before` (B,3,N) are observed textures, `weight` (B,N) is the product W_t W_{t-1}; as printed in the
    paper, the norm squares it.
    """
    assert now.shape == before.shape and weight.shape == (len(now), now.shape[2]), (now.shape, weight.shape)
    return weight.square() * (now - before).square().mean(1)


def motc(observed: Tensor, model: Tensor, weight: Tensor) -> Tensor:
    """Model-to-observation texture consistency (Eq. 8), (B,N): |W_t (T_t - C(T))|^2, mean of the channels.

    `observed` (B,3,N); `model` (B or 1,3,N) is the colour-corrected texture C(T); `weight` (B,N) is W_t.
    """
    assert observed.shape[1:] == model.shape[1:] and weight.shape == (len(observed), observed.shape[2])
    return weight.square() * (observed - model).square().mean(1)


def flrc(projected: Tensor, detected: Tensor, iod: Tensor) -> Tensor:
    """Facial landmark reprojection consistency (Eq. 9), (B,L): squared distance in (% IOD)^2.

    `projected`, `detected` (B,L,2) in pixels, `iod` (B,) in pixels.
    """
    assert projected.shape == detected.shape and iod.shape == (len(projected),), (projected.shape, iod.shape)
    return ((projected - detected) * (100 / iod)[:, None, None]).square().sum(2)


def weighted_mean(values: Tensor, weight: Tensor, floor: float = 0.0) -> Tensor:
    """Mean of `values`, which have their weights in them already, over the elements that `weight` lets count.

    Divides by the number of elements with a weight, but by no less than the share `floor` of all: a loss cannot shrink
    by hiding the surface.
    """
    count = (weight > 0).sum().clamp(min=max(floor * weight.numel(), 1))
    return values.sum() / count


def match_exposure(texture: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """`texture` (B,3,N) with a gain and a bias per picture and channel that bring it closest to `target` (B or 1,3,N).

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


def robust(residual: Tensor, scale: float) -> Tensor:
    """Weights (B,N) in 0..1 of residuals (B,3,N): 1/(1+r^2/scale^2)^2 (Geman and McClure), little for an occluder."""
    return (1 + residual.detach().square().mean(1) / scale**2).reciprocal().square()


def facing(corners: Tensor) -> Tensor:
    """(B,N) cosine of the incident angle, between the view along +z and the triangles (B,N,3,3), image frame: 1 where
    the right-handed normal points at the camera, -1 where it points away."""
    a, b, c = corners.unbind(2)
    normal = torch.linalg.cross(b - a, c - a)
    return -normal[..., 2] / normal.norm(dim=-1).clamp(min=1e-12)


def resting(expression: Tensor, rest: Tensor) -> Tensor:
    """(B,K) squared values of the curves (B,K) where they are at rest, that is at or below `rest` (K,), their 10th
    percentile over the clip: what never leaves a face belongs to the person."""
    return expression.square() * (expression.detach() <= rest)


def calm(expression: Tensor, share: float = 0.1) -> Tensor:
    """(B,) bool: of frames with curves (B,K), those with the least activity, their sum: its own neutral."""
    activity = expression.clamp(min=0).sum(1)
    return activity <= activity.quantile(share)


def antagonism(expression: Tensor, pairs: Tensor) -> Tensor:
    """(B,P) the lesser of two curves (B,K) that nobody makes at once, for P index pairs (P,2): an L1 penalty on it."""
    return torch.minimum(expression[:, pairs[:, 0]], expression[:, pairs[:, 1]]).clamp(min=0)


def out_of_range(expression: Tensor) -> Tensor:
    """(B,K) squared excess of the curves (B,K) beyond 0..1, where they would be clipped."""
    return (-expression).clamp(min=0).square() + (expression - 1).clamp(min=0).square()


def course(curves: Tensor, calm: Tensor, tolerance: float) -> Tensor:
    """(T,K) what the curves (T,K), 0..1, do; beyond their mean in the frames where `calm` (T,) is 1, if that is more
    than `tolerance`, since it should be 0 there."""
    level = (curves * calm[:, None]).sum(0) / calm.sum().clamp(min=1)
    return (curves - level * (level > tolerance)).clamp(min=0)


def level(curves: Tensor, before: Tensor, quiet: Tensor) -> Tensor:
    """(K,) square of how far the curves (B,K) rose on average above `before` (B,K) in the frames where each is `quiet`
    (B,K), 0 or 1: what a curve gains there says how the person looks and belongs to the identity."""
    rise = ((curves - before) * quiet).sum(0) / quiet.sum(0).clamp(min=1)
    return rise.clamp(min=0).square()


def damping(curves: Tensor, before: Tensor, still: float) -> Tensor:
    """(K,) square of the share of their course that the curves (B,K) lost against `before` (B,K), 0 for one that hardly
    moved: whose deviation was far below `still`.

    The share kept is the slope of their regression on `before`; what trembles is lost at no cost, and so is a level.
    """
    spread = before - before.mean(0)
    variance = spread.square().mean(0) + 1e-12
    lost = 1 - (spread * curves).mean(0) / variance
    return lost.clamp(min=0).square() * variance / (variance + still**2)


def contact(gap: Tensor, iod: Tensor, touch: float) -> Tensor:
    """(B,P) how much two points touch, 1 to 0: exp(-(d/touch)^2) of their distance d in % IOD.

    `gap` (B,P,2) from one to the other and `iod` (B,) in pixels.
    """
    return torch.exp(-(gap.norm(dim=2) * (100 / iod)[:, None] / touch).square())


def jitter(points: Tensor, iod: Tensor, scale: float) -> Tensor:
    """(B,N) of points (B,3,N,D) in three consecutive frames: r^2/(1+r^2/scale^2) of their acceleration r in % IOD.

    What is fast is motion and costs no more; what trembles by less than `scale` costs its square. `iod` (B,) pixels.
    """
    acceleration = (points[:, 0] - 2 * points[:, 1] + points[:, 2]) * (100 / iod)[:, None, None]
    square = acceleration.square().sum(2)
    return square / (1 + square / scale**2)
