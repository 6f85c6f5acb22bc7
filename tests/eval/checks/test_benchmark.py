"""The benchmark's figures on tracks whose mistakes are known."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from selftrack.decoders.head.model import load_head
from selftrack.eval.checks.benchmark import COLUMNS, errors, gaze, rank_agreement, relative_change, scaled, table
from selftrack.synthetic.truth import Truth
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.results.track_file import Track

HEAD = load_head()
T, SCALE, FAR = 6, 900.0, 400.0  # pixels per metre; a camera so far away that perspective is weak


@pytest.fixture(scope="module")
def scene() -> tuple[Track, Truth]:
    """A head that turns and opens its mouth, and its perfect track."""
    z = torch.zeros(T, HEAD.size)
    z[:, HEAD.identity] = torch.from_numpy(np.random.default_rng(0).normal(0, 0.5, 60)).float()
    jaw = HEAD.expression_names.index("jawOpen")
    z[:, HEAD.expression.start + jaw] = torch.linspace(0, 0.8, T)
    angles = np.stack([np.linspace(-0.1, 0.1, T), np.linspace(-0.3, 0.3, T), np.full(T, 0.05)], 1)
    pose = np.concatenate([np.full((T, 1), np.log(SCALE)), angles, np.full((T, 2), 255.5)], 1).astype(np.float32)
    vertices = HEAD.geometry(z).numpy()
    truth = Truth(
        *(np.arange(T) / 30, vertices, angles, np.tile([0.0, 0, FAR], (T, 1)), SCALE * FAR, (512, 512)),
        *(z[:, HEAD.expression].numpy(), z[0, HEAD.identity].numpy(), np.zeros(T)),
    )
    points = HEAD.landmarks478(project(torch.from_numpy(vertices), torch.from_numpy(pose)))[..., :2].numpy()
    track = Track(
        *(truth.times, np.ones(T, bool), *(np.ones(T, np.float32) for _ in range(3)), z.numpy(), pose),
        *(np.tile(np.eye(2, 3, dtype=np.float32), (T, 1, 1)), pose, points, HEAD.curve_names),
        *(z[:, HEAD.expression].clamp(0, 1).numpy(), truth.identity, 0.0, (512, 512)),
        *("", "", HEAD.name, HEAD.hash, "", "{}"),
    )
    return track, truth


def test_a_perfect_track_has_no_error(scene: tuple[Track, Truth]) -> None:
    row = errors(*scene, [])
    assert row["vertex"] < 1e-2 and row["image"] < 0.05 and row["pose"] < 0.01 and row["curves"] < 1e-6
    assert row["gaze"] < 1e-3 and row["landmarks"] < 0.01 and row["lost"] == 0
    assert set(row) == set(COLUMNS)


def test_each_mistake_shows_in_its_own_figure(scene: tuple[Track, Truth]) -> None:
    track, truth = scene
    pose = track.H_image.copy()
    pose[:, 3] += np.radians(5)
    turned = errors(replace(track, H_image=pose), truth, [])
    assert turned["pose"] == pytest.approx(5, abs=0.01) and turned["vertex"] < 1e-2 and turned["image"] > 1
    z = track.z.copy()
    z[:, HEAD.expression.start :][:, HEAD.expression_names.index("cheekPuff")] = 0.52
    puffed = errors(track.with_codes(z), truth, [])
    assert puffed["curves"] == pytest.approx(0.01) and puffed["vertex"] > 0.3 and puffed["pose"] < 0.01
    z = track.z.copy()
    z[:, HEAD.expression.start :][:, HEAD.expression_names.index("eyeLookOutLeft")] = 1
    assert errors(track.with_codes(z), truth, [])["gaze"] > 5
    moved = track.H_image + np.array([0, 0, 0, 0, 9, 0], np.float32)
    iod = np.linalg.norm(track.landmarks[:, 33] - track.landmarks[:, 263], axis=1)
    assert errors(replace(track, H_image=moved), truth, [])["image"] == pytest.approx((900 / iod).mean(), rel=0.01)


def test_a_track_of_a_part_is_refused(scene: tuple[Track, Truth]) -> None:
    track, truth = scene
    with pytest.raises(ValueError, match="whole clip"):
        errors(track, replace(truth, times=truth.times[:3]), [])


def test_one_scale_for_the_clip_is_removed() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(3, 40, 3))
    assert scaled(0.7 * truth + 5, truth, np.ones(3, bool)) / 0.7 == pytest.approx((truth + 5 / 0.7) / 0.7)


def test_eyes_look_where_they_are_turned() -> None:
    straight = gaze(HEAD, HEAD.mean[None].numpy())[0]
    assert (straight[:, 2] < 0).all()  # towards the camera
    turn = cv2.Rodrigues(np.array([0.0, 0.3, 0.0]))[0]
    turned = gaze(HEAD, (HEAD.mean.numpy() @ turn.T)[None].astype(np.float32))[0]
    assert turned == pytest.approx(straight @ turn.T, abs=1e-5)


def test_change_is_relative_and_paired() -> None:
    mean, low, high = relative_change([1.0, 2.0, 4.0], [0.9, 1.6, 2.8])
    assert mean == pytest.approx(-0.2)
    half = 4.302653 * 0.1 / np.sqrt(3)  # Student's t of two degrees of freedom at 97.5 %
    assert (low, high) == pytest.approx((-0.2 - half, -0.2 + half), abs=1e-6)


def test_the_table_tells_before_from_after() -> None:
    def row(vertex: float, skin: float) -> dict[str, float]:
        return dict.fromkeys(COLUMNS, 1.0) | {"vertex": vertex, "skin": skin, "screen": -vertex, "local": skin}

    rows = {"a": {"plain": row(4, 2), "adapted": row(3, 1)}, "b": {"plain": row(6, 3), "adapted": row(5, 1.5)}}
    text = table(rows)
    assert "| **mean** | plain | 5.000 |" in text and "vertex, mm: -20.8%" in text
    ranks = rank_agreement([r for tracks in rows.values() for r in tracks.values()])
    assert ranks["screen"] == pytest.approx(-1) and ranks["skin"] == pytest.approx(0.8)
