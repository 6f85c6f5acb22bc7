"""The synthetic light stage: what its cameras must see of a known actor."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from selftrack.decoders.capture import in_camera, open_capture, view_direction
from selftrack.decoders.capture.light_stage import IMAGE
from selftrack.decoders.head.model import load_head


def test_the_front_camera_sees_the_face(light_stage: Callable) -> None:
    studio = light_stage()
    front = 12
    np.testing.assert_allclose(view_direction(studio, 0, front), [0, 0, -1], atol=1e-6)
    middle = in_camera(studio, 0, front, np.zeros((1, 3)))[0]
    np.testing.assert_allclose(middle, [(IMAGE - 1) / 2, (IMAGE - 1) / 2, 0], atol=1e-3)
    points = load_head().landmarks478(torch.from_numpy(studio.vertices(0))[None])[0].numpy()
    eye, other, chin = in_camera(studio, 0, front, points[[33, 263, 152]])
    assert eye[0] < other[0] and chin[1] > eye[1]  # the subject's right eye on the left, upright


def test_a_turned_head_looks_as_from_a_moved_camera(light_stage: Callable) -> None:
    """A head that turns its face to the picture's left is seen as by a camera that stands to the right of it."""
    studio = light_stage(turn=0.4)
    assert view_direction(studio, 0, 12)[0] == pytest.approx(np.sin(0.4), abs=1e-6)


def test_unwrapped_texture_of_a_matte_face_is_the_same_from_everywhere(light_stage: Callable) -> None:
    """Without gloss the light that leaves a point does not depend on who looks; with gloss it does."""

    def differences(gloss: float) -> float:
        studio = light_stage(str(gloss), gloss)
        one, other = (studio.texture(0, camera, 64).astype(float) for camera in (2, 3))
        both = one.any(2) & other.any(2)
        assert both.sum() > 300
        return float(np.median(np.abs(one - other)[both]))

    assert differences(0.0) < 2.5  # of 255: noise and resampling
    assert differences(1.0) > 2 * differences(0.0)


def test_hidden_texels_are_holes(light_stage: Callable) -> None:
    """A camera on the picture's left sees the subject's right side: the texture's left half."""
    studio = light_stage()
    seen = studio.texture(0, 0, 64).any(2)[:40]
    assert seen[:, :32].sum() > 1.5 * seen[:, 32:].sum()


def test_expressions_move_the_mesh(light_stage: Callable) -> None:
    studio, head = light_stage(), load_head()
    moved = studio.vertices(1) - studio.vertices(0)
    jaw = head.shapes[head.expression][head.expression_names.index("jawOpen")].numpy()
    np.testing.assert_allclose(moved, 0.8 * jaw, atol=1e-6)


def test_textures_are_drawn_once(light_stage: Callable) -> None:
    studio = light_stage()
    first = studio.texture(0, 5, 32)
    again = open_capture(studio.folder)
    again._unwrap = None  # would fail if called
    np.testing.assert_array_equal(again.texture(0, 5, 32), first)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "studio.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="studio.npz"):
        open_capture(tmp_path)
