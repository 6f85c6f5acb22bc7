"""ICT-FaceKit's file, read as a rig."""

from pathlib import Path

import numpy as np
import pytest

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import load_head
from selftrack.errors import UserError
from selftrack.synthetic.rigs.ict import read_ict
from selftrack.synthetic.rigs.rig import GAZE, IRIS_RADIUS, gaze_rotation

HEAD = load_head()


def curves(**values: float) -> np.ndarray:
    row = np.zeros(52)
    for name, value in values.items():
        row[ARKIT_NAMES.index(name)] = value
    return row


def test_axes_units_and_names(ict: Path) -> None:
    rig = read_ict(ict, HEAD)
    np.testing.assert_allclose(rig.neutral, HEAD.mean.numpy(), atol=1e-6)
    for name in ("jawOpen", "browInnerUp", "mouthSmileLeft"):
        i = ARKIT_NAMES.index(name)
        np.testing.assert_allclose(rig.shapes[i], HEAD.blendshapes[i].numpy(), atol=1e-6)
    known = {name for name, known in zip(ARKIT_NAMES, rig.known, strict=True) if known}
    assert known == {"jawOpen", "browInnerUp", "mouthSmileLeft"} | {n for n in ARKIT_NAMES if n.startswith("eyeLook")}


def test_vertices_are_linear_and_people_differ(ict: Path) -> None:
    rig = read_ict(ict, HEAD)
    both = rig.vertices(curves(jawOpen=0.5, mouthSmileLeft=1))
    skin = np.unique(rig.faces[rig.skin])
    expected = (
        rig.neutral + 0.5 * rig.shapes[ARKIT_NAMES.index("jawOpen")] + rig.shapes[ARKIT_NAMES.index("mouthSmileLeft")]
    )
    np.testing.assert_allclose(both[skin], expected[skin])
    person = rig.person(np.array([1.0, -1.0, 0.0]))
    np.testing.assert_allclose(person.neutral - rig.neutral, rig.identity[0] - rig.identity[1], atol=1e-7)


def test_skin_is_textured_as_the_heads(ict: Path) -> None:
    """The rig is the head itself here: each corner's texture coordinate is the head's own, but for seams."""
    rig = read_ict(ict, HEAD)
    own = HEAD.uvs.numpy()[HEAD.uv_faces.numpy()]
    front = HEAD.skin_faces.numpy()
    apart = np.abs(rig.corners[: len(own)] - own).max((1, 2))[front]
    assert np.median(apart) < 0.006 and np.quantile(apart, 0.9) < 0.04


@pytest.mark.parametrize("side,sign", [("Left", 1), ("Right", -1)])
def test_eyes_turn_the_way_their_curves_say(ict: Path, side: str, sign: int) -> None:
    rig = read_ict(ict, HEAD)
    eye = next(e for e in rig.eyes if e.side == side)
    front = eye.vertices[rig.neutral[eye.vertices, 2].argmin()]
    for way, axis, direction in (("Out", 0, sign), ("In", 0, -sign), ("Up", 1, -1), ("Down", 1, 1)):
        moved = (rig.vertices(curves(**{f"eyeLook{way}{side}": 1})) - rig.neutral)[front]
        expected = IRIS_RADIUS * np.sin(GAZE[way])
        assert moved[axis] * direction == pytest.approx(expected, rel=0.15)
        other = next(e for e in rig.eyes if e.side != side)
        still = (rig.vertices(curves(**{f"eyeLook{way}{side}": 1})) - rig.neutral)[other.vertices]
        assert np.abs(still).max() < 1e-9


def test_a_gaze_is_a_rotation_by_its_angle() -> None:
    turn = gaze_rotation(curves(eyeLookOutLeft=0.5), "Left")
    look = turn @ np.array([0.0, 0.0, -1.0])
    assert np.degrees(np.arctan2(look[0], -look[2])) == pytest.approx(
        np.degrees(0.5 * GAZE["Out"])
    )  # to the image's right


def test_other_files_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"nothing")
    np.savez(tmp_path / "b.npz", neutral=np.zeros((3, 3)))
    for name in ("a.npz", "b.npz", "none.npz"):
        with pytest.raises(UserError, match=f"{name}: not ICT-FaceKit"):
            read_ict(tmp_path / name, HEAD)
