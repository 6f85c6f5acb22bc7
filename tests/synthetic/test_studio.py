"""The studio: plausible samples, honest landmarks, light by closed forms."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from selftrack.decoders.head.model import load_head
from selftrack.synthetic.expressions import sample_expression
from selftrack.synthetic.studio import Studio, StudioConfig
from selftrack.synthetic.studio_render import lens_and_sensor, random_light, shade
from selftrack.tracker.geometry.crop import face_similarity


@pytest.fixture(scope="module")
def studio() -> Studio:
    return Studio(load_head(), StudioConfig(picture=96))


def test_same_seed_same_shot(studio: Studio) -> None:
    def shot() -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(3)
        s = studio.shoot(rng, studio.people.sample(rng), sample_expression(rng))
        return s.picture, s.points

    (a, p), (b, q) = shot(), shot()
    assert (a == b).all() and (p == q).all()


def test_points_stay_within_the_crops_errors(studio: Studio) -> None:
    rng = np.random.default_rng(1)
    person = studio.people.sample(rng)
    for _ in range(30):
        shot = studio.shoot(rng, person, sample_expression(rng), picture=False)
        again = face_similarity(shot.points)  # the ideal crop, seen from the sampled one
        scale = np.hypot(again[0, 0], again[1, 0])
        assert abs(np.log(scale)) <= studio.config.crop.scale + 1e-6
        assert abs(np.arctan2(again[1, 0], again[0, 0])) <= studio.config.crop.rotation + 1e-6
        assert (shot.points > 0).all() and (shot.points < 256).all()


def test_shading_by_closed_form() -> None:
    """One triangle, flat texture: ambient light returns the texture, a linear band the cosine."""
    picture = np.zeros((4, 4, 3), np.float32)
    index = np.zeros((4, 4), np.int64)
    third = np.full((4, 4, 3), 1 / 3)
    faces, uvs = np.array([[0, 1, 2]]), np.full((3, 2), 0.5)
    normals = np.tile([[0.0, 0.6, -0.8]], (3, 1))
    texture = np.full((8, 8, 3), 0.4, np.float32)
    light = np.zeros((9, 3))
    light[0], light[2] = 0.5, [-1.0, -0.5, 0.0]
    shade(picture, index, third, faces, faces, uvs, normals, texture, light, np.array([0.0, 0, -1]), 0.0, 10.0)
    assert np.allclose(picture[0, 0], 0.4 * np.array([0.5 + 0.8, 0.5 + 0.4, 0.5]), atol=1e-6)


def test_light_and_lens_stay_in_range() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        light, lamp = random_light(rng)
        assert np.isfinite(light).all() and np.isclose(np.linalg.norm(lamp), 1)
        out = lens_and_sensor(rng, rng.uniform(0, 1, (32, 32, 3)))
        assert out.dtype == np.uint8 and out.shape == (32, 32, 3)


def test_picture_shows_the_head_at_its_landmarks(studio: Studio) -> None:
    """Two heads that differ in skin alone differ at the face's points, and only on the head."""
    rng = np.random.default_rng(2)
    person = studio.people.sample(rng)
    bare = dataclasses.replace(person, mane=None, glasses=None)
    other = dataclasses.replace(bare, texture=np.zeros_like(bare.texture))
    vertices, position = studio.people.geometry(bare, np.zeros(52, np.float32)), np.array([0.0, 0.0, 0.6])
    seen = vertices + position
    points = studio.people.landmarks(seen[:, :2] / seen[:, 2:]) * 1000
    crop = face_similarity(points)
    a, b = (
        studio._draw(np.random.default_rng(9), p, vertices, np.eye(3), position, crop).astype(float)
        for p in (bare, other)
    )
    changed = np.abs(a - b).mean(2)
    at = ((points @ crop[:, :2].T + crop[:, 2] + 0.5) * 96 / 256 - 0.5).round().astype(int)
    inner = at[[1, 4, 5, 6, 50, 280, 199]]  # nose, cheeks, chin
    assert changed[inner[:, 1], inner[:, 0]].min() > 15
    assert changed[:4, :4].mean() < 5  # the background's corner
