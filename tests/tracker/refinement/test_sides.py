"""Left and right are one to the refinement: of a mirrored face it finds the mirrored curves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from selftrack.decoders.arkit import ARKIT_NAMES, OTHER_SIDE
from selftrack.decoders.head.model import Head, load_head
from selftrack.decoders.landmarks import (
    BROWS,
    EYE_CONTOURS,
    FACE_OVAL,
    IRISES,
    LIPS,
    MIRRORED,
    OUTER_EYE_CORNERS,
    mirrored_points,
)
from selftrack.tracker.geometry.pose import mirrored_pose, project
from selftrack.tracker.model import Crops
from selftrack.tracker.refinement.flow import skin_rows
from selftrack.tracker.refinement.observation import Refined
from selftrack.tracker.refinement.refiner import Refiner

FLIP = np.array([-1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def head() -> Head:
    return load_head()


def test_a_mirror_shows_each_feature_on_its_other_side() -> None:
    mirror = np.array(MIRRORED)
    np.testing.assert_array_equal(mirror[mirror], np.arange(478))
    assert mirror[OUTER_EYE_CORNERS[0]] == OUTER_EYE_CORNERS[1]
    assert tuple(mirror[list(BROWS[0])]) == BROWS[1] and tuple(mirror[list(EYE_CONTOURS[0])]) == EYE_CONTOURS[1]
    assert all(set(mirror[list(group)]) == set(group) for group in (LIPS, FACE_OVAL, IRISES))
    few = np.array(mirrored_points(68))
    np.testing.assert_array_equal(few[few], np.arange(68))
    assert few[36] == 45 and few[48] == 54 and few[8] == 8


@pytest.mark.parametrize("points", [478, 68])
def test_points_of_a_symmetric_head_are_mirror_images(head: Head, points: int) -> None:
    there = (head.landmarks478 if points == 478 else head.landmarks68)(head.mean[None])[0].numpy()
    placed = head.landmarks(points)(head.mean[None])[0].numpy()
    mirror = np.array(mirrored_points(points))
    np.testing.assert_allclose(placed, placed[mirror] * FLIP, atol=1e-6)
    np.testing.assert_allclose(placed, (there + there[mirror] * FLIP) / 2, atol=1e-6)


def test_a_face_at_rest_that_is_crooked_keeps_the_places(head: Head) -> None:
    rest = torch.zeros(52)
    rest[ARKIT_NAMES.index("mouthLeft")] = 0.5
    assert torch.equal(head.resting(rest).landmarks(478).triangles, head.landmarks(478).triangles)


def test_a_mirrored_pose_shows_the_mirrored_head(head: Head) -> None:
    even = head.landmarks(478)
    pose = torch.tensor([[6.9, 0.1, -0.4, 0.2, 120.0, 140.0]])
    points = project(even(head.mean[None]), pose)[0, :, :2].numpy()
    mirrored = project(even(head.mean[None]), mirrored_pose(pose, 256))[0, :, :2].numpy()
    np.testing.assert_allclose(mirrored[np.array(MIRRORED)], points * [-1, 1] + [255, 0], atol=1e-3)
    shown = Crops(np.arange(256 * 256 * 3).reshape(1, 256, 256, 3) % 251, points[None]).mirrored()
    np.testing.assert_allclose(shown.points[0], mirrored, atol=1e-3)
    assert shown.pictures[0, 5, 255, 1] == (5 * 256 * 3 + 1) % 251


def test_skin_is_followed_on_both_sides_alike() -> None:
    rows = skin_rows(478)
    assert set(np.array(MIRRORED)[rows]) == set(rows.tolist())


def test_a_mirrored_face_has_the_mirrored_curves(head: Head) -> None:
    """A crooked smile in half profile, whose points are a detector's on a picture and on its mirror image."""
    refiner = Refiner(head)
    rng = np.random.default_rng(0)
    shown = dict(mouthSmileLeft=0.8, mouthUpperUpLeft=0.4, jawLeft=0.3, browOuterUpRight=0.6, eyeBlinkRight=0.5)
    curves = np.array([shown.get(name, 0.0) for name in ARKIT_NAMES])
    pose = np.array([7.2, 0.1, -0.3, 0.05, 320.0, 240.0])
    frame = Refined.of(curves, pose)
    points = refiner.place(frame, refiner.mean) + rng.normal(0, 1, (478, 2))
    turned = Refined.of(curves[list(OTHER_SIDE)], pose * [1, 1, -1, -1, -1, 1] + [0, 0, 0, 0, 639, 0])
    mirrored = (points * [-1, 1] + [639, 0])[np.array(MIRRORED)]
    found, other = refiner(points, frame, refiner.mean), refiner(mirrored, turned, refiner.mean)
    np.testing.assert_allclose(other.curves[list(OTHER_SIDE)], found.curves, atol=1e-3)
