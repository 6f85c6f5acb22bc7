"""The last layer of tracking: curves and pose that explain the detected points best, near what the network says.

A regression says the mean of all that its input leaves open, so its curves say a part of what a face does. Here, per
frame, the controls of the face within their bounds and the head's pose minimise

    sum over points of  weight * distance^2 (robust)
    + the same to where the skin under them has gone since the frame before, by its pixels
    + (controls - mean)' Q (controls - mean) + 2 act * sum of the curves that are not of the gaze
    + what they have changed since the frame before, by how fast faces and heads move (robust)
    + the distance of the pose from the network's, where that has been adapted to the clip

The detector's points say where the face is, but slide over the skin; its pixels say how it moved. The mean is the
network's answer and the inverse of Q the covariance of real motion: curves that move together in recordings take an
error of the points together, and those that exclude each other there do so here. A few Gauss-Newton steps find it.

Image frame: pixels, x right, y down; any similarity of it gives the same curves.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from selftrack.decoders.base import Decoder
from selftrack.decoders.landmarks import POINTS
from selftrack.tracker.refinement import controls
from selftrack.tracker.refinement.bounded import solve_bounded
from selftrack.tracker.refinement.flow import Followed
from selftrack.tracker.refinement.motion import load_motion
from selftrack.tracker.refinement.mouth import Teeth
from selftrack.tracker.refinement.observation import (
    POSE,
    Evidence,
    FacePoints,
    ObservationConfig,
    Refined,
    normal_equations,
)

_N = controls.COUNT
_UNBOUNDED = 1e9
BLINKS = np.array([controls.NAMES.index("eyeBlinkRight"), controls.NAMES.index("eyeBlinkLeft")])
WIDE = np.array([controls.NAMES.index("eyeWideRight"), controls.NAMES.index("eyeWideLeft")])
_GAZE = np.arange(controls.COUNT)[controls.GAZE]
JAW = np.array([controls.PARTED, controls.BEHIND])
"""With the lips, and behind them."""
PARTING = np.array(
    [controls.PARTED, controls.NAMES.index("mouthFunnel")]
    + [controls.NAMES.index(f"mouth{act}{side}") for act in ("UpperUp", "LowerDown") for side in ("Left", "Right")]
)
"""What parts the lips."""
PUFF = np.array([controls.NAMES.index("cheekPuff")])
"""What parted lips let out."""
CURVES = controls.TURNS[: controls.SIDE].sum(1)
"""How many curves a unit of each control that is not of the gaze moves by one."""


@dataclass(frozen=True)
class RefineConfig(ObservationConfig):
    """Settings of the refinement, beside those of the points."""

    prior: float = 1.3
    """Weight of the prior: acts that no recording has are made, too."""
    pose: tuple[float, ...] = (np.inf,) * POSE
    """Standard deviation of the pose around the network's: its logarithmic scale, angles (radians) and place
    (inter-ocular distances)."""
    act: float = 8.0
    """Cost of a unit of a curve that is not of the gaze: small acts that the points hardly show are none."""
    ahead: float = 0.1
    """Standard deviation of the gaze up or down from straight ahead, by which the identity is found: eyes that always
    look a little down are low eyes."""
    steps: int = 2
    """Gauss-Newton steps."""
    pace: float = 5.0
    """Standard deviation of a control's speed from one frame to another `STEP` later, in root mean squares of
    recordings; of a Student distribution. Variances of changes add up in time, so that any rate damps alike."""
    head_pace: tuple[float, ...] = (0.09, 0.18, 0.18, 0.12, 0.12, 0.12)
    """The same of the pose per second: its logarithmic scale, angles (radians) and place (inter-ocular distances)."""
    wide: float = 3.0
    """How many times wider than the network says eyes are expected to be: in films with known curves five times."""
    blink: float = 0.025
    """Standard deviation of eyeBlink around 1 where the lids are surely shut."""
    held: float = 0.03
    """Standard deviation of the gaze around the last one seen, while the lids hide it."""
    together: float = 0.003
    """Standard deviation of what parts the lips around 0 where they surely touch."""
    puffed: float = 0.02
    """Standard deviation of cheekPuff around 0 where the lips are surely apart, as in recordings."""
    jaw: float = 0.012
    """Standard deviation of the jaw where teeth show how far it is open."""
    clenched: float = 0.07
    """How far it is open, in its own units, where shut teeth are seen: edges that meet are not yet a bite."""


ADAPTED = RefineConfig(error=0.01, prior=2.0, pose=(0.02, 0.05, 0.05, 0.03, 0.03, 0.03), act=4.0, wide=1.0)
"""A network that has been adapted to the clip knows its points' errors: it is nearer to the face than they are."""

KEYED = RefineConfig(error=0.01, prior=0.8, act=5.0)
"""Beside key frames the skin tells where the face is, and the points and what is expected of acts count less."""

STEP = 1 / 30
"""Seconds between the frames for which deviations from one frame to the next are said."""
LEAST_SECONDS = 1e-3
"""Frames that are nearer in time count as so far apart."""
FREEDOM = 3.0  # of the Student distribution
_LEAST_PACE = 0.3  # of a control, per second: recordings hardly move the jaw sideways


class Before(NamedTuple):
    """What is known from the frames before."""

    frame: Refined
    """The last one."""
    seconds: float
    """Since then."""
    gaze: np.ndarray
    """(3,) of the controls, where the eyes looked when they could last be seen."""


class Refiner(FacePoints):
    """Refines frames of a face by its points."""

    config: RefineConfig

    def __init__(self, decoder: Decoder, points: int = POINTS, config: RefineConfig | None = None) -> None:
        """`points` is how many the detector finds: 478, or 68."""
        super().__init__(decoder, points, config or RefineConfig())
        self.lower = np.concatenate([controls.LOWER, np.full(POSE, -_UNBOUNDED)])
        self.upper = np.concatenate([controls.UPPER, np.full(POSE, _UNBOUNDED)])
        self._expect(self.config)

    def _expect(self, config: RefineConfig) -> None:
        """Take what is expected of acts and of their pace from recordings, as far as the settings say."""
        self.config = config
        motion = load_motion()
        self.precision = config.prior * np.linalg.inv(motion.covariance())
        others = np.array([not name.startswith(("eye", "gaze", "vergence")) for name in controls.NAMES])
        self.at_rest = self.precision * np.outer(others, others)
        self.pace = config.pace * np.maximum(motion.speed, _LEAST_PACE)

    def turned_within(self, deviation: float) -> Refiner:
        """Return the refiner that holds the head's turn near the network's, by this standard deviation in radians."""
        other = copy.copy(self)
        other.config = replace(self.config, pose=(np.inf, *(3 * (deviation,)), np.inf, np.inf))
        return other

    def adapted(self) -> Refiner:
        """Return the refiner for a network that has been adapted to the clip."""
        return self._with(ADAPTED)

    def keyed(self) -> Refiner:
        """Return the refiner for a network that has not, in a clip of which there are key frames."""
        return self._with(KEYED)

    def _with(self, config: RefineConfig) -> Refiner:
        other = copy.copy(self)
        other._expect(config)
        return other

    @classmethod
    def of(cls, decoder: Decoder, points: int) -> Refiner | None:
        """The refiner of a decoder, or None where it has no fixed ARKit shapes or no places for the points."""
        suitable = decoder.has_blendshapes and decoder.has_arkit_curves and decoder.has_landmarks
        return cls(decoder, points) if suitable and len(range(*decoder.identity.indices(decoder.size))) else None

    def __call__(
        self,
        points: np.ndarray,
        network: Refined,
        face: np.ndarray,
        before: Before | None = None,
        followed: Followed | None = None,
        teeth: Teeth | None = None,
    ) -> Refined:
        """Refine a frame.

        Args:
            points: (L,2) detected, pixels.
            network: its answer.
            face: (L,3) the person's points at rest, see `face`.
            before: what is known from the frames before.
            followed: where the skin is that the points lay on in the frame before.
            teeth: what is seen of them, pixels.
        """
        seen = self.visible_gaze(points)
        precision, mean = self._prior(points, network, seen, before, teeth or Teeth())
        now = network if before is None else Refined(before.frame.controls, network.pose)
        for _ in range(self.config.steps):
            normal, right = self._normal(self.evidence(points, now, face, seen, followed), now)
            right[:_N] += precision @ (mean - now.controls)
            right[: controls.SIDE] -= self.config.act * CURVES
            normal[:_N, :_N] += precision
            self._add_anchor(normal, right, now, network)
            if before is not None:
                self._add_inertia(normal, right, now, before)
            step = self._step(normal, right, now.controls)
            now = Refined(controls.within(now.controls + step[:_N]), now.pose + step[_N:])
        return now

    def _step(self, normal: np.ndarray, right: np.ndarray, now: np.ndarray) -> np.ndarray:
        """Solve for a step (53,) within the bounds from controls (47,); of two that exclude each other, the one that
        explains less is 0."""
        x = np.concatenate([now, np.zeros(POSE)])
        step = solve_bounded(normal, right, self.lower - x, self.upper - x)
        pairs = (x + step)[controls.EXCLUSIVE]
        explains = pairs**2 * normal.diagonal()[controls.EXCLUSIVE]
        lesser = controls.EXCLUSIVE[np.arange(len(pairs)), explains.argmin(1)][pairs.min(1) > 0]
        if len(lesser):
            upper = self.upper.copy()
            upper[lesser] = 0
            step = solve_bounded(normal, right, self.lower - x, upper - x, step)
        return step

    def eliminated(
        self,
        points: np.ndarray,
        network: Refined,
        now: Refined,
        face: np.ndarray,
        rest: float = 0.0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute the normal equations (N,N) and (N,) of a step of the person from a fitted frame `now`, from which its
        own curves and pose are eliminated.

        The N numbers are the identity, of the face at rest the curves that are `RESTING`, and the camera's inverse
        distance. `rest` is how many times more the frame's curves, but the eyes', are held at 0; the other arguments
        are those of a call.
        """
        evidence = self.evidence(points, now, face, self.visible_gaze(points))
        jacobian = np.concatenate([self.jacobian(evidence, now), self.personal_jacobian(evidence)], 1)
        normal, right = normal_equations(jacobian, evidence)
        normal[:_N, :_N] += self.precision
        right[:_N] += self.precision @ (self._expected(network) - now.controls)
        right[: controls.SIDE] -= self.config.act * CURVES
        self._add_anchor(normal, right, now, network)
        tie = rest * self.at_rest
        tie[controls.UP, controls.UP] += 1 / self.config.ahead**2
        normal[:_N, :_N] += tie
        right[:_N] -= tie @ now.controls
        within = (now.controls > controls.LOWER + 1e-6) & (now.controls < controls.UPPER - 1e-6)
        free = np.flatnonzero(np.concatenate([within, np.ones(POSE, bool)]))
        own = slice(_N + POSE, None)
        share = np.linalg.solve(normal[np.ix_(free, free)], normal[free, own]).T  # (K,F)
        return normal[own, own] - share @ normal[free, own], right[own] - share @ right[free]

    def _expected(self, network: Refined) -> np.ndarray:
        """The controls (47,) that are expected where the network says these."""
        mean = network.controls.copy()
        mean[WIDE] *= self.config.wide
        return controls.within(mean)

    def _normal(self, evidence: Evidence, now: Refined) -> tuple[np.ndarray, np.ndarray]:
        """The normal equations (53,53) and (53,) of controls and pose."""
        return normal_equations(self.jacobian(evidence, now), evidence)

    def _prior(
        self, points: np.ndarray, network: Refined, seen: float, before: Before | None, teeth: Teeth
    ) -> tuple[np.ndarray, np.ndarray]:
        """Precision (47,47) and mean (47,) of the controls: shut lids are a blink, nothing parts lips that touch, lips
        that are apart hold no air, teeth show the jaw, and a gaze that cannot be seen is held."""
        mean, precision, scale = self._expected(network), self.precision.copy(), float(np.exp(network.pose[0]))

        def hold(rows: np.ndarray, value: np.ndarray | float, surely: np.ndarray | float, deviation: float) -> None:
            mean[rows] += surely * (value - mean[rows])
            precision[rows, rows] += surely / deviation**2

        hold(BLINKS, 1.0, self.shut_eyes(points), self.config.blink)
        touch, apart = self.lips(points, scale)
        hold(PARTING, 0.0, touch, self.config.together)
        hold(PUFF, 0.0, apart, self.config.puffed)
        open_by, shown = self.bitten(teeth, scale)
        hold(JAW, np.array([self.config.clenched + open_by, 0.0]), shown, self.config.jaw)
        if before is not None:
            hold(_GAZE, before.gaze, 1 - seen, self.config.held)
        return precision, mean

    def _add_anchor(self, normal: np.ndarray, right: np.ndarray, now: Refined, network: Refined) -> None:
        """Add the cost of a pose that is not the network's."""
        place = self.iod * np.exp(network.pose[0])
        weight = (np.array(self.config.pose) * np.array([1, 1, 1, 1, place, place])) ** -2.0
        rows = np.arange(_N, _N + POSE)
        normal[rows, rows] += weight
        right[rows] += weight * (network.pose - now.pose)

    def _add_inertia(self, normal: np.ndarray, right: np.ndarray, now: Refined, before: Before) -> None:
        """Add the cost of what has changed since the frame before."""
        place = self.iod * np.exp(now.pose[0])
        head = np.array(self.config.head_pace) * np.array([1, 1, 1, 1, place, place])
        pace, seconds = np.concatenate([self.pace, head]), max(before.seconds, LEAST_SECONDS)
        change = np.concatenate([now.controls - before.frame.controls, now.pose - before.frame.pose])
        weight = (FREEDOM + 1) / (FREEDOM + (change / (pace * seconds)) ** 2) / (pace**2 * seconds * STEP)
        normal[np.diag_indices(len(normal))] += weight
        right -= weight * change
