"""Descriptors of faces: aligned as they should be, and near for one person."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from selftrack.decoders.landmarks import IBUG_68
from selftrack.tracker.geometry import crop
from selftrack.tracker.identity import descriptor
from selftrack.tracker.landmarks.detectors import AttentionMesh
from selftrack.tracker.landmarks.search import DetectConfig
from selftrack.tracker.sources.opening import open_source

DATA = Path(__file__).parents[2] / "data"
MESH = AttentionMesh(torch.device("cpu"))
CORNERS = (33, 133, 362, 263, 61, 291)


def faces_in(pictures: Sequence[np.ndarray]) -> list[descriptor.Sample]:
    return [(picture, MESH.faces(picture, DetectConfig())[0].points) for picture in pictures]


def frames(name: str, *rows: int) -> list[np.ndarray]:
    with open_source(DATA / name) as source:
        return [frame.image for frame in source.frames(only=set(rows))]


def face_at(corners: np.ndarray) -> np.ndarray:
    """478 landmarks whose corners of eyes and mouth are these (6,2)."""
    points = np.zeros((478, 2))
    points[list(CORNERS)] = corners
    return points


def test_eyes_and_mouth_come_to_their_places() -> None:
    """Of an average face, wherever and however large it is and however it is turned: exactly."""
    places = np.repeat(descriptor.places(), 2, 0) + np.tile([[-8.0, 0], [8, 0]], (3, 1))
    angle, size = 0.6, 1.7
    turn = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    picture = np.zeros((400, 500, 3), np.uint8)
    seen = (places - 75) @ turn.T + [260, 210]
    for centre in descriptor.eyes_and_mouth(face_at(seen)):
        cv2.circle(
            picture, tuple(np.rint(16 * centre).astype(int).tolist()), 16 * 6, (255, 255, 255), -1, cv2.LINE_AA, 4
        )
    found = descriptor.aligned(picture, face_at(seen))[..., 0].astype(float)
    assert found.shape == (150, 150)
    for x, y in descriptor.places():
        part = found[round(y) - 12 : round(y) + 13, round(x) - 12 : round(x) + 13]
        middle = (np.arange(25) - 12) @ np.stack([part.sum(0), part.sum(1)], 1) / part.sum()
        np.testing.assert_allclose(middle + [round(x), round(y)], [x, y], atol=0.2)


def test_both_detectors_say_where_eyes_and_mouth_are() -> None:
    points = np.random.default_rng(0).uniform(0, 100, (478, 2))
    np.testing.assert_array_equal(
        descriptor.eyes_and_mouth(points[list(IBUG_68)]), points[list(CORNERS)].reshape(3, 2, 2).mean(1)
    )
    np.testing.assert_array_equal(descriptor.eyes_and_mouth(points), descriptor.eyes_and_mouth(points[list(IBUG_68)]))


def test_a_face_without_extent_is_refused() -> None:
    with pytest.raises(ValueError, match="eyes and mouth coincide"):
        descriptor.aligned(np.zeros((9, 9, 3), np.uint8), np.ones((478, 2)))


def test_distance_and_cosine() -> None:
    one, other = np.zeros(128), np.zeros((2, 128))
    one[:2], other[0, :2], other[1, 1] = (3, 4), (6, 8), 2
    np.testing.assert_allclose(descriptor.distance(one, other), [5, np.sqrt(9 + 4)])
    np.testing.assert_allclose(descriptor.csim(one, other), [1, 0.8])


def test_which_faces_tell_who_they_are() -> None:
    """Large enough, and not in profile."""
    places = np.repeat(descriptor.places(), 2, 0)
    frontal = face_at(places - places.min(0))
    size = np.ptp(frontal, 0).max()
    assert descriptor.is_legible(1.01 * descriptor.LEGIBLE / size * frontal)
    assert not descriptor.is_legible(0.99 * descriptor.LEGIBLE / size * frontal)
    assert not descriptor.is_legible(10 * frontal * [0.5, 1])


def test_one_man_in_two_clips_and_others(drawn_person: Callable) -> None:
    """He is nearer to himself in another clip, smaller, mirrored, dimmed or turned than to people who were drawn."""
    here, there = frames("smile.mp4", 5, 40), frames("lost.mp4", 2, 30)
    small = [cv2.resize(here[0], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)]
    changed = [*small, np.ascontiguousarray(here[0][:, ::-1]), (0.5 * here[0]).astype(np.uint8)]
    changed += [crop.warp(here[0], np.array([[0.9, -0.4, 90], [0.4, 0.9, -90]]), (640, 360))]
    his = descriptor.describe(faces_in([*here, *there, *changed]))
    assert his.shape == (8, 128) and his.dtype == np.float32
    others = descriptor.describe(faces_in([drawn_person(seed)[0] for seed in range(5)]))
    assert descriptor.distance(his[0], his[1:]).max() < 0.5
    assert descriptor.distance(his[:, None], others).min() > 0.6
    assert descriptor.csim(his[0], his[1:]).min() > descriptor.csim(his[:, None], others).max()


def test_nobody_has_no_descriptor() -> None:
    assert descriptor.describe([]).shape == (0, 128)
