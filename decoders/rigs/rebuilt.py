"""A mesh with shapes as a .glb."""

from __future__ import annotations

import cv2
import numpy as np
import pygltflib as gltf

from selftrack.decoders.rigs.gltf import AXES
from selftrack.decoders.rigs.shaped import ShapedMesh
from selftrack.decoders.rigs.writer import GlbWriter


def shaped_glb(mesh: ShapedMesh) -> bytes:
    """Write a mesh whose axes are the head frame's as a .glb: a node `character` with all shapes as morph targets,
    and a material each for skin, eyes and mouth."""
    file = GlbWriter()
    picture = file.image(cv2.imencode(".png", mesh.texture[..., ::-1])[1].tobytes(), "image/png")
    places = np.concatenate([mesh.neutral[None], mesh.deltas]) * AXES
    primitives = []
    for name, drawn in {"skin": ~mesh.moist & ~mesh.inner, "eyes": mesh.moist, "mouth": mesh.inner}.items():
        if not drawn.any():
            continue
        corners = np.concatenate([mesh.faces[drawn][..., None], mesh.corners[drawn]], -1).reshape(-1, 3)
        pairs, triangles = np.unique(corners, axis=0, return_inverse=True)
        moved = [file.floats(shape, gltf.ARRAY_BUFFER) for shape in places[:, pairs[:, 0].astype(int)]]
        texels = file.floats(pairs[:, 1:], gltf.ARRAY_BUFFER)
        surface = gltf.PbrMetallicRoughness(
            baseColorTexture=gltf.TextureInfo(index=picture), metallicFactor=0.0, roughnessFactor=0.8
        )
        file.document.materials.append(gltf.Material(name=name, pbrMetallicRoughness=surface, doubleSided=True))
        primitives.append(
            gltf.Primitive(
                attributes=gltf.Attributes(POSITION=moved[0], TEXCOORD_0=texels),
                targets=[{"POSITION": shape} for shape in moved[1:]],
                indices=file.indices(triangles.reshape(-1, 3)),
                material=len(file.document.materials) - 1,
            )
        )
    names = {"targetNames": list(mesh.names)}
    file.document.meshes.append(gltf.Mesh(name="character", primitives=primitives, extras=names))
    file.node("character", mesh=0)
    return file.bytes()
