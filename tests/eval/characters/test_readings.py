"""How pictures tell of shapes, measured on made-up ones, and what the tracker has of that."""

from pathlib import Path

import numpy as np
import pytest

from selftrack.decoders.head.model import load_head
from selftrack.decoders.makehuman.sliders import Sliders, population
from selftrack.eval.characters.people import Drawn, Real
from selftrack.eval.characters.readings import larger, measure, save_readings, shift
from selftrack.tracker.makehuman import reading
from selftrack.tracker.makehuman.reading import MANY, Reading, ShapeCodes

SIZE = 5


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
    tracked = true @ reading.gain.T + reading.offset + errors + 0.7
    np.testing.assert_allclose(shift(reading, true, tracked), 0.7, atol=0.05)
    assert larger(reading, true, tracked) == pytest.approx(factor, rel=0.1)


def test_what_is_saved_is_what_the_tracker_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of drawn people in many pictures, what `measure` finds; of real ones, with their shift and larger errors."""
    rng, sliders, codes = np.random.default_rng(3), Sliders.load(), ShapeCodes(load_head())
    values = rng.multivariate_normal(*population(), 200)
    drawn = [Drawn(one, rng.normal(size=(2, 60)), rng.normal(size=60)) for one in values]
    real = [Real(rng.normal(size=(1, 60)), 0.3 + 2 * rng.normal(size=60)) for _ in range(30)]
    save_readings(drawn, real, sliders, codes, tmp_path / "makehuman.npz")
    monkeypatch.setattr(reading, "ASSET", tmp_path / "makehuman.npz")
    true = np.array([codes.nearest(codes.points(sliders.vertices(one))) for one in values])
    many, people = measure(true, np.array([one.many for one in drawn])), np.array([one.many for one in real])
    of_drawn, of_real = Reading.load(MANY, drawn=True), Reading.load(MANY)
    for name, value in vars(many).items():
        np.testing.assert_allclose(getattr(of_drawn, name), value, atol=1e-3)
    np.testing.assert_allclose(of_real.offset, many.offset + shift(many, true, people), atol=1e-3)
    np.testing.assert_allclose(of_real.covariance, larger(many, true, people) * many.covariance, atol=5e-3)
