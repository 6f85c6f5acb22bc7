"""People of MakeHuman's sliders, for the studio: heads whose sliders are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from selftrack.decoders.head.model import Head
from selftrack.decoders.makehuman.sliders import Sliders, draw_sliders
from selftrack.synthetic.people import Person, Population


@dataclass(frozen=True)
class MakeHumanPerson(Person):
    """A person of MakeHuman's; `identity` is 0."""

    sliders: np.ndarray
    """(K,)"""


class MakeHumanPopulation(Population):
    """As `people.Population`, of heads by sliders: skins, hair and glasses are those of the bundled head's people."""

    def __init__(self, head: Head, sliders: Sliders) -> None:
        super().__init__(head)
        self.sliders = sliders

    def sample(self, rng: np.random.Generator) -> MakeHumanPerson:
        """Draw a person."""
        skin: dict[str, Any] = vars(super().sample(rng))
        return MakeHumanPerson(**skin | {"identity": np.zeros_like(skin["identity"])}, sliders=draw_sliders(rng))

    def geometry(self, person: Person, expression: np.ndarray) -> np.ndarray:
        """Compute the vertices (V,3) of a person with an expression (52,): metres, head frame."""
        assert isinstance(person, MakeHumanPerson)
        acted = expression @ self.shapes[self.head.expression]
        return self.sliders.vertices(person.sliders) + acted.reshape(-1, 3)
