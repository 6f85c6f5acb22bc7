"""The weights of a character's shapes that do to its face what a track's curves do to the bundled head.

The detector's points are on both. Where the curves move those of the head, the character's shapes shall move its own,
each by as much as its surroundings are larger or smaller there: a Jacobian of the map from face to face at each point,
as in deformation transfer (Sumner and Popovic 2004). Least squares within 0 and 1, with a cost on each weight, so that
a movement is made of few shapes, and on changes from frame to frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import Head
from selftrack.decoders.landmarks import (
    BROWS,
    EYE_CONTOURS,
    FACE_OVAL,
    INNER_LIP_CONTOUR,
    IRISES,
    LIPS,
    MIRRORED,
    POINTS,
)
from selftrack.decoders.rigs.character import Character
from selftrack.tracker.refinement.bounded import solve_bounded


@dataclass(frozen=True)
class FitConfig:
    """How the weights are found."""

    sparse: float = 5e-4
    """Cost of a weight, over what it costs not to make the movement of a middling shape at 1."""
    ridge: float = 1e-4
    """Cost of the square of a weight, likewise."""
    steady: float = 0.005
    """Cost of the square of a weight's distance from the mean of those of the frames beside it, likewise."""
    sweeps: int = 1
    """Times that all frames are solved again beside their neighbours."""
    opposite: float = -0.95
    """Shapes whose movements have a cosine below that are opposites: they are not both on."""
    mirrored: float = -0.5
    """The same for shapes that are mirror images of each other, such as the jaw to the left and to the right. (Others
    may well be on together: lips that close over an open jaw.)"""
    reach: float = 0.012
    """Metres around a point, standard deviation, whose places on both faces tell how much larger it is there."""
    stiff: float = 0.05
    """How much these have to say against the same size everywhere: more is less."""


_WEIGHTS = {FACE_OVAL: 0.2, BROWS[0] + BROWS[1]: 1.5, EYE_CONTOURS[0] + EYE_CONTOURS[1]: 2.5, IRISES: 2.0}
_WEIGHTS |= {LIPS + INNER_LIP_CONTOUR: 2.0}
"""By points; of the others 1. Outlines slide, lids and lips are what people look at."""
_ALIKE = 0.7
"""Cosine above which a shape is the mirror image of another."""
_LEAST = 2e-4
"""Metres by which a shape at 1 must move the points, at the most moved one, to be told from others."""


def drive(
    character: Character, curves: Mapping[str, np.ndarray], head: Head, config: FitConfig | None = None
) -> np.ndarray:
    """Compute the weights (T,K), 0..1, of all shapes of a character, for ARKit's curves (T,) by name."""
    values = np.stack([curves[name] for name in ARKIT_NAMES], 1).astype(float)
    out = np.zeros((len(values), len(character.mesh.names)))
    for name, curve in character.follows.items():
        out[:, character.mesh.names.index(name)] = values[:, ARKIT_NAMES.index(curve)].clip(0, 1)
    if character.fitted:
        columns = [character.mesh.names.index(name) for name in character.fitted]
        out[:, columns] = _Fit(character, head, config or FitConfig())(values, out)
    return out


def unseen(character: Character) -> tuple[str, ...]:
    """Names of fitted shapes that do not move the detector's points, and so stay at 0."""
    moved = np.linalg.norm(character.places(character.mesh.deltas), axis=-1).max(1)
    return tuple(name for name in character.fitted if moved[character.mesh.names.index(name)] < _LEAST)


class _Fit:
    """What is the same in all frames."""

    def __init__(self, character: Character, head: Head, config: FitConfig) -> None:
        names, self._config = character.mesh.names, config
        scale = np.ones(POINTS)
        for group, weight in _WEIGHTS.items():
            scale[list(group)] = weight
        every = (character.places(character.mesh.deltas.astype(float)) * scale[:, None] ** 0.5).reshape(len(names), -1)
        own = [names.index(name) for name in character.fitted]
        moving = np.linalg.norm(character.places(character.mesh.deltas[own]), axis=-1).max(1) >= _LEAST
        self._basis, self._rest = every[own] * moving[:, None], every
        points = head.landmarks478
        rest = points(head.mean[None])[0].double().numpy()
        local = local_maps(rest, character.places(character.mesh.neutral.astype(float)), config)
        ours = np.einsum("lij,klj->kli", local, points(head.blendshapes).double().numpy())
        self._ours = (ours * scale[:, None] ** 0.5).reshape(len(ours), -1)
        unit = float(np.median((self._basis[moving] ** 2).sum(1))) if moving.any() else 1.0
        self._normal = self._basis @ self._basis.T + np.eye(len(own)) * unit * config.ridge
        self._unit, self._upper = unit, moving.astype(float)
        self._opposites = opposites(self._basis.reshape(len(own), POINTS, 3), config)

    def __call__(self, values: np.ndarray, given: np.ndarray) -> np.ndarray:
        """The weights (T,F) of the fitted shapes for curves (T,52), where others are on with weights (T,K)."""
        right = (values @ self._ours - given @ self._rest) @ self._basis.T - self._config.sparse * self._unit
        upper = np.tile(self._upper, (len(right), 1))
        weights = self._solve(right, upper, None)
        for one, other in self._opposites:
            lesser = np.where(weights[:, one] < weights[:, other], one, other)
            both = np.flatnonzero((weights[:, [one, other]] > 0).all(1))
            upper[both, lesser[both]] = 0
        for _ in range(self._config.sweeps):
            weights = self._solve(right, upper, weights)
        return weights

    def _solve(self, right: np.ndarray, upper: np.ndarray, before: np.ndarray | None) -> np.ndarray:
        """One pass over all frames; `before` (T,F) are the weights of the pass before it, to whose means they are
        held."""
        normal = self._normal
        if before is not None:
            beside = np.concatenate([before[:1], before, before[-1:]])
            cost = self._config.steady * self._unit
            normal = normal + cost * np.eye(len(normal))
            right = right + cost * (beside[:-2] + beside[2:]) / 2
        lower = np.zeros(len(normal))
        return np.stack([solve_bounded(normal, one, lower, most) for one, most in zip(right, upper, strict=True)])


def opposites(moves: np.ndarray, config: FitConfig) -> np.ndarray:
    """Find the pairs (P,2) of shapes that move the detector's points in opposite ways, of movements (K,478,3)."""
    flat, mirror = moves.reshape(len(moves), -1), (moves[:, list(MIRRORED)] * [-1, 1, 1]).reshape(len(moves), -1)
    length = np.maximum(np.linalg.norm(flat, axis=1), 1e-12)
    cosine, alike = flat @ flat.T / length / length[:, None], flat @ mirror.T / length / length[:, None]
    pairs = (cosine < config.opposite) | ((cosine < config.mirrored) & (alike > _ALIKE))
    return np.argwhere(np.triu(pairs, 1))


def local_maps(ours: np.ndarray, theirs: np.ndarray, config: FitConfig) -> np.ndarray:
    """Find how a face is stretched into another around each point: (L,3,3), what takes a movement on one to the other.

    Args:
        ours: (L,3) points of a face at rest.
        theirs: (L,3) the same points of the other one.
    """
    a, b = (points[None] - points[:, None] for points in (ours, theirs))  # [i, j]: from i to j
    near = np.exp(-0.5 * (a**2).sum(-1) / config.reach**2)
    covariance = np.einsum("ij,ija,ijb->iab", near, a, a)
    cross = np.einsum("ij,ija,ijb->iab", near, b, a)
    stiff = config.stiff * np.trace(covariance, axis1=1, axis2=2)[:, None, None] * np.eye(3)
    return np.linalg.solve(covariance + stiff, (cross + stiff).transpose(0, 2, 1)).transpose(0, 2, 1)
