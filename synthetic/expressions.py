"""Facial expressions drawn at random: which ARKit curves move together, how often and how much."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.tracker.refinement import controls
from selftrack.tracker.refinement.motion import load_motion


@dataclass(frozen=True)
class Act:
    """Muscles that move together: each curve by a share low..high of one random strength, if its own chance comes up.

    `*` stands for both sides, about alike; `?` for one side by chance.
    """

    chance: float
    moves: tuple[tuple[str, float, float, float], ...]
    """Curve, its chance, low and high share."""


# Of each group at most one act happens; groups are independent. What opens the lips is sometimes the jaw and sometimes
# the lips alone, and an open jaw may hide behind closed lips: only the chin tells them apart.
GROUPS: tuple[tuple[Act, ...], ...] = (
    (
        Act(0.22, (("eyeSquint*", 1, 0.2, 1),)),
        Act(0.14, (("eyeWide*", 1, 0.2, 1),)),
    ),
    (
        Act(0.16, (("browDown*", 1, 0.2, 1),)),
        Act(0.18, (("browInnerUp", 1, 0.7, 1), ("browOuterUp*", 1, 0.3, 1))),
        Act(0.06, (("browInnerUp", 1, 0.3, 1), ("browDown*", 1, 0, 0.6))),
        Act(0.05, (("browOuterUp?", 1, 0.3, 1),)),
    ),
    (
        Act(0.13, (("jawOpen", 1, 0, 0.3),)),
        Act(0.22, (("jawOpen", 1, 0.3, 1),)),
        Act(0.15, (("jawOpen", 1, 0.3, 1), ("mouthClose", 1, 0, 0.9))),
        Act(0.02, (("jawOpen", 1, 0.5, 1), ("tongueOut", 1, 0.5, 1.2))),
    ),
    (
        Act(0.06, (("jawLeft", 1, 0.2, 1),)),
        Act(0.06, (("jawRight", 1, 0.2, 1),)),
        Act(0.06, (("jawForward", 1, 0.2, 1),)),
    ),
    (
        Act(
            0.25,
            (
                ("mouthSmile*", 1, 0.8, 1),
                ("cheekSquint*", 0.6, 0, 0.7),
                ("mouthUpperUp*", 0.5, 0, 0.6),
                ("mouthLowerDown*", 0.5, 0, 0.7),
                ("mouthDimple*", 0.5, 0, 0.3),
            ),
        ),
        Act(0.10, (("mouthPucker", 1, 0.5, 1), ("mouthFunnel", 0.4, 0, 0.6))),
        Act(0.09, (("mouthFunnel", 1, 0.2, 1),)),
        Act(0.09, (("mouthFrown*", 1, 0.3, 1), ("mouthShrugLower", 1, 0, 0.8), ("mouthShrugUpper", 1, 0, 0.5))),
        Act(0.08, (("mouthStretch*", 1, 0.3, 1), ("mouthLowerDown*", 1, 0, 0.8))),
        Act(0.08, (("mouthPress*", 1, 0.2, 1), ("mouthRollLower", 1, 0, 0.8), ("mouthRollUpper", 1, 0, 0.8))),
        Act(0.05, (("mouthUpperUp*", 1, 0.3, 1), ("noseSneer*", 1, 0.2, 1))),
        Act(0.13, (("mouthLowerDown*", 1, 0.2, 1), ("mouthUpperUp*", 0.7, 0, 1))),
    ),
    (
        Act(0.06, (("mouthLeft", 1, 0.2, 1),)),
        Act(0.06, (("mouthRight", 1, 0.2, 1),)),
        Act(0.06, (("mouthSmile?", 1, 0.2, 1),)),
        Act(0.06, (("mouthUpperUp?", 1, 0.2, 1), ("noseSneer?", 0.5, 0, 1))),
        Act(0.05, (("noseSneer*", 1, 0.2, 1),)),
        Act(0.06, (("cheekPuff", 1, 0.2, 1),)),
    ),
)
BLINKS = (
    Act(0.12, (("eyeBlink*", 1, 0, 1),)),
    Act(0.12, (("eyeBlink*", 1, 0.7, 1),)),
    Act(0.05, (("eyeBlink?", 1, 0.4, 1),)),
)
STRENGTHS = ((0.0, 0.18), (0.45, 0.25), (0.8, 0.32), (1.0, 0.25))
"""Strengths of the whole expression, each with its probability; 0 is a neutral face."""
STRAY = 0.7
"""Curves, on average, that move a little on their own."""
RECORDED = 0.3
"""Share of expressions whose curves go together as in recordings of people."""
_NOT_ALONE = ("eyeLook", "mouthClose", "tongueOut")


def sample_expression(rng: np.random.Generator) -> np.ndarray:
    """Draw a plausible combination of the 52 ARKit values (52,) float32, from neutral to strong."""
    if rng.random() < RECORDED:
        return _sample_recorded(rng)
    values = dict.fromkeys(ARKIT_NAMES, 0.0)
    strength = rng.choice([s for s, _ in STRENGTHS], p=[p for _, p in STRENGTHS])
    _sample_gaze(rng, values)
    _add_act(rng, values, BLINKS, 1.0)  # faces at rest blink, too
    for group in GROUPS:
        _add_act(rng, values, group, rng.uniform(0.2, 1) * strength)
    alone = [name for name in ARKIT_NAMES if not name.startswith(_NOT_ALONE)]
    for name in rng.choice(alone, rng.poisson(STRAY)):
        values[name] += rng.uniform(0, 0.35) * strength
    values["mouthClose"] = min(values["mouthClose"], values["jawOpen"])  # it closes the lips that the jaw has parted
    return np.array(list(values.values()), np.float32).clip(0, 1)


def _sample_recorded(rng: np.random.Generator) -> np.ndarray:
    """Draw curves (52,) with the deviations and correlations of real motion, around 0."""
    motion = load_motion()
    strength = rng.uniform(0.5, 1.5)
    covariance = motion.correlation * np.outer(motion.deviation, motion.deviation)
    drawn = rng.multivariate_normal(np.zeros(controls.COUNT), strength**2 * covariance, method="eigh")
    return controls.to_curves(controls.within(drawn)).astype(np.float32)


def _sample_gaze(rng: np.random.Generator, values: dict[str, float]) -> None:
    """Rotate both eyes to one point, now and then a very near one; a positive x is to the subject's left."""
    x, y = rng.normal(0, 0.30), rng.normal(-0.05, 0.28)
    vergence = rng.uniform(0, 0.36) if rng.random() < 0.1 else abs(rng.normal(0, 0.04))
    for side, inward in (("Left", -1), ("Right", 1)):
        values["eyeLookOut" + side] = max(-(inward * x + vergence), 0)
        values["eyeLookIn" + side] = max(inward * x + vergence, 0)
        values["eyeLookUp" + side] = max(y, 0)
        values["eyeLookDown" + side] = max(-y, 0)


def _add_act(rng: np.random.Generator, values: dict[str, float], group: tuple[Act, ...], strength: float) -> None:
    """Add one act of the group, or none."""
    chances = [act.chance for act in group]
    pick = rng.choice(len(group) + 1, p=[*chances, 1 - sum(chances)])
    for name, chance, low, high in group[pick].moves if pick < len(group) else ():
        value = strength * rng.uniform(low, high) * (rng.random() < chance)
        if name.endswith("?"):
            values[name[:-1] + str(rng.choice(["Left", "Right"]))] += value
        elif name.endswith("*"):
            lean = rng.normal(0, 0.12)
            values[name[:-1] + "Left"] += value * (1 + lean)
            values[name[:-1] + "Right"] += value * (1 - lean)
        else:
            values[name] += value
