"""Blender itself, where it is installed as a package, runs the script and imports the .glb."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import load_head
from selftrack.tracker.export import ExportOptions, write
from selftrack.tracker.export.gaze import gaze_directions
from selftrack.tracker.geometry.camera import camera_pose
from selftrack.tracker.results.track_file import Track

pytestmark = pytest.mark.skipif(find_spec("bpy") is None, reason="no Blender: the package bpy is not installed")
HEAD = load_head()
LATER = {"eye_left": 1, "eye_right": 1, "teeth_upper": 2, "teeth_lower": 2, "mouth": 3, "tongue": 3}  # materials
ORDER = np.argsort([LATER.get(HEAD.part_names[part], 0) for part in HEAD.face_parts], kind="stable")
FACES = HEAD.faces.numpy()[ORDER]
RATE = 30000 / 1001
FOCAL = 1000.0
Z_UP = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])  # x right, y down, z away -> x right, y away, z up
FRAMES = (0, 3, 7)
RUN = """
import sys
import bpy
import numpy as np

folder, run = sys.argv[1], "exec(compile(open(path).read(), path, 'exec'), {'__name__': '__main__', '__file__': path})"
bpy.ops.wm.read_factory_settings(use_empty=True)
scene = bpy.context.scene
path = folder + "/smile_blender.py"
"""
BUILD = """
text = bpy.data.texts.load(path)
with bpy.context.temp_override(edit_text=text):
    bpy.ops.text.run_script()
head, camera = bpy.context.active_object, scene.camera
keys = head.data.shape_keys
plate = camera.data.background_images[0].clip
found = {"range": [scene.frame_start, scene.frame_end], "rate": scene.render.fps / scene.render.fps_base}
found |= {"size": [scene.render.resolution_x, scene.render.resolution_y], "plate": list(plate.size)}
found |= {"plate_start": plate.frame_start, "names": [b.name for b in keys.key_blocks[1:]]}
found["sliders"] = [(b.slider_min, b.slider_max) for b in keys.key_blocks[1:]]
found |= {"parts": [m.name for m in head.data.materials]}
for frame in (0, 3, 7):
    scene.frame_set(18000 + frame)
    drawn = head.evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = drawn.to_mesh()
    points, corners = np.zeros(3 * len(mesh.vertices)), np.zeros(len(mesh.loops), int)
    mesh.vertices.foreach_get("co", points)
    mesh.loops.foreach_get("vertex_index", corners)
    found[f"corners{frame}"] = points.reshape(-1, 3)[corners].reshape(-1, 3, 3)
    found[f"place{frame}"] = camera.matrix_world.inverted() @ drawn.matrix_world
    found[f"left{frame}"] = np.array(bpy.data.objects["eye_left"].matrix_local)
with bpy.context.temp_override(edit_text=text):
    bpy.ops.text.run_script()  # now the head is the mesh that is keyed
found["again"] = [scene.frame_start, scene.frame_end, len([o for o in bpy.data.objects if o.type == "MESH"])]
np.savez(folder + "/found.npz", angle=camera.data.angle_y, **found)
"""
NEW_FILE = """
bpy.ops.wm.read_homefile(use_factory_startup=True, load_ui=False)
exec(run)
scene = bpy.context.scene
where, depsgraph = scene.camera.matrix_world, bpy.context.evaluated_depsgraph_get()
seen = scene.ray_cast(depsgraph, where.translation, -where.col[2].to_3d())[4]
np.savez(folder + "/found.npz", seen=seen.name if seen else "")
"""
RIG = """
scene.render.fps, scene.render.fps_base = 25, 1
bones = bpy.data.armatures.new("bones")
rig = bpy.data.objects.new("rig", bones)
scene.collection.objects.link(rig)
bpy.context.view_layer.objects.active = rig
bpy.ops.object.mode_set(mode="EDIT")
skull = bones.edit_bones.new("head")
skull.head, skull.tail, skull.roll = (0, 0, 1.5), (0, 0.02, 1.7), 0.4
eye = bones.edit_bones.new("eye.L")
eye.head, eye.tail, eye.roll, eye.parent = (0.03, -0.06, 1.6), (0.03, -0.1, 1.61), -0.7, skull
bpy.ops.object.mode_set(mode="OBJECT")
bpy.ops.mesh.primitive_cube_add()
cube = bpy.context.active_object
for name in ("Basis", "JawOpen", "eyeBlinkLeft"):
    cube.shape_key_add(name=name)
for _ in range(2):  # a second run replaces
    exec(run)
found = {}
for frame in (0, 3, 7):
    at = (18000 + frame) * 25 * 1.001 / 30
    scene.frame_set(int(at), subframe=at % 1)
    found[f"jaw{frame}"] = cube.data.shape_keys.key_blocks["JawOpen"].value
    for bone in ("head", "eye.L"):
        turned = rig.pose.bones[bone]
        found[f"{bone}{frame}"] = np.array((turned.matrix @ turned.bone.matrix_local.inverted()).to_3x3())
np.savez(folder + "/found.npz", **found)
"""


@pytest.fixture
def performer(make_track: Callable[..., Track], smile: Path) -> Track:
    """Ten minutes into a 29.97 fps clip; everything moves, some of it below 0 as in a track of an earlier version."""
    rng = np.random.default_rng(2)
    curves = {name: rng.random(8) for name in ARKIT_NAMES} | {"cheekPuff": np.linspace(0.2, -0.3, 8)}
    for name in ("eyeLookUpLeft", "eyeLookOutLeft"):
        curves[name] = np.linspace(0, 0.6, 8)
    pose = {"rx": np.linspace(0, 0.3, 8), "ry": np.linspace(0, -0.9, 8), "rz": 0.1, "tx": np.linspace(250, 400, 8)}
    return replace(make_track(np.arange(18_000, 18_008) / RATE, curves, **pose), clip=str(smile))


def blender(program: str, folder: Path) -> dict[str, np.ndarray]:
    done = subprocess.run(
        [sys.executable, "-c", RUN + program, str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with np.load(folder / "found.npz") as found:
        return dict(found)


def test_the_scene_is_what_was_filmed(performer: Track, exported: Callable, tmp_path: Path) -> None:
    """Evaluated vertices of several frames are the track's to 0.1 mm, on the screen to 0.05 pixels."""
    for to, name in {"glb": "smile.glb", "blender": "smile_blender.py"}.items():
        write(performer, to, tmp_path / name, ExportOptions(focal=FOCAL))
    found = blender(BUILD, tmp_path)
    assert list(found["range"]) == [18_000, 18_007] and found["rate"] == pytest.approx(RATE)
    assert list(found["again"]) == [18_000, 18_007, 1]
    assert list(found["size"]) == list(found["plate"]) == list(performer.size) and found["plate_start"] == 0
    assert tuple(found["names"]) == ARKIT_NAMES and set(found["parts"]) == {"skin", "eyes", "teeth", "mouth"}
    weights = performer.z[:, HEAD.expression]
    assert (found["sliders"][:, 0] <= weights.min(0)).all() and (found["sliders"][:, 1] >= weights.max(0)).all()
    assert 180 / np.tan(found["angle"] / 2) == pytest.approx(FOCAL, rel=1e-5)
    rotation, translation = camera_pose(performer, FOCAL)
    gaze = gaze_directions(performer)
    for frame in FRAMES:
        points = exported(performer)[frame].astype(float)
        corners = found[f"corners{frame}"]
        np.testing.assert_allclose(corners, (points @ Z_UP.T)[FACES], atol=1e-4)  # metres
        place = found[f"place{frame}"]
        filmed = corners @ place[:3, :3].T + place[:3, 3]  # x right, y up, z to the viewer
        ours = (points @ rotation[frame].T + translation[frame])[FACES]
        np.testing.assert_allclose(filmed, ours * (1, -1, -1), atol=1e-4)
        np.testing.assert_allclose(
            filmed[..., :2] * (1, -1) / -filmed[..., 2:] * FOCAL, ours[..., :2] / ours[..., 2:] * FOCAL, atol=0.05
        )
        np.testing.assert_allclose(found[f"left{frame}"][:3, :3] @ [0, -1, 0], Z_UP @ gaze[frame, 0], atol=1e-5)


def test_bones_of_a_rig_turn_like_head_and_eye(performer: Track, tmp_path: Path) -> None:
    """Whatever axes they have, and the eye on top of the head."""
    path = write(performer, "blender", tmp_path / "smile_blender.py", ExportOptions(focal=FOCAL))
    named = {'HEAD = ""': 'HEAD = "rig/head"', 'EYES = ("", "")': 'EYES = ("rig/eye.L", "")'}
    text = path.read_text()
    for empty, name in named.items():
        text = text.replace(empty, name)
    path.write_text(text)
    found = blender(RIG, tmp_path)
    rotation, _ = camera_pose(performer, FOCAL)
    gaze = gaze_directions(performer)
    for frame in FRAMES:
        assert found[f"jaw{frame}"] == pytest.approx(performer.curves()["jawOpen"][frame], abs=2e-3)
        turned = Z_UP @ rotation[frame] @ Z_UP.T
        np.testing.assert_allclose(found[f"head{frame}"], turned, atol=2e-3)
        np.testing.assert_allclose(found[f"eye.L{frame}"] @ [0, -1, 0], turned @ Z_UP @ gaze[frame, 0], atol=3e-3)


def test_in_a_new_file_the_camera_sees_the_head(make_track: Callable[..., Track], smile: Path, tmp_path: Path) -> None:
    """And not the cube that stands there."""
    still = replace(make_track(np.arange(2) / RATE, {}, tx=320.0, ty=180.0), clip=str(smile))  # in the middle
    for to, name in {"glb": "smile.glb", "blender": "smile_blender.py"}.items():
        write(still, to, tmp_path / name, ExportOptions(focal=FOCAL))
    assert str(blender(NEW_FILE, tmp_path)["seen"]) == "head"
