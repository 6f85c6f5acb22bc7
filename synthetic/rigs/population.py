"""People of a rig that is not ours, for the studio that networks are trained in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from selftrack.decoders.head.model import Head
from selftrack.synthetic.people import Person, Population
from selftrack.synthetic.rigs.rig import Rig
from selftrack.tracker.characters.similarity import moved, similarity

SPREAD = 0.9
"""Standard deviation of the components of identity, as of the bundled head's people."""
_NOISE = 0.007
"""Metres, root mean square, by which the detector's places differ on the surfaces of two models."""


@dataclass(frozen=True)
class RigPerson(Person):
    """A person of a rig; `identity` is the nearest of the bundled head's."""

    rig: Rig


class RigPopulation:
    """As `people.Population`, of a rig with the detector's points on it.

    The skins are the rig's own picture, or those of the bundled head's people.
    """

    def __init__(self, rig: Rig, head: Head, points: tuple[np.ndarray, np.ndarray]) -> None:
        """`points` are corners and weights (478,3) of the detector's points, see `points.place_points`."""
        self.rig, self._skins = rig, Population(head)
        self.faces, self.uv_faces = rig.faces, np.arange(3 * len(rig.faces)).reshape(-1, 3)
        self.uvs = rig.corners.reshape(-1, 2).astype(np.float64)
        self._corners, self._weights = points
        embedding = head.landmarks478
        self._mean = embedding(head.mean[None])[0].double().numpy()
        self._identity = embedding(head.shapes[head.identity]).double().numpy()

    def sample(self, rng: np.random.Generator) -> RigPerson:
        """Draw a person."""
        skin = self._skins.sample(rng)
        rig = self.rig.person(rng.normal(0, SPREAD, len(self.rig.identity)).clip(-2.5, 2.5))
        own: dict[str, Any] = vars(skin) | {
            "identity": self._nearest(self.landmarks(rig.neutral)).astype(np.float32),
            "hair": np.zeros(len(rig.neutral), np.float32),
        }
        if rig.texture is not None:
            own["texture"] = rig.texture.astype(np.float32) / 255
        return RigPerson(**own, rig=rig)

    def geometry(self, person: RigPerson, expression: np.ndarray) -> np.ndarray:
        """Compute the vertices (V,3) of a person with an expression (52,): metres, head frame."""
        return person.rig.vertices(expression.astype(float))

    def landmarks(self, values: np.ndarray) -> np.ndarray:
        """Interpolate per-vertex values (V,C) at the 478 landmarks: (478,C)."""
        return (values[self._corners] * self._weights[..., None]).sum(1)

    def _nearest(self, points: np.ndarray) -> np.ndarray:
        """The bundled head's identity (60,) whose points at rest are nearest to points (478,3), place, turn and size
        apart, within the deviations of people."""
        basis = self._identity.reshape(len(self._identity), -1)
        normal = basis @ basis.T + _NOISE**2 * np.eye(len(basis))
        code = np.zeros(len(basis))
        for _ in range(4):
            like = self._mean + np.tensordot(code, self._identity, 1)
            target = moved(points, similarity(points, like))
            code = np.linalg.solve(normal, basis @ (target - self._mean).ravel())
        return code
