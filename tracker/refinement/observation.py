"""Where the points of a face lie, and what detected ones say of its controls, its pose, the person and the camera.

Image frame: pixels, x right, y down.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import NamedTuple, Self

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
    layout,
)
from selftrack.tracker.refinement import controls
from selftrack.tracker.refinement.flow import Followed
from selftrack.tracker.refinement.motion import load_motion
from selftrack.tracker.refinement.mouth import LOWER_LIP_MIDDLE, UPPER_LIP_MIDDLE, Teeth, lip_gap
from selftrack.tracker.refinement.rotation import rotation, rotation_slopes

POSE = 6
"""Numbers of a pose."""
LIDS = ((159, 145, 33, 133), (386, 374, 362, 263))
"""Upper and lower lid and the corners of each eye, the image's left one first; the right eye first."""
IRIS_CORNERS = ((slice(RIGHT_IRIS, LEFT_IRIS), [33, 133]), (slice(LEFT_IRIS, POINTS), [362, 263]))
"""Of each eye the points of its iris, and its corners."""
RESTING = np.array([not name.startswith(("eyeLook", "eyeBlink", "tongue", "cheekPuff")) for name in ARKIT_NAMES])
"""(52,) bool, the curves that tell one face at rest from another: some brows are higher, some lips thicker."""


@dataclass(frozen=True)
class ObservationConfig:
    """Settings of how much points say."""

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
    irises: float = 4.0
    """Weight of the irises' points: ten of them see the gaze, and the lids follow it loosely."""
    flow: float = 0.003
    """Standard deviation of how far skin is followed to a frame `refiner.STEP` later, in inter-ocular distances."""
    robust: float = 6.0
    """Errors of so many standard deviations count half."""
    hidden: tuple[float, float] = (0.14, 0.26)
    """Height of an eye over its width at which its iris counts nothing, and fully."""
    shut: tuple[float, float] = (0.10, 0.16)
    """The same at which its lids are surely shut, and surely not: detectors leave a slit between lids that touch."""
    touching: tuple[float, float] = (0.012, 0.03)
    """Height between the lips' inner edges at which they surely touch, and not surely, in inter-ocular distances."""
    apart: tuple[float, float] = (0.03, 0.08)
    """The same at which they are not surely apart, and surely: detectors part lips that touch."""
    teeth: tuple[float, float] = (0.3, 0.45)
    """Share of the opening between the lips that teeth fill at which they tell nothing of the jaw, and all they can."""
    bite: tuple[float, float] = (0.02, 0.05)
    """Gap of the teeth at which they surely show how far the jaw is open, and not at all, in inter-ocular distances: in
    a wide gap the lower teeth may be hidden."""
    legible: tuple[float, float] = (3.0, 6.0)
    """Height of the opening at which teeth can be told from what is beside them not at all, and surely: in pixels of
    the image, or of the crop where the face has fewer there."""
    beside: float = 0.03
    """By how much more an eye may be open beside one that is surely shut: lids mostly shut together, and the detector
    errs at each eye on its own."""


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


class FacePoints:
    """The detector's points on faces of a decoder that has ARKit's shapes and knows where these points lie."""

    def __init__(self, decoder: Decoder, points: int, config: ObservationConfig) -> None:
        """`points` is how many the detector finds: 478, or 68."""
        embedding = decoder.landmarks(points)
        shapes = embedding(decoder.shapes).double().cpu().numpy()
        self.mean = embedding(decoder.mean[None])[0].double().cpu().numpy()
        self.people = _by_axis(shapes[decoder.identity])
        self.acts = _by_axis(shapes[decoder.expression])
        eyes = decoder.landmarks478(decoder.mean[None])[0, list(OUTER_EYE_CORNERS)].double()
        self.iod = float((eyes[0] - eyes[1]).norm())
        self.config, self.inverse_distance = config, 0.0
        self.weight, self.irises = _weights(config, points)
        self.personal = self._beside_corners(np.concatenate([self.people, self.acts[:, RESTING]], 1))
        self.looks = self._beside_corners(np.ascontiguousarray(self.acts[:, controls.EYES]))
        self.own = self._beside_corners(self._moves())
        self.drop = float(self.own[1, controls.PARTED, layout(points).chin])

    def through(self, inverse_distance: float) -> Self:
        """Return the same points through a camera, 1/metres."""
        other = copy.copy(self)
        other.inverse_distance = inverse_distance
        return other

    def resting(self, rest: np.ndarray) -> Self:
        """Return those of a person whose face at rest has these curves (52,): all others are on top."""
        other = copy.copy(self)
        other.mean = self.mean + _moved(rest, self.acts).T
        return other

    def face(self, identity: np.ndarray) -> np.ndarray:
        """Compute the points (L,3) of a person (K,) at rest, metres, head frame."""
        return self.mean + _moved(identity, self.people).T

    def place(self, frame: Refined, face: np.ndarray) -> np.ndarray:
        """Compute where the points (L,2) of a person lie in a frame, pixels; `face` (L,3) is at rest, see `face`."""
        turned = (face + _moved(frame.curves, self.acts).T) @ rotation(frame.pose[1:4]).T
        return np.exp(frame.pose[0]) * turned[:, :2] * self._nearness(turned[:, 2:]) + frame.pose[4:6]

    def motion(self) -> np.ndarray:
        """Compute how far acts move the points (L,), root mean square over recordings, metres."""
        covariance, moves = load_motion().covariance()[: controls.SIDE, : controls.SIDE], self._moves()
        return np.sqrt(np.einsum("akl,kj,ajl->l", moves, covariance, moves, optimize=True))

    def _moves(self) -> np.ndarray:
        """By how much a unit of each control that is not of the gaze moves the points (3,K,L), metres."""
        own = controls.TURNS[: controls.SIDE].astype(np.float32)
        return np.ascontiguousarray(np.einsum("kc,acl->akl", own, self.acts))

    def _nearness(self, depth: np.ndarray) -> np.ndarray:
        """By how much the camera enlarges points (L,) for their depth (L,), metres, as `geometry.pose.project`."""
        return 1 / (1 + self.inverse_distance * depth)

    def visible_gaze(self, points: np.ndarray) -> float:
        """Tell from points (L,2) how well the irises can be seen, 0..1."""
        return visible_gaze(points, self.config)

    def eye_height(self, points: np.ndarray, scale: float) -> float:
        """Measure by points (L,2), of a face of so many pixels per metre, how far the eyes are open on average, in
        inter-ocular distances; 0 for a detector that finds few points of them."""
        if not len(self.irises):
            return 0.0
        _, _, left, right = np.array(LIDS).T
        widths = np.linalg.norm(points[right] - points[left], axis=1)
        return float((_openings(points) * widths).mean()) / (self.iod * scale)

    def shut_eyes(self, points: np.ndarray) -> np.ndarray:
        """Tell from points (L,2) how surely the lids of the right and of the left eye touch (2,), 0..1; 0 for a
        detector that finds few points of them."""
        if not len(self.irises):
            return np.zeros(2)
        least, full = self.config.shut
        openings = _openings(points)
        alone = ((full - openings) / (full - least)).clip(0, 1)
        return ((full - openings + self.config.beside * alone[::-1]) / (full - least)).clip(0, 1)

    def gap(self, points: np.ndarray, scale: float) -> float:
        """Measure by points (L,2), of a face of so many pixels per metre, the gap between the lips, inter-ocular
        distances; 0 for a detector that finds few points of them."""
        return float(lip_gap(points)) / (self.iod * scale) if len(points) == POINTS else 0.0

    def lips(self, points: np.ndarray, scale: float) -> tuple[float, float]:
        """Tell from points (L,2), of a face of so many pixels per metre, how surely the lips touch, and how surely they
        are apart, 0..1; 0 for a detector that finds few points of them."""
        if len(points) < POINTS:
            return 0.0, 0.0
        gap, touching, apart = self.gap(points, scale), self.config.touching, self.config.apart
        return 1 - float(np.interp(gap, touching, (0, 1))), float(np.interp(gap, apart, (0, 1)))

    def bitten(self, teeth: Teeth, scale: float) -> tuple[float, float]:
        """Tell from teeth of a face of so many pixels per metre how far the jaw is open beyond their bite, in units of
        its control, and how surely they show it, 0..1."""
        (none, all_), (shut, wide), (blurred, sharp) = self.config.teeth, self.config.bite, self.config.legible
        gap = teeth.gap / (self.iod * scale)
        seen = ((teeth.share - none) / (all_ - none), (wide - gap) / (wide - shut))
        legible = (teeth.opening - blurred) / (sharp - blurred)
        return gap * self.iod / self.drop, float(np.clip([*seen, legible], 0, 1).prod())

    def parted(self) -> tuple[float, np.ndarray]:
        """Measure how far the lips of the mean face at rest are apart, and by how much each number of a person parts
        them more (N,), as in `personal_jacobian`: inter-ocular distances. 0 for a detector that finds few points of
        them."""
        if len(self.mean) < POINTS:
            return 0.0, np.zeros(len(self.personal[0]) + 1)
        gap, more = (
            (down[..., LOWER_LIP_MIDDLE].mean(-1) - down[..., UPPER_LIP_MIDDLE].mean(-1)) / self.iod
            for down in (self.mean[:, 1], self.personal[1].astype(float))
        )
        return float(gap), np.append(more, 0.0)

    def evidence(
        self, points: np.ndarray, now: Refined, face: np.ndarray, seen: float = 1.0, followed: Followed | None = None
    ) -> Evidence:
        """Compare points (L,2), whose irises can be `seen` so well, and those that were followed with a guess."""
        scale, turn = np.exp(now.pose[0]), rotation(now.pose[1:4])
        placed = face.T + _moved(now.curves, self.acts)
        turned = turn @ placed
        near = self._nearness(turned[2])
        flat = scale * near * turned[:2]
        at = flat + now.pose[4:6, None]
        changes = rotation_slopes(now.pose[1:4]) @ placed  # (3,3,L), by the angles
        nearer = self.inverse_distance * near * changes[:, 2:]
        moves = np.zeros((2, POSE + 1, len(face)), np.float32)  # by the pose, and by the lens
        moves[:, 0], moves[0, 4], moves[1, 5] = flat, 1, 1
        moves[:, 1:4] = (scale * near * (changes[:, :2] - turned[:2] * nearer)).swapaxes(0, 1)
        moves[:, POSE] = -near * turned[2] * flat
        moves = self._beside_corners(moves)
        sure = self.weight.copy()
        sure[self.irises] *= seen
        residual = self._beside_corners(points.T - at)
        weight = self._weigh(residual, sure, self.config.error * self.iod * scale)
        if followed is not None:
            also = followed.points.T - at
            more = self._weigh(also, followed.weight, self.config.flow * self.iod * scale)
            both = np.maximum(weight + more, 1e-12)
            residual, weight = (weight * residual + more * also) / both, both
        seen_from = scale * float(np.median(near)) * turn[:2]
        return Evidence(residual, weight, seen_from, moves[:, :POSE], moves[:, POSE:])

    def _beside_corners(self, values: np.ndarray) -> np.ndarray:
        """Take from the values (...,L) of each iris the mean of its eye's corners, in place: a gaze is where in the eye
        the iris is, wherever the mesh's eye lies."""
        for iris, corners in IRIS_CORNERS if len(self.irises) else ():
            values[..., iris] -= (values[..., corners[0], None] + values[..., corners[1], None]) / 2
        return values

    def _weigh(self, residual: np.ndarray, sure: np.ndarray, sigma: float) -> np.ndarray:
        """Weights (L,) per squared pixel of residuals (2,L) with a standard deviation, pixels, so `sure` (L,)."""
        outlying = (residual[0] ** 2 + residual[1] ** 2) / (self.config.robust * sigma) ** 2
        return sure / (sigma**2 * self.config.shared * (1 + outlying))

    @staticmethod
    def seen_in(shapes: np.ndarray, evidence: Evidence) -> np.ndarray:
        """What displacements (3,K,L), metres, move in the picture: (2,K,L) pixels."""
        return product(evidence.turn, shapes.reshape(3, -1)).reshape(2, *shapes.shape[1:])

    def jacobian(self, evidence: Evidence, now: Refined) -> np.ndarray:
        """What a unit of each control and of each number of the pose moves in the picture (2,53,L), pixels."""
        gaze = product(controls.slopes(now.controls)[controls.GAZE][:, controls.EYES], self.looks)
        parts = (self.seen_in(self.own, evidence), self.seen_in(gaze, evidence), evidence.by_pose)
        return np.concatenate(parts, 1)

    def personal_jacobian(self, evidence: Evidence) -> np.ndarray:
        """Compute what a unit of each number of the person moves in the picture (2,N,L), pixels: of the identity, of
        the curves at rest that are `RESTING`, and of the camera's inverse distance."""
        return np.concatenate((self.seen_in(self.personal, evidence), evidence.by_lens), 1)


def normal_equations(jacobian: np.ndarray, evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """Compute N (K,K) and b (K,) of a step x that explains the residuals, of a jacobian (2,K,L): N x = b."""
    root = np.sqrt(evidence.weight).astype(np.float32)
    rows = np.concatenate([jacobian, evidence.residual[:, None]], 1, dtype=np.float32) * root
    products = product(rows, rows.swapaxes(1, 2)).sum(0).astype(float)
    normal, right = products[:-1, :-1], products[:-1, -1]
    normal[np.diag_indices(len(normal))] *= 1 + 1e-9
    return normal, right


def visible_gaze(points: np.ndarray, config: ObservationConfig) -> float:
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
    """Displacements (3,L) of coefficients (K,) of shapes (3,K,L)."""
    return product(coefficients, shapes)


def _weights(config: ObservationConfig, points: int) -> tuple[np.ndarray, np.ndarray]:
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
