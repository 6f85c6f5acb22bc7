"""What a deep appearance model is trained to minimise, and what it is judged by."""

from __future__ import annotations

import torch
from torch import Tensor


def masked_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Compute the mean squared difference () of textures (B,3,T,T), over texels of the target that are no holes."""
    mask = (target > 0).any(1, keepdim=True)
    return ((prediction - target).square() * mask).sum() / (3 * mask.sum()).clamp(min=1)


def divergence(mean: Tensor, deviation: Tensor) -> Tensor:
    """Compute the Kullback-Leibler divergence () of N(mean, exp(deviation)^2) (B,Z) from N(0, 1), mean over both."""
    return 0.5 * (mean.square() + (2 * deviation).exp() - 1 - 2 * deviation).mean()


def psnr(square: float) -> float:
    """Convert to decibels a mean squared error of values in 0..1."""
    return -10 * float(torch.tensor(max(square, 1e-12)).log10())
