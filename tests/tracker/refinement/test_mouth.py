"""Teeth, hollow and lips in drawn mouths, whose heights are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from selftrack.tracker.refinement.flow import View
from selftrack.tracker.refinement.mouth import EDGES_OF_LIPS, Teeth, lip_gap, see_teeth

SIDE = 256
LIP, TEETH, DARK, TONGUE = (170, 80, 80), (225, 215, 200), (40, 15, 15), (150, 70, 70)
INNER, OUTER = (110.0, 140.0), (98.0, 156.0)
"""Rows of the lips' edges."""


def mouth(inner: tuple[float, float] = INNER) -> np.ndarray:
    """The 478 points of a mouth with straight edges, 100 pixels wide."""
    points, across = np.zeros((478, 2)), np.linspace(78, 178, 11)
    for name, row in zip(EDGES_OF_LIPS, (*inner, *OUTER), strict=True):
        points[list(EDGES_OF_LIPS[name])] = np.stack([across, np.full(11, row)], 1)
    return points


def drawn(*bands: tuple[float, float, tuple[int, int, int]]) -> np.ndarray:
    """Lips, with bands of a colour from one row to another."""
    picture = np.full((SIDE, SIDE, 3), LIP, np.uint8)
    for low, high, colour in bands:
        picture[round(low) : round(high)] = colour
    return picture


def test_teeth_that_fill_the_opening_leave_no_gap() -> None:
    share, gap, opening = see_teeth(drawn((110, 141, TEETH)), mouth())
    assert (share, gap, opening) == (1.0, 0.0, pytest.approx(30))


@pytest.mark.parametrize("hollow", [DARK, TONGUE], ids=["dark", "tongue"])
@pytest.mark.parametrize("height", [6, 12])
def test_the_gap_between_both_rows_of_teeth(hollow: tuple[int, int, int], height: int) -> None:
    """Whatever is between them, as it is no teeth."""
    picture = drawn((110, 141, TEETH), (120, 120 + height, hollow))
    seen = see_teeth(picture, mouth())
    assert seen.gap == pytest.approx(height, abs=1.5)
    assert seen.share == pytest.approx(1 - height / 30, abs=0.06)


def test_the_hollow_below_and_above_the_teeth_is_a_gap() -> None:
    assert see_teeth(drawn((110, 141, DARK), (110, 122, TEETH)), mouth()).gap == pytest.approx(18, abs=1.5)
    assert see_teeth(drawn((110, 141, DARK), (126, 141, TEETH)), mouth()).gap == pytest.approx(16, abs=1.5)


def test_a_lower_lip_that_covers_the_teeth_s_edge_is_no_gap() -> None:
    seen = see_teeth(drawn((110, 125, TEETH)), mouth())
    assert seen.gap == 0 and seen.share == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("light", [0.4, 0.7, 1.1])
def test_the_light_s_strength_is_nothing(light: float) -> None:
    picture = drawn((110, 141, TEETH), (120, 128, DARK))
    dimmed = (picture * light).clip(0, 255).astype(np.uint8)
    np.testing.assert_allclose(see_teeth(dimmed, mouth()), see_teeth(picture, mouth()), atol=1e-6)


def test_a_turned_and_larger_mouth_says_the_same() -> None:
    picture, points = drawn((110, 141, TEETH), (120, 132, DARK)), mouth()
    turn = cv2.getRotationMatrix2D((128, 125), 30, 1.5)
    there = see_teeth(cv2.warpAffine(picture, turn, (SIDE, SIDE)), points @ turn[:, :2].T + turn[:, 2])
    here = see_teeth(picture, points)
    assert there.share == pytest.approx(here.share, abs=0.06)
    assert there.gap == pytest.approx(here.scaled(1.5).gap, abs=1.5)
    assert there.opening == pytest.approx(1.5 * here.opening, abs=1.5)


@pytest.mark.parametrize("larger, opening", [(4.0, 5.0), (0.5, 2.5)])
def test_of_crop_and_image_the_one_with_fewer_pixels_says_how_much_of_the_opening_is_seen(
    larger: float, opening: float
) -> None:
    """A face that was made smaller for the crop shows no more than that; one that was enlarged no more than it had."""
    transform = np.array([[1 / larger, 0, 0], [0, 1 / larger, 0]])
    seen = View(np.zeros((SIDE, SIDE), np.uint8), transform, Teeth(0.8, 2.0, 5.0)).teeth_in_image()
    assert seen == (0.8, pytest.approx(2 * larger), pytest.approx(opening))


@pytest.mark.parametrize(
    "picture",
    [drawn((110, 141, DARK)), drawn(), drawn((110, 141, (90, 90, 90))), np.full((SIDE, SIDE, 3), 128, np.uint8)],
    ids=["dark", "lips", "grey and darker than lips", "grey all over"],
)
def test_without_teeth_none_are_seen(picture: np.ndarray) -> None:
    assert see_teeth(picture, mouth()).share == 0


@pytest.mark.parametrize("tint", [(1.0, 1.0, 1.0), (1.06, 1.0, 0.9), (0.7, 0.95, 1.1)], ids=["grey", "warm", "cold"])
def test_without_colours_none_are_seen(tint: tuple[float, float, float]) -> None:
    grey = drawn((110, 141, TEETH)) @ np.array([0.299, 0.587, 0.114])
    picture = (grey[:, :, None] * tint).clip(0, 255).astype(np.uint8)
    assert see_teeth(picture, mouth()).share == 0


def test_a_lip_that_is_lit_brighter_than_the_other_is_no_teeth() -> None:
    """The lower one from above; the detector takes its upper part for the opening's."""
    picture = drawn((0, 120, (90, 35, 35)), (120, 256, (190, 100, 95)), (112, 120, DARK))
    assert see_teeth(picture, mouth()).share == 0


def test_of_few_points_nothing_is_told() -> None:
    assert see_teeth(drawn((110, 141, TEETH)), np.zeros((68, 2))) == Teeth()


@pytest.mark.parametrize("degrees", [0, 35, -80])
def test_the_gap_of_the_lips(degrees: float) -> None:
    turn = cv2.getRotationMatrix2D((128, 125), degrees, 1.0)

    def turned(points: np.ndarray) -> np.ndarray:
        return points @ turn[:, :2].T + turn[:, 2]

    assert lip_gap(turned(mouth())) == pytest.approx(30)
    assert lip_gap(turned(mouth((126.0, 124.0)))) == pytest.approx(-2)
