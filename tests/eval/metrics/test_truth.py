"""Errors against ground truth, of known mistakes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from selftrack.decoders.head.model import load_head
from selftrack.eval.metrics import TrackedClip, measure
from selftrack.eval.metrics.registry import Ratio
from selftrack.eval.metrics.truth import curve_error, gaze, gaze_error, pose_error, scaled, slide_error, vertex_error
from selftrack.synthetic.truth import Truth
from selftrack.tracker.geometry.pose import project, rotation
from selftrack.tracker.results.track_file import Track

OK = np.ones(4, bool)
HEAD = load_head()
T, SCALE, FAR = 12, 900.0, 400.0  # pixels per metre; a camera so far away that perspective is weak


def turns(angles: list[list[float]]) -> np.ndarray:
    """(T,3,3) of angles in radians about x, y, z."""
    return rotation(torch.tensor(angles, dtype=torch.float64)).numpy()


def body() -> np.ndarray:
    """(4,50,3) metres."""
    return np.random.default_rng(0).normal(scale=0.1, size=(4, 50, 3))


def test_a_shift_is_its_length_and_none_when_aligned() -> None:
    moved = body() + [0.003, 0, 0.004]
    assert vertex_error(moved, body(), OK).value() == pytest.approx(5)
    assert vertex_error(moved, body(), OK, aligned=True).value() == pytest.approx(0, abs=1e-9)


def test_alignment_turns_but_neither_scales_nor_mirrors() -> None:
    angles = [[0.1, 2.0, -3.0], [0, 0, 0.5], [1, 1, 1], [3.1, 0, 0]]
    assert vertex_error(body() @ turns(angles) + 1, body(), OK, aligned=True).value() == pytest.approx(0, abs=1e-9)
    radius = np.linalg.norm(body() - body().mean(1, keepdims=True), axis=-1).mean()
    assert vertex_error(1.1 * body(), body(), OK, aligned=True).value() == pytest.approx(100 * radius)
    assert vertex_error(body() * [-1, 1, 1], body(), OK, aligned=True).value() > 10


def test_only_good_frames_count_and_parts_merge() -> None:
    off = body()
    off[2] += 7
    ok = np.array([True, True, False, True])
    assert vertex_error(off, body(), ok) == Ratio(0, 150)
    off[:2, :, 1] += 0.001
    assert (vertex_error(off[:2], body()[:2], ok[:2]) + vertex_error(off[2:], body()[2:], ok[2:])).value() == (
        pytest.approx(vertex_error(off, body(), ok).value())
    )
    assert np.isnan(vertex_error(off, body(), np.zeros(4, bool)).value())


@pytest.mark.parametrize("degrees", [1e-6, 0.3, 30.0, 90.0, 179.9])
def test_a_turn_is_its_angle_about_any_axis(degrees: float) -> None:
    first = turns([[0.2, 0.5, -1.0]] * 3)
    angle = np.radians(degrees)
    left = turns([[angle, 0, 0], [0, 0, angle], [0, min(angle, np.pi / 2), 0]])
    error = pose_error(first @ left, first, np.array([True, True, degrees <= 90]))
    assert error.value() == pytest.approx(degrees, rel=1e-6)


def test_gaze_is_the_angle_of_directions_of_any_length() -> None:
    ahead = np.tile([0.0, 0, -2], (4, 2, 1))
    aside = np.stack([[np.sin(a), 0, -np.cos(a)] for a in np.radians([1e-5, 10, 90, 180])])[:, None].repeat(2, 1)
    assert gaze_error(aside, ahead, OK).value() == pytest.approx((1e-5 + 10 + 90 + 180) / 4)
    assert gaze_error(aside, ahead, np.array([1, 0, 0, 0], bool)).value() == pytest.approx(1e-5)


def test_curves() -> None:
    truth = np.zeros((4, 2))
    said = np.array([[0.1, 0], [-0.1, 0], [9, 9], [0, 0.4]])
    assert curve_error(said, truth, np.array([True, True, False, True])).value() == pytest.approx(0.1)


def test_a_slide_is_what_the_way_adds_to_the_true_one() -> None:
    """Points that drift by half a pixel a frame are off by it 1, 2 and 3 times in the frames after the first of four; a
    constant distance is none, and a stretch without a face counts nothing."""
    truth = np.random.default_rng(0).normal(0, 9, (12, 5, 2))
    drift = np.zeros((12, 1, 2))
    drift[:4, 0, 1], drift[4:8] = 0.5 * np.arange(4), 7
    ok = np.arange(12) < 11
    assert slide_error(truth + drift, truth, np.full(12, 50.0), ok, 4).value() == pytest.approx((1 + 2 + 3) / 6)


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
    points = HEAD.landmarks(478)(project(torch.from_numpy(vertices), torch.from_numpy(pose)))[..., :2].numpy()
    track = Track(
        *(truth.times, np.ones(T, bool), *(np.ones(T, np.float32) for _ in range(3)), z.numpy(), pose),
        *(np.tile(np.eye(2, 3, dtype=np.float32), (T, 1, 1)), pose, points, HEAD.curve_names),
        *(z[:, HEAD.expression].clamp(0, 1).numpy(), truth.identity, 0.0, (512, 512)),
        *("", "", HEAD.name, HEAD.hash, "", "{}"),
    )
    return track, truth


def clip(track: Track, truth: Truth) -> TrackedClip:
    return replace(TrackedClip.of(track, []), truth=truth)


def figures(track: Track, truth: Truth) -> dict[str, float]:
    """The metrics that need the truth, by their short names."""
    values = measure(clip(track, truth))
    return {name.removeprefix("truth."): value for name, value in values.items() if name.startswith("truth.")}


def test_a_perfect_track_has_no_error(scene: tuple[Track, Truth]) -> None:
    row = figures(*scene)
    assert row["vertices"] < 1e-2 and row["image"] < 0.05 and row["pose"] < 0.01 and row["curves"] < 1e-6
    assert row["slide"] < 0.01 and row["gaze"] < 1e-3 and measure(clip(*scene))["landmarks.mean"] < 0.01


def test_each_mistake_shows_in_its_own_figure(scene: tuple[Track, Truth]) -> None:
    track, truth = scene
    pose = track.H_image.copy()
    pose[:, 3] += np.radians(5)
    turned = figures(replace(track, H_image=pose), truth)
    assert turned["pose"] == pytest.approx(5, abs=0.01) and turned["vertices"] < 1e-2 and turned["image"] > 1
    z = track.z.copy()
    z[:, HEAD.expression.start :][:, HEAD.expression_names.index("cheekPuff")] = 0.52
    puffed = figures(track.with_codes(z), truth)
    assert puffed["curves"] == pytest.approx(0.01) and puffed["vertices"] > 0.3 and puffed["pose"] < 0.01
    z = track.z.copy()
    z[:, HEAD.expression.start :][:, HEAD.expression_names.index("eyeLookOutLeft")] = 1
    assert figures(track.with_codes(z), truth)["gaze"] > 5
    moved = track.H_image + np.array([0, 0, 0, 0, 9, 0], np.float32)
    iod = np.linalg.norm(track.landmarks[:, 33] - track.landmarks[:, 263], axis=1)
    assert figures(replace(track, H_image=moved), truth)["image"] == pytest.approx((900 / iod).mean(), rel=0.01)


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


def test_the_truth_is_found_beside_the_clip(scene: tuple[Track, Truth], tmp_path: Path) -> None:
    """And only where it is of the same frames."""
    track, truth = replace(scene[0], clip=str(tmp_path / "a.mp4")), scene[1]
    assert TrackedClip.of(track, []).truth is None and np.isnan(measure(TrackedClip.of(track, []))["truth.vertices"])
    truth.save(tmp_path / "a.truth.npz")
    assert measure(TrackedClip.of(track, []))["truth.vertices"] < 1e-2
    short = {name: getattr(truth, name)[:3] for name in ("times", "vertices", "angles", "position", "curves")}
    replace(truth, **short, occluded=truth.occluded[:3]).save(tmp_path / "a.truth.npz")
    assert TrackedClip.of(track, []).truth is None
