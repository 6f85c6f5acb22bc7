"""How drawn people's sliders agree with what is read of them."""

from pathlib import Path

import numpy as np
import pytest

from selftrack.decoders.head.model import load_head
from selftrack.decoders.makehuman.sliders import SLIDERS, Sliders, population
from selftrack.errors import UserError
from selftrack.eval.characters import STUDIO, agreement, draw, gap, main, measure, read_real
from selftrack.synthetic.rigs.makehuman import MakeHumanPopulation
from selftrack.synthetic.studio import Studio
from selftrack.tracker.makehuman.fit import Fitted
from selftrack.tracker.makehuman.reading import Reading
from selftrack.tracker.model import Model

SIZE = 5


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.load(device="cpu")


def _made(rng: np.random.Generator, people: int) -> tuple[Reading, np.ndarray, np.ndarray]:
    """A reading, true codes, and what is tracked by it."""
    root = rng.normal(0, 0.3, (SIZE, SIZE))
    gain = 0.3 * np.eye(SIZE) + rng.normal(0, 0.1, (SIZE, SIZE))
    reading = Reading(gain, rng.normal(0, 1, SIZE), root @ root.T + 0.05 * np.eye(SIZE))
    true = rng.normal(0, 1, (people, SIZE))
    errors = rng.multivariate_normal(np.zeros(SIZE), reading.covariance, people)
    return reading, true, true @ gain.T + reading.offset + errors


def test_a_known_reading_is_measured() -> None:
    reading, true, tracked = _made(np.random.default_rng(0), 20_000)
    found = measure(true, tracked)
    np.testing.assert_allclose(found.gain, reading.gain, atol=0.02)
    np.testing.assert_allclose(found.offset, reading.offset, atol=0.02)
    np.testing.assert_allclose(found.covariance.diagonal(), reading.covariance.diagonal(), rtol=0.05)
    off = ~np.eye(SIZE, dtype=bool)
    np.testing.assert_allclose(found.covariance[off], 0.8 * reading.covariance[off], atol=0.02)


@pytest.mark.parametrize("factor", [1.0, 4.0])
def test_real_people_elsewhere_with_larger_errors_are_noticed(factor: float) -> None:
    rng = np.random.default_rng(1)
    reading, true, _ = _made(rng, 5000)
    errors = rng.multivariate_normal(np.zeros(SIZE), factor * reading.covariance, 5000)
    shift, found = gap(reading, true, true @ reading.gain.T + reading.offset + errors + 0.7)
    np.testing.assert_allclose(shift, 0.7, atol=0.05)
    assert found == pytest.approx(factor, rel=0.1)


def test_agreement_of_errors_as_they_are_said() -> None:
    rng = np.random.default_rng(2)
    mean, covariance = population()
    true = rng.multivariate_normal(mean, covariance, 400)
    half = 0.5 * covariance
    errors = rng.multivariate_normal(np.zeros(len(SLIDERS)), half, 400)
    found = agreement(true, [Fitted(value, half) for value in true + errors])
    assert found.within == pytest.approx(0.683, abs=0.01)
    assert found.explained == pytest.approx(0.5, abs=0.02)
    assert found.seen == len(SLIDERS)


def test_drawn_people_are_seen_from_the_front(model: Model) -> None:
    head, sliders = load_head(), Sliders.load()
    one = draw(model, Studio(head, STUDIO, MakeHumanPopulation(head, sliders)), seed=0)
    assert one is not None
    assert one.sliders.shape == (len(SLIDERS),) and one.single.shape == (2, 60) and one.many.shape == (60,)
    assert np.linalg.norm(one.many) > 0


def test_a_clip_is_one_real_person(model: Model, smile: Path) -> None:
    (one,) = read_real(model, smile)
    assert one.single.shape == (2, 60) and one.many is not None
    assert np.linalg.norm(one.single[0] - one.single[1]) < np.linalg.norm(one.many)


def test_real_people_are_needed_to_measure(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--real"):
        main(tmp_path, measured=10)
