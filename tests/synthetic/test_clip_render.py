"""Light, noise and shadows of the clips, by closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from selftrack.synthetic import clip_render as draw


def test_a_pasted_sprite_covers_by_its_alpha() -> None:
    sprite = np.zeros((20, 20, 4), np.float32)
    sprite[5:15, 5:15] = (1.0, 0.5, 0.0, 1.0)
    picture = np.full((60, 60, 3), 0.2, np.float32)
    alpha = draw.paste(picture, sprite, np.array([29.5, 19.5]), 40.0, 0.0)
    assert alpha.sum() == pytest.approx(400, rel=0.02)  # ten by ten, twice as large
    assert picture[19, 29] == pytest.approx([1.0, 0.5, 0.0]) and picture[45, 29] == pytest.approx([0.2] * 3)


def test_pink_noise_falls_as_one_over_the_frequency() -> None:
    noise = draw.pink_noise(np.random.default_rng(0), 256)
    amplitude = np.abs(np.fft.fft2(noise))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256)))

    def mean_at(f: float) -> float:
        return float(amplitude[np.abs(frequency - f) < 0.1 * f].mean())

    assert noise.mean() == pytest.approx(0, abs=1e-4) and noise.std() == pytest.approx(1)
    assert mean_at(0.05) / mean_at(0.2) == pytest.approx(4, rel=0.15)


def test_what_is_behind_something_lies_in_the_key_lamps_shadow() -> None:
    square = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    wall = square * [0.2, 0.2, 1] + [0, 0, 0.5]
    small = square * [0.05, 0.05, 1]
    vertices = np.concatenate([wall, small, [[0, 0, 0.5], [0.15, 0, 0.5]]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    lit = draw.key_visibility(vertices, faces, np.array([0.0, 0.0, -1.0]))
    assert lit[8] == 0 and lit[9] == 1 and (lit[4:8] == 1).all()


def test_light_follows_lamberts_law() -> None:
    corners = np.array([[-0.1, -0.1, 2], [0.1, -0.1, 2], [0.1, 0.1, 2], [-0.1, 0.1, 2]])
    faces = np.array([[0, 2, 1], [0, 3, 2]])
    uvs = np.full((4, 2), 0.5)
    surface = draw.Surface(faces, faces, uvs, np.ones(2), np.ones(2), np.ones(2), 1.0)
    towards = np.array([[0.6, 0.0, -0.8]])
    lights = draw.Lights(towards, np.array([[1.0, 0.5, 0.25]]), np.full(3, 0.2), np.full(3, 0.1), 0.0, 10.0)
    flat = np.concatenate([corners[:, :2] * 80 + 8, corners[:, 2:]], 1).astype(np.float32)
    picture = np.zeros((17, 17, 3), np.float32)
    seen = draw.draw_mesh(picture, flat, corners, surface, np.full((4, 4, 3), 0.5, np.float32), lights)
    # the wall faces the camera: 0.8 of the lamp and the middle between sky and ground
    assert seen[8, 8] and picture[8, 8] == pytest.approx(0.5 * (0.8 * np.array([1, 0.5, 0.25]) + 0.15), rel=1e-5)
    black = replace(lights, colours=np.zeros((1, 3)))
    draw.draw_mesh(picture, flat, corners, surface, np.full((4, 4, 3), 0.5, np.float32), black)
    assert picture[8, 8] == pytest.approx([0.075] * 3, rel=1e-5)


def test_light_swings_and_fades_and_comes_back_after_three_seconds() -> None:
    lights = draw.sample_lights(np.random.default_rng(0))
    later = [draw.relight(lights, time) for time in (0.75, 1.5, 3.0)]
    flat = lights.directions[0, [0, 2]]
    cosine = later[0].directions[0, [0, 2]] @ flat / (flat @ flat)
    assert np.degrees(np.arccos(cosine)) == pytest.approx(np.degrees(0.7))
    assert np.allclose(later[1].colours[0], lights.colours[0] / 1.6)
    assert np.allclose(later[2].directions, lights.directions)
    assert np.allclose(later[2].colours[0], 1.6 * lights.colours[0])
    assert np.allclose(np.linalg.norm(later[0].directions, axis=1), 1)
    assert (later[0].directions[1] == lights.directions[1]).all()
