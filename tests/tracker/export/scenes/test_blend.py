"""FBX and Alembic as Blender reads them again: every frame has its vertices, Alembic's teeth are the track's own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import load_head
from selftrack.errors import UserError
from selftrack.tracker.export import ExportOptions, known, registry, write
from selftrack.tracker.export.gaze import eye_centres
from selftrack.tracker.export.scenes import blend
from selftrack.tracker.geometry.camera import camera_pose
from selftrack.tracker.results.track_file import Track

HEAD = load_head()
FOCAL = 900.0
RATE = 30000 / 1001
in_blender = pytest.mark.skipif(find_spec("bpy") is None, reason="no Blender: bpy is not installed")
READ = """
import sys, bpy, numpy as np
source, target, rate, *times = sys.argv[1:]
bpy.ops.wm.read_factory_settings(use_empty=True)
scene = bpy.context.scene
scene.render.fps, scene.render.fps_base = round(float(rate)), round(float(rate)) / float(rate)
if source.endswith("fbx"):
    bpy.ops.import_scene.fbx(filepath=source, anim_offset=0)
    rate = scene.render.fps  # the importer takes no notice of fps_base
else:
    bpy.ops.wm.alembic_import(filepath=source, set_frame_range=False, as_background_job=False)
(head,) = [o for o in bpy.data.objects if o.type == "MESH"]
(camera,) = [o for o in bpy.data.objects if o.type == "CAMERA"]
frames = []
for time in times:
    frame = float(time) * float(rate)
    scene.frame_set(int(frame), subframe=frame - int(frame))
    shown = head.evaluated_get(bpy.context.evaluated_depsgraph_get())
    points = np.empty(3 * len(shown.data.vertices), np.float32)
    shown.data.vertices.foreach_get("co", points)
    turned = np.array(camera.matrix_world.normalized().inverted() @ shown.matrix_world)
    frames.append(points.reshape(-1, 3) @ turned[:3, :3].T + turned[:3, 3])
keys = head.data.shape_keys.key_blocks.keys() if head.data.shape_keys else []
images = [image.size[0] for image in bpy.data.images]
lens = camera.data.lens / np.array([camera.data.sensor_width, camera.data.sensor_height])
uvs = np.empty(2 * len(head.data.loops), np.float32)
head.data.uv_layers[0].uv.foreach_get("vector", uvs)
np.savez(target, frames=frames, keys=list(keys), lens=lens, images=images, uvs=uvs.reshape(-1, 2))
"""


@pytest.fixture
def performer(make_track: Callable[..., Track]) -> Track:
    """Ten seconds into a 29.97 fps clip: a person of their own, expressions beyond 0..1, who turns and moves away."""
    rng = np.random.default_rng(3)
    times = np.arange(300, 305) / RATE
    curves = {name: rng.uniform(-0.2, 1.2, 5) for name in ARKIT_NAMES}
    place = {"f": np.linspace(6.5, 6.0, 5), "tx": np.linspace(200, 400, 5), "ty": 150.0}
    track = make_track(times, curves, rx=0.2, ry=np.linspace(-0.5, 0.5, 5), rz=0.1, **place)
    identity = rng.normal(size=60).astype(np.float32)
    z = track.z.copy()
    z[:, HEAD.identity] = identity
    return replace(track.with_codes(z), identity=identity)


def read(path: Path, track: Track, rate: float = RATE) -> dict[str, np.ndarray]:
    """What Blender shows of a file at the times of a track: vertices (T,N,3) in its camera's frame, and more."""
    target = path.with_suffix(".npz")
    command = [sys.executable, "-c", READ, str(path), str(target), str(rate), *map(str, track.times)]
    subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(np.load(target))


def placed(track: Track, shapes: np.ndarray) -> np.ndarray:
    """Heads (T,V,3) before the file's camera."""
    turn, place = camera_pose(track, FOCAL)
    return (np.einsum("tij,tvj->tvi", turn, shapes.astype(float)) + place[:, None]) * [1, -1, -1]


@in_blender
@pytest.mark.parametrize("to,suffix", [("fbx", "fbx"), ("alembic", "abc")])
def test_every_frame_has_its_vertices(
    to: str, suffix: str, performer: Track, exported: Callable, tmp_path: Path
) -> None:
    """Before the file's camera, which looks along -z; y up. Nearest vertices count: those at seams are there twice."""
    seen = read(write(performer, to, tmp_path / f"out.{suffix}", ExportOptions(focal=FOCAL)), performer)
    shapes = exported(performer) if to == "fbx" else HEAD.geometry(torch.from_numpy(performer.z)).numpy()
    expected = placed(performer, shapes)
    for ours, theirs in zip(expected, seen["frames"], strict=True):
        assert cKDTree(theirs).query(ours)[0].max() < 1e-4 > cKDTree(ours).query(theirs)[0].max()  # metres
    np.testing.assert_allclose(seen["lens"], FOCAL / np.array(performer.size), rtol=1e-4)
    if to == "fbx":
        assert set(seen["keys"]) == {"Basis", *ARKIT_NAMES} and sorted(seen["images"].tolist()) == [256, 512]
    else:  # all of it is laid out in the head's texture, teeth as well
        ours, theirs = HEAD.uvs[HEAD.uv_faces].reshape(-1, 2).numpy() * [1, -1] + [0, 1], seen["uvs"]
        assert cKDTree(theirs).query(ours)[0].max() < 1e-5 > cKDTree(ours).query(theirs)[0].max()


@in_blender
@pytest.mark.parametrize("rate", [24000 / 1001, 24, 25, 30, 50, 60000 / 1001, 60, 120])
@pytest.mark.parametrize("to,suffix", [("fbx", "fbx"), ("alembic", "abc")])
def test_at_every_rate_a_frame_stands_at_its_time(
    to: str, suffix: str, rate: float, performer: Track, exported: Callable, tmp_path: Path
) -> None:
    track = replace(performer, times=np.arange(5) / rate)
    seen = read(write(track, to, tmp_path / f"out.{suffix}", ExportOptions(focal=FOCAL)), track, rate)
    shapes = exported(track) if to == "fbx" else HEAD.geometry(torch.from_numpy(track.z)).numpy()
    expected = placed(track, shapes)
    worst = max(cKDTree(theirs).query(ours)[0].max() for ours, theirs in zip(expected, seen["frames"], strict=True))
    assert worst < 1e-4, f"{1000 * worst:.2f} mm"


PARSE = """
import bpy, json, os, sys
sys.path.append(os.path.join(bpy.utils.system_resource("SCRIPTS"), "addons_core"))
from io_scene_fbx import parse_fbx
root, _ = parse_fbx.parse(sys.argv[1])
def below(element, name):
    return [e for e in element.elems if e.id == name]
def properties(element):
    return {p.props[0].decode(): list(p.props[4:]) for block in below(element, b"Properties70") for p in block.elems}
(settings,), (objects,) = below(root, b"GlobalSettings"), below(root, b"Objects")
(mesh,) = [e for e in below(objects, b"Geometry") if e.props[2] == b"Mesh"]
curves = [{e.id.decode(): e.props[0] for e in curve.elems} for curve in below(objects, b"AnimationCurve")]
print("RESULT" + json.dumps({
    "unit": properties(settings)["UnitScaleFactor"][0],
    "up": properties(settings)["UpAxis"][0],
    "points": list(below(mesh, b"Vertices")[0].props[0]),
    "places": {model.props[1].split(b"\\0")[0].decode(): properties(model)["Lcl Translation"]
               for model in below(objects, b"Model")},
    "scales": [properties(model)["Lcl Scaling"] for model in below(objects, b"Model")],
    "times": [list(curve["KeyTime"]) for curve in curves],
    "values": [list(curve["KeyValueFloat"]) for curve in curves],
}))
"""


@in_blender
def test_fbx_by_its_own_numbers(performer: Track, tmp_path: Path) -> None:
    """Centimetres, y up, without a scale on any object; keys at the clip's times, of weights in percent and of the
    neck's place and its turn about x, y, z in that order."""
    path = write(performer, "fbx", tmp_path / "out.fbx", ExportOptions(focal=FOCAL))
    done = subprocess.run([sys.executable, "-c", PARSE, str(path)], capture_output=True, text=True, check=True)
    file = json.loads(done.stdout.split("RESULT")[1].splitlines()[0])
    assert (file["unit"], file["up"]) == (1, 1)
    points = np.array(file["points"]).reshape(-1, 3)
    rest = torch.cat([torch.from_numpy(performer.identity), torch.zeros(HEAD.size - 60)])
    neutral = HEAD.geometry(rest[None])[0].numpy() * [100, -100, -100]
    np.testing.assert_allclose(points.min(0), neutral.min(0), atol=1e-3)
    np.testing.assert_allclose(points.max(0), neutral.max(0), atol=1e-3)
    np.testing.assert_allclose(file["scales"], 1, atol=1e-5)
    times = np.array([keys for keys in file["times"] if len(keys) == 5]) / 46_186_158_000  # FBX's ticks of a second
    assert len(times) >= 52 + 6 and np.abs(times - performer.times).max() < 1e-5
    joint = -np.array(file["places"]["head"])  # of the neck, in the head's frame
    assert 1 < -joint[1] < 6 < -joint[2] < 12 and abs(joint[0]) < 1e-3, "the joint is between the ears, behind the face"
    turn, place = camera_pose(performer, FOCAL)
    flip = np.diag([1, -1, -1])
    turned = flip @ turn @ flip
    neck = place * [100, -100, -100] + turned @ joint
    angles = Rotation.from_matrix(turned).as_euler("xyz", degrees=True)
    expected = np.concatenate([100 * performer.z[:, HEAD.expression], neck, angles], axis=1)
    keyed = np.array([values for values in file["values"] if len(values) == 5])
    for values in expected.T:
        assert np.abs(keyed - values).max(axis=1).min() < 1e-2


@in_blender
def test_fbx_has_the_eyes_where_they_turn(performer: Track, tmp_path: Path) -> None:
    """In centimetres from the head's origin, all below the neck."""
    path = write(performer, "fbx", tmp_path / "out.fbx", ExportOptions(focal=FOCAL))
    done = subprocess.run([sys.executable, "-c", PARSE, str(path)], capture_output=True, text=True, check=True)
    places = json.loads(done.stdout.split("RESULT")[1].splitlines()[0])["places"]
    rest = torch.cat([torch.from_numpy(performer.identity), torch.zeros(HEAD.size - 60)])
    for name, centre in zip(("eye_left", "eye_right"), eye_centres(HEAD, rest[None]), strict=True):
        np.testing.assert_allclose(np.subtract(places[name], places["head"]), centre * [100, -100, -100], atol=1e-2)


def test_without_blender_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="format fbx needs bpy; install it with: pip install --no-deps 'bpy") as told:
        known(["fbx"])
    assert "3.11" in str(told.value) and "\n" not in str(told.value)


def test_a_blender_that_fails_is_one_line(
    monkeypatch: pytest.MonkeyPatch, make_track: Callable[..., Track], tmp_path: Path
) -> None:
    script = tmp_path / "convert.py"
    script.write_text("raise ImportError('libGL.so.1 is missing')")
    monkeypatch.setattr(blend, "SCRIPT", script)
    monkeypatch.setattr(registry, "find_spec", lambda name: True)
    with pytest.raises(UserError, match=r"could not write \.abc \(ImportError: libGL.so.1 is missing\)"):
        write(make_track([0.0, 0.04]), "alembic", tmp_path / "out.abc")
    assert not (tmp_path / "out.abc").exists()
