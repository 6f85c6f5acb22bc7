"""What a tracked person says of a head's shape, and how far that is to be believed.

The detector reads unusual faces as usual ones, and every frame errs alike. How much was measured on drawn people whose
sliders are known (`python -m selftrack.eval.characters`): the identity that is tracked is

    gain x true shape + offset + errors of a covariance,

all as codes of the bundled head's identity, for one picture and for many. Numbers in between lie in between, by their
inverse. Real people are tracked elsewhere than drawn ones, and are farther from each other: for them the offset is the
one with which some real people are the average, and there are errors more, as large as those with many pictures say.
More pictures do not make these smaller, so that one picture has them, too: it cannot say more than many among which it
is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from selftrack.decoders.head.model import Head
from selftrack.decoders.landmarks import OUTER_EYE_CORNERS
from selftrack.decoders.makehuman.sliders import Sliders
from selftrack.decoders.rigs.character import Places
from selftrack.tracker.makehuman.fit import ShapeEvidence, similarities

ASSET = Path(__file__).parents[1] / "assets" / "makehuman.npz"
MANY = 12
"""Pictures of one person from which on more say nothing new."""
PARTS = ("gain", "offset", "covariance", "shift")
"""In the file, of one picture and of many: what a `Reading` of drawn people has, and by how much the offset of real
people is another."""
FACTOR = "many_factor"
"""In the file: how many times larger the covariance of real people is, in many pictures."""
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
    def load(cls, pictures: int, drawn: bool = False) -> Reading:
        """Read what was measured, for so many pictures of a person, who is real or drawn."""
        share = (1 / min(max(pictures, 1), MANY) - 1 / MANY) / (1 - 1 / MANY)
        with np.load(ASSET, allow_pickle=False) as data:
            one, many = ([data[f"{of}_{part}"].astype(float) for part in PARTS] for of in ("one", "many"))
            factor = float(data[FACTOR])
        gain, offset, covariance, shift = (share * a + (1 - share) * b for a, b in zip(one, many, strict=True))
        more = (factor - 1) * many[PARTS.index("covariance")]
        return cls(gain, offset, covariance) if drawn else cls(gain, offset + shift, covariance + more)


class ShapeCodes:
    """The codes of identity nearest to a head's points, place, turn and size apart: linear in the head."""

    def __init__(self, head: Head) -> None:
        embedding = head.landmarks478
        self._places = Places(embedding.triangles.numpy(), embedding.weights.double().numpy())
        self._mean = self.points(head.mean.double().numpy())
        people = self.points(head.shapes[head.identity].double().numpy())
        ways = np.concatenate([people, similarities(self._mean)]).reshape(len(people) + 7, -1)
        usual = np.diag(np.repeat([_ROUGH**2, 0.0], [len(people), 7]))
        self._nearest = np.linalg.solve(ways @ ways.T + usual, ways)[: len(people)]

    @property
    def iod(self) -> float:
        """Metres between the outer corners of the mean head's eyes."""
        right, left = self._mean[list(OUTER_EYE_CORNERS)]
        return float(np.linalg.norm(right - left))

    def points(self, values: np.ndarray) -> np.ndarray:
        """Take the detector's points (...,478,3) of vertices or displacements (...,V,3)."""
        return self._places(values)

    def of_sliders(self, sliders: Sliders) -> tuple[np.ndarray, np.ndarray]:
        """Compute the codes (N,) of MakeHuman's base mesh, and what each target adds (T,N)."""
        return self.nearest(self.points(sliders.base)), self._codes(self.points(sliders.targets))

    def nearest(self, points: np.ndarray) -> np.ndarray:
        """Find the codes (N,) of a head's points (478,3), head frame."""
        return self._codes(points - self._mean)

    def _codes(self, moved: np.ndarray) -> np.ndarray:
        """By how much displacements (...,478,3) of the points change the codes (...,N)."""
        return moved.reshape(*moved.shape[:-2], -1) @ self._nearest.T


def evidence_of(identity: np.ndarray, reading: Reading, codes: ShapeCodes, sliders: Sliders) -> ShapeEvidence:
    """Tell what a tracked identity (N,) says."""
    base, targets = codes.of_sliders(sliders)
    said = reading.gain @ base + reading.offset
    return ShapeEvidence(identity, np.linalg.inv(reading.covariance), said, targets @ reading.gain.T)
