"""Turn a .glb of selftrack into FBX or Alembic, in Blender: convert.py GLB FILE RATE WIDTH HEIGHT, by FILE's ending.

The animation is baked on whole frames of RATE a second; a clip's time 0 is frame 0. The clip has WIDTH x HEIGHT pixels.
"""

import sys
from collections.abc import Iterator

import bpy
import numpy as np
from mathutils import Matrix

CENTIMETRES = 100.0  # of a metre: FBX's own unit


def load(path: str, rate: float) -> None:
    """Open the .glb with its keys on frames of the rate.

    It is read at a whole rate, as Blender's importer misplaces keys at others, and the keys are moved afterwards.
    """
    bpy.ops.wm.read_factory_settings(use_empty=True)
    render, whole = bpy.context.scene.render, int(np.ceil(rate - 1e-6))
    render.fps, render.fps_base = whole, 1.0
    bpy.ops.import_scene.gltf(filepath=path)
    frames = []
    for curve in curves():
        frames += [move(point, rate / whole) for point in curve.keyframe_points]
    for mesh in bpy.data.meshes:
        for key in mesh.shape_keys.key_blocks:  # else Blender cuts weights to 0..1
            key.slider_min, key.slider_max = -10, 10
    render.fps_base = whole / rate
    bpy.context.scene.frame_start, bpy.context.scene.frame_end = round(min(frames)), round(max(frames))


def curves() -> Iterator[bpy.types.FCurve]:
    """Give all animated values of the file."""
    for action in bpy.data.actions:
        for layer in action.layers:
            for strip in layer.strips:
                for bag in strip.channelbags:
                    yield from bag.fcurves


def move(point: bpy.types.Keyframe, factor: float) -> float:
    """Scale the time of a key; one that all but is on a whole frame is put there. Returns the frame."""
    frame = point.co.x * factor
    point.co.x = round(frame) if abs(frame - round(frame)) < 0.05 else frame
    return point.co.x


def film(width: int, height: int) -> None:
    """Give the cameras a film of the clip's shape, 36 mm wide; Blender's importer has the lens for the height of its
    own."""
    render = bpy.context.scene.render
    render.resolution_x, render.resolution_y = width, height
    for camera in bpy.data.cameras:
        lens_by_height = camera.lens / camera.sensor_height
        camera.sensor_fit, camera.sensor_width, camera.sensor_height = "HORIZONTAL", 36, 36 * height / width
        camera.lens = lens_by_height * camera.sensor_height


def flatten() -> None:
    """Take away the root, which is the origin, and put eyes and jaw beside the head, below the neck.

    With `bake_space_transform`, Blender's exporter (5.0.1) misplaces whatever is more than one level deep. The head
    rests on the neck without a turn, so eyes and jaw go where they went.
    """
    head = next(thing for thing in bpy.data.objects if thing.type == "MESH")
    neck = head.parent
    for thing in head.children:
        thing.location += head.location
        thing.parent = neck
    root = neck.parent
    for thing in root.children:
        thing.parent = None
    bpy.data.objects.remove(root)


def write_fbx(path: str) -> None:
    """Write FBX in centimetres, y up, without a scale on any object, the texture inside."""
    flatten()
    bpy.context.scene.unit_settings.scale_length = 1 / CENTIMETRES
    for mesh in bpy.data.meshes:
        mesh.transform(Matrix.Scale(CENTIMETRES, 4), shape_keys=True)
    for thing in bpy.data.objects:
        thing.location *= CENTIMETRES  # of what rests; the others have it from their keys
    for curve in curves():
        if curve.data_path == "location":
            for point in curve.keyframe_points:
                point.co.y *= CENTIMETRES
    for camera in bpy.data.cameras:
        camera.clip_start, camera.clip_end = camera.clip_start * CENTIMETRES, camera.clip_end * CENTIMETRES
    bpy.context.scene.frame_set(bpy.context.scene.frame_start)  # what rests is written as it stands now
    bpy.ops.export_scene.fbx(
        filepath=path,
        bake_space_transform=True,  # y up in the numbers, not by a rotation of each object
        bake_anim_simplify_factor=0.0,
        bake_anim_use_all_actions=False,
        bake_anim_use_nla_strips=False,
        path_mode="COPY",
        embed_textures=True,
        add_leaf_bones=False,
    )


def write_abc(path: str) -> None:
    """Write Alembic in metres, y up: the vertices of every frame."""
    scene = bpy.context.scene
    bpy.ops.wm.alembic_export(
        filepath=path,
        start=scene.frame_start,
        end=scene.frame_end,
        normals=False,  # five times as large as the vertices; without them a mesh is smooth, by Alembic's convention
        as_background_job=False,
    )


if __name__ == "__main__":
    source, target, frames_a_second, *size = sys.argv[1:]
    load(source, float(frames_a_second))
    film(*map(int, size))
    write_fbx(target) if target.endswith(".fbx") else write_abc(target)
