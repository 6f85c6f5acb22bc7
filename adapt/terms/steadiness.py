"""Steadiness: what trembles costs its square, what moves fast costs no more than a constant.

A loss and no filter: no frame's result depends on another frame's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from selftrack.adapt.terms.context import StepContext
from selftrack.adapt.terms.registry import term


@dataclass(frozen=True)
class JitterConfig:
    """Settings of the terms of steadiness."""

    scale: float = 0.75
    """Acceleration in % IOD per frame^2 beyond which it is motion."""


def robust_acceleration(points: Tensor, iod: Tensor, scale: float) -> Tensor:
    """Compute r^2/(1+r^2/scale^2) (B,N) of the acceleration r, in % IOD, of points (B,3,N,D) in three consecutive
    frames; `iod` (B,) in the points' units."""
    acceleration = (points[:, 0] - 2 * points[:, 1] + points[:, 2]) * (100 / iod)[:, None, None]
    square = acceleration.square().sum(2)
    return square / (1 + square / scale**2)


@term("jitter", weight=180.0, settings=JitterConfig)
def jitter(step: StepContext, settings: JitterConfig) -> Tensor:
    """Small accelerations in the image, of vertices of all of the head but the eyes: a nod trembles most where the
    skin is farthest from the face."""
    return _mean(step, step.model.in_image(step.vertices, step.prediction)[..., :2], settings)


@term("shape_jitter", weight=800.0, settings=JitterConfig)
def shape_jitter(step: StepContext, settings: JitterConfig) -> Tensor:
    """Small accelerations of the same vertices in the head's frame, so without the pose."""
    pixels_per_metre = step.prediction.pose_image[:, 0].exp()[:, None, None].detach()
    return _mean(step, step.vertices * pixels_per_metre, settings)


def _mean(step: StepContext, points: Tensor, settings: JitterConfig) -> Tensor:
    """Average over vertices (B,m,D) and over triples of neighbouring frames, 0 without any."""
    triples = step.triples
    if not len(triples):
        return step.zero()
    # index_select adds its gradients up in one order, indexing does not
    three = torch.stack([points.index_select(0, frame) for frame in triples.unbind(1)], 1)
    return robust_acceleration(three, step.iod[triples[:, 2]], settings.scale).mean()
