"""Plain shading of a mesh, for overlays.

Directions are in the axes of the image and the head frame, see `selftrack.decoders.mesh.normals`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from selftrack.decoders.mesh.normals import vertex_normals
from selftrack.decoders.mesh.rasterizer import interpolate, rasterize

HEADLIGHT = (-0.3, -0.5, -1.0)
"""Towards a light beside the camera, up and to the image's left."""


def lambert(normals: Tensor, light: Tensor) -> Tensor:
    """Compute the diffuse intensity (...) in 0..1 of unit normals (..., 3) under a light in the direction `light` (3,).

    The light is at infinity, `light` points towards it and need not have length 1.
    """
    if normals.shape[-1] != 3 or light.shape != (3,):
        raise ValueError(f"expected normals (..., 3) and a light (3,), got {normals.shape} and {light.shape}")
    return (normals @ functional.normalize(light, dim=0)).clamp(min=0)


def shade(
    vertices: Tensor,
    faces: Tensor,
    size: tuple[int, int],
    colour: Tensor,
    light: tuple[float, float, float] = HEADLIGHT,
    ambient: float = 0.3,
) -> Tensor:
    """Draw a picture of a shaded mesh, to be blended over a frame.

    Args:
        vertices: (B, V, 3) in the image frame (see `selftrack.decoders.mesh.rasterizer`), z in pixels too.
        faces: (F, 3) int64.
        size: (H, W) of the picture.
        colour: (3,) or one per vertex (V, 3), RGB in 0..1.
        light: direction towards the light.
        ambient: share of the colour that stays where the light does not reach.

    Returns:
        (B, H, W, 4) float32 RGBA in 0..1, not premultiplied: alpha is 1 on the mesh, and all is 0 beside it.
    """
    vertices = vertices.float()
    fragments = rasterize(vertices, faces, size)
    diffuse = lambert(vertex_normals(vertices, faces), vertices.new_tensor(light))
    brightness = ambient + (1 - ambient) * diffuse
    shaded = interpolate(brightness[..., None] * colour.to(vertices), faces, fragments)
    return torch.cat([shaded, (fragments.face_index >= 0)[..., None].float()], -1)
