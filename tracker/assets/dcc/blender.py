"""Brings a tracked performance into Blender: onto a rig with ARKit's shape keys, or as the scene that was filmed.

Open this file in Blender's Scripting workspace and press Run. With a mesh with shape keys selected, that is keyed. Else
the scene is built from the .glb beside this file: head, camera, clip, frame rate, range and resolution. Keys stand at
their own times in seconds, at whatever frame rate the scene has. Running it again replaces the keys.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import bpy

MESH = ""  # name of the mesh object to be keyed; empty: the active object, if it has shape keys
HEAD = ""  # name of an object, such as an empty, or ARMATURE/BONE, to be turned like the head; empty: none
EYES = ("", "")  # the same for the subject's left and right eye, below what is turned like the head
GLB = ""  # path of the .glb to build the scene from; empty: the one beside this file
FIRST_FRAME = 0  # where the clip's time 0 is

DATA = json.loads(r"""%%DATA%%""")


def plain(name: str) -> str:
    """jawOpen, JawOpen, jaw_open -> jawopen; eyeBlink_L -> eyeblinkleft."""
    name = name.lower()
    name = name[:-2] + {"_l": "left", "_r": "right"}.get(name[-2:], name[-2:])
    return name.replace("_", "")


def channels(owner: bpy.types.ID) -> bpy.types.ActionFCurves:
    """The F-curves of an ID's action, in Blender before and since 4.4's slots."""
    animation = owner.animation_data
    if hasattr(animation.action, "fcurves"):
        return animation.action.fcurves
    from bpy_extras import anim_utils

    return anim_utils.action_get_channelbag_for_slot(animation.action, animation.action_slot).fcurves


def key(owner: bpy.types.ID, path: str, index: int, frames: list[float], values: list[float]) -> None:
    """Replace the keys of one channel by linear ones."""
    curve = next(c for c in channels(owner) if c.data_path == path and c.array_index == index)
    points = curve.keyframe_points
    while len(points) > len(frames):
        points.remove(points[-1], fast=True)
    points.add(len(frames) - len(points))
    points.foreach_set("co", [number for i, frame in enumerate(frames) for number in (frame, values[i])])
    for point in points:
        point.interpolation = "LINEAR"
    curve.update()


def key_shapes(mesh: bpy.types.Object, frames: list[float]) -> list[str]:
    """Key the shape keys; the curves' names that the mesh lacks."""
    shape_keys = mesh.data.shape_keys
    found = {plain(block.name): block for block in shape_keys.key_blocks}
    missing = []
    for name, values in DATA["curves"].items():
        block = found.get(plain(name))
        if block is None:
            missing.append(name)
            continue
        block.keyframe_insert("value", frame=frames[0])
        key(shape_keys, block.path_from_id("value"), 0, frames, values)
    return missing


def key_turn(turned: bpy.types.Object | bpy.types.PoseBone, frames: list[float], turns: list[list[float]]) -> None:
    """Key the rotation of an object or a bone by quaternions (w, x, y, z): z up, the face towards -y at rest."""
    if isinstance(turned, bpy.types.PoseBone):
        rest = turned.bone.matrix_local  # a bone turns about its own axes
        turns = [[w] + [sum(rest[row][i] * v[row] for row in range(3)) for i in range(3)] for w, *v in turns]
    turned.rotation_mode = "QUATERNION"
    turned.keyframe_insert("rotation_quaternion", frame=frames[0])
    path = turned.path_from_id("rotation_quaternion")
    for index in range(4):
        key(turned.id_data, path, index, frames, [turn[index] for turn in turns])


def named(name: str) -> bpy.types.Object | bpy.types.PoseBone:
    """The object, or the bone ARMATURE/BONE, of that name, or a plain word that there is none."""
    if name in bpy.data.objects:
        return bpy.data.objects[name]
    armature, _, bone = name.partition("/")
    owner = bpy.data.objects.get(armature)
    if owner is None:
        raise RuntimeError("there is no object named " + armature)
    if owner.pose is None or bone not in owner.pose.bones:
        raise RuntimeError(f"{armature} has no bone named {bone}")
    return owner.pose.bones[bone]


def key_rig(mesh: bpy.types.Object) -> None:
    """Key a mesh's shape keys, and what is named as head and eyes, at the scene's frame rate."""
    render = bpy.context.scene.render
    rate = render.fps / round(render.fps_base, 6)  # 1.001 is kept as a 32-bit number
    turned = [
        (named(name), turns) for name, turns in zip((HEAD, *EYES), (DATA["head"], *DATA["eyes"]), strict=True) if name
    ]
    frames = frames_at(rate)
    missing = key_shapes(mesh, frames)
    for what, turns in turned:
        key_turn(what, frames, turns)
    set_range(frames)
    done = len(DATA["curves"]) - len(missing)
    print(f"{mesh.name}: {done} curves, {len(frames)} frames at {rate:g} frames/s")
    if missing:
        print(f"no shape key on {mesh.name} for: {', '.join(missing)}")


def build_scene(glb: Path, clip: Path) -> None:
    """Import the head with its camera, and set the scene up as the clip was filmed."""
    scene = bpy.context.scene
    render, rate, before = scene.render, DATA["rate"], set(bpy.data.objects)
    render.fps, render.fps_base = max(round(rate), 1), 1.0
    bpy.ops.import_scene.gltf(filepath=str(glb))
    new = set(bpy.data.objects) - before
    render.fps_base = render.fps / rate  # not before, since Blender 5.0's importer multiplies by it
    head = next(o for o in new if o.type == "MESH")
    for owner in (head.data.shape_keys, *new):
        if owner.animation_data:
            retime(owner, rate / render.fps)
    render.resolution_x, render.resolution_y = DATA["size"]
    render.resolution_percentage = 100
    set_range(frames_at(rate))
    scene.camera = next(o for o in new if o.type == "CAMERA")
    hide_first_cube(before)
    if clip.is_file():
        show_clip(scene.camera.data, clip)
    else:
        print(f"{clip}: not there, so the camera shows no clip")
    bpy.context.view_layer.objects.active = head
    scene.frame_set(scene.frame_start)
    print(f"{glb.name}: {len(DATA['times'])} frames at {rate:g} frames/s")


def hide_first_cube(objects: set[bpy.types.Object]) -> None:
    """Hide the cube of a new file, which surrounds the camera."""
    for cube in objects:
        if cube.name == "Cube" and tuple(cube.dimensions) == (2, 2, 2) and tuple(cube.location) == (0, 0, 0):
            cube.hide_set(True)
            cube.hide_render = True
            print("Cube: hidden, since the camera stands in it")


def retime(owner: bpy.types.ID, factor: float) -> None:
    """Move the keys of an ID from frame x to FIRST_FRAME + factor x."""
    for curve in channels(owner):
        points = curve.keyframe_points
        numbers = [0.0] * (2 * len(points))
        points.foreach_get("co", numbers)
        numbers[::2] = [round(FIRST_FRAME + factor * frame, 2) for frame in numbers[::2]]  # its times are 32-bit
        points.foreach_set("co", numbers)
        curve.update()


def frames_at(rate: float) -> list[float]:
    """The frames of the track's times, on whole ones but for their rounding."""
    return [round(FIRST_FRAME + time * rate, 3) for time in DATA["times"]]


def set_range(frames: list[float]) -> None:
    """Make the scene's range that of the track."""
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = math.floor(frames[0]), math.ceil(frames[-1])


def show_clip(camera: bpy.types.Camera, path: Path) -> None:
    """Put the clip behind what a camera sees."""
    plate = bpy.data.movieclips.load(str(path))
    plate.frame_start = FIRST_FRAME
    background = camera.background_images.new()
    background.source, background.clip, background.alpha = "MOVIE_CLIP", plate, 1.0
    camera.show_background_images = True


def own_folder() -> Path:
    """Where this file is, run by Blender itself or from its text editor."""
    text = bpy.data.texts.get(Path(__file__).name)
    return Path(bpy.path.abspath(text.filepath) if text else __file__).parent


def main() -> None:
    """Key what is named or selected, or build the scene."""
    mesh = named(MESH) if MESH else bpy.context.active_object
    if mesh is not None and mesh.type == "MESH" and mesh.data.shape_keys is not None:
        key_rig(mesh)
        return
    folder = own_folder()
    glb = Path(GLB) if GLB else folder / DATA["glb"]
    if MESH or not glb.is_file():
        raise RuntimeError(
            "select a mesh with shape keys, or set MESH at the top of this script to its name; or, to build the scene, "
            f"put {glb.name} beside this script (track-export --to glb)"
        )
    build_scene(glb, folder / DATA["clip"])


main()
