"""MakeHuman's sliders as shapes of the bundled head."""

import numpy as np
import pytest

from selftrack.decoders.head.model import load_head
from selftrack.decoders.landmarks import OUTER_EYE_CORNERS
from selftrack.decoders.makehuman.sliders import MACROS, SLIDERS, Sliders, draw_sliders, ends, population, sides

SLIDERS_OF = {slider.name: row for row, slider in enumerate(SLIDERS)}


@pytest.fixture(scope="module")
def sliders() -> Sliders:
    return Sliders.load()


def _with(sliders: Sliders, **values: float) -> np.ndarray:
    out = sliders.defaults.copy()
    for name, value in values.items():
        (row,) = (row for full, row in SLIDERS_OF.items() if full.split("/")[1].replace("-", "_").startswith(name))
        out[row] = value
    return out


def test_there_are_116_of_the_face_and_four_of_the_whole_person() -> None:
    assert len(SLIDERS) - len(MACROS) == 116
    assert len(SLIDERS_OF) == len(SLIDERS)


def test_ends_are_named_as_the_targets() -> None:
    assert ends("nose-trans-down|up") == ("nose-trans-down", "nose-trans-up")
    assert ends("head-oval") == ("", "head-oval")


def test_the_average_adult_is_about_the_mean_head(sliders: Sliders) -> None:
    head = load_head()
    off = np.linalg.norm(sliders.vertices(sliders.defaults) - head.mean.numpy(), axis=1)
    assert np.median(off) < 0.003


def test_a_slider_moves_what_it_is_called_after(sliders: Sliders) -> None:
    points = load_head().landmarks478
    corners, weights = points.triangles.numpy(), points.weights.numpy()

    def moved(**values: float) -> np.ndarray:
        change = sliders.vertices(_with(sliders, **values)) - sliders.vertices(sliders.defaults)
        return (change[corners] * weights[..., None]).sum(1)

    tip, chin, right_eye = 4, 152, OUTER_EYE_CORNERS[0]
    assert moved(nose_trans_down=1.0)[tip, 1] < -0.001  # up is to smaller y
    assert moved(nose_trans_down=-1.0)[tip, 1] > 0.001
    assert moved(nose_scale_depth=1.0)[tip, 2] < -0.001  # to the camera
    assert moved(chin_height=1.0)[chin, 1] > 0.001
    assert np.abs(moved(l_eye_trans_down=1.0)[right_eye]).max() < 1e-4  # left is the subject's
    assert np.abs(moved(r_eye_trans_down=1.0)[right_eye]).max() > 5e-4


def test_weights_of_the_whole_person_are_shares_of_all_people(sliders: Sliders) -> None:
    values = sliders.defaults.copy()
    values[: len(MACROS)] = [0.3, 0.8, 0.4, 0.9]
    weights = sliders.weights(values)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(2)  # one skull, one body
    assert weights.max() == pytest.approx(0.7 * 0.4, abs=0.2)


def test_slopes_are_those_of_the_vertices(sliders: Sliders) -> None:
    values = draw_sliders(np.random.default_rng(3)) * 0.9
    values[1] = 0.7
    step = np.random.default_rng(4).normal(0, 1e-4, len(values))
    step[np.abs(values) < 1e-3] = 0  # there the way back is another
    change = sliders.weights(values + step) - sliders.weights(values)
    np.testing.assert_allclose(step @ sliders.slopes(values), change, atol=1e-7)


def test_slopes_at_the_least_values_are_those_of_the_way_up(sliders: Sliders) -> None:
    one_way = np.flatnonzero((sliders.low == 0) & (sliders.defaults == 0))
    assert len(one_way) == 7
    slopes = sliders.slopes(sliders.defaults)
    for row in one_way:
        up = sliders.defaults + np.eye(len(SLIDERS))[row]
        np.testing.assert_allclose(slopes[row], sliders.weights(up) - sliders.weights(sliders.defaults), atol=1e-7)


def test_drawn_people_are_as_the_population_says() -> None:
    rng = np.random.default_rng(5)
    drawn = np.array([draw_sliders(rng) for _ in range(2000)])
    mean, covariance = population()
    low, high = (np.array([getattr(slider, end) for slider in SLIDERS]) for end in ("low", "high"))
    assert (drawn >= low).all() and (drawn <= high).all()
    rare = (mean - 3 * np.sqrt(covariance.diagonal()) > low) & (mean + 3 * np.sqrt(covariance.diagonal()) < high)
    np.testing.assert_allclose(drawn[:, rare].std(0), np.sqrt(covariance.diagonal())[rare], rtol=0.1)
    for one, other in sides():
        assert np.corrcoef(drawn[:, one], drawn[:, other])[0, 1] > 0.9
    np.linalg.cholesky(covariance)
