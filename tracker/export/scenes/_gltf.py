"""The glTF document: the person's head with its morph targets, the performance, and the clip's camera.

Axes are glTF's: metres, x to the image's right, y up, z towards the viewer, which is our x, -y, -z. The camera is
the origin, looks along -z and shows what the clip shows.
"""

from pathlib import Path

import numpy as np
import pygltflib as gltf
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from selftrack.decoders.rigs.writer import GlbWriter
from selftrack.decoders.teeth import row_of
from selftrack.tracker.export.gaze import eye_centres, gaze_rotations
from selftrack.tracker.export.scenes._head import head_places, neck_joint, neutral_code, shaped_head
from selftrack.tracker.export.scenes._teeth import layout, teeth_picture
from selftrack.tracker.geometry.camera import AXES, quaternions
from selftrack.tracker.results.track_file import Track

_ROUGHNESS = {"skin": 0.8, "eyes": 0.2, "teeth": 0.35, "mouth": 0.5}
"""Of each material; its colour is the texture's, and that of teeth the one of their picture."""
_MATERIALS = {
    "eye_left": "eyes",
    "eye_right": "eyes",
    "teeth_upper": "teeth",
    "teeth_lower": "teeth",
    "mouth": "mouth",
    "tongue": "mouth",
}
"""Of the decoder's parts; others are skin."""


def build_glb(track: Track, texture: bytes, focal: float, own_teeth: bool = False) -> bytes:
    """Build a complete .glb.

    The base mesh is the clip's identity. Every target is keyed in every frame with the track's own weight: base +
    weights x targets are the track's vertices in the head frame, but for lower teeth (`raise_lower`). The pose turns
    the node `neck` about the joint of the head; below it `head` rests, moved back by the joint, so that its own place
    is the track's.

    Args:
        texture: a JPEG in the head's UV layout, v down.
        focal: focal length of the camera, pixels of the clip.
        own_teeth: whether teeth, too, are where the track has them, and have their colour from the texture.
    """
    file, code = GlbWriter(), neutral_code(track)
    if track.timecode:
        file.document.asset.extras = {"timecode": track.timecode, "timecodeRate": track.timecode_rate}
    performance = file.node("performance")
    joint = neck_joint(track.model(), code)
    neck = file.node("neck", performance)
    pictures = dict.fromkeys(_ROUGHNESS, file.image(texture, "image/jpeg"))
    teeth = None if own_teeth else teeth_picture(track.model(), texture)
    if teeth is not None:
        pictures["teeth"] = file.image(teeth, "image/jpeg")
    mesh = _add_mesh(file, track, pictures, own_teeth)
    head = file.node("head", neck, mesh=mesh, translation=(-joint).tolist())
    rotation, translation = head_places(track, focal)
    channels = [
        (head, gltf.WEIGHTS, track.z[:, track.model().expression].reshape(-1)),
        (neck, gltf.ROTATION, quaternions(rotation)),
        (neck, gltf.TRANSLATION, rotation @ joint + translation),
    ]
    channels += [(eye, gltf.ROTATION, turns) for eye, turns in _add_eyes(file, track, code, head)]
    _add_jaw(file, track, code, head)
    _add_animation(file, track, channels)
    depths = (-translation[:, 2]).min() / 10, (-translation[:, 2]).max() * 10
    file.node("camera", performance, camera=_add_camera(file, track.size, focal, depths))
    return file.bytes()


def _add_mesh(file: GlbWriter, track: Track, pictures: dict[str, int], own_teeth: bool) -> int:
    """The head of the clip's identity, with a primitive for each material, of the picture given; index of the mesh.

    The mesh's own weights are the least of the clip, since Blender looks no further than these and the first frame for
    the range of its sliders.
    """
    head, shaped = track.model(), shaped_head(track, own_teeth)
    materials = np.array([_MATERIALS.get(part, "skin") for part in head.part_names])[head.face_parts]
    shapes = np.concatenate([shaped.neutral[None], shaped.offsets])
    tilts = np.concatenate([shaped.normals[None], shaped.normal_offsets])
    uvs, uv_faces = (head.uvs, head.uv_faces) if own_teeth else layout(head)
    corners = torch.stack([head.faces, uv_faces], -1)
    primitives = []
    for name, roughness in _ROUGHNESS.items():
        drawn = corners[torch.from_numpy(materials == name)]
        if len(drawn):
            pairs, triangles = drawn.reshape(-1, 2).unique(dim=0, return_inverse=True)
            of = pairs[:, 0].numpy()
            primitive = _primitive(file, shapes[:, of], tilts[:, of], uvs[pairs[:, 1]])
            primitive.indices = file.indices(triangles.numpy())
            primitive.material = _add_material(file, name, roughness, pictures[name])
            primitives.append(primitive)
    weights = track.z[:, head.expression].min(axis=0).tolist()
    names = {"targetNames": list(head.expression_names)}
    file.document.meshes.append(gltf.Mesh(name="head", primitives=primitives, weights=weights, extras=names))
    return len(file.document.meshes) - 1


def _primitive(file: GlbWriter, shapes: np.ndarray, tilts: np.ndarray, uvs: Tensor) -> gltf.Primitive:
    """Vertices: places and normals (1+E,N,3), the base's first and what each target adds; texels (N,2)."""
    places, normals = ([file.floats(values, gltf.ARRAY_BUFFER) for values in all_of] for all_of in (shapes, tilts))
    texels = file.floats(uvs.numpy(), gltf.ARRAY_BUFFER)
    return gltf.Primitive(
        attributes=gltf.Attributes(POSITION=places[0], NORMAL=normals[0], TEXCOORD_0=texels),
        targets=[{"POSITION": place, "NORMAL": normal} for place, normal in zip(places[1:], normals[1:], strict=True)],
    )


def _add_material(file: GlbWriter, name: str, roughness: float, texture: int) -> int:
    surface = gltf.PbrMetallicRoughness(
        baseColorTexture=gltf.TextureInfo(index=texture), metallicFactor=0.0, roughnessFactor=roughness
    )
    file.document.materials.append(gltf.Material(name=name, pbrMetallicRoughness=surface, doubleSided=True))
    return len(file.document.materials) - 1


def _add_eyes(file: GlbWriter, track: Track, code: Tensor, head: int) -> list[tuple[int, np.ndarray]]:
    """Empty nodes where the eyes turn, whose z axes are the lines of sight: index and quaternions (T,4) of each; none
    where the decoder does not tell."""
    decoder = track.model()
    if not (decoder.has_arkit_curves and decoder.has_landmarks):
        return []
    turns = np.moveaxis(gaze_rotations(track), 1, 0)
    centres = eye_centres(decoder, code) * AXES
    names = ("eye_left", "eye_right")
    return [
        (file.node(name, head, translation=centre.tolist()), quaternions(turn * AXES[:, None] * AXES))
        for name, centre, turn in zip(names, centres, turns, strict=True)
    ]


def _add_jaw(file: GlbWriter, track: Track, code: Tensor, head: int) -> None:
    """An empty node at the joint about which the jaw turns as it opens, by the track's own lower teeth, as those that
    the file has come down as well; none without such."""
    decoder = track.model()
    if "teeth_lower" not in decoder.part_names or "jawOpen" not in decoder.expression_names:
        return
    teeth = row_of(decoder, "teeth_lower")
    shut = decoder.geometry(code)[0, teeth].double().numpy()
    opening = decoder.blendshapes[decoder.expression_names.index("jawOpen")][teeth].double().numpy()
    file.node("jaw", head, translation=(_joint(shut, shut + opening) * AXES).tolist())


def _joint(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The point (3,) that stays when points (N,3) turn to (N,3); of those of the axis, the nearest to their middle."""
    middle, moved = before.mean(axis=0), after.mean(axis=0)
    turn, _ = Rotation.align_vectors(after - moved, before - middle)
    return middle + np.linalg.pinv(np.eye(3) - turn.as_matrix(), rcond=1e-3) @ (moved - middle)


def _add_camera(file: GlbWriter, size: tuple[int, int], focal: float, depths: tuple[float, float]) -> int:
    """A camera that shows the frame of width x height pixels, from the nearest depth to the farthest; its index."""
    width, height = size
    view = gltf.Perspective(
        aspectRatio=width / height, yfov=2 * float(np.arctan(height / 2 / focal)), znear=depths[0], zfar=depths[1]
    )
    file.document.cameras.append(gltf.Camera(type=gltf.PERSPECTIVE, perspective=view, name="clip"))
    return len(file.document.cameras) - 1


def _add_animation(file: GlbWriter, track: Track, channels: list[tuple[int, str, np.ndarray]]) -> None:
    """One animation with a key in every frame, at the track's times, for channels of node, path and values."""
    times = file.floats(track.times)
    animation = gltf.Animation(name=Path(track.clip).stem)
    for node, path, values in channels:
        target = gltf.AnimationChannelTarget(node=node, path=path)
        animation.channels.append(gltf.AnimationChannel(sampler=len(animation.samplers), target=target))
        animation.samplers.append(
            gltf.AnimationSampler(input=times, output=file.floats(values), interpolation=gltf.ANIM_LINEAR)
        )
    file.document.animations.append(animation)
