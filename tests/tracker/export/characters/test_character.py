"""The curves and the .glb of a character of the user's own, read back without the writer's code."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pygltflib
import pytest
from scipy.spatial.transform import Rotation

from selftrack.cli import export as command
from selftrack.cli import track as tracking
from selftrack.command import run
from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import load_head
from selftrack.decoders.rigs.character import Character, Places
from selftrack.decoders.rigs.gltf import AXES
from selftrack.decoders.rigs.rebuilt import shaped_glb
from selftrack.tracker.characters.placing import head_mesh, in_head_frame
from selftrack.tracker.export import ExportOptions, export, known, write
from selftrack.tracker.geometry.camera import camera_pose, focal_length
from selftrack.tracker.results.track_file import Track

HEAD = load_head()
NAMES = ("CTRL_jawOpen", "eyeBlink_L", "fold")
UNITS = 20.0  # of the file, in a metre; it looks along x
TURN = Rotation.from_euler("y", 90, degrees=True).as_matrix()
MakeTrack = Callable[..., Track]


def rewritten(source: bytes, change: Callable[[pygltflib.GLTF2], None]) -> bytes:
    """The .glb after a change of its document."""
    document = pygltflib.GLTF2.load_from_bytes(source)
    change(document)
    return b"".join(document.save_to_bytes())


def with_eyes_and_extras(document: pygltflib.GLTF2) -> None:
    """A second mesh with two of the names in another order, and things that no export of ours knows."""
    first = document.meshes[0]
    second = pygltflib.Mesh(name="lashes", extras={"targetNames": [NAMES[1], NAMES[0]]})
    second.primitives = [replace(first.primitives[0], targets=first.primitives[0].targets[1::-1])]
    document.meshes.append(second)
    document.nodes.append(pygltflib.Node(name="lashes", mesh=1, scale=[2, 2, 2], translation=[1, 0, 0]))
    document.nodes.append(pygltflib.Node(name="lamp", translation=[5, 5, 5], extras={"watts": 60}))
    document.scenes[0].nodes += [1, 2]
    document.asset.copyright = "somebody"


@pytest.fixture
def hero() -> Character:
    """The bundled head, smaller and turned, with two of ARKit's shapes, and one that stays at 0."""
    mesh, points = head_mesh(HEAD), HEAD.landmarks478
    rows = [ARKIT_NAMES.index(name) for name in ("jawOpen", "eyeBlinkLeft", "mouthPucker")]
    mesh = replace(mesh, names=NAMES, deltas=mesh.deltas[rows])
    there = np.eye(4)
    there[:3, :3], there[:3, 3] = UNITS * TURN, [1, 2, 3]
    source = rewritten(shaped_glb(in_head_frame(mesh, there)), with_eyes_and_extras)
    places = Places(points.triangles.numpy(), points.weights.double().numpy())
    to_head = np.linalg.inv(there) @ np.diag([*AXES, 1])
    follows = {"CTRL_jawOpen": "jawOpen", "eyeBlink_L": "eyeBlinkLeft"}
    return Character(mesh, places, follows, (), to_head, source, "hero.glb", "", "", 1.0)


@pytest.fixture
def take(make_track: MakeTrack) -> Track:
    """Five frames that talk and nod."""
    curves = {"jawOpen": np.linspace(0, 0.8, 5), "eyeBlinkLeft": 0.5}
    return make_track(np.arange(5) / 25, curves, ry=np.linspace(0, 0.4, 5), rx=0.1)


@pytest.fixture
def rig(hero: Character, tmp_path: Path) -> Path:
    hero.save(tmp_path / "hero.rig")
    return tmp_path / "hero.rig"


def numbers(document: pygltflib.GLTF2, index: int) -> np.ndarray:
    """The floats (N,W) of an accessor, as the specification says."""
    accessor = document.accessors[index]
    view = document.bufferViews[accessor.bufferView]
    width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor.type]
    blob = document.binary_blob()[view.byteOffset : view.byteOffset + view.byteLength]
    return np.frombuffer(blob, "<f4").reshape(-1, width)


def channels(document: pygltflib.GLTF2) -> dict[tuple[str, str], np.ndarray]:
    """Values of the last animation by node and path; its times are checked."""
    animation, out = document.animations[-1], {}
    for channel in animation.channels:
        sampler = animation.samplers[channel.sampler]
        np.testing.assert_allclose(numbers(document, sampler.input)[:, 0], np.arange(5) / 25, atol=1e-6)
        out[document.nodes[channel.target.node].name, channel.target.path] = numbers(document, sampler.output)
    return out


def test_the_csv_has_the_rigs_own_names(take: Track, rig: Path, tmp_path: Path) -> None:
    take.save(tmp_path)
    path = export(tmp_path, "character-csv", options=ExportOptions(character=rig))
    rows = list(csv.reader(path.open()))
    assert path.name == "character.csv" and rows[0] == ["time", *NAMES]
    values = np.array(rows[1:], float)
    np.testing.assert_allclose(values[:, 0], take.times)
    np.testing.assert_allclose(values[:, 1], take.curves()["jawOpen"], atol=1e-5)
    np.testing.assert_allclose(values[:, 2:], [[0.5, 0]] * 5, atol=1e-5)


def test_weights_are_keyed_on_every_mesh_by_its_own_names(take: Track, rig: Path, tmp_path: Path) -> None:
    path = write(take, "character-glb", tmp_path / "out.glb", ExportOptions(character=rig))
    found = channels(pygltflib.GLTF2().load(str(path)))
    jaw, blink = take.curves()["jawOpen"], np.full(5, 0.5)
    np.testing.assert_allclose(found["character", "weights"].reshape(5, 3), np.stack([jaw, blink, 0 * jaw], 1))
    np.testing.assert_allclose(found["lashes", "weights"].reshape(5, 2), np.stack([blink, jaw], 1))


def test_the_head_turns_as_the_tracks(take: Track, hero: Character, rig: Path, tmp_path: Path) -> None:
    """Vertices of both meshes, brought to the head frame, turn about one point as the track's head does."""
    path = write(take, "character-glb", tmp_path / "out.glb", ExportOptions(character=rig))
    document = pygltflib.GLTF2().load(str(path))
    found, turns = channels(document), camera_pose(take, focal_length(take))[0]
    points = np.random.default_rng(0).normal(size=(6, 3))
    assert not any(name == "lamp" for name, _ in found)
    for name in ("character", "lashes"):
        node = next(node for node in document.nodes if node.name == name)
        scale = np.array(node.scale or [1, 1, 1])
        rest = points * scale + np.array(node.translation or [0, 0, 0])
        for frame in range(5):
            turned = Rotation.from_quat(found[name, "rotation"][frame]).apply(points * scale)
            turned = turned + found[name, "translation"][frame]
            a, b = (p @ hero.to_head[:3, :3].T + hero.to_head[:3, 3] for p in (rest, turned))
            pivot = hero.places(hero.mesh.neutral).mean(0)
            np.testing.assert_allclose(b - pivot, (a - pivot) @ turns[frame].T, atol=1e-5)


def test_a_joint_called_head_turns_alone(take: Track, hero: Character, tmp_path: Path) -> None:
    def joints(document: pygltflib.GLTF2) -> None:
        document.nodes += [
            pygltflib.Node(name="spine", children=[4], translation=[0, 1, 0]),
            pygltflib.Node(name="mixamorig:Head", matrix=[1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 2, 0, 1]),
        ]
        document.skins.append(pygltflib.Skin(joints=[3, 4]))
        document.scenes[0].nodes.append(3)

    jointed = replace(hero, source=rewritten(hero.source, joints))
    jointed.save(tmp_path / "jointed.rig")
    options = ExportOptions(character=tmp_path / "jointed.rig")
    document = pygltflib.GLTF2().load(str(write(take, "character-glb", tmp_path / "out.glb", options)))
    found = channels(document)
    assert {name for name, path in found if path == "rotation"} == {"mixamorig:Head"}
    assert document.nodes[4].matrix is None and document.nodes[4].translation == [0, 2, 0]
    np.testing.assert_allclose(found["mixamorig:Head", "translation"], [[0, 2, 0]] * 5, atol=1e-6)


def test_everything_else_in_the_file_stays(take: Track, hero: Character, rig: Path, tmp_path: Path) -> None:
    path = write(take, "character-glb", tmp_path / "out.glb", ExportOptions(character=rig))
    before, after = pygltflib.GLTF2.load_from_bytes(hero.source), pygltflib.GLTF2().load(str(path))
    one, other = (json.loads(document.to_json()) for document in (before, after))
    for name in set(one) - {"buffers", "animations"}:
        if isinstance(one[name], list):
            assert other[name][: len(one[name])] == one[name], name
        else:
            assert other[name] == one[name], name
    assert after.binary_blob()[: len(before.binary_blob())] == before.binary_blob()
    assert after.nodes[2].extras == {"watts": 60} and len(after.animations) == 1


Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Typed:
    """`typed(track=["clip.mp4"])` -> exit status, stdout and stderr of the command."""

    def type_in(**given: list[object]) -> tuple[int, str, str]:
        ((name, arguments),) = given.items()
        function = {"track": tracking.track, "export": command.export}[name]
        with pytest.raises(SystemExit) as stop:
            run(name, None, [str(one) for one in arguments], **{name: function})
        return stop.value.code or 0, *capsys.readouterr()

    return type_in


def test_character_is_both_files(take: Track, rig: Path, tmp_path: Path, typed: Typed) -> None:
    assert known(["character"]) == ("character-csv", "character-glb")
    take.save(tmp_path)
    status, out, _ = typed(export=[tmp_path, "--to", "character", "--character", rig])
    assert status == 0 and out.split() == [str(tmp_path / f"character.{kind}") for kind in ("csv", "glb")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["csv", "--character", "RIG"], "--character is for --to character; leave it out"),
        (["character"], "format character-csv needs --character RIG"),
        (["character", "--character", "none.rig"], "none.rig: no such file; make it with: track-rig add"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(
    take: Track, rig: Path, tmp_path: Path, typed: Typed, arguments: list[str], words: str
) -> None:
    take.save(tmp_path)
    status, out, err = typed(export=[tmp_path, "--to", *(rig if one == "RIG" else one for one in arguments)])
    assert status == 2 and out == "" and words in err and len(err.splitlines()) == 1
    assert not list(tmp_path.glob("character.*"))


def test_track_needs_the_character_itself(rig: Path, typed: Typed) -> None:
    status, _, err = typed(track=[rig, "--export", "character"])
    assert status == 2 and "--export character needs --character RIG" in err and len(err.splitlines()) == 1


def test_khronos_validator_finds_nothing_new(take: Track, hero: Character, rig: Path, tmp_path: Path) -> None:
    """`npm install gltf-validator` somewhere, and NODE_PATH=somewhere/node_modules."""
    node = shutil.which("node")
    if not node or subprocess.run([node, "-e", "require.resolve('gltf-validator')"], capture_output=True).returncode:
        pytest.skip("no node with the npm package gltf-validator on NODE_PATH")
    (tmp_path / "in.glb").write_bytes(hero.source)
    script = (
        "require('gltf-validator').validateBytes(new Uint8Array(require('fs').readFileSync(process.argv[1])))"
        ".then(report => console.log(JSON.stringify(report.issues)))"
    )
    paths = [tmp_path / "in.glb", write(take, "character-glb", tmp_path / "out.glb", ExportOptions(character=rig))]
    done = [subprocess.run([node, "-e", script, str(path)], capture_output=True, text=True) for path in paths]
    before, after = (json.loads(one.stdout) for one in done)
    assert (after["numErrors"], after["numWarnings"]) == (before["numErrors"], before["numWarnings"]), after["messages"]
