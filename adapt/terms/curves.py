"""Priors of ARKit-like curves, 0..1: what is a person's own face at rest, and what is acting.

Shapes: B frames, T frames of the clip, E curves.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from selftrack.adapt.terms.context import ClipContext, StepContext
from selftrack.adapt.terms.registry import term


def least_active(expression: Tensor, share: float = 0.1) -> Tensor:
    """Find, among frames with curves (B,E), those with the least activity, the sum of the curves: (B,) bool."""
    activity = expression.clamp(min=0).sum(1)
    return activity <= activity.quantile(share)


def reference_trajectory(curves: Tensor, neutral: Tensor, tolerance: float) -> Tensor:
    """Compute what curves (T,E), 0..1, do: beyond their mean in the frames where `neutral` (T,) is 1, if that is more
    than `tolerance`, since it should be 0 there."""
    offset = (curves * neutral[:, None]).sum(0) / neutral.sum().clamp(min=1)
    return (curves - offset * (offset > tolerance)).clamp(min=0)


def baseline_rise(curves: Tensor, before: Tensor, inactive: Tensor) -> Tensor:
    """Compute the square (E,) of how far curves (B,E) rose on average above `before` (B,E) in the frames where each is
    `inactive` (B,E), 0 or 1."""
    rise = ((curves - before) * inactive).sum(0) / inactive.sum(0).clamp(min=1)
    return rise.clamp(min=0).square()


def lost_range(curves: Tensor, reference: Tensor, least: float) -> Tensor:
    """Compute the square (E,) of the share of their reference trajectory (B,E) that curves (B,E) lost; near 0 for one
    whose deviation there is far below `least`.

    The share kept is the slope of their regression on it: trembling is lost at no cost, and so is a constant.
    """
    spread = reference - reference.mean(0)
    variance = spread.square().mean(0) + 1e-12
    lost = 1 - (spread * curves).mean(0) / variance
    return lost.clamp(min=0).square() * variance / (variance + least**2)


def neutral_frames(clip: ClipContext) -> Tensor:
    """Find the frames to learn from that are the least active but for the eyes: (T,), 0 or 1."""
    active = clip.unadapted.z[clip.train_rows][:, clip.expression] * not_of_the_eyes(clip)
    neutral = torch.zeros(len(clip.clip), device=active.device)
    neutral[clip.train_rows] = least_active(active).float()
    return neutral


def not_of_the_eyes(clip: ClipContext) -> Tensor:
    """Find the curves that are not the eyes', (E,) bool: a neutral face may look down."""
    eyes = [name.startswith("eye") for name in clip.face.decoder.expression_names]
    return ~torch.tensor(eyes, device=clip.unadapted.z.device)


@term("neutral", weight=55.0)
class Neutral:
    """Pull of all curves but the eyes' to 0 in the neutral frames: the identity must be the neutral face's, or that of
    who smiles for most of a clip would smile."""

    def __init__(self, clip: ClipContext) -> None:
        self.frames, self.curves = neutral_frames(clip), not_of_the_eyes(clip)

    def __call__(self, step: StepContext) -> Tensor:
        """Sum the squares over the curves and average over the neutral ones of the frames."""
        return self.mean(step.expression, step.rows)

    def mean(self, expression: Tensor, rows: Tensor) -> Tensor:
        """Of curves (B,E) of the frames `rows` (B,)."""
        neutral = self.frames[rows]
        return ((expression * self.curves).square().sum(1) * neutral).sum() / neutral.sum().clamp(min=1)


@dataclass(frozen=True)
class DampingConfig:
    """Settings of damping."""

    tolerance: float = 0.15
    """What a curve may have in the neutral frames; one that has more there loses it as the identity's."""
    least: float = 0.03
    """Deviation of a curve that hardly moves."""


@term("damping", weight=22.0, settings=DampingConfig)
class Damping:
    """Pull of curves back to the range that they had un-adapted: less trembling is welcome, less acting is not."""

    def __init__(self, clip: ClipContext, settings: DampingConfig) -> None:
        shown = clip.unadapted.z[:, clip.expression].clamp(min=0)
        moved = reference_trajectory(shown, neutral_frames(clip), settings.tolerance)
        self.reference = torch.where(not_of_the_eyes(clip), moved, shown)  # (T,E)
        self.settings = settings

    def __call__(self, step: StepContext) -> Tensor:
        """Sum over the curves."""
        return lost_range(step.expression, self.reference[step.rows], self.settings.least).sum()


@term("baseline", weight=400.0)
class Baseline:
    """Pull back of curves that rose in the less active half of their frames: what the landmarks say of a face all the
    time is the identity, or the detector's bias, and not acting."""

    def __init__(self, clip: ClipContext) -> None:
        shown = clip.unadapted.z[:, clip.expression].clamp(min=0)
        self.inactive = (shown <= shown[clip.train_rows].median(0).values).float()  # (T,E)

    def __call__(self, step: StepContext) -> Tensor:
        """Sum over the curves."""
        before = step.unadapted.z[:, step.context.expression]
        return baseline_rise(step.expression, before, self.inactive[step.rows]).sum()
