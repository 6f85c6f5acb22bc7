"""Virtual actors for the light stage of `decoders.capture.light_stage`: drawn from the actors of the clips in the
wild, so that the same one can be captured in the lab and filmed outside."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from selftrack.decoders.capture.light_stage import RING, Performance
from selftrack.errors import UserError
from selftrack.synthetic.motion import MotionConfig, sample_motion
from selftrack.synthetic.people import Actor
from selftrack.synthetic.scene import Stage, SyntheticConfig

STREAM = 4_119_203
"""Third word of the lab's seeds."""
LAB = SyntheticConfig(off_basis=1.0, off_basis_acting=1.0)
"""The actors' faces leave the head's basis by 1 mm, neutral and in expressions."""
MOTION = MotionConfig(yaw=(0.05, 0.1), pitch=0.05, roll=0.03, sway=0.005, talk=1.0, hold=(0.2, 0.5))
"""A head that is held still, a face that moves much."""


@dataclass(frozen=True)
class LabConfig:
    """A capture session."""

    frames: int = 280
    """Moments."""
    cameras: int = 13
    """Of the light stage, 2 to 13."""
    pace: float = 0.25
    """Seconds of acting between two frames."""
    albedo: int = 512
    """Side of the albedo in texels."""


def cast(stage: Stage, seed: int) -> Actor:
    """Draw actor `seed`, bald and without glasses, as in a lab."""
    actor = stage.cast(np.random.default_rng([seed, 0, STREAM]))
    bare = replace(actor.person, hair=np.zeros_like(actor.person.hair), mane=None, glasses=None)
    return replace(actor, person=bare)


def make_studio(folder: Path, seed: int = 0, config: LabConfig | None = None) -> Path:
    """Write the capture session of actor `seed` into a folder: `studio.npz`, from which everything is drawn."""
    config = config or LabConfig()
    if not 2 <= config.cameras <= len(RING):
        raise UserError(f"the studio has 2 to {len(RING)} cameras, got {config.cameras}")
    stage = Stage(LAB)
    actor, rng = cast(stage, seed), np.random.default_rng([seed, 1, STREAM])
    times = np.arange(config.frames) * config.pace
    motion = sample_motion(rng, times, times[-1] + 1, MOTION)
    own = stage.head.shapes[stage.head.expression].numpy()
    albedo = cv2.resize(actor.texture, (config.albedo, config.albedo), interpolation=cv2.INTER_AREA)
    return Performance(
        neutral=stage.shape(actor, np.zeros(len(own))).astype(np.float32),
        shapes=(own + actor.acting).astype(np.float32),
        albedo=albedo.astype(np.float16),
        gloss=rng.uniform(0.3, 0.7),
        sharpness=rng.uniform(8, 25),
        curves=motion.curves.astype(np.float32),
        angles=motion.angles,
        offset=motion.offset,
        camera_gain=np.exp(rng.normal(0, 0.05, (config.cameras, 3))),
    ).save(folder)
