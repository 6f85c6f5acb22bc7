"""The head's shapes mean what ARKit's mean: lids shut, lips meet, eyes turn, left and right are mirror images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import Head, load_head
from selftrack.decoders.landmarks import LEFT_IRIS, RIGHT_IRIS

UPPER = {"Right": (161, 160, 159, 158, 157), "Left": (388, 387, 386, 385, 384)}
LOWER = {"Right": (163, 144, 145, 153, 154), "Left": (390, 373, 374, 380, 381)}
LIPS = ((80, 81, 82, 13, 312, 311, 310), (88, 178, 87, 14, 317, 402, 318))
FLIP = np.array([-1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def head() -> Head:
    return load_head()


def points(head: Head, **values: float) -> np.ndarray:
    """(478,3) millimetres."""
    z = torch.zeros(1, head.size)
    for name, value in values.items():
        z[0, head.expression.start + ARKIT_NAMES.index(name)] = value
    return 1000 * head.landmarks478(head.geometry(z))[0].numpy()


def gap(at: np.ndarray, side: str) -> np.ndarray:
    """(5,) millimetres between the lids."""
    return (at[list(LOWER[side])] - at[list(UPPER[side])])[:, 1]


@pytest.mark.parametrize("side", ["Left", "Right"])
def test_a_blink_shuts_the_lids_and_only_its_own(head: Head, side: str) -> None:
    rest, half, shut = (gap(points(head, **{f"eyeBlink{side}": v}), side) for v in (0.0, 0.5, 1.0))
    assert rest.max() > 8 and np.abs(shut).max() < 1
    assert (half > 0.35 * rest).all()  # the lids do not meet before the curve is at its end
    other = "Right" if side == "Left" else "Left"
    np.testing.assert_allclose(
        gap(points(head, **{f"eyeBlink{side}": 1.0}), other), gap(points(head), other), atol=0.05
    )


@pytest.mark.parametrize("side", ["Left", "Right"])
def test_a_look_down_lowers_the_lid_part_of_the_way(head: Head, side: str) -> None:
    rest, down = gap(points(head), side), gap(points(head, **{f"eyeLookDown{side}": 1.0}), side)
    assert (down < 0.75 * rest).all() and (down > 0.3 * rest).all()


def test_lips_meet_where_the_jaw_is_open_and_the_mouth_closed(head: Head) -> None:
    def between(at: np.ndarray) -> np.ndarray:
        return (at[list(LIPS[1])] - at[list(LIPS[0])])[:, 1]

    rest, closed = between(points(head)), between(points(head, jawOpen=1.0, mouthClose=1.0))
    assert between(points(head, jawOpen=1.0)).max() > 25
    np.testing.assert_allclose(closed, rest, atol=0.8)


def test_a_pucker_and_a_funnel_are_narrow_and_a_smile_is_wide(head: Head) -> None:
    def width(**values: float) -> float:
        at = points(head, **values)
        return float(np.linalg.norm(at[61] - at[291]))

    assert width(mouthPucker=1.0) < 0.86 * width() and width(mouthFunnel=1.0) < 0.92 * width()
    assert width(mouthSmileLeft=1.0, mouthSmileRight=1.0) > 1.25 * width()


@pytest.mark.parametrize(("side", "iris"), [("Left", LEFT_IRIS), ("Right", RIGHT_IRIS)])
def test_an_eye_turns_as_far_as_recordings_say(head: Head, side: str, iris: int) -> None:
    """The iris of a human eye lies 10.3 mm from its centre; it turns by 34 degrees sideways and 30 up or down."""
    rest = points(head)[iris]
    for way, degrees in (("Out", 34.4), ("In", 34.4), ("Up", 29.8), ("Down", 29.8)):
        moved = np.linalg.norm((points(head, **{f"eyeLook{way}{side}": 1.0})[iris] - rest)[:2])
        assert abs(moved - 10.3 * np.sin(np.radians(degrees))) < 0.6


def test_left_and_right_are_mirror_images(head: Head) -> None:
    mean, shapes = head.mean.numpy(), head.blendshapes.numpy()
    distance, mirror = cKDTree(mean).query(mean * FLIP)
    assert distance.max() < 1e-4
    for name in ARKIT_NAMES:
        if name.endswith("Left"):
            other = name.removesuffix("Left") + "Right"
            left, right = (shapes[ARKIT_NAMES.index(n)] for n in (name, other))
            np.testing.assert_allclose(left[mirror] * FLIP, right, atol=1.5e-4, err_msg=name)


def test_no_curve_of_the_face_moves_the_ears_or_the_back_of_the_head(head: Head) -> None:
    outside = head.faces[head.face_parts == head.part_names.index("head")].unique().numpy()
    back = outside[head.mean[outside, 2].numpy() > 0.06]
    mouth = [i for i, name in enumerate(ARKIT_NAMES) if name.startswith(("mouth", "brow", "cheek", "nose", "eye"))]
    assert head.blendshapes[mouth][:, back].norm(dim=2).max() < 2e-3


def test_the_head_is_level(head: Head) -> None:
    """From the root of the nose to the chin's foremost point, a face at rest is upright within a few degrees."""
    at = points(head)
    down = at[199] - at[168]
    assert abs(np.degrees(np.arctan2(down[2], down[1]))) < 6
