"""How drawn people's sliders agree with what is read of them."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from selftrack.command import run
from selftrack.decoders.head.model import load_head
from selftrack.decoders.makehuman.sliders import SLIDERS, Sliders, population
from selftrack.eval import characters
from selftrack.eval.characters import STUDIO, Drawn, agreement, draw, gap, main, measure, read_real
from selftrack.synthetic.rigs.makehuman import MakeHumanPopulation
from selftrack.synthetic.studio import Studio
from selftrack.tracker.makehuman.fit import Fitted
from selftrack.tracker.makehuman.reading import Reading
from selftrack.tracker.model import Model
from selftrack.tracker.sources.opening import open_source

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


@pytest.fixture(scope="module")
def drawn(model: Model) -> Drawn:
    head, sliders = load_head(), Sliders.load()
    one = draw(model, Studio(head, STUDIO, MakeHumanPopulation(head, sliders)), seed=0)
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


MISTAKES = {
    "no real people": (("--measure", "60"), "name them with --real"),
    "nothing measured": (("--real", "photo.png"), "add --measure N"),
    "too few drawn": (("--measure", "3", "--real", "photo.png"), "greater than or equal to 60"),
    "too few real": (("--measure", "60", "--real", "photo.png"), "name more clips"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_found_before_people_are_drawn(
    smile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, name: str
) -> None:
    arguments, words = MISTAKES[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(characters, "draw", lambda *_: pytest.fail("drew somebody"))
    with open_source(smile) as source:
        (frame,) = source.frames(only={0})
    cv2.imwrite("photo.png", frame.image[..., ::-1])
    with pytest.raises(SystemExit) as stop:
        run("characters", None, ["out", *arguments], main=main)
    err = capsys.readouterr().err
    assert stop.value.code == 2 and words in err and len(err.strip().splitlines()) == 1
