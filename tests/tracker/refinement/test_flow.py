"""Skin is followed by known motions of a picture, and a refined face keeps to it where the detector's points slide."""

from __future__ import annotations

import weakref

import cv2
import numpy as np
import pytest

from selftrack.decoders.head.model import load_head
from selftrack.decoders.landmarks import FACE_OVAL, IRISES, LIPS
from selftrack.tracker.refinement import controls
from selftrack.tracker.refinement.flow import View, follow, skin_rows
from selftrack.tracker.refinement.observation import Refined
from selftrack.tracker.refinement.refiner import Refiner
from selftrack.tracker.refinement.sequence import RecentConfig, Refinement

IN_CROP = np.array([[0.5, 0.0, 20.0], [0.0, 0.5, -10.0]])  # image -> crop


def picture(turn: np.ndarray | None = None) -> np.ndarray:
    """Smooth noise (256,256) uint8, moved by a map (2,3) of crop pixels."""
    noise = np.random.default_rng(0).normal(size=(256, 256))
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.0)
    image = np.clip(128 + 300 * smooth, 0, 255).astype(np.uint8)
    return image if turn is None else cv2.warpAffine(image, turn, (256, 256), flags=cv2.INTER_CUBIC)


def test_points_are_followed_through_a_known_motion() -> None:
    """A turn about the middle with a shift, in pixels of the crop; the answer is in those of the image."""
    turn = cv2.getRotationMatrix2D((128.0, 128.0), 2.0, 1.01) + np.array([[0, 0, 1.3], [0, 0, -0.7]])
    x, y = np.meshgrid(np.linspace(70, 190, 6), np.linspace(70, 190, 6))
    inside = np.stack([x.ravel(), y.ravel()], 1)
    moved = inside @ turn[:, :2].T + turn[:, 2]
    start, expected = ((points - IN_CROP[:, 2]) / 0.5 for points in (inside, moved))
    found, sure = follow(View(picture(), IN_CROP), View(picture(turn), IN_CROP), start, start)
    np.testing.assert_allclose(found, expected, atol=0.3)  # 0.15 pixels of the crop
    assert sure.min() > 0.8


def test_a_point_whose_surroundings_are_gone_counts_nothing() -> None:
    other = cv2.flip(picture(), 1)
    start = (np.array([[128.0, 128.0], [90.0, 150.0], [150.0, 100.0]]) - IN_CROP[:, 2]) / 0.5
    _, sure = follow(View(picture(), IN_CROP), View(other, IN_CROP), start, start)
    assert sure.max() < 0.2


def test_features_and_the_contour_are_not_bare_skin() -> None:
    rows = skin_rows(478)
    assert len(rows) > 100 and not set(rows.tolist()) & {*LIPS, *IRISES, *FACE_OVAL}
    assert not len(skin_rows(68))


@pytest.mark.parametrize("seen", [False, True])
def test_a_face_keeps_to_its_skin_where_the_points_slide(seen: bool) -> None:
    """Twelve frames of a picture that stands still, whose points slide by 6 pixels in all."""
    refiner = Refiner(load_head())
    rest = Refined(np.zeros(controls.COUNT), np.array([np.log(1100.0), 0, 0, 0, 216.0, 276.0]))
    points, refinement = refiner.place(rest, refiner.mean), Refinement(refiner)
    view = View(picture(), IN_CROP) if seen else None
    found = []
    for frame in range(12):
        slid = rest._replace(pose=rest.pose + np.array([0, 0, 0, 0, frame / 2, 0]))
        found.append(refinement(points + [frame / 2, 0], slid, np.zeros(60), frame / 30, view).pose[4])
    slide = found[-1] - found[0]
    assert slide < 4 if seen else slide > 5, slide


def test_small_errors_of_the_flow_do_not_add_up() -> None:
    """A picture stands still under the noise of its sensor, and the points jitter: how far the mesh has wandered over
    the skin after a third of a second, followed from the frame before alone, and from one a fifth of a second ago, too.
    """
    refiner = Refiner(load_head())
    rest = Refined(np.zeros(controls.COUNT), np.array([np.log(1100.0), 0, 0, 0, 216.0, 276.0]))
    points, still = refiner.place(rest, refiner.mean), picture().astype(float)

    def wander(recent: RecentConfig) -> float:
        refinement, rng, found = Refinement(refiner, recent=recent), np.random.default_rng(1), []
        for frame in range(60):
            noisy = np.clip(still + rng.normal(0, 12, (256, 256)), 0, 255).astype(np.uint8)
            jitter = points + rng.normal(0, 1.5, 2)
            found.append(refinement(jitter, rest, np.zeros(60), frame / 30, View(noisy, IN_CROP)).pose[4:6])
        places = np.array(found)[10:]
        return float(np.linalg.norm(places[10:] - places[:-10], axis=1).mean())

    assert wander(RecentConfig()) < 0.7 * wander(RecentConfig(error=np.inf))


@pytest.mark.parametrize("points", [478, 68])
def test_views_are_kept_for_moments_only(points: int) -> None:
    """With 68 points, of which none lies on bare skin, not even for those."""
    refiner = Refiner(load_head(), points)
    rest = Refined(np.zeros(controls.COUNT), np.array([np.log(1100.0), 0, 0, 0, 216.0, 276.0]))
    detected, refinement, views = refiner.place(rest, refiner.mean), Refinement(refiner), []
    for frame in range(20):
        grey = picture()
        views.append(weakref.ref(grey))
        refinement(detected, rest, np.zeros(60), frame / 30, View(grey, IN_CROP))
        del grey
    assert sum(view() is not None for view in views) <= (8 if points == 478 else 0)
