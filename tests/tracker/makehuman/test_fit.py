"""The sliders that explain a head, and their deviations."""

import numpy as np
import pytest

from selftrack.decoders.head.model import load_head
from selftrack.decoders.makehuman.sliders import SLIDERS, Sliders, draw_sliders, population
from selftrack.tracker.makehuman.fit import ShapeEvidence, fit_sliders, of_points, similarities
from selftrack.tracker.makehuman.reading import MANY, Reading, ShapeCodes, evidence_of


@pytest.fixture(scope="module")
def sliders() -> Sliders:
    return Sliders.load()


@pytest.fixture(scope="module")
def codes() -> ShapeCodes:
    return ShapeCodes(load_head())


def test_nothing_known_leaves_the_population(sliders: Sliders) -> None:
    nothing = ShapeEvidence(np.zeros(1), np.zeros((1, 1)), np.zeros(1), np.zeros((len(sliders.targets), 1)))
    found = fit_sliders(sliders, nothing)
    mean, covariance = population()
    np.testing.assert_allclose(found.values, mean, atol=1e-9)
    np.testing.assert_allclose(found.deviations, np.sqrt(covariance.diagonal()), rtol=1e-9)


def test_one_slider_is_a_weighted_mean(sliders: Sliders) -> None:
    """With one number that one slider alone moves, the posterior has a closed form."""
    row = [slider.name for slider in SLIDERS].index("nose/nose-hump-decr|incr")
    more = int(np.flatnonzero(sliders.slopes(sliders.defaults + 0.1 * np.eye(len(SLIDERS))[row])[row])[0])
    targets = np.zeros((len(sliders.targets), 1))
    targets[more] = 2.0
    found = fit_sliders(sliders, ShapeEvidence(np.array([1.0]), np.array([[1 / 0.3**2]]), np.zeros(1), targets))
    known, usual = (2 / 0.3) ** 2, SLIDERS[row].deviation ** -2
    assert found.values[row] == pytest.approx(known * 0.5 / (known + usual), abs=1e-5)
    assert found.deviations[row] == pytest.approx((known + usual) ** -0.5, rel=1e-5)


def test_sliders_stay_within_their_ends(sliders: Sliders, codes: ShapeCodes) -> None:
    base, targets = codes.of_sliders(sliders)
    far = ShapeEvidence(np.full(60, 20.0), 1e4 * np.eye(60), base, targets)
    found = fit_sliders(sliders, far)
    assert (found.values >= sliders.low).all() and (found.values <= sliders.high).all()


def test_sliders_are_read_from_true_points_and_deviations_are_true(sliders: Sliders, codes: ShapeCodes) -> None:
    rng, noise = np.random.default_rng(0), 0.01 * codes.iod
    base, targets = codes.points(sliders.base), codes.points(sliders.targets)
    true, found = [], []
    for _ in range(6):
        true.append(draw_sliders(rng))
        points = codes.points(sliders.vertices(true[-1]))
        found.append(fit_sliders(sliders, of_points(points + rng.normal(0, noise, points.shape), base, targets, noise)))
    values, deviations = np.array([one.values for one in found]), np.array([one.deviations for one in found])
    off, away = (np.array(true) - values) ** 2, (np.array(true) - population()[0]) ** 2
    assert 1 - off.sum() / away.sum() > 0.6
    assert 0.6 < (off < deviations**2).mean() < 0.76


def test_place_turn_and_size_of_points_do_not_count(sliders: Sliders, codes: ShapeCodes) -> None:
    values = draw_sliders(np.random.default_rng(1))
    points = codes.points(sliders.vertices(values))
    base, targets = codes.points(sliders.base), codes.points(sliders.targets)
    other = points + np.tensordot([0.01, -0.02, 0.01, 0.002, -0.003, 0.001, 0.05], similarities(base), 1)
    one, two = (fit_sliders(sliders, of_points(seen, base, targets, 5e-4)) for seen in (points, other))
    np.testing.assert_allclose(one.values, two.values, atol=1e-4)


def test_codes_are_those_of_the_head(codes: ShapeCodes) -> None:
    head = load_head()
    code = np.random.default_rng(2).normal(0, 1, 60)
    moved = np.tensordot(code, head.shapes[head.identity].double().numpy(), 1)
    found = codes.nearest(codes.points(head.mean.double().numpy() + moved))
    assert np.corrcoef(found, code)[0, 1] > 0.9  # what is a turn or a size is none of a shape
    again = codes.points(np.tensordot(found, head.shapes[head.identity].double().numpy(), 1))
    unit, _ = np.linalg.qr(similarities(codes.points(head.mean.double().numpy())).reshape(7, -1).T)
    left = (codes.points(moved) - again).ravel()
    left -= unit @ (unit.T @ left)
    assert np.sqrt((left**2).mean()) < 5e-4


@pytest.mark.parametrize("drawn", [False, True])
def test_more_pictures_say_more(sliders: Sliders, codes: ShapeCodes, drawn: bool) -> None:
    usual, found = np.sqrt(population()[1].diagonal()), []
    for pictures in (1, MANY):
        reading = Reading.load(pictures, drawn)
        average = reading.gain @ codes.nearest(codes.points(sliders.vertices(population()[0]))) + reading.offset
        found.append(fit_sliders(sliders, evidence_of(average, reading, codes, sliders)))
    one, many = found
    assert many.deviations.mean() < one.deviations.mean() < usual.mean()
    assert (one.deviations < usual + 1e-9).all()
    np.testing.assert_allclose(many.values, population()[0], atol=0.1)  # nobody is more usual


def test_real_people_are_known_less_well() -> None:
    real, drawn = Reading.load(MANY), Reading.load(MANY, drawn=True)
    assert real.covariance.trace() > drawn.covariance.trace()
    np.testing.assert_array_equal(real.gain, drawn.gain)


@pytest.mark.parametrize("pictures", [1, 3, MANY, 1000])
def test_errors_have_a_covariance(pictures: int) -> None:
    reading = Reading.load(pictures)
    assert reading.gain.shape == reading.covariance.shape == (60, 60)
    np.linalg.cholesky(reading.covariance)


@pytest.mark.parametrize("drawn", [False, True])
def test_no_slider_is_known_less_well_with_more_pictures(sliders: Sliders, codes: ShapeCodes, drawn: bool) -> None:
    base, targets = codes.of_sliders(sliders)
    mean, covariance = population()
    slopes, before = sliders.slopes(mean) @ targets, np.sqrt(covariance.diagonal())
    for pictures in range(1, MANY + 1):
        reading = Reading.load(pictures, drawn)
        told = slopes @ reading.gain.T
        known = told @ np.linalg.inv(reading.covariance) @ told.T
        deviations = np.sqrt(np.linalg.inv(known + np.linalg.inv(covariance)).diagonal())
        assert (deviations <= before * 1.0005).all()
        before = deviations
