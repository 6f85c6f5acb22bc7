"""The grid, and what goes on smoothly over it."""

import numpy as np
import pytest

from selftrack.tracker.export.reenact._lattice import Harmonic, Lattice

LOW, HIGH = np.array([3, 5]), np.array([102, 84])
BOX = np.array([40.0, 30]), np.array([60.0, 50])


@pytest.fixture
def lattice() -> Lattice:
    return Lattice(LOW, HIGH, BOX, 900)


def test_nodes_lie_on_pixels_from_border_to_border_and_closer_in_the_box(lattice: Lattice) -> None:
    assert (lattice.x[[0, -1]] == [3, 102]).all() and (lattice.y[[0, -1]] == [5, 84]).all()
    assert 600 < len(lattice.nodes) < 1200
    steps, middles = np.diff(lattice.x), (lattice.x[1:] + lattice.x[:-1]) / 2
    inside = (middles > 42) & (middles < 58)
    outside = (middles < 38) | (middles > 62)
    assert steps[inside].mean() < 0.5 * steps[outside].mean()


def test_its_triangles_cover_the_part_once(lattice: Lattice) -> None:
    a, b, c = (lattice.nodes[lattice.triangles()[:, corner]] for corner in range(3))
    areas = ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2
    assert (areas > 0).all() and areas.sum() == pytest.approx(99 * 79)


def test_a_picture_is_read_at_the_nodes(lattice: Lattice) -> None:
    picture = np.stack(np.meshgrid(np.arange(3, 103), np.arange(5, 85)), -1)
    assert (lattice.at_nodes(picture) == lattice.nodes).all()


def test_a_plane_goes_on_as_a_plane(lattice: Lattice) -> None:
    plane = lattice.nodes @ [[0.3, -1.0], [0.7, 0.2]] + [1.0, -5.0]
    border = (lattice.nodes == LOW).any(1) | (lattice.nodes == HIGH).any(1)
    assert np.abs(Harmonic(lattice, border)(plane[border]) - plane).max() < 1e-9


def test_without_a_slope_across_the_border_one_value_goes_on_everywhere(lattice: Lattice) -> None:
    known = np.arange(len(lattice.nodes)) == 77
    assert np.allclose(Harmonic(lattice, known)(np.array([[4.0]])), 4)


def test_with_a_reach_it_falls_as_the_screened_equation_says() -> None:
    even = Lattice(np.array([0, 0]), np.array([200, 20]), (np.array([0.0, 0]), np.array([200.0, 20])), 10_000)
    x = even.nodes[:, 0]
    falling = Harmonic(even, x == 0, 30.0)(np.ones(((x == 0).sum(), 1)))[:, 0]
    assert np.abs(falling - np.cosh((200 - x) / 30) / np.cosh(200 / 30)).max() < 1e-3


def test_all_nodes_may_be_known(lattice: Lattice) -> None:
    values = np.random.default_rng(0).random((len(lattice.nodes), 2))
    assert (Harmonic(lattice, np.ones(len(values), bool))(values) == values).all()
