"""Characters from files: where the face is on them, by what they move, and files that are of no use."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from selftrack.cli import rig as command
from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import load_head
from selftrack.decoders.rigs.character import Character
from selftrack.decoders.rigs.shaped import ShapedMesh
from selftrack.errors import UserError
from selftrack.synthetic.expressions import sample_expression
from selftrack.tracker.characters.adding import add_character, choose, lacking
from selftrack.tracker.characters.fit import drive, unseen
from selftrack.tracker.characters.placing import INNER
from selftrack.tracker.characters.similarity import moved, similarity

HEAD = load_head()
POINTS = HEAD.landmarks478(HEAD.mean[None])[0].double().numpy()
WriteGlb = Callable[..., Path]


def test_units_and_axes_are_found(hero: Character) -> None:
    """The points lie where they do on the head that it was made of, to a fraction of a millimetre."""
    points = hero.places(hero.mesh.neutral)[INNER]
    np.testing.assert_allclose(points, POINTS[INNER], atol=0.004)
    off = np.linalg.norm(moved(points, similarity(points, POINTS[INNER])) - POINTS[INNER], axis=1)
    assert off.mean() < 0.0006 and hero.error < 3


def test_names_that_say_nothing_come_back_as_our_own_curves(hero: Character, order: list[int]) -> None:
    """The shapes are the head's own in another order: weights are its curves. The tongue does not move the points."""
    rng = np.random.default_rng(0)
    values = np.stack([sample_expression(rng) for _ in range(40)]).astype(float)
    moves = np.repeat(values, 6, axis=0)  # each is held, as the cost of changes asks for
    weights = drive(hero, dict(zip(ARKIT_NAMES, moves.T, strict=True)), HEAD)[3::6]
    off = np.abs(weights - values[:, order])
    told = np.array([ARKIT_NAMES[row] != "tongueOut" for row in order])
    assert unseen(hero) == (f"s{ARKIT_NAMES.index('tongueOut'):02d}",)
    assert off[:, told].mean(0).max() < 0.02, "each curve"
    assert (off[:, told] < 0.02).mean() > 0.95


def test_a_character_is_kept(hero: Character, tmp_path: Path) -> None:
    hero.save(tmp_path / "hero.rig")
    read = Character.load(tmp_path / "hero.rig")
    assert (read.fitted, read.source, read.licence) == (hero.fitted, hero.source, "CC0")
    np.testing.assert_array_equal(read.mesh.deltas, hero.mesh.deltas)
    np.testing.assert_array_equal(read.places.corners, hero.places.corners)
    (tmp_path / "other.rig").write_bytes(b"something else")
    with pytest.raises(UserError, match="other.rig: not a character of track-rig"):
        Character.load(tmp_path / "other.rig")
    with pytest.raises(UserError, match="none.rig: no such file; make it with: track-rig add"):
        Character.load(tmp_path / "none.rig")


@pytest.mark.parametrize(
    ("names", "follows", "fitted"),
    [
        (("CTRL_jawOpen", "blendShape1.eyeBlink_L", "fold"), {"CTRL_jawOpen": "jawOpen"}, ()),
        (("a", "b", "jawOpen"), {}, ("a", "b", "jawOpen")),
    ],
)
def test_names_of_arkit_are_followed_where_they_are_most(
    names: tuple[str, ...], follows: dict[str, str], fitted: tuple[str, ...], hero: Character
) -> None:
    followed, rest = choose(names, {})
    assert follows.items() <= followed.items() and rest == fitted
    assert (
        "tongueOut"
        in lacking(
            replace(
                hero, mesh=replace(hero.mesh, names=names, deltas=hero.mesh.deltas[:3]), follows=followed, fitted=rest
            )
        )
    ) == bool(follows)
    assert choose(names, {names[0]: "tongueOut", names[1]: None})[0][names[0]] == "tongueOut"
    assert names[1] not in choose(names, {names[1]: None})[1]
    with pytest.raises(UserError, match="--names: there is no shape 'x'"):
        choose(names, {"x": "jawOpen"})
    with pytest.raises(UserError, match="'jawopen', which is no curve"):
        choose(names, {names[0]: "jawopen"})


def test_a_cube_is_no_face(write_glb: WriteGlb) -> None:
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
    faces = np.array([[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6]])
    yes, no = np.ones(len(faces), bool), np.zeros(len(faces), bool)
    deltas = np.zeros((1, 8, 3), np.float32)
    deltas[0, 0] = 1
    grey = np.full((4, 4, 3), 120, np.uint8)
    cube = ShapedMesh(corners, faces, ("up",), deltas, np.full((len(faces), 3, 2), 0.5), yes, no, no, grey)
    with pytest.raises(UserError, match="hero.glb: no face is seen on it from any side"):
        add_character(write_glb(cube))
    with pytest.raises(UserError, match="hero.glb: has no morph targets that move anything"):
        add_character(write_glb(replace(cube, deltas=0 * deltas)))


def test_what_is_no_character_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.glb").write_bytes(b"glTF\x02\0\0\0 but not really")
    (tmp_path / "hero.fbx").write_bytes(b"Kaydara")
    (tmp_path / "shapes").mkdir()
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n")
    (tmp_path / "names.json").write_text(json.dumps(["jawOpen"]))
    out = ["-o", str(tmp_path / "out.rig")]
    for arguments, message in (
        ([str(tmp_path / "broken.glb"), *out], "broken.glb: not a glTF file"),
        ([str(tmp_path / "none.glb"), *out], "none.glb: no such file"),
        ([str(tmp_path / "hero.fbx"), *out], "hero.fbx: is no .glb"),
        ([str(tmp_path / "shapes"), *out], "shapes: has no neutral.obj"),
        ([str(tmp_path / "broken.glb"), "-o", "hero.zip"], "hero.zip: a character is a .rig file"),
        (
            [str(tmp_path / "broken.glb"), *out, "--names", str(tmp_path / "names.json")],
            "must hold curves by",
        ),
        (
            [str(tmp_path / "broken.glb"), *out, "--names", str(tmp_path / "broken.glb")],
            "it must hold curves by the names of shapes",
        ),
        ([str(tmp_path / "broken.glb"), *out, "--names", "none.json"], "none.json: cannot be read as JSON (No such"),
        ([str(tmp_path / "broken.glb"), *out, "--licence", "none.txt"], "none.txt: cannot be read as text (No such"),
        (
            [str(tmp_path / "broken.glb"), *out, "--licence", str(tmp_path / "picture.png")],
            "name a file of plain text",
        ),
    ):
        with pytest.raises(SystemExit) as ended:
            command.run("track-rig", None, ["add", *arguments], add=command.add, show=command.show)
        error = capsys.readouterr().err
        assert ended.value.code == 2 and message in error and error.count("\n") == 1
    assert not (tmp_path / "out.rig").exists()
