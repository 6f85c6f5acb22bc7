"""What a tracked person says of a head's shape, and how far that is to be believed.

The detector reads unusual faces as usual ones, and every frame errs alike. How much was measured on drawn people whose
sliders are known (`python -m selftrack.eval.characters`): the shape that is tracked is

    gain x true shape + offset + errors of a covariance,

all as codes of the bundled head's identity, for one picture and for many. Frames in between lie in between, by their
inverse number.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from selftrack.decoders.head.model import Head
from selftrack.decoders.makehuman.sliders import Sliders
from selftrack.tracker.makehuman.fit import Evidence, similarities

ASSET = Path(__file__).parents[1] / "assets" / "makehuman.npz"
MANY = 12
"""Pictures of one person from which on more say nothing new."""
_ROUGH = 0.001
"""Metres, standard deviation of a coordinate of a head's points from the nearest that codes can make."""


@dataclass(frozen=True)
class Reading:
    """How a tracked shape tells of the true one, as codes of identity; N = 60."""

    gain: np.ndarray
    """(N,N)"""
    offset: np.ndarray
    """(N,)"""
    covariance: np.ndarray
    """(N,N) of the errors."""

    @classmethod
    def load(cls, pictures: int) -> Reading:
        """Read what was measured, for so many pictures of a person."""
        share = (1 / min(max(pictures, 1), MANY) - 1 / MANY) / (1 - 1 / MANY)
        with np.load(ASSET, allow_pickle=False) as data:
            one, many = ({name: data[f"{of}_{name}"] for name in vars(cls)["__annotations__"]} for of in ("one", "many"))
        return cls(**{name: share * one[name] + (1 - share) * many[name].astype(float) for name in one})


class ShapeCodes:
    """The codes of identity nearest to a head's points, place, turn and size apart: linear in the head."""

    def __init__(self, head: Head) -> None:
        points = head.landmarks478
        self._points = points
        self._mean = points(head.mean[None])[0].double().numpy()
        people = points(head.shapes[head.identity]).double().numpy()
        self._acts = points(head.shapes[head.expression]).double().numpy()
        ways = np.concatenate([people, similarities(self._mean)]).reshape(len(people) + 7, -1)
        usual = np.diag(np.repeat([_ROUGH**2, 0.0], [len(people), 7]))
        self._nearest = np.linalg.solve(ways @ ways.T + usual, ways)[: len(people)]

    def of_points(self, moved: np.ndarray) -> np.ndarray:
        """Compute by how much displacements (...,478,3) of the points change the codes (...,N)."""
        return moved.reshape(*moved.shape[:-2], -1) @ self._nearest.T

    def of_sliders(self, sliders: Sliders) -> tuple[np.ndarray, np.ndarray]:
        """Compute the codes (N,) of MakeHuman's base mesh, and what each target adds (T,N)."""
        corners, weights = self._points.triangles.numpy(), self._points.weights.double().numpy()

        def at(values: np.ndarray) -> np.ndarray:
            return np.einsum("...lkc,lk->...lc", values[..., corners, :], weights)

        return self.of_points(at(sliders.base) - self._mean), self.of_points(at(sliders.targets))

    def of_person(self, identity: np.ndarray, rest: np.ndarray) -> np.ndarray:
        """Compute the codes (N,) of a tracked person, by the identity (N,) and the curves of the face at rest (52,)."""
        return identity + self.of_points(np.tensordot(rest, self._acts, 1))


def evidence_of(shape: np.ndarray, pictures: int, codes: ShapeCodes, sliders: Sliders) -> Evidence:
    """Tell what a tracked shape (N,), see `ShapeCodes.of_person`, by so many pictures says."""
    reading = Reading.load(pictures)
    base, targets = codes.of_sliders(sliders)
    return Evidence(
        shape, np.linalg.inv(reading.covariance), reading.gain @ base + reading.offset, targets @ reading.gain.T
    )
