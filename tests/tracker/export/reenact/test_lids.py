"""Lids of shut eyes, of a drawn photo with open ones."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from selftrack.decoders.head.model import load_head
from selftrack.decoders.landmarks import BROWS, EYE_CONTOURS
from selftrack.tracker.export.reenact._lids import Lid
from selftrack.tracker.export.reenact._painter import PhotoPainter
from selftrack.tracker.export.reenact._photo import Photo
from selftrack.tracker.geometry.pose import project

HEAD = load_head()
SKIN, LASHES = (200, 155, 135), (40, 25, 20)


@pytest.fixture
def wide_eyed(photo: Callable[..., Photo]) -> Photo:
    """Even skin, white eyes, and a broad dark line of lashes along the upper lids."""
    made = photo(f=7.0)
    image = np.full_like(made.image, SKIN)
    for eye in contours(torch.from_numpy(made.track.z[0]), torch.from_numpy(made.track.H_image[0])):
        cv2.fillPoly(image, [eye.round().astype(np.int32)], (240, 240, 240))
        cv2.polylines(image, [eye[:9].round().astype(np.int32)], False, LASHES, 5, cv2.LINE_AA)
    return Photo(image, made.track)


def contours(code: Tensor, pose: Tensor) -> np.ndarray:
    """(2,16,2) the edges of both eyes' lids in the picture, from the outer corner over the upper lid."""
    vertices = project(HEAD.geometry(code[None]), pose[None])
    return np.stack([HEAD.landmarks478.subset(eye)(vertices)[0, :, :2].numpy() for eye in EYE_CONTOURS])


def blinking(paint: PhotoPainter, amount: float) -> Tensor:
    code = paint.code.clone()
    for name in ("eyeBlinkLeft", "eyeBlinkRight"):
        code[HEAD.expression.start + HEAD.expression_names.index(name)] = amount
    return code


def test_a_shut_lid_is_skin_with_a_line_of_lashes_along_its_edge(wide_eyed: Photo) -> None:
    """The line of lashes was drawn out over all of it, and a rim of the white stayed."""
    paint = PhotoPainter(wide_eyed)
    code = blinking(paint, 1.0)
    picture = paint(code, paint.pose).astype(int)
    before, after = contours(paint.code, paint.pose), contours(code, paint.pose)
    for was, eye in zip(before, after, strict=True):
        middle, gone = eye[4], float(eye[4, 1] - was[4, 1])
        assert gone > 5, "pixels that the lid comes down"
        x = round(float(middle[0]))
        column = picture[round(float(was[4, 1])) - 2 : round(float(middle[1])) + 6, x - 3 : x + 4].mean(1)
        from_edge = np.arange(len(column)) + round(float(was[4, 1])) - 2 - middle[1]
        lid = from_edge < -3
        assert lid.sum() >= 4 and np.abs(column[lid] - SKIN).max() < 40
        assert column[np.abs(from_edge) < 1].mean() < np.mean(SKIN) - 30
        assert column.max() < 225, "no white"


def test_open_and_half_shut_eyes_are_as_they_were(wide_eyed: Photo) -> None:
    paint = PhotoPainter(wide_eyed)
    for amount in (0.0, 0.3):
        code = blinking(paint, amount)
        with_lids = paint(code, paint.pose)
        paint._lids, lids = [], paint._lids
        assert np.array_equal(paint(code, paint.pose), with_lids)
        paint._lids = lids


def test_a_frowning_brow_stays_where_the_eyes_are_shut(wide_eyed: Photo) -> None:
    """It comes down with the lids, and is none."""
    image, track = wide_eyed.image.copy(), wide_eyed.track
    brow = HEAD.landmarks478.subset((70, 63, 105, 66, 107))

    def place(code: Tensor) -> np.ndarray:
        vertices = project(HEAD.geometry(code[None]), torch.from_numpy(track.H_image))
        return brow(vertices)[0, :, :2].numpy()

    cv2.polylines(image, [place(torch.from_numpy(track.z[0])).round().astype(np.int32)], False, LASHES, 5, cv2.LINE_AA)
    paint = PhotoPainter(replace(wide_eyed, image=image))
    code = blinking(paint, 1.0)
    code[HEAD.expression.start + HEAD.expression_names.index("browDownRight")] = 1.0
    x, y = place(code)[1:4].mean(0).round().astype(int)
    assert paint(code, paint.pose)[y - 1 : y + 2, x - 2 : x + 3].max(2).min() < 80


@pytest.mark.parametrize("amount", [0.9, 1.0])
def test_a_photo_of_shut_eyes_keeps_its_lids(photo: Callable[..., Photo], amount: float) -> None:
    """They were painted over: hardly anything of so small an opening is left, or it is less than none."""
    blink = dict.fromkeys(("eyeBlinkLeft", "eyeBlinkRight"), amount)
    paint = PhotoPainter(photo(blink, f=7.0))
    for change in (0.0, 0.05, -0.05):
        code = blinking(paint, amount + change)
        with_lids = paint(code, paint.pose)
        paint._lids, lids = [], paint._lids
        assert np.array_equal(paint(code, paint.pose), with_lids)
        paint._lids = lids


def test_lids_do_not_flicker() -> None:
    """How far they are drawn goes smoothly with the blink, whether the photo's eyes are open, half shut or shut."""
    pose, image, blinks = torch.tensor([7.0, 0, 0, 0, 180.0, 160.0]), np.zeros((320, 360, 3), np.uint8), np.arange(61)
    for own in blinks[:56:5]:
        start = acting(own / 50)
        vertices = project(start[None], pose[None])[0]
        for eye in zip(EYE_CONTOURS, BROWS, strict=True):
            lid = Lid(HEAD, *eye, (image, image), start, vertices)
            shut = np.array([lid._shut(acting(amount / 50)) for amount in blinks])
            assert np.diff(shut).min() >= 0 and np.diff(shut).max() < 0.2  # of a step of 0.02
            if own < 10:
                assert shut[0] == 0 and shut[-1] == 1
            if own > 45:
                assert shut.max() == 0


def acting(blink: float) -> Tensor:
    """The mean head (V,3), which blinks so far."""
    code = torch.zeros(1, HEAD.size)
    for name in ("eyeBlinkLeft", "eyeBlinkRight"):
        code[0, HEAD.expression.start + HEAD.expression_names.index(name)] = blink
    return HEAD.geometry(code)[0]


@pytest.mark.parametrize("turn", [-1.4, 1.4])
def test_no_lashes_are_drawn_where_the_eye_is_hidden(wide_eyed: Photo, turn: float) -> None:
    """They were, beside the face and over the nose, in the colour of the photo's corner."""
    paint = PhotoPainter(wide_eyed)
    code, pose = blinking(paint, 1.0), paint.pose.clone()
    pose[2] = turn
    geometry = HEAD.geometry(code[None])[0]
    eyes, vertices = contours(code, pose)[:, 4], project(geometry[None], pose[None])
    hidden = int(np.argmax([HEAD.landmarks478.subset(eye)(vertices)[0, :, 2].mean() for eye in EYE_CONTOURS]))
    for number, lid in enumerate(paint._lids):
        picture = np.full_like(wide_eyed.image, 128)
        lid(picture, geometry, pose, 0.0)
        changed = np.argwhere((picture != 128).any(-1))
        if number == hidden:
            assert len(changed) == 0
        else:
            assert np.abs(changed[:, ::-1].mean(0) - eyes[number]).max() < 10
