"""Point for point from the bundled head to a face of any make: the head takes the other's identity, then its
surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from selftrack.decoders.mesh.closest import closest_points
from selftrack.decoders.rigs.character import Places
from selftrack.tracker.characters.similarity import inverse, moved, similarity


@dataclass(frozen=True)
class RegistrationConfig:
    """How the head is brought onto a face. Lengths are metres of a face as large as the head."""

    rounds: int = 15
    """Times that the nearest places on the face are found and the identity is fitted again."""
    points: float = 0.004
    """Standard deviation of the detector's points from where they are on the identity's face."""
    surface: float = 0.002
    """That of the surface."""
    near: float = 0.012
    """Vertices of the head as near to one of the detector's points are brought onto the surface."""
    far: float = 0.006
    """What is farther from the surface does not count."""
    noise: float = 0.0015
    """Median distance by which the detector's points differ on two faces of one shape: what is above it is shape,
    too."""
    smooth: float = 0.025
    """Reach of what is shape beyond the identity, standard deviation."""


@dataclass(frozen=True)
class Surface:
    """A face's skin, and the detector's points on it."""

    vertices: np.ndarray
    """(V,3) metres, head frame."""
    triangles: np.ndarray
    """(F,3) int64, of the skin."""
    points: Places
    """(L,3)"""


def register(
    head: Surface, identity: np.ndarray, face: Surface, wanted: Places, config: RegistrationConfig | None = None
) -> Places:
    """Find where points of the head, `wanted`, lie on another face of about the same size and expression.

    Args:
        head: the bundled head.
        identity: (K,V,3) metres, a standard deviation of each component of its identity.
        face: the other; its points are those of the head, L alike.
        wanted: places on the head.
        config: how; the defaults if None.
    """
    config = config or RegistrationConfig()
    marks, own_marks = head.points(head.vertices), head.points(identity)
    target = face.points(face.vertices)
    skin = np.unique(head.triangles)
    skin = skin[cKDTree(marks).query(head.vertices[skin])[0] < config.near]
    code, matrix = np.zeros(len(identity)), similarity(marks, target)
    for number in range(config.rounds):
        shaped = head.vertices[skin] + np.tensordot(code, identity[:, skin], 1)
        placed = moved(shaped, matrix)
        found, weights = closest_points(placed, face.vertices, face.triangles)
        there = (face.vertices[face.triangles[found]] * weights[..., None]).sum(1)
        close = (np.linalg.norm(there - placed, axis=1) < config.far) & (number > 2)
        base = np.concatenate([marks, head.vertices[skin[close]]])
        ways = np.concatenate([own_marks, identity[:, skin[close]]], 1)
        goal = np.concatenate([target, there[close]])
        sure = np.repeat([1 / config.points, 1 / config.surface], [len(marks), close.sum()])
        matrix = similarity(base + np.tensordot(code, ways, 1), goal, sure**2)
        wish = (moved(goal, inverse(matrix)) - base) * sure[:, None]
        flat = (ways * sure[:, None]).reshape(len(ways), -1)
        code = np.linalg.solve(flat @ flat.T + np.eye(len(ways)), flat @ wish.ravel())
    shaped_marks = moved(marks + np.tensordot(code, own_marks, 1), matrix)
    points = moved(wanted(head.vertices + np.tensordot(code, identity, 1)), matrix)
    points = points + _beyond(shaped_marks, target - shaped_marks, points, config)
    found, weights = closest_points(points, face.vertices, face.triangles)
    return Places(face.triangles[found], weights)


def _beyond(places: np.ndarray, off: np.ndarray, wanted: np.ndarray, config: RegistrationConfig) -> np.ndarray:
    """What moves points (N,3) by what is smooth in the displacements (L,3) at places (L,3): a Gaussian process, whose
    variance is what the displacements have beyond the detector's noise."""
    signal = max(float(np.median(np.linalg.norm(off, axis=1))) ** 2 - config.noise**2, 0.0)
    if not signal:
        return np.zeros_like(wanted)

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return signal * np.exp(-0.5 * ((a[:, None] - b) ** 2).sum(-1) / config.smooth**2)

    known = kernel(places, places) + config.noise**2 * np.eye(len(places))
    return kernel(wanted, places) @ np.linalg.solve(known, off)
