"""The refinement of a frame in torch, in a fixed number of steps and single precision: the twin of `Refiner`, without
the skin's pixels.

What it knows of the face model is the refiner's own, so that both are of the same settings. Arrays of points have the
axes first: (3,L).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from selftrack.decoders.landmarks import POINTS
from selftrack.tracker.engine.linear import BoundedSolver, constant, diagonal, inverse, spread, unit_matrix
from selftrack.tracker.geometry.pose import rotation
from selftrack.tracker.refinement import controls
from selftrack.tracker.refinement.mouth import lip_gap
from selftrack.tracker.refinement.observation import IRIS_CORNERS, LIDS
from selftrack.tracker.refinement.refiner import (
    BLINKS,
    CURVES,
    FREEDOM,
    JAW,
    LEAST_SECONDS,
    PARTING,
    PUFF,
    STEP,
    WIDE,
    Refiner,
)

N, POSE = controls.COUNT, 6
_ROUNDS = ((6, 5), (5, 5))
"""Of the bounded solver, for each Gauss-Newton step: at first, and again where two controls exclude each other."""

_SPINS = np.array(
    [[[0, 0, 0], [0, 0, -1], [0, 1, 0]], [[0, 0, 1], [0, 0, 0], [-1, 0, 0]], [[0, -1, 0], [1, 0, 0], [0, 0, 0]]]
)
"""What turns a vector at unit speed about each axis."""


class Guess(NamedTuple):
    """A frame as it is thought to be."""

    controls: Tensor
    """(47,) see `controls`."""
    pose: Tensor
    """(6,) in the image."""


class Last(NamedTuple):
    """What is known from the frame before."""

    frame: Guess
    gaze: Tensor
    """(3,) where the eyes looked when they could last be seen."""
    seconds: Tensor
    """() since then."""
    follows: Tensor
    """() 1 where there is a frame before, else 0."""


class Mouth(NamedTuple):
    """What is seen of the teeth, see `mouth.Teeth`; all 0 where nothing is."""

    share: Tensor
    """() of the opening's height that teeth fill."""
    gap: Tensor
    """() pixels of the image."""
    opening: Tensor
    """() pixels of the image, or of the crop where the face has fewer there."""


class Normal(NamedTuple):
    """The normal equations N x = b of a step."""

    matrix: Tensor
    """(K,K)"""
    right: Tensor
    """(K,)"""


class Placed(NamedTuple):
    """The mesh's points under a guess, and how they move."""

    at: Tensor
    """(2,L) pixels."""
    turn: Tensor
    """(2,3) head frame -> pixels, per metre."""
    by_pose: Tensor
    """(2,6,L) pixels that a unit of each number of the pose moves the points by."""


class RefineStep(nn.Module):
    """One frame: curves and pose that explain its points best, near the network's answer and the frame before."""

    acts: Tensor
    own: Tensor
    looks: Tensor
    turns: Tensor
    precision: Tensor
    weight: Tensor
    irises: Tensor
    corners: Tensor
    first: Tensor
    second: Tensor
    lower: Tensor
    upper: Tensor
    pace: Tensor
    blinks: Tensor
    parting: Tensor
    puff: Tensor
    wider: Tensor
    jaw: Tensor
    cost: Tensor
    anchor: Tensor

    def __init__(self, refiner: Refiner) -> None:
        super().__init__()
        c, points = refiner.config, len(refiner.mean)
        if c.steps != len(_ROUNDS):
            raise ValueError(f"expected a refiner of {len(_ROUNDS)} steps, got {c.steps}")
        self.config, self.iod, self.points, self.drop = c, refiner.iod, points, refiner.drop
        irises, corners = np.zeros((2, points)), np.zeros((points, 2))
        for eye, (iris, ends) in enumerate(IRIS_CORNERS if len(refiner.irises) else ()):
            irises[eye, iris], corners[ends, eye] = 1, 0.5
        first, second = (np.eye(N + POSE)[:, column] for column in controls.EXCLUSIVE.T)
        precision = np.zeros((N + POSE, N + POSE))
        precision[:N, :N] = refiner.precision
        for name, value in {
            "acts": refiner.acts.swapaxes(0, 1).reshape(len(refiner.acts[0]), -1),  # (52,3L)
            "own": refiner.own.reshape(3, -1),  # (3,44L)
            "looks": refiner.looks.swapaxes(0, 1).reshape(len(refiner.looks[0]), -1),  # (8,3L)
            "turns": controls.TURNS,  # (47,52)
            "precision": precision,  # (53,53)
            "weight": refiner.weight,  # (L,)
            "irises": irises,  # (2,L) whose iris a point is of
            "corners": corners,  # (L,2) what takes the mean of an eye's corners
            "first": first,  # (53,8) the first of each pair of exclusive controls
            "second": second,  # (53,8)
            "lower": refiner.lower,
            "upper": refiner.upper,
            "pace": np.concatenate([refiner.pace, c.head_pace]),
            "blinks": np.eye(N)[BLINKS],  # (2,47)
            "parting": np.eye(N)[PARTING].sum(0),  # (47,) what parts the lips
            "puff": np.eye(N)[PUFF].sum(0),  # (47,) what parted lips let out
            "wider": 1 + (c.wide - 1) * np.eye(N)[WIDE].sum(0),  # (47,) times what the network says
            "jaw": np.eye(N)[JAW],  # (2,47) with the lips, and behind them
            "cost": np.pad(c.act * CURVES, (0, N + POSE - len(CURVES))),
            "anchor": np.array(c.pose) ** -2.0,
        }.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(value)).float(), persistent=False)

    def forward(
        self, points: Tensor, network: Guess, face: Tensor, lens: Tensor, last: Last, mouth: Mouth
    ) -> tuple[Guess, Tensor]:
        """Refine a frame.

        Args:
            points: (L,2) detected, image pixels.
            network: its answer, in the image.
            face: (3,L) the person's points at rest, metres.
            lens: () inverse distance of the camera, 1/metres.
            last: what is known from the frame before.
            mouth: what is seen of the teeth.

        Returns:
            The frame, and the covariance (47,47) of its controls: of a normal distribution about them, by the last
            step's least squares, without the bounds.
        """
        (prior, mean), anchor = self._prior(network, points, last, mouth), self.anchor_of(network)
        now = Guess(torch.where(last.follows > 0, last.frame.controls, network.controls), network.pose)
        for rounds in _ROUNDS:
            matrix, right = self.equations(points, now, face, lens)
            inertia, change = self._inertia(now, last)
            pulled = prior @ beside(0, mean - now.controls, POSE) + anchor * beside(N, network.pose - now.pose, 0)
            right = right + pulled - self.cost - inertia * change
            normal = Normal(matrix + prior + spread(anchor + inertia), right)
            step = self._step(normal, now.controls, rounds)
            now = Guess(within(now.controls + step[:N]), now.pose + step[N:])
        return now, inverse(normal.matrix)[:N, :N]

    def equations(self, points: Tensor, now: Guess, face: Tensor, lens: Tensor, person: Tensor | None = None) -> Normal:
        """The normal equations of what the points (L,2) say around a guess: of controls and pose, and of a person's
        numbers whose shapes (3,KL) are given."""
        placed = self.place(now, face, lens)
        residual = self._beside_corners(points.T - placed.at)
        sigma = self.config.error * self.iod * now.pose[0].exp()
        outlying = residual.square().sum(0) / (self.config.robust * sigma).square()
        hidden = self.irises.sum(0) * (1 - self.visible_gaze(points))
        root = (self.weight * (1 - hidden) / (self.config.shared * (1 + outlying))).sqrt() / sigma
        gaze = _slopes(now.controls @ self.turns, self.turns) @ self.looks
        shapes = [self.own, gaze.reshape(3, 3, self.points).transpose(0, 1).reshape(3, -1)]
        parts = [self._seen(placed, shape) for shape in shapes]
        parts += [self._beside_corners(placed.by_pose)]
        parts += [] if person is None else [self._seen(placed, person)]
        jacobian = (torch.cat(parts, 1) * root).transpose(0, 1).reshape(-1, 2 * self.points)  # (K,2L)
        return Normal(jacobian @ jacobian.T, jacobian @ (residual * root).reshape(-1))

    def anchor_of(self, network: Guess) -> Tensor:
        """Weight (53,) of the distance of the pose from the network's."""
        return beside(N, self.anchor / _in_places(self.iod * network.pose[0].exp()).square(), 0)

    def place(self, now: Guess, face: Tensor, lens: Tensor) -> Placed:
        """Place the points of a person under a guess."""
        moved = (curves_of(now.controls, self.turns) @ self.acts).reshape(3, self.points)
        placed, scale, turn = face + moved, now.pose[0].exp(), rotation(now.pose[1:4])
        turned = turn @ placed
        near = 1 / (1 + lens * turned[2])
        flat = scale * near * turned[:2]
        columns = [flat]
        for slope in _rotation_slopes(now.pose[1:4]):
            change = slope @ placed
            columns.append(scale * near * (change[:2] - turned[:2] * (lens * near * change[2])))
        shift = constant(np.eye(2)[:, :, None] * np.ones(self.points), flat)
        by_pose = torch.cat([torch.stack(columns, 1), shift], 1)
        return Placed(flat + now.pose[4:6, None], scale * _median(near) * turn[:2], by_pose)

    def visible_gaze(self, points: Tensor) -> Tensor:
        """How well the irises can be seen, () in 0..1; see `Refiner.visible_gaze`."""
        if self.points < POINTS:
            return constant(np.ones(()), points)
        least, full = self.config.hidden
        return ((_openings(points).amax() - least) / (full - least)).clamp(0, 1)

    def _shut_eyes(self, points: Tensor) -> Tensor:
        """How surely the lids of the right and of the left eye touch (2,), 0..1; see `Refiner.shut_eyes`."""
        if self.points < POINTS:
            return constant(np.zeros(2), points)
        least, full = self.config.shut
        openings = _openings(points)
        alone = ((full - openings) / (full - least)).clamp(0, 1)
        return ((full - openings + self.config.beside * alone.flip(0)) / (full - least)).clamp(0, 1)

    def _lips(self, points: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """How surely the lips touch (), and are apart (), in 0..1; see `Refiner.lips`."""
        if self.points < POINTS:
            none = constant(np.zeros(()), points)
            return none, none
        gap, (shut, ajar), (near, far) = lip_gap(points) / (self.iod * scale), self.config.touching, self.config.apart
        return ((ajar - gap) / (ajar - shut)).clamp(0, 1), ((gap - near) / (far - near)).clamp(0, 1)

    def _bitten(self, mouth: Mouth, scale: Tensor) -> tuple[Tensor, Tensor]:
        """How far the jaw is open beyond the teeth's bite (), and how surely they show it, () in 0..1; see
        `Refiner.bitten`."""
        (none, full), (shut, wide), (blurred, sharp) = self.config.teeth, self.config.bite, self.config.legible
        gap = mouth.gap / (self.iod * scale)
        seen = ((mouth.share - none) / (full - none)).clamp(0, 1) * ((wide - gap) / (wide - shut)).clamp(0, 1)
        legible = ((mouth.opening - blurred) / (sharp - blurred)).clamp(0, 1)
        return gap * self.iod / self.drop, seen * legible

    def expected(self, network: Guess) -> Tensor:
        """The controls (47,) that are expected where the network says these."""
        return torch.minimum(network.controls * self.wider, self.upper[:N])

    def _prior(self, network: Guess, points: Tensor, last: Last, mouth: Mouth) -> tuple[Tensor, Tensor]:
        """Precision (53,53) and mean (47,) of the controls, see `Refiner`."""
        scale, c = network.pose[0].exp(), self.config
        touch, apart = self._lips(points, scale)
        open_by, shown = self._bitten(mouth, scale)
        hidden = (1 - self.visible_gaze(points)) * last.follows
        holds = (  # what surely (47,) has which values, and how far it may be off
            (self._shut_eyes(points) @ self.blinks, 1.0, c.blink),
            (touch * self.parting, 0.0, c.together),
            (apart * self.puff, 0.0, c.puffed),
            (shown * self.jaw.sum(0), (c.clenched + open_by) * self.jaw[0], c.jaw),
            (hidden * constant(np.arange(N) >= controls.SIDE, points), beside(controls.SIDE, last.gaze, 0), c.held),
        )
        mean = self.expected(network)
        precision = constant(np.zeros(N), points)
        for surely, value, deviation in holds:
            mean = mean + surely * (value - mean)
            precision = precision + surely / deviation**2
        return self.precision + spread(beside(0, precision, POSE)), mean

    def _inertia(self, now: Guess, last: Last) -> tuple[Tensor, Tensor]:
        """Weight (53,) of what has changed since the frame before, and that change (53,)."""
        pace = self.pace * beside(N, _in_places(self.iod * now.pose[0].exp()), 0, fill=1.0)
        seconds = last.seconds.clamp(min=LEAST_SECONDS)
        change = torch.cat([now.controls - last.frame.controls, now.pose - last.frame.pose]) * last.follows
        student = (FREEDOM + 1) / (FREEDOM + (change / (pace * seconds)).square())
        return last.follows * student / (pace.square() * seconds * STEP), change

    def _step(self, normal: Normal, now: Tensor, rounds: tuple[int, int]) -> Tensor:
        """Solve for a step (53,) within the bounds from controls (47,); see `Refiner`."""
        x = beside(0, now, POSE)
        solver = BoundedSolver(*normal, self.lower - x, self.upper - x)
        reached = x + solver.solve(rounds[0])
        explains = reached.square() * diagonal(normal.matrix)
        both = ((reached @ self.first > 0) & (reached @ self.second > 0)).to(x)
        lesser = (explains @ self.first <= explains @ self.second).to(x)
        out = (both * lesser) @ self.first.T + (both * (1 - lesser)) @ self.second.T
        return solver.solve(rounds[1], self.upper * (1 - out) - x)

    def _beside_corners(self, values: Tensor) -> Tensor:
        """Take from the values (...,L) of each iris the mean of its eye's corners."""
        return values - values @ self.corners @ self.irises

    def _seen(self, placed: Placed, shapes: Tensor) -> Tensor:
        """What displacements (3,KL), metres, move in the picture: (2,K,L) pixels."""
        return (placed.turn @ shapes).reshape(2, -1, self.points)


def to_controls(curves: Tensor) -> Tensor:
    """Convert curves (52,) to the controls (47,) nearest to them; see `controls.to_controls`."""
    found = curves @ constant(controls.MEANS, curves)
    spare = found[controls.PARTED].clamp(max=0) / 2
    return within(found + spare * unit_matrix(N, curves)[controls.BEHIND])


def within(found: Tensor) -> Tensor:
    """Clip controls (47,) to their bounds; see `controls.within`."""
    lower, upper = (constant(x, found) for x in (controls.LOWER, controls.UPPER))
    found = torch.minimum(torch.maximum(found, lower), upper)
    parted = unit_matrix(N, found)[controls.PARTED]
    return torch.where(parted > 0, torch.minimum(found, 1 - found[controls.BEHIND]), found)


def curves_of(found: Tensor, turns: Tensor) -> Tensor:
    """Convert controls (47,) to curves (52,) in 0..1."""
    return (found @ turns).clamp(0, 1)


def _slopes(signed: Tensor, turns: Tensor) -> Tensor:
    """What a unit of each control of the gaze changes (3,8) of the eyes' curves, whose values are `signed` (52,) before
    they are cut off; see `controls.slopes`."""
    ways = (1 + signed.sign()) / 2 * (signed <= 1).to(signed)
    return (turns[controls.GAZE] * ways)[:, np.flatnonzero(controls.EYES).tolist()]


def _openings(points: Tensor) -> Tensor:
    """Height over width of the right and the left eye (2,), of points (478,2)."""
    upper, lower, left, right = (points[list(rows)] for rows in zip(*LIDS, strict=True))
    across, gap = right - left, lower - upper
    return (across[:, 0] * gap[:, 1] - across[:, 1] * gap[:, 0]) / across.square().sum(1).clamp(min=1e-6)


def _rotation_slopes(angles: Tensor) -> list[Tensor]:
    """The derivatives (3,3) of the rotation after each of the angles (3,): with R = Rz Ry Rx, a turn about an axis that
    the turns after it have moved."""
    spin_x, spin_y, spin_z = (constant(spin, angles) for spin in _SPINS)
    turn, about_z = rotation(angles), rotation(angles * constant(np.array([0.0, 0, 1]), angles))
    return [turn @ spin_x, about_z @ spin_y @ about_z.T @ turn, spin_z @ turn]


def _median(values: Tensor) -> Tensor:
    """The median () of an even number of values (L,), the mean of the two in the middle."""
    half = len(values) // 2
    return values.topk(half + 1)[0][-2:].mean()


def beside(before: int, values: Tensor, after: int, fill: float = 0.0) -> Tensor:
    """Values (K,) with so many equal numbers before and after them."""
    parts = [constant(np.full(size, fill), values) for size in (before, after)]
    return torch.cat([parts[0], values, parts[1]])


def _in_places(unit: Tensor) -> Tensor:
    """The units (6,) of the numbers of a pose, whose place is told in units of `unit` () pixels."""
    place = constant(np.array([0.0, 0, 0, 0, 1, 1]), unit)
    return 1 - place + place * unit
