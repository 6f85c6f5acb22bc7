"""The head against anatomy: axes, sides, units, and what each expression must move."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import ASSET, Head, load_head

LEFT_IRIS, RIGHT_IRIS = 473, 468  # the subject's own sides; the left is on the image's right
LIDS = {"Left": (386, 374), "Right": (159, 145)}


@pytest.fixture(scope="module")
def head() -> Head:
    return load_head()


def with_expression(head: Head, **values: float) -> Tensor:
    z = torch.zeros(1, head.size)
    for name, value in values.items():
        z[0, head.expression.start + ARKIT_NAMES.index(name)] = value
    return z


def landmarks(head: Head, **values: float) -> Tensor:
    return head.landmarks478(head.geometry(with_expression(head, **values)))[0]


def test_shapes(head: Head) -> None:
    decoded = head(torch.randn(2, 128))
    assert decoded.vertices.shape == (2, len(head.mean), 3)
    assert decoded.texture.shape[:2] == (2, 3) and decoded.texture.min() >= 0 and decoded.texture.max() <= 1
    assert head.faces.max() < len(head.mean) and head.uv_faces.max() < len(head.uvs)
    assert head.uvs.min() >= 0 and head.uvs.max() <= 1
    assert (head.identity.stop, head.expression.stop, head.appearance.stop) == (60, 112, 128)


def test_names_are_arkits() -> None:
    assert len(set(ARKIT_NAMES)) == 52
    assert ARKIT_NAMES[0] == "eyeBlinkLeft" and ARKIT_NAMES[-1] == "tongueOut"
    assert sum(n.endswith("Left") for n in ARKIT_NAMES) == sum(n.endswith("Right") for n in ARKIT_NAMES) == 20


def test_linear(head: Head) -> None:
    a, b = torch.randn(1, 128), torch.randn(1, 128)
    rest = head.geometry(torch.zeros(1, 128))
    together = head.geometry(a + b) - rest
    apart = (head.geometry(a) - rest) + (head.geometry(b) - rest)
    assert torch.allclose(together, apart, atol=1e-5)


def test_axes_and_units(head: Head) -> None:
    p = landmarks(head)
    assert p[1, 2] < p[234, 2] and p[1, 2] < p[454, 2]  # the nose tip is nearer to the camera than the cheeks
    assert p[10, 1] < p[1, 1] < p[152, 1]  # forehead above nose above chin, y down
    assert p[33, 0] < 0 < p[263, 0]
    assert 0.075 < (p[33] - p[263]).norm() < 0.11  # outer eye corners, metres
    assert p[:, 0].mean().abs() < 0.003


def test_landmarks_lie_on_the_surface_and_mirror(head: Head) -> None:
    assert torch.allclose(head.landmarks478.weights.sum(1), torch.ones(478), atol=1e-5)
    assert (head.landmarks478.weights >= -1e-6).all()
    p = landmarks(head)
    for right, left in ((33, 263), (133, 362), (61, 291), (234, 454), (70, 300), (468, 473)):
        mirrored = p[left] * torch.tensor([-1.0, 1.0, 1.0])
        assert (p[right] - mirrored).norm() < 0.007
    assert head.landmarks68(head.mean[None]).shape == (1, 68, 3)


@pytest.mark.parametrize("side", ["Left", "Right"])
def test_blink_closes_its_own_eye(head: Head, side: str) -> None:
    other = "Right" if side == "Left" else "Left"
    rest, shut = landmarks(head), landmarks(head, **{f"eyeBlink{side}": 1.0})

    def opening(p: Tensor, which: str) -> Tensor:
        upper, lower = LIDS[which]
        return p[lower, 1] - p[upper, 1]

    assert abs(opening(shut, side)) < 0.1 * opening(rest, side)  # nothing of the eye may be left to see
    assert torch.isclose(opening(shut, other), opening(rest, other), atol=2e-4)


def test_eyes_look_where_they_are_told(head: Head) -> None:
    rest = landmarks(head)

    def moved(iris: int, name: str) -> Tensor:
        return landmarks(head, **{name: 1.0})[iris] - rest[iris]

    assert moved(LEFT_IRIS, "eyeLookUpLeft")[1] < -0.001
    assert moved(LEFT_IRIS, "eyeLookDownLeft")[1] > 0.001
    assert moved(LEFT_IRIS, "eyeLookOutLeft")[0] > 0.002  # the subject's left is the image's right
    assert moved(LEFT_IRIS, "eyeLookInLeft")[0] < -0.002
    assert moved(RIGHT_IRIS, "eyeLookOutRight")[0] < -0.002
    assert moved(RIGHT_IRIS, "eyeLookInLeft").norm() < 2e-4


def test_jaw_takes_lower_teeth_and_tongue_along(head: Head) -> None:
    rest, open_ = (head.geometry(with_expression(head, jawOpen=v))[0] for v in (0.0, 1.0))
    drop = (open_ - rest)[:, 1]

    def part(name: str) -> Tensor:
        return drop[head.faces[head.face_parts == head.part_names.index(name)].unique()]

    assert part("teeth_lower").min() > 0.003
    assert part("teeth_upper").abs().max() < 2e-4
    assert part("tongue").mean() > 0.003
    assert landmarks(head, jawOpen=1.0)[152, 1] - landmarks(head)[152, 1] > 0.01


def test_a_head_with_the_codes_of_an_earlier_one_has_its_hash(tmp_path: Path) -> None:
    """Else neither its networks nor tracks that were made with it would be read."""
    with np.load(ASSET) as data:
        arrays = {name: data[name] for name in data.files if name != "codes"}
    np.savez(tmp_path / "own.npz", **arrays)
    np.savez(tmp_path / "same.npz", **arrays, codes=np.array("0123456789abcdef"))
    assert Head(tmp_path / "same.npz").hash == "0123456789abcdef"
    assert Head(tmp_path / "own.npz").hash == hashlib.sha256((tmp_path / "own.npz").read_bytes()).hexdigest()[:16]


def test_smile_and_jaw_sides(head: Head) -> None:
    rest = landmarks(head)
    smile = landmarks(head, mouthSmileLeft=1.0) - rest
    assert smile[291].norm() > 3 * smile[61].norm()  # 291 is the corner on the subject's left
    assert smile[291, 0] > 0 and smile[291, 1] < 0
    assert (landmarks(head, jawLeft=1.0) - rest)[152, 0] > 0.003


def test_skin_is_skin(head: Head) -> None:
    parts = {head.part_names[i] for i in head.face_parts[head.skin_faces].tolist()}
    assert parts == {"head"}
    eyes = head.faces[head.face_parts == head.part_names.index("eye_left")].unique()
    assert not head.skin_vertices[eyes].any()
    assert 0.3 < head.skin_texels.float().mean() < 0.9


def test_skin_tone_changes_the_skin(head: Head) -> None:
    z = torch.zeros(2, 128)
    z[1, head.appearance.start] = 1.0
    a, b = head.colour(z)
    assert (a - b).abs()[:, head.skin_texels].mean() > 0.01


def test_what_is_done_to_one_head_is_not_done_to_another() -> None:
    one, other = load_head(), load_head()
    one.mean.add_(1)
    assert torch.equal(other.mean, load_head().mean) and not torch.equal(one.mean, other.mean)
