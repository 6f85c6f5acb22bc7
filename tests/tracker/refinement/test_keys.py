"""Skin is followed from key frames that look alike and are not too near in time."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from selftrack.decoders.head.model import load_head
from selftrack.tracker.refinement import controls
from selftrack.tracker.refinement.flow import Followed, View, skin_rows
from selftrack.tracker.refinement.keys import KeyConfig, KeyFollower, KeyFrames, merged
from selftrack.tracker.refinement.observation import Refined
from selftrack.tracker.refinement.refiner import Refiner
from selftrack.tracker.refinement.sequence import Refinement

IN_CROP = np.array([[0.8, 0.0, 0.0], [0.0, 0.8, 0.0]])  # image -> crop
PLACE = np.array([np.log(1000.0), 0, 0, 0, 160.0, 150.0])
RIGHT = np.array([1.0, 0.0])


def noise(seed: int = 0) -> np.ndarray:
    """Smooth noise (256,256) uint8."""
    smooth = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=(256, 256)), (0, 0), 2.0)
    return np.clip(128 + 300 * smooth, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def refiner() -> Refiner:
    return Refiner(load_head())


@pytest.fixture(scope="module")
def points(refiner: Refiner) -> np.ndarray:
    """Of the mean face at rest."""
    return refiner.place(Refined(np.zeros(controls.COUNT), PLACE), refiner.mean)


def key(points: np.ndarray, placed: np.ndarray, time: float = 0.0, picture: np.ndarray | None = None) -> KeyFrames:
    grey = noise() if picture is None else picture
    parts = (np.array([time]), grey[None], IN_CROP[None], points[None], placed[None])
    return KeyFrames(*(part.astype(kind) for part, kind in zip(parts, (float, "u1", "f4", "f4", "f4"), strict=True)))


def follow(keys: KeyFrames, points: np.ndarray, time: float) -> Followed:
    return KeyFollower(keys, skin_rows(len(points)))(points, View(noise(), IN_CROP), time, points, 0.003)


def test_the_mesh_is_where_it_was_on_the_same_picture(points: np.ndarray) -> None:
    """The key frame's mesh lay a pixel to the right of what the detector says, there and here."""
    found = follow(key(points, points + RIGHT), points, 1.0)
    rows = skin_rows(len(points))
    np.testing.assert_allclose(found.points[rows], points[rows] + RIGHT, atol=0.1)
    assert (found.weight[rows] > 0).all() and not np.delete(found.weight, rows).any()
    twice = KeyFrames(*(np.concatenate([part, part]) for part in key(points, points + RIGHT)))
    np.testing.assert_allclose(follow(twice, points, 1.0).weight, 2 * found.weight)


def test_what_is_near_in_time_or_looks_otherwise_counts_nothing(points: np.ndarray) -> None:
    """A frame says nothing of itself; nor does another picture, or a face whose points lie otherwise."""
    usual = follow(key(points, points), points, 1.0).weight.sum()
    assert not follow(key(points, points, time=0.9), points, 1.0).weight.any()
    assert follow(key(points, points, picture=noise(1)), points, 1.0).weight.sum() < 0.05 * usual
    grimace = points + np.random.default_rng(0).normal(0, 12, points.shape)
    assert follow(key(grimace, points), points, 1.0).weight.sum() < 0.1 * usual


def test_a_lamp_that_has_moved_moves_no_skin(points: np.ndarray) -> None:
    """The key frame was lit from one side, the frame is from the other."""
    across = np.linspace(0.4, 1.0, 256)
    was, now = ((noise() * share).astype(np.uint8) for share in (across, across[::-1]))
    follower = KeyFollower(key(points, points + RIGHT, picture=was), skin_rows(len(points)))
    found = follower(points, View(now, IN_CROP), 1.0, points, 0.003)
    sure = found.weight > 0.5 * found.weight.max()
    assert sure.sum() > 0.9 * len(skin_rows(len(points)))
    np.testing.assert_allclose(found.points[sure], points[sure] + RIGHT, atol=0.1)


def test_both_are_weighed() -> None:
    a = Followed(np.array([[0.0, 0], [1, 1], [5, 5]]), np.array([1.0, 0, 0]))
    b = Followed(np.array([[3.0, 0], [2, 2], [9, 9]]), np.array([2.0, 1, 0]))
    both = merged(a, b)
    np.testing.assert_allclose(both.points, [[2, 0], [2, 2], [5, 5]])
    np.testing.assert_allclose(both.weight, [3, 1, 0])
    assert merged(None, b) is b


def test_a_face_goes_back_to_the_skin_that_it_lay_on(refiner: Refiner, points: np.ndarray) -> None:
    """The detector's points have slid by a pixel since; nothing is known of the frames between."""
    said = Refined(np.zeros(controls.COUNT), PLACE)
    view = View(noise(), IN_CROP)

    def place(keys: KeyFrames | None, following: KeyConfig | None = None) -> float:
        found = Refinement(refiner, keys, following)(points + RIGHT, said, np.zeros(refiner.people.shape[1]), 1.0, view)
        return float(found.pose[4] - PLACE[4])

    assert place(None) == pytest.approx(1.0, abs=0.1)
    assert place(key(points, points)) < 0.5
    assert place(key(points, points, time=0.95)) == place(None)
    assert place(key(points, points, time=0.5), KeyConfig(apart=0.4)) < 0.5
    assert place(key(points, points, time=0.5), KeyConfig(apart=0.6)) == place(None)
