"""The glTF document: the person's head with its morph targets, the performance, and the clip's camera.

Axes are glTF's: metres, x to the image's right, y up, z towards the viewer, which is our x, -y, -z. The camera is
the origin, looks along -z and shows what the clip shows.
"""

from pathlib import Path

import numpy as np
import pygltflib as gltf
import torch
from torch import Tensor

from selftrack.decoders.mesh.normals import vertex_normals
from selftrack.tracker.geometry.camera import AXES, camera_pose, quaternions
from selftrack.tracker.results.track_file import Track

_STILL = 1e-7  # metres; vertices that an expression moves less are left out of its target
_FLAT = 1e-3  # the same for normals, which are units long


def build_glb(track: Track, texture: bytes, focal: float) -> bytes:
    """Build a complete .glb.

    The base mesh is the clip's identity. Every target is keyed in every frame with the track's own weight, which may
    lie a little outside 0..1: base + weights x targets are the track's vertices in the head frame.

    Args:
        texture: a JPEG in the head's UV layout, v down.
        focal: focal length of the camera, pixels of the clip.
    """
    file = _File()
    if track.timecode:
        file.document.asset.extras = {"timecode": track.timecode, "timecodeRate": track.timecode_rate}
    mesh = _add_mesh(file, track, file.image(texture, "image/jpeg"))
    rotation, translation = camera_pose(track, focal)
    _add_animation(file, track, rotation, translation, node=mesh)
    _add_camera(file, track.size, focal, (translation[:, 2].min() / 10, translation[:, 2].max() * 10))
    return file.bytes()


class _File:
    """A glTF document with one scene, and its binary part."""

    def __init__(self) -> None:
        asset = gltf.Asset(version="2.0", generator="selftrack")
        self.document = gltf.GLTF2(asset=asset, scene=0, scenes=[gltf.Scene()])
        self._blob = bytearray()

    def view(self, data: bytes, target: int | None = None) -> int:
        """Add and return the index of a new buffer view."""
        self._blob += b"\0" * (-len(self._blob) % 4)
        views = self.document.bufferViews
        views.append(gltf.BufferView(buffer=0, byteOffset=len(self._blob), byteLength=len(data), target=target))
        self._blob += data
        return len(views) - 1

    def image(self, data: bytes, mime: str) -> int:
        """Add and return the index of a new texture."""
        self.document.images.append(gltf.Image(bufferView=self.view(data), mimeType=mime))
        self.document.textures.append(gltf.Texture(source=len(self.document.images) - 1))
        return len(self.document.textures) - 1

    def floats(self, values: np.ndarray, target: int | None = None) -> int:
        """Add and return the index of a new accessor of (N,) scalars or (N,K) vectors, as float32."""
        accessor = _float_accessor(values)
        accessor.bufferView = self.view(np.asarray(values, "<f4").tobytes(), target)
        return self._accessor(accessor)

    def indices(self, values: np.ndarray) -> int:
        """Add and return the index of a new accessor of triangles (F,3), as uint32."""
        view = self.view(values.astype("<u4").tobytes(), gltf.ELEMENT_ARRAY_BUFFER)
        accessor = gltf.Accessor(bufferView=view, componentType=gltf.UNSIGNED_INT, count=values.size, type=gltf.SCALAR)
        return self._accessor(accessor)

    def sparse(self, values: np.ndarray, least: float) -> int:
        """Add and return the index of a new accessor of (N,3) vectors as float32, zero where all is within `least`."""
        rows = np.flatnonzero(np.abs(values).max(axis=1) > least)
        rows = rows if len(rows) else np.zeros(1, int)  # the format wants at least one
        kept = np.zeros_like(values)
        kept[rows] = values[rows]
        accessor = _float_accessor(kept)
        accessor.byteOffset = None  # only allowed beside a buffer view
        accessor.sparse = gltf.Sparse(
            count=len(rows),
            indices=gltf.AccessorSparseIndices(
                bufferView=self.view(rows.astype("<u4").tobytes()), componentType=gltf.UNSIGNED_INT
            ),
            values=gltf.AccessorSparseValues(bufferView=self.view(kept[rows].astype("<f4").tobytes())),
        )
        return self._accessor(accessor)

    def _accessor(self, accessor: gltf.Accessor) -> int:
        self.document.accessors.append(accessor)
        return len(self.document.accessors) - 1

    def bytes(self) -> bytes:
        """Serialise the file."""
        self.document.scenes[0].nodes = list(range(len(self.document.nodes)))
        self.document.buffers = [gltf.Buffer(byteLength=len(self._blob))]
        self.document.set_binary_blob(bytes(self._blob))
        return b"".join(self.document.save_to_bytes())


def _float_accessor(values: np.ndarray) -> gltf.Accessor:
    columns = np.asarray(values, "<f4").reshape(len(values), -1)
    return gltf.Accessor(
        componentType=gltf.FLOAT,
        count=len(values),
        type=gltf.SCALAR if values.ndim == 1 else f"VEC{values.shape[1]}",
        min=columns.min(axis=0).tolist(),
        max=columns.max(axis=0).tolist(),
    )


def _add_mesh(file: _File, track: Track, texture: int) -> int:
    """The person's neutral head in glTF's axes, one vertex a pair of vertex and texel; index of its node."""
    head = track.model()
    corners = torch.stack([head.faces, head.uv_faces], -1).reshape(-1, 2)
    pairs, triangles = corners.unique(dim=0, return_inverse=True)
    of = pairs[:, 0]
    code = torch.zeros(1, head.size)
    code[0, head.identity] = torch.from_numpy(track.identity)
    neutral = head.geometry(code)  # (1,V,3)
    moved = head.blendshapes  # (E,V,3)
    normals = vertex_normals(torch.cat([neutral, neutral + moved]), head.faces)

    def in_gltf(values: Tensor) -> np.ndarray:
        return values[of].double().numpy() * AXES

    primitive = gltf.Primitive(
        attributes=gltf.Attributes(
            POSITION=file.floats(in_gltf(neutral[0]), gltf.ARRAY_BUFFER),
            NORMAL=file.floats(in_gltf(normals[0]), gltf.ARRAY_BUFFER),
            TEXCOORD_0=file.floats(head.uvs[pairs[:, 1]].numpy(), gltf.ARRAY_BUFFER),
        ),
        indices=file.indices(triangles.reshape(-1, 3).numpy()),
        material=0,
        targets=[
            {"POSITION": file.sparse(in_gltf(shape), _STILL), "NORMAL": file.sparse(in_gltf(tilted), _FLAT)}
            for shape, tilted in zip(moved, normals[1:] - normals[0], strict=True)
        ],
    )
    surface = gltf.PbrMetallicRoughness(
        baseColorTexture=gltf.TextureInfo(index=texture), metallicFactor=0.0, roughnessFactor=0.8
    )
    document, names = file.document, list(head.expression_names)
    document.materials.append(gltf.Material(name="skin", pbrMetallicRoughness=surface, doubleSided=True))
    document.meshes.append(
        gltf.Mesh(name="head", primitives=[primitive], weights=[0.0] * len(names), extras={"targetNames": names})
    )
    document.nodes.append(gltf.Node(mesh=len(document.meshes) - 1, name="head"))
    return len(document.nodes) - 1


def _add_camera(file: _File, size: tuple[int, int], focal: float, depths: tuple[float, float]) -> None:
    """A camera at the origin that shows the frame of width x height pixels, from the nearest depth to the farthest."""
    width, height = size
    view = gltf.Perspective(
        aspectRatio=width / height, yfov=2 * float(np.arctan(height / 2 / focal)), znear=depths[0], zfar=depths[1]
    )
    file.document.cameras.append(gltf.Camera(type=gltf.PERSPECTIVE, perspective=view, name="clip"))
    file.document.nodes.append(gltf.Node(camera=0, name="camera"))


def _add_animation(file: _File, track: Track, rotation: np.ndarray, translation: np.ndarray, node: int) -> None:
    """One animation that keys weights, rotation and translation of a node in every frame, at the track's times.

    rotation (T,3,3) and translation (T,3) are the head's in the camera frame, see `camera_pose`.
    """
    values = {
        gltf.WEIGHTS: track.z[:, track.model().expression].reshape(-1),
        gltf.ROTATION: quaternions(rotation * AXES[:, None] * AXES),
        gltf.TRANSLATION: translation * AXES,
    }
    times = file.floats(track.times)
    animation = gltf.Animation(name=Path(track.clip).stem)
    for path, keys in values.items():
        target = gltf.AnimationChannelTarget(node=node, path=path)
        animation.channels.append(gltf.AnimationChannel(sampler=len(animation.samplers), target=target))
        animation.samplers.append(
            gltf.AnimationSampler(input=times, output=file.floats(keys), interpolation=gltf.ANIM_LINEAR)
        )
    file.document.animations.append(animation)
