"""People who are drawn and real ones, as they are tracked."""

from pathlib import Path

import numpy as np
import pytest

from selftrack.decoders.head.model import load_head
from selftrack.decoders.makehuman.sliders import SLIDERS, Sliders
from selftrack.eval.characters.people import Drawn, draw, read_real, studio_of
from selftrack.tracker.model import Model


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.load(device="cpu")


@pytest.fixture(scope="module")
def drawn(model: Model) -> Drawn:
    one = draw(model, studio_of(load_head(), Sliders.load()), seed=0)
    assert one is not None
    return one


def test_drawn_people_are_seen_from_the_front(drawn: Drawn) -> None:
    assert drawn.sliders.shape == (len(SLIDERS),) and drawn.single.shape == (2, 60) and drawn.many.shape == (60,)
    assert np.linalg.norm(drawn.many) > 0


def test_a_clip_is_one_real_person(model: Model, drawn: Drawn, smile: Path) -> None:
    (one,) = read_real(model, smile)
    assert one.single.shape == (2, 60) and one.many is not None
    own, others = (np.linalg.norm(who.single - one.many, axis=1) for who in (one, drawn))
    assert own.max() < others.min()
