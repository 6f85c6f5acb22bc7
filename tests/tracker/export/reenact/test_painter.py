"""The photo's person drawn: what is kept of the photo, and what is drawn anew."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from selftrack.decoders.head.model import load_head
from selftrack.decoders.landmarks import INNER_LIP_CONTOUR, LIPS
from selftrack.decoders.teeth import Teeth
from selftrack.tracker.export.reenact._lips import Lips
from selftrack.tracker.export.reenact._motion import performance
from selftrack.tracker.export.reenact._painter import PhotoPainter
from selftrack.tracker.export.reenact._photo import Photo
from selftrack.tracker.export.reenact._skin import photo_texture, plain_skin
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.results.track_file import Track

HEAD = load_head()
ROWS = Teeth(HEAD)
GREEN = (90, 200, 90)
SKIN = (165, 120, 104)
GRIN = {
    "jawOpen": 0.2,
    **{name + side: 0.3 for name in ("mouthSmile", "mouthLowerDown", "mouthUpperUp") for side in ("Left", "Right")},
}


def with_curves(paint: PhotoPainter, **curves: float) -> torch.Tensor:
    """The code of the photo with these curves."""
    code = paint.code.clone()
    for name, value in curves.items():
        code[HEAD.expression.start + HEAD.expression_names.index(name)] = value
    return code


def test_the_photo_itself_comes_out_as_it_was(photo: Callable[..., Photo]) -> None:
    made = photo()
    paint = PhotoPainter(made)
    assert np.abs(paint(paint.code, paint.pose).astype(int) - made.image).max() <= 1


def test_an_open_mouth_is_drawn_between_the_lips_alone(photo: Callable[..., Photo]) -> None:
    plain = Photo(np.full((320, 360, 3), 180, np.uint8), photo().track)
    paint = PhotoPainter(plain)
    code = with_curves(paint, jawOpen=0.7)
    picture = paint(code, paint.pose)
    vertices = project(HEAD.geometry(code[None]), paint.pose[None])
    contour = HEAD.landmarks478.subset(INNER_LIP_CONTOUR)(vertices)[0, :, :2].numpy()
    between = cv2.fillPoly(np.zeros((320, 360), np.uint8), [contour.round().astype(np.int32)], 1)
    near = cv2.dilate(between, np.ones((5, 5))) > 0
    assert (picture[~near] == 180).all()
    inner = cv2.erode(between, np.ones((5, 5))) > 0
    assert (picture[inner].max(1) < 175).mean() > 0.5  # it is dark in there


def test_eyes_follow_the_gaze(photo: Callable[..., Photo]) -> None:
    """An iris that the photo shows dark on white is dark where the mesh's is, when that has moved."""
    made = photo(f=7.0)
    vertices = project(HEAD.geometry(torch.zeros(1, HEAD.size)), torch.from_numpy(made.track.H_image))
    image = np.full((320, 360, 3), 230, np.uint8)
    for iris in HEAD.landmarks478.subset((468, 473))(vertices)[0, :, :2].numpy():
        cv2.circle(image, tuple(int(v) for v in iris.round()), 6, (40, 30, 20), -1)
    paint = PhotoPainter(Photo(image, made.track))
    code = with_curves(paint, eyeLookOutLeft=0.5, eyeLookInRight=0.5)
    picture = paint(code, paint.pose)
    moved = HEAD.landmarks478.subset((468, 473))(project(HEAD.geometry(code[None]), paint.pose[None]))[0, :, :2]
    before = HEAD.landmarks478.subset((468, 473))(vertices)[0, :, :2]
    for after, start in zip(moved.numpy(), before.numpy(), strict=True):
        way = (after - start) / np.linalg.norm(after - start)
        assert np.linalg.norm(after - start) > 3
        (x, y), (left, above) = (at.round().astype(int) for at in (after + 4 * way, after - 9 * way))
        assert image[y, x].min() > 150 > 90 > picture[y, x].max()  # where the iris comes to
        assert image[above, left].max() < 90 < 150 < picture[above, left].min()  # where it was


def test_an_eye_that_the_photo_half_hides_is_the_same_all_around() -> None:
    """A texture that depends on the distance from the iris alone is found again where lids hide it."""
    pose = torch.tensor([8.0, 0, 0, 0, 300.0, 300.0])
    vertices = project(HEAD.mean[None], pose[None])[0]
    grid = np.stack(np.meshgrid(np.arange(600), np.arange(600)), -1)
    points = HEAD.landmarks478(vertices[None])[0, :, :2].numpy()
    irises = points[[468, 473]]
    away = np.min([np.linalg.norm(grid - iris, axis=-1) for iris in irises], 0) / float(pose[0].exp())
    value = np.where(away < 0.006, 60, 200).astype(np.uint8)  # an iris of 6 mm, seen from the front
    texture = photo_texture(HEAD, np.repeat(value[..., None], 3, 2), vertices.numpy(), points)
    uvs, eye = HEAD.uvs[HEAD.uv_faces], HEAD.face_parts == HEAD.part_names.index("eye_left")
    middle = HEAD.landmarks478(HEAD.mean[None])[0, 473]
    points, places = HEAD.mean[HEAD.faces[eye]].mean(1), (1024 * uvs[eye].mean(1)).long()
    flat = (points - middle)[:, :2].norm(dim=1)
    found = texture[0, places[:, 1], places[:, 0]]
    front = points[:, 2] < middle[2] + 0.008
    assert front.sum() > 20
    assert (found[front & (flat < 0.004)] - 60 / 255).abs().max() < 0.1
    assert (found[front & (flat > 0.0075)] - 200 / 255).abs().max() < 0.1


def test_teeth_are_like_those_that_a_photo_shows() -> None:
    smiling = torch.zeros(1, HEAD.size)
    for name, value in {"jawOpen": 0.35, "mouthSmileLeft": 0.6, "mouthSmileRight": 0.6}.items():
        smiling[0, HEAD.expression.start + HEAD.expression_names.index(name)] = value
    mesh = project(HEAD.geometry(smiling), torch.tensor([[7.5, 0, 0, 0, 200.0, 200]]))
    points = HEAD.landmarks478(mesh)[0, :, :2].numpy()
    row = HEAD.face_parts == HEAD.part_names.index("teeth_upper")
    places = (1024 * HEAD.uvs[HEAD.uv_faces[row]].mean(1)).long()

    def teeth(colour: list[int]) -> np.ndarray:
        photo = np.full((400, 400, 3), [150, 100, 80], np.uint8)
        cv2.fillPoly(photo, [points[list(INNER_LIP_CONTOUR)].round().astype(np.int32)], colour)
        texture = photo_texture(HEAD, photo, mesh[0].numpy(), points)
        return 255 * texture[:, places[:, 1], places[:, 0]].mean(1).numpy()

    for colour in ([240, 235, 220], [180, 170, 150]):
        assert np.allclose(teeth(colour), colour, atol=3)
    ivory = teeth([150, 60, 60])  # lips or a tongue, no tooth
    assert ivory.min() > 60 and ivory.max() / ivory.min() < 1.5


def grinning(photo: Callable[..., Photo], **curves: float) -> tuple[Photo, np.ndarray]:
    """A grey photo whose person grins with green teeth, and the outline (N,2) of its mouth."""
    made = photo(GRIN | curves, f=7.0)
    code = torch.from_numpy(made.track.z)
    points = HEAD.landmarks478(project(HEAD.geometry(code), torch.from_numpy(made.track.H_image)))[:, :, :2].numpy()
    image = np.full_like(made.image, 150)
    outline = points[0, list(INNER_LIP_CONTOUR)]
    cv2.fillPoly(image, [outline.round().astype(np.int32)], GREEN)
    return Photo(image, replace(made.track, landmarks=points)), outline


def green(picture: np.ndarray) -> int:
    """How many pixels are green."""
    values = picture.astype(int)
    return int((values[..., 1] - values[..., [0, 2]].max(-1) > 25).sum())


def test_a_photo_that_grins_has_its_lips_shut_when_the_performer_has(
    photo: Callable[..., Photo], make_track: Callable[..., Track]
) -> None:
    """Its opening was its rest, on which the performance came on top."""
    made, _ = grinning(photo)
    paint, acted = PhotoPainter(made), performance(make_track((0.0,)), made)
    lips = Lips(HEAD)
    assert abs(float(lips.apart(paint._geometry(acted.codes[0])[None])) - lips.shut) < 0.0003
    assert float(ROWS.apart(paint._geometry(acted.codes[0])[None])) < 0  # and its teeth
    assert green(made.image) > 300
    assert green(paint(acted.codes[0], acted.poses[0])) == 0


def test_teeth_of_a_photo_are_seen_in_its_own_grin_and_in_no_other(
    photo: Callable[..., Photo], make_track: Callable[..., Track]
) -> None:
    """They stayed in a mouth that was open wider, and teeth were drawn above and below them."""
    made, _ = grinning(photo)
    paint = PhotoPainter(made)
    for curves, share in ((GRIN, 0.8), ({"jawOpen": 0.6}, 0.0), (GRIN | {"jawOpen": 0.5}, 0.0)):
        acted = performance(make_track((0.0,), curves), made)
        seen = green(paint(acted.codes[0], acted.poses[0])) / green(made.image)
        assert seen >= share if share else seen == 0, curves


def test_a_slow_jaw_turns_the_photos_mouth_into_a_drawn_one_over_some_frames(
    photo: Callable[..., Photo], make_track: Callable[..., Track]
) -> None:
    """At the usual speed of a mouth it is one frame or two."""
    made, _ = grinning(photo)
    paint = PhotoPainter(made)
    acted = performance(make_track(np.arange(80) / 25, GRIN | {"jawOpen": np.linspace(0.2, 0.5, 80)}), made)
    kept = np.array([paint._lips.alike(paint._geometry(code), paint._start) for code in acted.codes])
    assert kept[0] > 0.95 and kept[-1] < 0.01
    assert np.abs(np.diff(kept)).max() < 0.3  # of a jaw that takes three seconds


def test_shut_lips_of_a_photo_are_not_between_open_ones(photo: Callable[..., Photo]) -> None:
    """They were kept there as if they were its teeth."""
    made = photo(f=7.0)
    image = np.full_like(made.image, SKIN)
    lips = HEAD.landmarks478.subset(LIPS)(torch.from_numpy(made.track.vertices()))[0, :, :2].numpy()
    cv2.fillConvexPoly(image, cv2.convexHull(lips.round().astype(np.int32)), GREEN)
    paint = PhotoPainter(Photo(image, made.track))
    code = with_curves(paint, jawOpen=0.3)
    contour = HEAD.landmarks478.subset(INNER_LIP_CONTOUR)(project(HEAD.geometry(code[None]), paint.pose[None]))
    between = cv2.fillPoly(np.zeros((320, 360), np.uint8), [contour[0, :, :2].numpy().round().astype(np.int32)], 1)
    inner = cv2.erode(between, np.ones((7, 7))) > 0
    assert green(image) > 300 and inner.sum() > 50 and green(paint(code, paint.pose)[inner][None]) == 0


def test_a_photo_whose_lips_are_a_little_apart_has_its_teeth_shut(
    photo: Callable[..., Photo], make_track: Callable[..., Track]
) -> None:
    """What it has of the jaw is no performance: a performer's shut teeth stay shut on it."""
    made = photo({"jawOpen": 0.15})
    acted = performance(make_track(np.arange(2) / 25, {"jawOpen": np.array([0.0, 0.6])}), made)
    paint = PhotoPainter(made)
    shut, open_ = (paint._geometry(code)[None] for code in acted.codes)
    assert float(ROWS.apart(shut)) < 0 and float(ROWS.apart(open_)) > 0.012


def test_plain_lids_have_the_colour_of_the_skin_around() -> None:
    pose = torch.tensor([7.5, 0, 0, 0, 200.0, 200])
    vertices = project(HEAD.mean[None], pose[None])[0]
    image = np.full((400, 400, 3), [210, 160, 140], np.uint8)
    points = HEAD.landmarks478(vertices[None])[0, :, :2].numpy()
    for eye in ((33, 133), (362, 263)):
        cv2.circle(image, tuple(int(v) for v in points[list(eye)].mean(0)), 9, (20, 10, 10), -1)
    plain = plain_skin(HEAD, image, vertices)
    x, y = points[[33, 133]].mean(0).round().astype(int)
    assert np.abs(plain[y, x].astype(int) - [210, 160, 140]).max() <= 4


@pytest.mark.parametrize("gone", ["left", "above"])
def test_a_face_that_leaves_the_picture_is_drawn_as_far_as_it_is_there(photo: Callable[..., Photo], gone: str) -> None:
    made = photo(**({"tx": 10.0} if gone == "left" else {"ty": -40.0}))
    paint = PhotoPainter(made)
    assert paint(with_curves(paint, jawOpen=0.5, eyeBlinkLeft=1.0), paint.pose).shape == made.image.shape
