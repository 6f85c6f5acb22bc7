"""What a face is moved by: ARKit's curves with one gaze for both eyes, and lips that close what the jaw opens.

Curves are 52 numbers in the order of `ARKIT_NAMES`, controls 47: the 44 curves that are not of the gaze, then where
both eyes look (`SIDE`, `UP`) and how much they converge (`VERGENCE`), in units of the eyeLook curves. So both eyes turn
to one point: they never diverge, no eye is higher than the other, and In and Out of an eye are never both above 0.
In place of jawOpen and mouthClose are by how much the jaw opens with the lips (`PARTED`), and behind them (`BEHIND`):
mouthClose is what jawOpen would have parted, and never more, as in recordings. There, of a smile and a frown and the
like, one is 0: `EXCLUSIVE`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from selftrack.decoders.arkit import ARKIT_NAMES

_PAIR = {"jawOpen": "jawWithLips", "mouthClose": "jawBehindLips"}
_OWN = tuple(_PAIR.get(name, name) for name in ARKIT_NAMES if not name.startswith("eyeLook"))
NAMES = (*_OWN, "gazeSide", "gazeUp", "vergence")
COUNT = len(NAMES)
PARTED, BEHIND = (NAMES.index(name) for name in _PAIR.values())
SIDE, UP, VERGENCE = range(COUNT - 3, COUNT)
"""To the subject's left; up; and by how much each eye turns to the nose."""
GAZE = slice(SIDE, COUNT)
MOST_VERGENCE = 0.36
"""Of each eye: 25 degrees between the two."""
_EITHER = (
    ("mouthSmile{}", "mouthFrown{}"),
    ("browDown{}", "browOuterUp{}"),
    ("eyeWide{}", "eyeBlink{}"),
    ("mouthLeft", "mouthRight"),
    ("jawLeft", "jawRight"),
)
EXCLUSIVE = np.array(
    sorted({tuple(NAMES.index(name.format(side)) for name in pair) for pair in _EITHER for side in ("Left", "Right")})
)
"""(8,2) pairs of controls of which one alone is above 0; bounds cannot say that, so who solves for them sees to it."""
LOWER, UPPER = np.zeros(COUNT), np.ones(COUNT)
LOWER[[SIDE, UP]], UPPER[VERGENCE] = -1.0, MOST_VERGENCE


def _turns() -> np.ndarray:
    """What a unit of each control adds to each curve (47,52), before the curves are cut off at 0 and 1."""
    turns = np.zeros((COUNT, len(ARKIT_NAMES)))
    for column, name in enumerate(ARKIT_NAMES):
        if not name.startswith("eyeLook"):
            turns[NAMES.index(_PAIR.get(name, name)), column] = 1
            continue
        left = name.endswith("Left")
        way = name.removeprefix("eyeLook").removesuffix("Left" if left else "Right")
        if way in ("Up", "Down"):
            turns[UP, column] = 1 if way == "Up" else -1
        else:
            sign = 1 if way == "In" else -1  # to the nose
            turns[SIDE, column] = -sign if left else sign
            turns[VERGENCE, column] = sign
    turns[BEHIND, ARKIT_NAMES.index("jawOpen")] = 1
    return turns


TURNS = _turns()
EYES = np.abs(TURNS[GAZE]).any(0)
"""(52,) bool, the curves that the gaze moves."""
MEANS = np.linalg.pinv(TURNS)  # (52,47); In and Out are the two halves of one movement, so that the sum counts twice
MEANS[:, GAZE] *= 2


def to_controls(curves: np.ndarray) -> np.ndarray:
    """Convert curves (...,52) to the controls (...,47) nearest to them, within their bounds."""
    controls = curves @ MEANS
    controls[..., BEHIND] += controls[..., PARTED].clip(max=0) / 2  # lips that close more than the jaw opens
    return within(controls)


def within(controls: np.ndarray) -> np.ndarray:
    """Clip controls (...,47) to their bounds; the jaw opens as far as it goes, behind the lips first."""
    clipped = controls.clip(LOWER, UPPER)
    clipped[..., PARTED] = np.minimum(clipped[..., PARTED], 1 - clipped[..., BEHIND])
    return clipped


def to_curves(controls: np.ndarray) -> np.ndarray:
    """Convert controls (...,47) to curves (...,52) in 0..1."""
    return (controls @ TURNS).clip(0, 1)


def slopes(controls: np.ndarray) -> np.ndarray:
    """Compute what a unit of each control changes (47,52) of the curves, at controls (47,) within their bounds.

    Where an eye looks straight ahead, that is the mean of both ways.
    """
    signed = controls @ TURNS
    return TURNS * np.where(EYES, (1 + np.sign(signed)) / 2, 1) * (signed <= 1)


def bound(curves: Tensor) -> Tensor:
    """Return the nearest curves (B,52) that controls can make. The gradient reaches curves beyond their bounds where it
    leads back."""
    means, turns, lower, upper = (_constant(x, curves) for x in (MEANS, TURNS, LOWER, UPPER))
    controls = curves @ means
    spare = controls[:, PARTED].clamp(max=0) / 2
    controls = controls.index_add(1, torch.tensor([BEHIND], device=curves.device), spare[:, None])
    return (_Clamp.apply(controls, lower, upper) @ turns).clamp(0, 1)


def _constant(values: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(values).to(like)


class _Clamp(torch.autograd.Function):
    """A clamp through which a gradient passes that leads back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:  # noqa: D102
        ctx.save_for_backward(x <= lower, x >= upper)
        return torch.minimum(torch.maximum(x, lower), upper)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:  # noqa: D102
        (gradient,), (low, high) = gradients, ctx.saved_tensors
        stays = (low & (gradient > 0)) | (high & (gradient < 0))
        return gradient.masked_fill(stays, 0.0), None, None
