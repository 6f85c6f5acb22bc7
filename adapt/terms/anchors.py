"""Anchors: what neither the pixels nor the landmarks tell stays as the un-adapted network had it."""

from __future__ import annotations

import math

from torch import Tensor

from selftrack.adapt.terms.context import ClipContext, StepContext
from selftrack.adapt.terms.registry import term


@term("anchor", weight=1000.0)
def anchor(step: StepContext) -> Tensor:
    """Squared difference of the expression from the un-adapted one, in its own units: in millimetres, a curve that
    hardly moves the skin could go anywhere."""
    return (step.prediction.z - step.unadapted.z)[:, step.context.expression].square().sum(1).mean()


@term("rotation", weight=4.0)
def rotation(step: StepContext) -> Tensor:
    """Squared difference of pitch and yaw from the un-adapted ones, 1 for 20 degrees: a jaw that opens is no nod."""
    change = step.prediction.pose[:, 1:3] - step.unadapted.pose[:, 1:3]
    return (change.square().sum(1) / math.radians(20) ** 2).mean()


@term("identity", weight=0.1)
class Identity:
    """Squared difference of the identity from the un-adapted one, in standard deviations of the population."""

    def __init__(self, clip: ClipContext) -> None:
        self.unadapted = clip.model.identity.detach().clone()

    def __call__(self, step: StepContext) -> Tensor:
        """Sum over the components."""
        return (step.model.identity - self.unadapted).square().sum()
