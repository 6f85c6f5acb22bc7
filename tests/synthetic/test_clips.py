"""Synthetic clips: the truth is where the picture is, and no code reaches the actors' shapes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from selftrack.decoders.head.model import load_head
from selftrack.synthetic import clip_render as draw
from selftrack.synthetic.clips import make_clip
from selftrack.synthetic.people import OffBasis, face_vertices, smooth_field
from selftrack.synthetic.scene import Stage, SyntheticConfig
from selftrack.synthetic.truth import Truth, find_clips, load_truth
from selftrack.tracker.geometry.crop import inter_ocular
from selftrack.tracker.geometry.pose import rotation
from selftrack.tracker.landmarks.follower import FaceFollower
from selftrack.tracker.sources.video import VideoReader

HEAD = load_head()
FEATURES = [33, 133, 362, 263, 61, 291, 0, 17, 468, 473]  # corners of eyes and mouth, lips, irises


def truth_of(vertices: np.ndarray, angles: list[float], position: list[float]) -> Truth:
    """One frame of 200x100 pixels, focal length 300."""
    return Truth(
        np.zeros(1),
        vertices[None].astype(np.float32),
        np.array([angles]),
        np.array([position]),
        300.0,
        (200, 100),
        np.zeros((1, 52), np.float32),
        np.zeros(60),
        np.zeros(1),
    )


def test_the_truth_is_projected_by_a_pinhole_camera() -> None:
    corners = np.array([[0.0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0, 0, 0.3]])
    got = truth_of(corners, [0, 0, 0], [0.0, 0.0, 0.6]).in_image()[0]
    middle = np.array([99.5, 49.5])
    assert got[:, :2] == pytest.approx(middle + [[0, 0], [50, 0], [0, 50], [0, 0]], abs=1e-4)
    assert np.argmax(got[:, 2]) == 3
    turned = truth_of(corners, [0, 0, np.pi / 2], [0.0, 0.0, 0.6]).in_image()[0]
    assert turned[1, :2] == pytest.approx(middle + [0, 50], abs=1e-4)  # a roll is clockwise on the screen


def test_apparent_angles_are_the_rotation_against_the_ray() -> None:
    position = np.array([0.2, -0.1, 0.5])
    ray = position / np.linalg.norm(position)
    axis = np.cross([0, 0, 1.0], ray)
    facing = cv2.Rodrigues(axis / np.linalg.norm(axis) * np.arccos(ray[2]))[0]
    own = rotation(torch.tensor([0.2, -0.3, 0.4], dtype=torch.float64)).numpy()
    matrix = facing @ own
    angles = [
        np.arctan2(matrix[2, 1], matrix[2, 2]),
        np.arcsin(-matrix[2, 0]),
        np.arctan2(matrix[1, 0], matrix[0, 0]),
    ]
    assert truth_of(np.zeros((1, 3)), angles, position.tolist()).apparent_angles()[0] == pytest.approx([0.2, -0.3, 0.4])


def test_off_basis_shapes_have_their_size_and_no_code_reaches_them() -> None:
    off = OffBasis(HEAD)
    shape = off(np.random.default_rng(0), 1e-3)
    face = face_vertices(HEAD)
    assert np.sqrt((shape[face] ** 2).sum(1).mean()) == pytest.approx(1e-3)
    # least squares with another solver, codes and rigid motion and scale free
    w = off.weight
    rest = np.linalg.lstsq(w[:, None] * off.basis, w * shape.ravel(), rcond=None)[0]
    assert np.abs(off.basis @ rest).max() < 1e-6
    # over the face alone, where a code may trade the back of the head for it, most of it stays
    rows = np.repeat(face, 3)
    code = np.linalg.lstsq(off.basis[rows], shape.ravel()[rows], rcond=None)[0]
    left = (shape.ravel() - off.basis @ code)[rows]
    assert np.sqrt((left**2).sum() / face.sum()) > 0.5e-3


def test_off_basis_shapes_are_smooth() -> None:
    points = np.random.default_rng(1).uniform(-0.1, 0.1, (400, 3))
    field = smooth_field(np.random.default_rng(2), points, 0.02)
    near = smooth_field(np.random.default_rng(2), points + [0.001, 0, 0], 0.02)
    assert np.sqrt((field**2).mean()) == pytest.approx(1, rel=0.2)
    # of a Gaussian process with this kernel, the mean square of the change is 2 (1 - exp(-d^2 / 2 l^2))
    assert ((field - near) ** 2).mean() == pytest.approx(2 * (1 - np.exp(-(0.05**2) / 2)), rel=0.4)


def test_the_face_is_the_front_of_the_skin() -> None:
    face = face_vertices(HEAD)
    nose = int(HEAD.mean[:, 2].argmin())
    back = int(HEAD.mean[:, 2].argmax())
    assert face[nose] and not face[back] and 800 < face.sum() < 2500
    eyes = HEAD.faces[HEAD.face_parts == HEAD.part_names.index("eye_left")].unique().numpy()
    assert not face[eyes].any()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    """Three frames of an actor."""
    path = tmp_path_factory.mktemp("clips") / "clip03.mp4"
    return path, make_clip(path, 0, 3, 3, SyntheticConfig(exposures=1, occluder=0))


def test_an_independent_detector_finds_the_landmarks_where_the_truth_has_them(clip: tuple[Path, Truth]) -> None:
    path, truth = clip
    points = HEAD.landmarks478(torch.from_numpy(truth.in_image()))[..., :2].numpy()
    with VideoReader(path) as reader:
        frames = [frame.image for frame in reader]
    assert len(frames) == len(truth) == 3 and frames[0].shape == (512, 512, 3)
    found = FaceFollower()(frames[1])
    assert found is not None
    apart = np.linalg.norm(found.points - points[1], axis=1)[FEATURES] / inter_ocular(points[1])
    assert apart.mean() < 0.06


def test_clips_are_found_with_their_truth_and_are_the_same_for_a_seed(clip: tuple[Path, Truth], tmp_path: Path) -> None:
    path, truth = clip
    [(video, file)] = find_clips(path.parent)
    stored = load_truth(file)
    assert video == path and stored.size == (512, 512) and stored.focal == truth.focal
    assert stored.vertices == pytest.approx(truth.vertices)
    again = make_clip(tmp_path / "clip03.mp4", 0, 3, 3, SyntheticConfig(exposures=1, occluder=0))
    assert (tmp_path / "clip03.mp4").read_bytes() == path.read_bytes()
    assert again.in_image() == pytest.approx(truth.in_image())
    other = make_clip(tmp_path / "clip04.mp4", 0, 4, 2, SyntheticConfig(exposures=1, occluder=0))
    assert np.abs(other.identity - truth.identity).max() > 0.1


def test_a_folder_without_clips_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no synthetic clips"):
        find_clips(tmp_path)
    np.savez(tmp_path / "clip00.truth.npz", other=1)
    with pytest.raises(ValueError, match="not the truth"):
        load_truth(tmp_path / "clip00.truth.npz")


def test_a_hand_hides_a_share_of_the_head() -> None:
    config = SyntheticConfig(exposures=1, occluder=1.0)
    scene, _ = Stage(config).shoot(np.random.default_rng(5), 90)
    hidden = [scene.frame(row)[1] for row in (0, int(scene.sweep[:, 1].argmin()))]
    assert hidden[0] == 0 and 0.1 < hidden[1] < 0.9


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
