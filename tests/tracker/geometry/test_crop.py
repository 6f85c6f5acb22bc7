"""The stabilised crop: geometry against known transforms, steadiness and following, sampling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from selftrack.decoders.head.model import Head
from selftrack.tracker.geometry.crop import CropConfig, CropStabiliser, apply, face_similarity, invert, warp


def face(count: int = 468, seed: int = 0) -> np.ndarray:
    """Upright stand-in for a face (count, 2): an ellipse, 120 x 160 px around (300, 250)."""
    rng = np.random.default_rng(seed)
    radius, turn = np.sqrt(rng.uniform(0, 1, count)), rng.uniform(0, 2 * np.pi, count)
    points = np.stack([60 * radius * np.cos(turn), 80 * radius * np.sin(turn)], -1)
    ends = {33: (-45, -20), 263: (45, -20), 152: (0, 80), 10: (0, -80), 234: (-60, 0), 454: (60, 0)}
    if count == 68:
        # the forehead is extrapolated to y = -20 - 0.4 * 100 = -60
        ends = {36: (-45, -20), 45: (45, -20), 8: (0, 80), 27: (0, -20), 0: (-60, 0), 16: (60, 0)}
        points = points * [1, 0.5]
    for index, end in ends.items():
        points[index] = end
    return points + [300, 250]


def similarity(scale: float, degrees: float, shift: Sequence[float]) -> np.ndarray:
    """Affine matrix (2, 3): turn x towards y, scale, then shift."""
    cos, sin = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]]])


def compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Affine matrix (2, 3) of the inner transform followed by the outer one."""
    bottom = [[0, 0, 1]]
    return (np.vstack([outer, bottom]) @ np.vstack([inner, bottom]))[:2]


def parameters(transform: np.ndarray, size: int = 256) -> np.ndarray:
    """Centre x, y and side of a crop in image pixels, and its angle in degrees."""
    corners = apply(invert(transform), np.array([[-0.5, -0.5], [size - 0.5, -0.5], [size - 0.5, size - 0.5]]))
    across = corners[1] - corners[0]
    centre = (corners[0] + corners[2]) / 2
    return np.array([*centre, np.hypot(*across), np.degrees(np.arctan2(across[1], across[0]))])


def run(stabiliser: CropStabiliser, faces: np.ndarray, rate: float = 30.0) -> tuple[np.ndarray, np.ndarray]:
    """Parameters (N, 4) of the stabilised crops and of the ideal ones for points (N, L, 2)."""
    crops = np.array([parameters(stabiliser(points, n / rate)) for n, points in enumerate(faces)])
    return crops, np.array([parameters(face_similarity(points)) for points in faces])


def within_leash(crops: np.ndarray, ideal: np.ndarray) -> bool:
    """Whether the crops keep to the default settings with respect to the ideal ones."""
    config = CropConfig()
    offset = np.hypot(*(crops - ideal)[:, :2].T) / ideal[:, 2]
    zoom = np.abs(np.log(crops[:, 2] / ideal[:, 2]))
    roll = np.abs(((crops - ideal)[:, 3] + 180) % 360 - 180)
    limits = config.max_offset, config.max_scale, config.max_roll
    return bool((np.stack([offset, zoom, roll], -1) <= np.add(limits, 1e-9)).all())


@pytest.mark.parametrize(("count", "middle", "height"), [(468, 0, 160), (478, 0, 160), (68, 10, 140)])
def test_upright_face_has_known_crop(count: int, middle: float, height: float) -> None:
    scale = 256 / (1.5 * height)
    transform = face_similarity(face(count))
    np.testing.assert_allclose(transform[:, :2], scale * np.eye(2), atol=1e-12)
    np.testing.assert_allclose(apply(transform, np.array([[300, 250 + middle]])), [[127.5, 127.5]], atol=1e-9)


@pytest.mark.parametrize("count", [468, 68])
@pytest.mark.parametrize("degrees", [-170, -90, -20, 0, 35, 90, 180])
def test_crop_is_equivariant(count: int, degrees: float) -> None:
    moved = similarity(1.7, degrees, (40, -25))
    points = face(count)
    expected = compose(face_similarity(points, 128), invert(moved))
    np.testing.assert_allclose(face_similarity(apply(moved, points), 128), expected, atol=1e-9)


def test_batch_equals_single() -> None:
    faces = np.stack([apply(similarity(1, angle, (5, 6)), face()) for angle in (0, 50, 200)])
    expected = [face_similarity(points) for points in faces]
    np.testing.assert_allclose(face_similarity(faces), expected, atol=1e-12)


@pytest.mark.parametrize("degrees", [0, 40, 70])
def test_both_sets_of_points_give_about_the_same_crop(degrees: float) -> None:
    head = Head()
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    vertices = 1000 * head.forward(torch.zeros(1, head.size)).vertices
    seen = torch.stack([cos * vertices[..., 0] + sin * vertices[..., 2], vertices[..., 1]], -1)
    sets = head.landmarks478(seen)[0].numpy(), head.landmarks68(seen)[0].numpy()
    dense, sparse = (parameters(face_similarity(points)) for points in sets)
    difference = np.abs(dense - sparse) / [dense[2], dense[2], dense[2], 1]
    # well inside the ranges by which the stabilised crop may be off anyway (6 %, 8 %, 5 degrees)
    assert (difference < [0.02, 0.02, 0.05, 3]).all()


def test_profile_keeps_its_angle() -> None:
    points = face()
    points[263] = points[33] + [1, 6]  # the eye line of a profile: short and any direction
    angle = parameters(face_similarity(points))[3]
    assert abs(angle) < 3


@pytest.mark.parametrize(
    "points", [np.zeros((467, 2)), np.zeros((468, 3)), np.zeros((468, 2)), np.full((468, 2), np.nan)]
)
def test_useless_points_are_refused(points: np.ndarray) -> None:
    with pytest.raises(ValueError):
        face_similarity(points)


def test_inverse_round_trip() -> None:
    faces = np.stack([face(), apply(similarity(3, 77, (-900, 20)), face())])
    transform = face_similarity(faces)
    np.testing.assert_allclose(apply(invert(transform), apply(transform, faces)), faces, atol=1e-9)
    assert (apply(transform, faces) > 0).all() and (apply(transform, faces) < 255).all()


@pytest.mark.parametrize("common", [False, True])
def test_still_face_with_noise_keeps_the_crop_still(common: bool) -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.01 * 160, (300, 1 if common else 468, 2))
    crops, ideal = run(CropStabiliser(), face() + noise)
    steps, ideal_steps = np.diff(crops, axis=0).std(0), np.diff(ideal, axis=0).std(0)
    assert (steps <= 0.1 * ideal_steps + 1e-12).all()
    assert within_leash(crops, ideal)


def test_crop_settles_after_motion() -> None:
    shift = np.clip(np.arange(300) / 30, 0, 1)[:, None, None] * [150, 40]
    noise = np.random.default_rng(2).normal(0, 1.0, (300, 468, 2))
    crops, ideal = run(CropStabiliser(), face() + shift + noise)
    assert np.diff(crops[100:], axis=0).std(0).max() <= 0.1 * np.diff(ideal[100:], axis=0).std(0).max()


@pytest.mark.parametrize("rate", [10.0, 30.0, 120.0])
def test_crop_follows_motion_zoom_and_roll(rate: float) -> None:
    time = np.arange(int(4 * rate)) / rate
    zoom = np.exp(0.5 * np.sin(2 * time))
    place = np.stack([200 * np.sin(3 * time), 100 * np.cos(2 * time)], -1)
    moves = [similarity(zoom[n], 180 + 40 * time[n], place[n]) for n in range(len(time))]
    faces = np.stack([apply(move, face() - [300, 250]) for move in moves])
    crops, ideal = run(CropStabiliser(), faces, rate)
    crops[:, 3], ideal[:, 3] = np.unwrap(crops[:, 3], period=360), np.unwrap(ideal[:, 3], period=360)
    assert within_leash(crops, ideal)
    # nowhere does the crop run faster than the face, so nothing jumps
    assert np.abs(np.diff(crops[:, :2], axis=0)).max() < 1.5 * np.abs(np.diff(ideal[:, :2], axis=0)).max()
    assert np.abs(np.diff(crops[:, 3])).max() < 1.5 * np.abs(np.diff(ideal[:, 3])).max()


def test_cut_snaps_to_the_new_face() -> None:
    stabiliser = CropStabiliser()
    stabiliser(face(), 0.0)
    jumped = face() + [200, 0]
    np.testing.assert_allclose(stabiliser(jumped, 1 / 30), face_similarity(jumped), atol=1e-9)


def test_reset_forgets_the_last_crop() -> None:
    stabiliser = CropStabiliser()
    stabiliser(face(), 5.0)
    with pytest.raises(ValueError, match="time went back"):
        stabiliser(face(), 4.0)
    stabiliser.reset()
    nudged = face() + [3, 2]
    np.testing.assert_allclose(stabiliser(nudged, 0.0), face_similarity(nudged), atol=1e-9)


def bilinear(frame: np.ndarray, transform: np.ndarray, size: int) -> np.ndarray:
    """Slow twin of `warp` without antialiasing: (size, size, 3) float64, black outside the frame."""
    height, width = frame.shape[:2]
    padded = np.zeros((height + 2, width + 2, 3))
    padded[1:-1, 1:-1] = frame
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1).reshape(-1, 2)
    x, y = np.clip(apply(invert(transform), grid) + 1, 0, [width + 0.999, height + 0.999]).T
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    column, row = np.minimum(column, width), np.minimum(row, height)
    u, v = (x - column)[:, None], (y - row)[:, None]
    top = (1 - u) * padded[row, column] + u * padded[row, column + 1]
    bottom = (1 - u) * padded[row + 1, column] + u * padded[row + 1, column + 1]
    return ((1 - v) * top + v * bottom).reshape(size, size, 3)


@pytest.mark.parametrize(("scale", "degrees"), [(1.0, 0.0), (1.0, 25.0), (1.0, 180.0), (2.3, -70.0)])
def test_warp_equals_slow_bilinear_sampling(scale: float, degrees: float) -> None:
    rng = np.random.default_rng(3)
    frame = np.kron(rng.integers(0, 256, (12, 15, 3)), np.ones((6, 6, 1))).astype(np.uint8)
    moved = similarity(scale, degrees, (0, 0))
    # the middle of the frame, slightly off the pixel grid, goes to the crop's middle; corners lie outside
    moved[:, 2] = 31.5 - moved[:, :2] @ [44.3, 35.8]
    expected = bilinear(frame, moved, 64)
    # OpenCV 4 has fixed-point weights of 1/32 px: up to 255 / 32 grey levels per axis at an edge
    assert np.abs(warp(frame, moved, 64) - expected).max() <= 16
    assert np.abs(warp(frame, moved, 64) - expected).mean() < 1


def test_warp_of_a_ramp_keeps_the_geometry_when_minified() -> None:
    x, y = np.meshgrid(np.arange(500), np.arange(400))
    frame = np.stack([x / 2, y / 2, (x + y) / 4], -1).round().astype(np.uint8)
    moved = similarity(0.29, 30, (0, 0))
    moved[:, 2] = 31.5 - moved[:, :2] @ [260.4, 190.7]
    place = apply(invert(moved), np.stack(np.meshgrid(np.arange(64), np.arange(64)), -1).reshape(-1, 2))
    expected = np.stack([place[:, 0] / 2, place[:, 1] / 2, place.sum(1) / 4], -1).reshape(64, 64, 3)
    assert np.abs(warp(frame, moved, 64) - expected).max() <= 1.5


@pytest.mark.parametrize("degrees", [0.0, 20.0])
def test_fine_checkerboard_minified_is_grey(degrees: float) -> None:
    board = np.indices((512, 512)).sum(0) % 2 * 255
    frame = np.repeat(board[..., None], 3, -1).astype(np.uint8)
    moved = similarity(0.25, degrees, (0, 0))
    moved[:, 2] = 31.5 - moved[:, :2] @ [255.5, 255.5]
    crop = warp(frame, moved, 64).astype(float)
    assert np.abs(crop - 127.5).max() < 12


def test_warp_outside_the_frame_is_black() -> None:
    frame = np.full((20, 30, 3), 255, np.uint8)
    assert warp(frame, similarity(1, 0, (500, 0)), 32).max() == 0
    half = warp(frame, similarity(1, 0, (16, 0)), 32)
    assert half[:20, :16].max() == 0 and half[:20, 16:].min() == 255 and half[20:].max() == 0
    assert warp(np.full((1, 1, 3), 9, np.uint8), similarity(0.5, 0, (4, 4)), 8).shape == (8, 8, 3)
