"""Keys the ARKit shape keys of a mesh in Blender with a tracked performance.

Open this file in Blender's Scripting workspace, select the mesh in the viewport and press Run. Keys stand at
their own times in seconds, at whatever frame rate the scene has. Running it again replaces the keys.
"""

from __future__ import annotations

import json
import math

import bpy

MESH = ""  # name of the mesh object; empty: the active object
HEAD = ""  # name of an object, such as an empty, to be turned like the head; empty: none
FIRST_FRAME = 1  # where the clip begins, as for a background movie

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


def key_head(head: bpy.types.Object, frames: list[float]) -> None:
    """Key an object's rotation: z up, the face towards -y at rest."""
    head.rotation_mode = "QUATERNION"
    head.keyframe_insert("rotation_quaternion", frame=frames[0])
    for index in range(4):
        key(head, "rotation_quaternion", index, frames, [q[index] for q in DATA["quaternions"]])


def named(name: str) -> bpy.types.Object:
    """The object of that name, or a plain word that there is none."""
    if name not in bpy.data.objects:
        raise RuntimeError("there is no object named " + name)
    return bpy.data.objects[name]


def main() -> None:
    """Key what is named or selected."""
    scene = bpy.context.scene
    mesh = named(MESH) if MESH else bpy.context.active_object
    if mesh is None or mesh.type != "MESH" or mesh.data.shape_keys is None:
        raise RuntimeError("select a mesh with shape keys, or set MESH at the top of this script to its name")
    head = named(HEAD) if HEAD else None
    rate = scene.render.fps / scene.render.fps_base
    frames = [round(FIRST_FRAME + time * rate, 3) for time in DATA["times"]]
    missing = key_shapes(mesh, frames)
    if head:
        key_head(head, frames)
    scene.frame_start, scene.frame_end = math.floor(frames[0]), math.ceil(frames[-1])
    done = len(DATA["curves"]) - len(missing)
    print(f"{mesh.name}: {done} curves, {len(frames)} frames at {rate:g} frames/s")
    if missing:
        print(f"no shape key on {mesh.name} for: {', '.join(missing)}")


main()
