"""What a deep appearance model is trained to minimise, and what it is judged by."""

from __future__ import annotations

import torch
from torch import Tensor


def masked_error(made: Tensor, seen: Tensor) -> Tensor:
    """Mean squared difference () of textures (B,3,T,T), over texels of `seen` that are no holes."""
    mask = (seen > 0).any(1, keepdim=True)
    return ((made - seen).square() * mask).sum() / (3 * mask.sum()).clamp(min=1)


def divergence(mean: Tensor, deviation: Tensor) -> Tensor:
    """Kullback-Leibler divergence () of N(mean, exp(deviation)^2) (B,Z) from N(0, 1), mean of the batch and of z."""
    return 0.5 * (mean.square() + (2 * deviation).exp() - 1 - 2 * deviation).mean()


def psnr(square: float) -> float:
    """Decibels of a mean squared error of values in 0..1."""
    return -10 * float(torch.tensor(max(square, 1e-12)).log10())

