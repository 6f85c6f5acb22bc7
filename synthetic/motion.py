"""How a synthetic actor moves: head sway, expressions that come and go, speech, blinks and saccades.

Everything is a smooth function of time, so that any instant can be asked for: a frame, or a moment within its exposure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.synthetic.expressions import sample_expression

INDEX = {name: i for i, name in enumerate(ARKIT_NAMES)}
EYES = [i for name, i in INDEX.items() if name.startswith(("eyeLook", "eyeBlink"))]
# What speech moves: the strongest value at full loudness, and whether both sides move alike.
SPEECH = {
    "jawOpen": 0.40,
    "mouthFunnel": 0.35,
    "mouthPucker": 0.35,
    "mouthLowerDownLeft": 0.35,
    "mouthLowerDownRight": 0.35,
    "mouthUpperUpLeft": 0.20,
    "mouthUpperUpRight": 0.20,
    "mouthStretchLeft": 0.20,
    "mouthStretchRight": 0.20,
}


@dataclass(frozen=True)
class MotionConfig:
    """How much an actor moves. Angles in radians, lengths in metres, times in seconds."""

    yaw: tuple[float, float] = (0.08, 0.38)
    """Root mean square of the head's sway, drawn per clip."""
    pitch: float = 0.10
    """Root mean square of the head's sway."""
    roll: float = 0.07
    """Root mean square of the head's sway."""
    sway: float = 0.012
    """Root mean square of the sway of the head's position."""
    hold: tuple[float, float] = (0.4, 1.4)
    """Time that an expression stays."""
    change: tuple[float, float] = (0.2, 0.6)
    """Time that it takes to come."""
    talk: float = 0.6
    """Share of clips with speech."""
    blink_every: float = 3.0
    """Mean time between blinks."""
    blink: tuple[float, float] = (0.15, 0.25)
    """Duration of a blink."""
    saccade_every: float = 0.9
    """Mean time between saccades."""
    saccade: tuple[float, float] = (0.03, 0.06)
    """Duration of a saccade."""


@dataclass(frozen=True)
class Motion:
    """An actor at N instants."""

    curves: np.ndarray
    """(N,52) ARKit values, 0..1."""
    angles: np.ndarray
    """(N,3) rx, ry, rz of the head, radians."""
    offset: np.ndarray
    """(N,3) metres from the head's mean position, camera frame."""

    def part(self, rows: slice) -> Motion:
        """Take some of the instants."""
        return Motion(self.curves[rows], self.angles[rows], self.offset[rows])


def sample_motion(
    rng: np.random.Generator, times: np.ndarray, duration: float, config: MotionConfig | None = None
) -> Motion:
    """Draw the motion of some seconds, at times (N,) in any order, 0 to `duration`."""
    config = config or MotionConfig()
    curves = _expressions(rng, times, duration, config)
    if rng.random() < config.talk:
        _add_speech(rng, times, duration, curves)
    _set_gaze(rng, times, duration, curves, config)
    _add_blinks(rng, times, duration, curves, config)
    # lips cannot close further than the jaw has parted them
    curves[:, INDEX["mouthClose"]] = np.minimum(curves[:, INDEX["mouthClose"]], curves[:, INDEX["jawOpen"]])
    amplitude = np.array([config.pitch, rng.uniform(*config.yaw), config.roll])
    centre = rng.normal(0, 1, 3) * [0.06, 0.15, 0.05]
    angles = centre + amplitude * wander(rng, times, 3, 0.1, 0.6)
    return Motion(curves.clip(0, 1), angles, config.sway * wander(rng, times, 3, 0.1, 0.5))


def wander(rng: np.random.Generator, times: np.ndarray, columns: int, low: float, high: float) -> np.ndarray:
    """Draw smooth random functions (N,columns) with root mean square 1 over long times and frequencies low..high in Hz.

    Eight sines each, with amplitudes as 1/f.
    """
    frequency = np.exp(rng.uniform(np.log(low), np.log(high), (8, columns)))
    phase = rng.uniform(0, 2 * np.pi, (8, columns))
    weight = 1 / frequency
    weight *= np.sqrt(2 / (weight**2).sum(0))
    return (weight * np.sin(2 * np.pi * frequency * times[:, None, None] + phase)).sum(1)


def ease(times: np.ndarray, starts: np.ndarray, durations: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """Interpolate between poses (K+1,C), one after the other: (N,C).

    Change k begins at starts (K,) and takes durations (K,). The changes are quintic:
    velocity and acceleration are 0 at both ends.
    """
    x = ((times[:, None] - starts) / durations).clip(0, 1)
    return poses[0] + (x**3 * (x * (6 * x - 15) + 10)) @ np.diff(poses, axis=0)


def _expressions(rng: np.random.Generator, times: np.ndarray, duration: float, config: MotionConfig) -> np.ndarray:
    """Draw expressions (N,52), each held a while; eyes at rest."""
    starts, durations = _schedule(rng, duration, config.hold, config.change)
    poses = np.stack([sample_expression(rng) for _ in range(len(starts) + 1)]).astype(float)
    poses[:, EYES] = 0
    return ease(times, starts, durations, poses)


def _add_speech(rng: np.random.Generator, times: np.ndarray, duration: float, curves: np.ndarray) -> None:
    """Add syllables (2 to 5 a second) in sentences."""
    starts, durations = _schedule(rng, duration, (0.5, 2.0), (0.2, 0.4))
    loudness = ease(times, starts, durations, rng.uniform(0, 1, (len(starts) + 1, 1)) * _alternate(len(starts) + 1))
    for name, most in SPEECH.items():
        syllables = wander(rng, times, 1, 2.0, 5.0)
        curves[:, INDEX[name]] += (most * loudness * (0.4 + 0.6 * syllables).clip(0, 1))[:, 0]


def _set_gaze(
    rng: np.random.Generator, times: np.ndarray, duration: float, curves: np.ndarray, config: MotionConfig
) -> None:
    """Let both eyes jump together; a positive x is to the subject's left."""
    pause = (0.3 * config.saccade_every, 1.7 * config.saccade_every)
    starts, durations = _schedule(rng, duration, pause, config.saccade)
    targets = rng.normal([0, -0.05], [0.30, 0.22], (len(starts) + 1, 2))
    x, y = ease(times, starts, durations, targets).T
    for side, inward in (("Left", -1), ("Right", 1)):
        for name, value in (("Out", -inward * x), ("In", inward * x), ("Up", y), ("Down", -y)):
            curves[:, INDEX[f"eyeLook{name}{side}"]] = value.clip(0)


def _add_blinks(
    rng: np.random.Generator, times: np.ndarray, duration: float, curves: np.ndarray, config: MotionConfig
) -> None:
    """Close the lids in a third of a blink and open them in the rest."""
    at = rng.uniform(0.2, config.blink_every)
    while at < duration:
        length = rng.uniform(*config.blink)
        edges = np.array([at, at + length / 3])
        lid = ease(times, edges, length * np.array([1 / 3, 2 / 3]), np.array([[0.0], [rng.uniform(0.85, 1)], [0.0]]))
        for side in ("Left", "Right"):
            i = INDEX["eyeBlink" + side]
            curves[:, i] = np.maximum(curves[:, i], lid[:, 0])
        at += length + rng.exponential(config.blink_every)


def _schedule(
    rng: np.random.Generator, end: float, pause: tuple[float, float], change: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Draw starts (K,) and durations (K,) of changes with pauses between them, up to `end`."""
    starts, durations, at = [], [], rng.uniform(0, pause[1])
    while at < end:
        starts.append(at)
        durations.append(rng.uniform(*change))
        at += durations[-1] + rng.uniform(*pause)
    return np.array(starts), np.array(durations)


def _alternate(count: int) -> np.ndarray:
    """Alternate: (count,1) of 0, 1, 0, 1, ..."""
    return (np.arange(count) % 2)[:, None].astype(float)
