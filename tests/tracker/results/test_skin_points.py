"""Skin points against known motions, and against the independent scorer where it is at hand."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch

from selftrack.decoders.landmarks import BROWS, FACE_OVAL, LEFT_EYE, LIPS, RIGHT_EYE
from selftrack.tracker.results.skin_points import SkinPointConfig, Window, find_windows, frame_step, skin_error

SIZE = (240, 320)
CENTRE = np.array([160.0, 120.0])
STEP = 1 / 30
EYES = RIGHT_EYE, LEFT_EYE


def picture(matrix: np.ndarray, seed: int) -> np.ndarray:
    """(H,W) uint8 random waves moved by a similarity (2,3), exact at every pixel."""
    rng = np.random.default_rng(seed)
    waves, phase = rng.normal(0, 0.35, (100, 2)), rng.uniform(0, 2 * np.pi, 100)  # radians per pixel
    moved = waves @ np.linalg.inv(matrix[:, :2])
    x, y = (np.exp(1j * np.outer(np.arange(n), k)) for n, k in zip(SIZE[::-1], moved.T, strict=True))
    values = ((y * np.exp(1j * (phase - moved @ matrix[:, 2]))) @ x.T).real
    return np.clip(128 + 45 * values / np.sqrt(50), 0, 255).astype(np.uint8)


def ring(count: int, centre: np.ndarray, radii: tuple[float, float]) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return centre + np.stack([np.cos(angle) * radii[0], np.sin(angle) * radii[1]], -1)


def drawn_face(count: int = 478) -> np.ndarray:
    """(count,2) landmarks of a face that looks ahead: IOD 80 pixels."""
    points = np.tile(CENTRE, (478, 1))
    points[list(FACE_OVAL)] = ring(36, CENTRE, (70, 95))
    points[list(LIPS)] = ring(len(LIPS), CENTRE + [0, 45], (20, 8))
    for side, eye, brow in zip((-1, 1), EYES, BROWS, strict=True):
        points[list(eye)] = CENTRE + [side * 28, -20] + side * np.array([-12, 0]) * [[-1], [0], [0], [1], [0], [0]]
        points[list(brow)] = ring(10, CENTRE + [side * 28, -38], (14, 3))
    points[33], points[263] = CENTRE + [-40, -20], CENTRE + [40, -20]
    if count == 478:
        return points
    ibug = np.tile(CENTRE, (68, 1))
    ibug[:27] = ring(27, CENTRE, (70, 95))
    groups = {36: EYES[0], 42: EYES[1], 48: LIPS[:12]}
    for start, group in groups.items():
        ibug[start : start + len(group)] = points[list(group)]
    ibug[36], ibug[45] = points[33], points[263]
    return ibug


def similarity(row: int) -> np.ndarray:
    """(2,3) from the first frame to frame `row`: it shifts, turns and grows."""
    turn, scale = np.radians(0.1 * row), 1 + 0.001 * row
    a = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.c_[a, CENTRE - a @ CENTRE + np.array([1.3, -0.7]) * row]


def move(points: np.ndarray, row: int) -> np.ndarray:
    return points @ similarity(row)[:, :2].T + similarity(row)[:, 2]


def moving_clip(length: int, seed: int = 0) -> list[tuple[int, np.ndarray]]:
    return [(row, picture(similarity(row), seed)) for row in range(length)]


def moving_face(length: int, count: int = 478) -> np.ndarray:
    return np.stack([move(drawn_face(count), row) for row in range(length)])


def seen(clip: Iterable[tuple[int, np.ndarray]], landmarks: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Frames of a clip with their landmarks (T,L,2)."""
    return ((row, grey, landmarks[row]) for row, grey in clip)


def grid(step: int = 16) -> tuple[np.ndarray, torch.Tensor]:
    """A flat mesh over the frame: vertices (V,3), faces (F,3)."""
    columns, rows = np.arange(-step, SIZE[1] + step, step), np.arange(-step, SIZE[0] + step, step)
    x, y = np.meshgrid(columns, rows)
    corner = np.arange(x.size).reshape(x.shape)
    a, b, c, d = (q.ravel() for q in (corner[:-1, :-1], corner[:-1, 1:], corner[1:, :-1], corner[1:, 1:]))
    faces = np.concatenate([np.stack([a, b, c], -1), np.stack([b, d, c], -1)])
    return np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], -1).astype(float), torch.from_numpy(faces)


def flat_mesh(vertices: np.ndarray, rows: slice) -> np.ndarray:
    """The plane (V,3) moving with the clip, (w,V,3)."""
    return np.stack([np.c_[move(vertices[:, :2], row), vertices[:, 2]] for row in range(rows.start, rows.stop)])


@pytest.mark.parametrize("count", [478, 468, 68])
def test_points_follow_the_pixels(count: int) -> None:
    landmarks = moving_face(25, 478 if count > 68 else 68)[:, :count]
    windows = find_windows(seen(moving_clip(25), landmarks), STEP)
    assert [window.start for window in windows] == [0, 12]
    assert windows[0].iod == pytest.approx(80)
    for window in windows:
        assert window.paths.shape[0] >= 10 and window.paths.shape[1:] == (12, 2)
        still = (window.paths[:, 0] - similarity(window.start)[:, 2]) @ np.linalg.inv(similarity(window.start)[:, :2]).T
        truth = np.stack([move(still, window.start + t) for t in range(12)], 1)
        assert np.linalg.norm(window.paths - truth, axis=-1).max() < 0.1


@pytest.mark.parametrize(
    ("rate", "frames"), [(15, 6), (24, 10), (25, 10), (30000 / 1001, 12), (30, 12), (50, 20), (60, 24)]
)
def test_windows_last_as_long_at_any_rate(rate: float, frames: int) -> None:
    assert SkinPointConfig().length(frame_step(np.arange(100) / rate)) == frames
    rounded = np.round(np.arange(100) / rate, 3)  # as some files have them
    assert SkinPointConfig().length(frame_step(rounded)) == frames
    assert SkinPointConfig().length(2.0) == 2 and frame_step(np.zeros(1)) == STEP


def test_a_window_has_that_many_frames() -> None:
    windows = find_windows(seen(moving_clip(13), moving_face(13)), 1 / 15)
    assert [(window.start, window.paths.shape[1]) for window in windows] == [(0, 6), (6, 6)]


def test_corners_lie_on_skin() -> None:
    face = drawn_face()
    (window,) = find_windows(seen(moving_clip(12), moving_face(12)), STEP, SkinPointConfig(count=500, spacing=0.02))
    margin = 0.05 * 80 - 1.5  # less the rounding of outlines
    hulls = [cv2.convexHull(face[list(g)].astype(np.float32)) for g in (FACE_OVAL, *EYES, *BROWS, LIPS)]
    for point in window.paths[:, 0].tolist():
        inside, *features = (cv2.pointPolygonTest(hull, point, True) for hull in hulls)
        assert inside > margin and max(features) < -margin


def test_a_cut_gives_no_points() -> None:
    clip = moving_clip(18)[:18] + [(row, grey) for row, grey in moving_clip(36, seed=1) if row >= 18]
    starts = [window.start for window in find_windows(seen(clip, moving_face(36)), STEP)]
    assert starts == [0, 18]  # the window of 12 is given up at the cut


def test_lost_and_left_out_frames_break_windows() -> None:
    face = moving_face(40)
    face[5] = np.nan
    assert [w.start for w in find_windows(seen(moving_clip(40), face), STEP)] == [6, 18]
    some = [frame for frame in moving_clip(40) if not 18 <= frame[0] < 22]
    assert [w.start for w in find_windows(seen(some, face), STEP)] == [6, 22]


def test_a_frame_without_texture_has_no_points() -> None:
    grey = [(row, np.full(SIZE, 90, np.uint8)) for row in range(12)]
    assert find_windows(seen(grey, moving_face(12)), STEP) == []


def test_memory_is_bounded() -> None:
    alive: weakref.WeakSet = weakref.WeakSet()

    class Image(np.ndarray):
        __hash__ = object.__hash__

    most = 0

    def frames() -> Iterator[tuple[int, np.ndarray]]:
        nonlocal most
        for row, grey in moving_clip(24):
            image = grey.view(Image)
            alive.add(image)
            most = max(most, len(alive))
            yield row, image

    assert len(find_windows(seen(frames(), moving_face(24)), STEP)) == 2
    assert most <= 4


@pytest.mark.parametrize("shape", [(10, 2), (478, 3), (12, 478, 2)])
def test_refuses_other_landmarks(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected landmarks"):
        find_windows([(0, np.zeros(SIZE, np.uint8), np.zeros(shape))], STEP)


def test_refuses_colour() -> None:
    with pytest.raises(ValueError, match="grey"):
        find_windows(seen([(0, np.zeros((*SIZE, 3), np.uint8))], moving_face(1)), STEP)


def known_window(start: int = 0, count: int = 40) -> Window:
    """Points that move exactly with the clip."""
    points = np.random.default_rng(3).uniform([60, 60], [260, 180], (count, 2))
    paths = np.stack([move(points, row) for row in range(start, start + 12)], 1)
    return Window(start, 80.0, paths.astype(np.float32))


def test_a_mesh_that_moves_along_has_no_error() -> None:
    vertices, faces = grid()
    error = skin_error([known_window()], lambda rows: flat_mesh(vertices, rows), faces, SIZE, np.ones(12, bool))
    assert error.used == error.total == 40 and error.distance.shape == (40, 12)
    assert error.points.max() < 0.1  # percent: pinned half a pixel beside the point, turning and growing a little


def test_a_mesh_that_slips() -> None:
    vertices, faces = grid()

    def slipping(rows: slice) -> np.ndarray:
        rowwise = np.arange(rows.start, rows.stop)[:, None, None]
        return vertices[None] + rowwise * np.array([0.3, -0.4, 0])  # half a pixel a frame, the points rest

    still = np.repeat(known_window().paths[:, :1], 12, 1)
    error = skin_error([Window(12, 80.0, still)], slipping, faces, SIZE, np.ones(24, bool))
    assert error.mean == pytest.approx(100 / 80 * 0.5 * np.mean(np.arange(1, 12)), rel=1e-4)
    assert error.distance[:, -1] == pytest.approx(np.full(40, 100 / 80 * 0.5 * 11), rel=1e-3)
    assert (error.start == 12).all()


def test_followed_points_judge_the_mesh_that_moved_them() -> None:
    vertices, faces = grid()
    windows = find_windows(seen(moving_clip(24), moving_face(24)), STEP)
    error = skin_error(windows, lambda rows: flat_mesh(vertices, rows), faces, SIZE, np.ones(24, bool))
    assert error.used == error.total and error.mean < 0.15


def test_lost_frames_missing_mesh_and_no_windows() -> None:
    vertices, faces = grid()
    ok = np.ones(24, bool)
    ok[13] = False
    windows = [known_window(0), known_window(12), known_window(20)]  # the last one ends beyond the track
    half = faces[(vertices[faces.numpy(), 0] < 160).all(1)]
    error = skin_error(windows, lambda rows: flat_mesh(vertices, rows), half, SIZE, ok)
    assert error.total == 120 and 0 < error.used < 40 and set(error.start) == {0}
    nothing = skin_error([], lambda rows: flat_mesh(vertices, rows), faces, SIZE, ok)
    assert nothing.used == nothing.total == 0 and np.isnan(nothing.mean)


def test_agrees_with_the_independent_scorer(scorer: ModuleType) -> None:
    rng = np.random.default_rng(5)
    vertices, faces = grid(11)
    vertices[:, 2] = 0.01 * ((vertices[:, :2] - CENTRE) ** 2).sum(1)  # a dish
    wobble = cv2.GaussianBlur(rng.normal(size=(24, vertices[:, :2].size)), (1, 5), 1).reshape(24, -1, 2)
    mesh = flat_mesh(vertices, slice(0, 24))
    mesh[..., :2] += wobble
    windows = [known_window(0), known_window(12)]
    ours = skin_error(windows, lambda rows: mesh[rows], faces, SIZE, np.ones(24, bool))
    theirs = scorer.reprojection({"verts": mesh, "faces": faces.numpy()}, windows, SIZE)
    assert (ours.used, ours.total) == (theirs["used"], theirs["points"])
    assert ours.mean == pytest.approx(theirs["mean"], rel=0.02)
