"""How a photo moves with its head."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from selftrack.decoders.head.model import load_head
from selftrack.tracker.export.reenact._field import Field, resampled, unproject
from selftrack.tracker.export.reenact._photo import Photo
from selftrack.tracker.geometry.pose import project

HEAD = load_head()
ON_FACE = (1, 6, 10, 50, 280, 61, 291, 152, 205, 425, 151)  # nose, forehead, cheeks, corners of the mouth, chin


def field_of(photo: Photo) -> tuple[Field, torch.Tensor, torch.Tensor]:
    """The field, and the geometry and pose of the photo."""
    track = photo.track
    geometry, pose = HEAD.geometry(torch.from_numpy(track.z))[0], torch.from_numpy(track.H_image[0])
    return Field(HEAD, geometry, pose, track.inverse_distance, photo.image.shape[:2]), geometry, pose


def landmarks(geometry: torch.Tensor, pose: torch.Tensor) -> np.ndarray:
    """Where the points lie in the picture, (478,2)."""
    return HEAD.landmarks478(project(geometry[None], pose[None]))[0, :, :2].numpy()


def acting(**curves: float) -> torch.Tensor:
    """The geometry of the mean head with these curves."""
    z = torch.zeros(1, HEAD.size)
    for name, value in curves.items():
        z[0, HEAD.expression.start + HEAD.expression_names.index(name)] = value
    return HEAD.geometry(z)[0]


@pytest.mark.parametrize("pose", [{}, {"ry": 0.3, "rz": -0.2, "tx": 120.0}])
def test_what_does_not_move_is_as_it_was(photo: Callable[..., Photo], pose: dict[str, float]) -> None:
    made = photo({"jawOpen": 0.3}, **pose)
    field, geometry, place = field_of(made)
    moved = field(geometry, place)
    assert (resampled(made.image, moved) == made.image).all()
    assert not moved.drawn_out.any()


@pytest.mark.parametrize(
    "change,curves",
    [
        ((0.0, 0, 0.17, 0, 0, 0), {}),
        ((0.0, -0.15, 0, 0.1, 4, -6), {}),
        ((0.08, 0, 0, 0, 0, 0), {}),
        ((0.0, 0, 0, 0, 0, 0), {"jawOpen": 0.5}),
        ((0.0, 0, 0.1, 0, 0, 0), {"mouthSmileLeft": 0.8, "browInnerUp": 0.6}),
    ],
)
def test_points_of_the_face_come_from_where_they_were(
    photo: Callable[..., Photo], change: tuple[float, ...], curves: dict[str, float]
) -> None:
    field, geometry, pose = field_of(photo())
    target = acting(**curves)
    moved = field(target, pose + torch.tensor(change))
    before, after = landmarks(geometry, pose), landmarks(target, pose + torch.tensor(change))
    for point in ON_FACE:
        x, y = after[point].round().astype(int) - [moved.columns.start, moved.rows.start]
        off = after[point] - after[point].round()  # of the pixel's centre from the point
        error = moved.places[y, x] + off - before[point]
        assert np.linalg.norm(error) < 1.8, (point, error)  # of a head of 150 pixels


def test_nothing_moves_at_the_border(photo: Callable[..., Photo]) -> None:
    field, geometry, pose = field_of(photo())
    places = field(acting(jawOpen=1.0), pose + torch.tensor([0.1, 0.1, 0.3, 0.2, 20, 20])).places
    height, width = places.shape[:2]
    own = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1)
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        assert np.abs(places[edge] - own[edge]).max() < 1e-3


def test_hair_follows_a_turn_and_no_noise_of_the_size(photo: Callable[..., Photo]) -> None:
    field, geometry, pose = field_of(photo())
    top = project(geometry[None], pose[None])[0, :, :2].numpy()
    hair = np.array([top[:, 0].mean(), top[:, 1].min() - 4])
    node = np.linalg.norm(field._nodes - hair, axis=1).argmin()
    start = field.moved_nodes(geometry, pose)[node, :2]

    def moves(*change: float) -> np.ndarray:
        return field.moved_nodes(geometry, pose + torch.tensor(change))[node, :2] - start

    from_origin = field._nodes[node] - pose[4:6].numpy()
    assert np.linalg.norm(moves(0.02, 0, 0, 0, 0, 0)) < 0.3 * 0.02 * np.linalg.norm(from_origin)
    rolled = np.array([-from_origin[1], from_origin[0]]) * np.sin(0.3) + (np.cos(0.3) - 1) * from_origin
    assert np.linalg.norm(moves(0, 0, 0, 0.3, 0, 0) - rolled) < 0.1 * np.linalg.norm(rolled)


def test_there_is_no_hole_and_no_seam(photo: Callable[..., Photo]) -> None:
    """The darkest possible photo but for a white one: what comes from nowhere would be black."""
    made = photo()
    field, _, pose = field_of(made)
    white = np.full_like(made.image, 255)
    moved = field(acting(jawOpen=0.7), pose + torch.tensor([0.1, 0.2, 0.35, 0, 30, 0]))
    assert (resampled(white, moved) == 255).all()


def test_skin_that_shuts_an_eye_is_drawn_out_and_other_skin_is_not(photo: Callable[..., Photo]) -> None:
    field, _, pose = field_of(photo())
    shut = acting(eyeBlinkLeft=1.0)
    moved, points = field(shut, pose), landmarks(shut, pose)
    values = {}
    for name, point in {"left": 386, "right": 159, "cheek": 50, "lip": 13}.items():
        x, y = points[point].round().astype(int) - [moved.columns.start, moved.rows.start]
        values[name] = moved.drawn_out[y - 3 : y + 2, x - 2 : x + 3].max()
    assert values["left"] > 0.3 and max(values["right"], values["cheek"], values["lip"]) < 0.05


def test_teeth_of_a_photo_are_kept_until_they_are_drawn_out(photo: Callable[..., Photo]) -> None:
    made = photo({"jawOpen": 0.4, "mouthSmileLeft": 0.5, "mouthSmileRight": 0.5})
    field, geometry, pose = field_of(made)
    upper, lower = landmarks(geometry, pose)[[13, 14]]
    x, y = ((upper + lower) / 2).round().astype(int)
    still = field(geometry, pose)
    at = y - still.rows.start, x - still.columns.start
    assert still.kept[at] > 0.9
    wide = acting(jawOpen=1.0, mouthSmileLeft=0.5, mouthSmileRight=0.5)
    moved, (_, low) = field(wide, pose), landmarks(wide, pose)[[13, 14]]
    row, column = (low - [moved.columns.start, moved.rows.start]).round().astype(int)[::-1]
    assert moved.kept[row - 3, column] < 0.1


def test_unproject_is_the_inverse_of_project() -> None:
    points = torch.randn(20, 3, dtype=torch.float64) * 0.1
    pose = torch.tensor([6.0, 0.2, -0.4, 0.1, 30.0, 50.0])
    for inverse_distance in (0.0, 1.2):
        places = project(points[None], pose[None].double(), inverse_distance)[0].numpy()
        assert np.abs(unproject(places, pose, inverse_distance) - points.numpy()).max() < 1e-6
