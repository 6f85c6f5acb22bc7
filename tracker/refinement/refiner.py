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
import torch

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.base import Decoder
from selftrack.decoders.landmarks import (
    BROWS,
    EYE_CONTOURS,
    IBUG_68,
    INNER_LIP_CONTOUR,
    IRISES,
    LEFT_IRIS,
    LIPS,
    MOUTH_CORNERS,
    OUTER_EYE_CORNERS,
    POINTS,
    RIGHT_IRIS,
)
from selftrack.tracker.refinement import controls
from selftrack.tracker.refinement.bounded import solve_bounded
from selftrack.tracker.refinement.flow import Followed
from selftrack.tracker.refinement.motion import load_motion
from selftrack.tracker.refinement.rotation import rotation, rotation_slopes

_POSE = 6
_N = controls.COUNT
_UNBOUNDED = 1e9
LIDS = ((159, 145, 33, 133), (386, 374, 362, 263))
"""Upper and lower lid and the corners of each eye, the image's left one first; the right eye first."""
IRIS_CORNERS = ((slice(RIGHT_IRIS, LEFT_IRIS), [33, 133]), (slice(LEFT_IRIS, POINTS), [362, 263]))
"""Of each eye the points of its iris, and its corners."""
BLINKS = np.array([controls.NAMES.index("eyeBlinkRight"), controls.NAMES.index("eyeBlinkLeft")])
_GAZE = np.arange(controls.COUNT)[controls.GAZE]
CURVES = controls.TURNS[: controls.SIDE].sum(1)
"""How many curves a unit of each control that is not of the gaze moves by one."""
RESTING = np.array([not name.startswith(("eyeLook", "eyeBlink", "tongue", "cheekPuff")) for name in ARKIT_NAMES])
"""(52,) bool, the curves that tell one face at rest from another: some brows are higher, some lips thicker."""


@dataclass(frozen=True)
class RefineConfig:
    """Settings of the refinement."""

    error: float = 0.007
    """Standard deviation of a detected point of weight 1, in inter-ocular distances."""
    shared: float = 4.0
    """How many neighbouring points err together, and so count as one."""
    skin: float = 0.1
    """Weight of points that lie on no feature."""
    lips: float = 2.0
    """Weight of the lips' points."""
    brows: float = 3.0
    """Weight of the brows' points."""
    corners: float = 8.0
    """Weight of the points around the mouth's corners: few of them see a smile."""
    lids: float = 3.0
    """Weight of the lids' points."""
    irises: float = 1.0
    """Weight of the irises' points."""
    flow: float = 0.003
    """Standard deviation of how far skin is followed to a frame `STEP` later, in inter-ocular distances."""
    robust: float = 6.0
    """Errors of so many standard deviations count half."""
    prior: float = 1.3
    """Weight of the prior: acts that no recording has are made, too."""
    pose: tuple[float, ...] = (np.inf,) * _POSE
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
    hidden: tuple[float, float] = (0.14, 0.26)
    """Height of an eye over its width at which its iris counts nothing, and fully."""
    shut: tuple[float, float] = (0.10, 0.16)
    """The same at which its lids are surely shut, and surely not: detectors leave a slit between lids that touch."""
    beside: float = 0.03
    """By how much more an eye may be open beside one that is surely shut: lids mostly shut together, and the detector
    errs at each eye on its own."""
    blink: float = 0.025
    """Standard deviation of eyeBlink around 1 where they are surely shut."""
    held: float = 0.03
    """Standard deviation of the gaze around the last one seen, while the lids hide it."""


ADAPTED = RefineConfig(error=0.01, prior=2.0, pose=(0.02, 0.05, 0.05, 0.03, 0.03, 0.03), act=4.0)
"""A network that has been adapted to the clip knows its points' errors: it is nearer to the face than they are."""

STEP = 1 / 30
"""Seconds between the frames for which deviations from one frame to the next are said."""
LEAST_SECONDS = 1e-3
"""Frames that are nearer in time count as so far apart."""
FREEDOM = 3.0  # of the Student distribution
_LEAST_PACE = 0.3  # of a control, per second: recordings hardly move the jaw sideways


class Refined(NamedTuple):
    """What fits a frame."""

    controls: np.ndarray
    """(47,) see `controls`."""
    pose: np.ndarray
    """(6,) in the image."""

    @classmethod
    def of(cls, curves: np.ndarray, pose: np.ndarray) -> Refined:
        """The nearest to curves (52,) and a pose (6,)."""
        return cls(controls.to_controls(curves.astype(float)), pose.astype(float))

    @property
    def curves(self) -> np.ndarray:
        """(52,) in 0..1."""
        return controls.to_curves(self.controls)


class Before(NamedTuple):
    """What is known from the frames before."""

    frame: Refined
    """The last one."""
    seconds: float
    """Since then."""
    gaze: np.ndarray
    """(3,) of the controls, where the eyes looked when they could last be seen."""


class Evidence(NamedTuple):
    """What the points say around a guess."""

    residual: np.ndarray
    """(2,L) pixels, x then y."""
    weight: np.ndarray
    """(L,) per squared pixel."""
    turn: np.ndarray
    """(2,3) head frame -> pixels, per metre."""
    by_pose: np.ndarray
    """(2,6,L) pixels that a unit of each number of the pose moves the points by."""
    by_lens: np.ndarray
    """(2,1,L) the same of the inverse distance of the camera."""


class Refiner:
    """Refines frames of faces of a decoder that has ARKit's shapes and knows where the detector's points lie."""

    def __init__(self, decoder: Decoder, points: int = POINTS, config: RefineConfig | None = None) -> None:
        """`points` is how many the detector finds: 478, or 68."""
        embedding = decoder.landmarks(points)
        shapes = embedding(decoder.shapes).double().cpu().numpy()
        self.mean = embedding(decoder.mean[None])[0].double().cpu().numpy()
        self.people = _by_axis(shapes[decoder.identity])
        self.acts = _by_axis(shapes[decoder.expression])
        eyes = decoder.landmarks478(decoder.mean[None])[0, list(OUTER_EYE_CORNERS)].double()
        self.iod = float((eyes[0] - eyes[1]).norm())
        self.lower = np.concatenate([controls.LOWER, np.full(_POSE, -_UNBOUNDED)])
        self.upper = np.concatenate([controls.UPPER, np.full(_POSE, _UNBOUNDED)])
        self._configure(config or RefineConfig())
        self.personal = self._beside_corners(np.concatenate([self.people, self.acts[:, RESTING]], 1))
        self.looks = self._beside_corners(np.ascontiguousarray(self.acts[:, controls.EYES]))
        self.own = self._beside_corners(self._moves())

    def _configure(self, config: RefineConfig, inverse_distance: float = 0.0) -> None:
        self.config, self.inverse_distance = config, inverse_distance
        self.weight, self.irises = _weights(config, len(self.mean))
        motion = load_motion()
        self.precision = config.prior * np.linalg.inv(motion.covariance())
        others = np.array([not name.startswith(("eye", "gaze", "vergence")) for name in controls.NAMES])
        self.at_rest = self.precision * np.outer(others, others)
        self.pace = config.pace * np.maximum(motion.speed, _LEAST_PACE)

    def through(self, inverse_distance: float) -> Refiner:
        """Return the refiner for a camera, 1/metres."""
        other = copy.copy(self)
        other.inverse_distance = inverse_distance
        return other

    def resting(self, rest: np.ndarray) -> Refiner:
        """Return the refiner of a person whose face at rest has these curves (52,): those it finds are on top."""
        other = copy.copy(self)
        other.mean = self.mean + _moved(rest, self.acts)
        return other

    def turned_within(self, deviation: float) -> Refiner:
        """Return the refiner that holds the head's turn near the network's, by this standard deviation in radians."""
        other = copy.copy(self)
        other.config = replace(self.config, pose=(np.inf, *(3 * (deviation,)), np.inf, np.inf))
        return other

    def adapted(self) -> Refiner:
        """Return the refiner for a network that has been adapted to the clip."""
        other = copy.copy(self)
        other._configure(ADAPTED, self.inverse_distance)
        return other

    @classmethod
    def of(cls, decoder: Decoder, points: int) -> Refiner | None:
        """The refiner of a decoder, or None where it has no fixed ARKit shapes or no places for the points."""
        suitable = decoder.has_blendshapes and decoder.has_arkit_curves and decoder.has_landmarks
        return cls(decoder, points) if suitable and len(range(*decoder.identity.indices(decoder.size))) else None

    def face(self, identity: np.ndarray) -> np.ndarray:
        """Compute the points (L,3) of a person (K,) at rest, metres, head frame."""
        return self.mean + _moved(identity, self.people)

    def place(self, frame: Refined, face: np.ndarray) -> np.ndarray:
        """Compute where the points (L,2) of a person lie in a frame, pixels; `face` (L,3) is at rest, see `face`."""
        turned = (face + _moved(frame.curves, self.acts)) @ rotation(frame.pose[1:4]).T
        return np.exp(frame.pose[0]) * turned[:, :2] * self._nearness(turned)[:, None] + frame.pose[4:6]

    def motion(self) -> np.ndarray:
        """Compute how far acts move the points (L,), root mean square over recordings, metres."""
        covariance, moves = load_motion().covariance()[: controls.SIDE, : controls.SIDE], self._moves()
        return np.sqrt(np.einsum("akl,kj,ajl->l", moves, covariance, moves, optimize=True))

    def _moves(self) -> np.ndarray:
        """By how much a unit of each control that is not of the gaze moves the points (3,K,L), metres."""
        own = controls.TURNS[: controls.SIDE].astype(np.float32)
        return np.ascontiguousarray(np.einsum("kc,acl->akl", own, self.acts))

    def _nearness(self, turned: np.ndarray) -> np.ndarray:
        """By how much the camera enlarges points (L,3) for their depth (L,), as `geometry.pose.project`."""
        return 1 / (1 + self.inverse_distance * turned[:, 2])

    def __call__(
        self,
        points: np.ndarray,
        network: Refined,
        face: np.ndarray,
        before: Before | None = None,
        followed: Followed | None = None,
    ) -> Refined:
        """Refine a frame.

        Args:
            points: (L,2) detected, pixels.
            network: its answer.
            face: (L,3) the person's points at rest, see `face`.
            before: what is known from the frames before.
            followed: where the skin is that the points lay on in the frame before.
        """
        seen, shut = self.visible_gaze(points), self.shut_eyes(points)
        precision, mean = self._prior(network.controls, seen, shut, before)
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
        x = np.concatenate([now, np.zeros(_POSE)])
        step = solve_bounded(normal, right, self.lower - x, self.upper - x)
        pairs = (x + step)[controls.EXCLUSIVE]
        explains = pairs**2 * normal.diagonal()[controls.EXCLUSIVE]
        lesser = controls.EXCLUSIVE[np.arange(len(pairs)), explains.argmin(1)][pairs.min(1) > 0]
        if len(lesser):
            upper = self.upper.copy()
            upper[lesser] = 0
            step = solve_bounded(normal, right, self.lower - x, upper - x)
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
        person = (self.seen_in(self.personal, evidence), evidence.by_lens)
        jacobian = np.concatenate([self._jacobian(evidence, now), *person], 1)
        normal, right = normal_equations(jacobian, evidence)
        normal[:_N, :_N] += self.precision
        right[:_N] += self.precision @ (network.controls - now.controls)
        right[: controls.SIDE] -= self.config.act * CURVES
        self._add_anchor(normal, right, now, network)
        tie = rest * self.at_rest
        tie[controls.UP, controls.UP] += 1 / self.config.ahead**2
        normal[:_N, :_N] += tie
        right[:_N] -= tie @ now.controls
        within = (now.controls > controls.LOWER + 1e-6) & (now.controls < controls.UPPER - 1e-6)
        free = np.flatnonzero(np.concatenate([within, np.ones(_POSE, bool)]))
        own = slice(_N + _POSE, None)
        share = np.linalg.solve(normal[np.ix_(free, free)], normal[free, own]).T  # (K,F)
        return normal[own, own] - share @ normal[free, own], right[own] - share @ right[free]

    def visible_gaze(self, points: np.ndarray) -> float:
        """Tell from points (L,2) how well the irises can be seen, 0..1."""
        return visible_gaze(points, self.config)

    def shut_eyes(self, points: np.ndarray) -> np.ndarray:
        """Tell from points (L,2) how surely the lids of the right and of the left eye touch (2,), 0..1; 0 for a
        detector that finds few points of them."""
        if not len(self.irises):
            return np.zeros(2)
        least, full = self.config.shut
        openings = _openings(points)
        alone = ((full - openings) / (full - least)).clip(0, 1)
        return ((full - openings + self.config.beside * alone[::-1]) / (full - least)).clip(0, 1)

    def evidence(
        self, points: np.ndarray, now: Refined, face: np.ndarray, seen: float = 1.0, followed: Followed | None = None
    ) -> Evidence:
        """Compare points (L,2), whose irises can be `seen` so well, and those that were followed with a guess."""
        scale, turn = np.exp(now.pose[0]), rotation(now.pose[1:4])
        placed = face + _moved(now.curves, self.acts)
        turned = placed @ turn.T
        near = self._nearness(turned)
        flat = scale * near * turned[:, :2].T
        at = flat + now.pose[4:6, None]
        by_pose = np.zeros((2, _POSE, len(placed)), np.float32)
        by_pose[:, 0], by_pose[0, 4], by_pose[1, 5] = flat, 1, 1
        for axis, slope in enumerate(rotation_slopes(now.pose[1:4])):
            change = placed @ slope.T
            nearer = self.inverse_distance * near * change[:, 2]
            by_pose[:, 1 + axis] = scale * near * (change[:, :2] - turned[:, :2] * nearer[:, None]).T
        sure = self.weight.copy()
        sure[self.irises] *= seen
        residual = self._beside_corners(points.T - at)
        weight = self._weigh(residual, sure, self.config.error * self.iod * scale)
        if followed is not None:
            also = followed.points.T - at
            more = self._weigh(also, followed.weight, self.config.flow * self.iod * scale)
            both = np.maximum(weight + more, 1e-12)
            residual, weight = (weight * residual + more * also) / both, both
        by_lens = (-near * turned[:, 2] * flat)[:, None].astype(np.float32)
        by_pose, by_lens = self._beside_corners(by_pose), self._beside_corners(by_lens)
        return Evidence(residual, weight, scale * float(np.median(near)) * turn[:2], by_pose, by_lens)

    def _beside_corners(self, values: np.ndarray) -> np.ndarray:
        """Take from the values (...,L) of each iris the mean of its eye's corners, in place: a gaze is where in the eye
        the iris is, wherever the mesh's eye lies."""
        for iris, corners in IRIS_CORNERS if len(self.irises) else ():
            values[..., iris] -= values[..., corners].mean(-1, keepdims=True)
        return values

    def _weigh(self, residual: np.ndarray, sure: np.ndarray, sigma: float) -> np.ndarray:
        """Weights (L,) per squared pixel of residuals (2,L) with a standard deviation, pixels, so `sure` (L,)."""
        outlying = (residual**2).sum(0) / (self.config.robust * sigma) ** 2
        return sure / (sigma**2 * self.config.shared * (1 + outlying))

    @staticmethod
    def seen_in(shapes: np.ndarray, evidence: Evidence) -> np.ndarray:
        """What displacements (3,K,L), metres, move in the picture: (2,K,L) pixels."""
        return product(evidence.turn, shapes.reshape(3, -1)).reshape(2, *shapes.shape[1:])

    def _normal(self, evidence: Evidence, now: Refined) -> tuple[np.ndarray, np.ndarray]:
        """The normal equations (53,53) and (53,) of controls and pose."""
        return normal_equations(self._jacobian(evidence, now), evidence)

    def _jacobian(self, evidence: Evidence, now: Refined) -> np.ndarray:
        """What a unit of each control and of each number of the pose moves in the picture (2,53,L), pixels."""
        gaze = product(controls.slopes(now.controls)[controls.GAZE][:, controls.EYES], self.looks)
        parts = (self.seen_in(self.own, evidence), self.seen_in(gaze, evidence), evidence.by_pose)
        return np.concatenate(parts, 1)

    def _prior(
        self, mean: np.ndarray, seen: float, shut: np.ndarray, before: Before | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Precision (47,47) and mean (47,) of the controls: shut lids are a blink, and a gaze that cannot be seen is
        held."""
        mean, precision = mean.copy(), self.precision.copy()

        def hold(rows: np.ndarray, value: np.ndarray, surely: np.ndarray, deviation: float) -> None:
            mean[rows] += surely * (value - mean[rows])
            precision[rows, rows] += surely / deviation**2

        hold(BLINKS, np.ones(2), shut, self.config.blink)
        if before is not None:
            hold(_GAZE, before.gaze, np.full(3, 1 - seen), self.config.held)
        return precision, mean

    def _add_anchor(self, normal: np.ndarray, right: np.ndarray, now: Refined, network: Refined) -> None:
        """Add the cost of a pose that is not the network's."""
        place = self.iod * np.exp(network.pose[0])
        weight = (np.array(self.config.pose) * np.array([1, 1, 1, 1, place, place])) ** -2.0
        rows = np.arange(_N, _N + _POSE)
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


def normal_equations(jacobian: np.ndarray, evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """Compute N (K,K) and b (K,) of a step x that explains the residuals, of a jacobian (2,K,L): N x = b."""
    root = np.sqrt(evidence.weight).astype(np.float32)
    weighted = jacobian * root
    residual = (evidence.residual * root)[:, :, None]
    normal = product(weighted, weighted.swapaxes(1, 2)).sum(0).astype(float)
    normal[np.diag_indices(len(normal))] *= 1 + 1e-9
    return normal, product(weighted, residual)[:, :, 0].sum(0).astype(float)


def visible_gaze(points: np.ndarray, config: RefineConfig) -> float:
    """Tell from points (L,2) how well the irises can be seen, 0..1, at the eye that is wider open; 1 for a detector
    that finds none."""
    if len(points) < POINTS:
        return 1.0
    least, full = config.hidden
    return float(np.clip((_openings(points).max() - least) / (full - least), 0, 1))


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Multiply matrices in single precision, in half the time, and by torch: NumPy's own library would use threads that
    torch is told not to use."""
    a, b = (np.asarray(x, np.float32) for x in (a, b))
    return (torch.from_numpy(a) @ torch.from_numpy(b)).numpy()


def _openings(points: np.ndarray) -> np.ndarray:
    """Height over width of the right and the left eye (2,), of points (478,2)."""
    upper, lower, left, right = points[np.array(LIDS)].transpose(1, 0, 2)
    (across, down), gap = (right - left).T, (lower - upper).T
    return (across * gap[1] - down * gap[0]) / np.maximum(across**2 + down**2, 1e-6)


def _by_axis(shapes: np.ndarray) -> np.ndarray:
    """Shapes (K,L,3) as (3,K,L), in single precision."""
    return np.ascontiguousarray(shapes.transpose(2, 0, 1), np.float32)


def _moved(coefficients: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """Displacements (L,3) of coefficients (K,) of shapes (3,K,L)."""
    return product(coefficients, shapes).T


def _weights(config: RefineConfig, points: int) -> tuple[np.ndarray, np.ndarray]:
    """How much each point counts (L,), and which of them are irises'."""
    weight = np.full(POINTS, config.skin)
    weight[[*LIPS, *INNER_LIP_CONTOUR]] = config.lips
    weight[[*BROWS[0], *BROWS[1]]] = config.brows
    weight[[*EYE_CONTOURS[0], *EYE_CONTOURS[1]]] = config.lids
    weight[list(MOUTH_CORNERS)] = config.corners
    weight[list(IRISES)] = config.irises
    if points == len(IBUG_68):
        return weight[list(IBUG_68)], np.arange(0)
    return weight, np.array(IRISES)
