"""Unwrapping: the texture with which a mesh, drawn over a frame, shows what the frame shows.

The UV map is rasterized once per topology (`texel_map`): each texel knows its point on the surface. Per frame, the
observed texture is a bilinear sample of the frame at the projections of these points (Yoon et al. 2019, Eq. 7), and
its confidence W is the cosine of the incident angle where the point is visible.

Image frame: pixels, x right, y down, the centre of the top-left pixel at (0, 0); z is depth in pixels, larger =
farther, and the camera looks along +z. Texels: row and column of a square texture, v down; uv = 0 is the outer edge
of the first texel, so the centre of texel k lies at uv = (k + 0.5) / size.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from selftrack.decoders.base import Decoder, Topology
from selftrack.decoders.mesh.normals import vertex_normals
from selftrack.decoders.mesh.rasterizer import rasterize, rasterize_numba

LEAST_COSINE = 0.3
"""Incidence beyond 72 degrees does not count: a pixel of error slides far over the skin there."""
RASTER = 192
"""Side in pixels of the z-buffer: 1.4 mm of a head each."""
_TOLERANCE = 0.015
"""Depth, as a share of the mesh's extent, by which a point may lie behind the z-buffer: 4 mm of a head."""


class TexelMap(NamedTuple):
    """Where N texels of a texture lie on the surface."""

    texel: Tensor
    """(N, 2) int64, row and column."""
    corners: Tensor
    """(N, 3) int64, vertices of the triangle."""
    weights: Tensor
    """(N, 3) float32, barycentric coordinates of the texel's centre, sum 1."""
    size: int
    """Side T of the texture."""


def texel_map(decoder: Decoder | Topology, size: int, mask: Tensor | None = None) -> TexelMap:
    """List the texels of a (size, size) texture whose centres a triangle covers and that count.

    Args:
        decoder: it, or its topology; its `uvs`, `uv_faces` and `faces` are read.
        size: side of the texture.
        mask: (T, T) bool of any T, which texels count; one counts at `size` if every texel of the mask that it
            touches does. Default: the decoder's `skin_texels`.

    Raises:
        ValueError: no positive size, or a mask that is not bool (T, T).
    """
    if size < 1:
        raise ValueError(f"expected a texture of at least 1x1 texels, got size {size}")
    mask = decoder.skin_texels if mask is None else mask
    uvs = decoder.uvs.float()
    flat = torch.cat([uvs * size - 0.5, torch.zeros_like(uvs[:, :1])], -1)[None]
    fragments = rasterize_numba(flat, decoder.uv_faces, (size, size))
    counts = (fragments.face_index[0] >= 0) & _resample(mask.to(uvs.device), size)
    corners = decoder.faces[fragments.face_index[0][counts]]
    return TexelMap(counts.nonzero(), corners, fragments.barycentric[0][counts], size)


def surface(values: Tensor, texels: TexelMap) -> Tensor:
    """Interpolate values (B, V, C) of vertices at the texels' points on the surface: (B, N, C), differentiable."""
    if values.ndim != 3 or not values.is_floating_point():
        raise ValueError(f"expected float values (B, V, C), got {tuple(values.shape)} {values.dtype}")
    count, vertices, channels = values.shape
    # all images side by side: one gather, and one scatter in the backward pass, serve the whole batch
    beside = values.transpose(0, 1).reshape(vertices, count * channels)
    weights = texels.weights.to(values.dtype)
    points = functional.embedding_bag(texels.corners, beside, per_sample_weights=weights, mode="sum")
    return points.view(-1, count, channels).transpose(0, 1).contiguous()


def sample(images: Tensor, points: Tensor) -> Tensor:
    """Take bilinear samples (B, 3, N) of images (B, 3, H, W) at points (B, N, 2) in their pixels, x and y (Eq. 7).

    Differentiable in both. Outside of the frame: the value at its border.
    """
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(f"expected float images (B, C, H, W), got {tuple(images.shape)} {images.dtype}")
    if points.ndim != 3 or points.shape[2] != 2 or len(points) != len(images):
        raise ValueError(f"expected points ({len(images)}, N, 2), got {tuple(points.shape)}")
    height, width = images.shape[2:]
    grid = (2 * points + 1) / points.new_tensor([width, height]) - 1
    places = grid[:, :, None].to(images.dtype)
    return functional.grid_sample(images, places, "bilinear", padding_mode="border", align_corners=False)[..., 0]


@torch.no_grad()
def confidence(
    vertices: Tensor,
    faces: Tensor,
    texels: TexelMap,
    size: tuple[int, int],
    least: float = LEAST_COSINE,
    raster: int = RASTER,
) -> Tensor:
    """Compute how well each texel shows: the cosine of the incident angle, 0 where it is hidden. Detached.

    The angle is that between the view along +z and the interpolated normals of the vertices.

    Args:
        vertices: (B, V, 3) image frame.
        faces: (F, 3) int64; all of them hide what is behind.
        texels: N texels.
        size: (H, W) of the frame; points beyond the centres of its outer pixels get 0.
        least: smaller cosines become 0.
        raster: side in pixels of the z-buffer, which is laid over the mesh, wherever that is in the frame.

    Returns:
        (B, N) float32 in 0..1.

    Raises:
        ValueError: wrong shapes, or a raster of less than 2 pixels.
    """
    if vertices.ndim != 3 or vertices.shape[2] != 3:
        raise ValueError(f"expected vertices (B, V, 3), got {tuple(vertices.shape)}")
    if raster < 2 or len(size) != 2:
        raise ValueError(f"expected a raster of at least 2 pixels and a size (H, W), got {raster} and {size}")
    vertices = vertices.float()
    values = surface(torch.cat([vertices, vertex_normals(vertices, faces)], -1), texels)
    points, normals = values.split(3, -1)
    cosine = -normals[..., 2] / normals.norm(dim=-1).clamp(min=1e-12)
    x, y = points[..., 0], points[..., 1]
    inside = (x >= 0) & (x <= size[1] - 1) & (y >= 0) & (y <= size[0] - 1)
    visible = inside & (cosine >= least) & _unhidden(vertices, faces, points, cosine, raster)
    return torch.where(visible, cosine.clamp(max=1), 0)


def unwrap(
    image: Tensor, vertices: Tensor, faces: Tensor, texels: TexelMap, least: float = LEAST_COSINE
) -> tuple[Tensor, Tensor]:
    """Sample the texture (B, 3, T, T) and its confidence (B, T, T) of meshes (B, V, 3) in images (B, 3, H, W).

    Vertices are in the image frame. Both are 0 where a texel is hidden, or at a cosine of the incident angle below
    `least`. The texture is differentiable in the vertices.
    """
    height, width = image.shape[2:]
    weight = confidence(vertices, faces, texels, (height, width), least)
    colour = sample(image, surface(vertices, texels)[..., :2]) * (weight > 0)[:, None]
    return scatter(colour, texels), scatter(weight[:, None], texels)[:, 0]


def scatter(values: Tensor, texels: TexelMap) -> Tensor:
    """Write values (B, C, N) at N texels into textures (B, C, T, T) that are 0 elsewhere."""
    index = texels.texel[:, 0] * texels.size + texels.texel[:, 1]
    empty = values.new_zeros(*values.shape[:2], texels.size**2)
    return empty.index_copy(2, index, values).unflatten(2, (texels.size, texels.size))


def _resample(mask: Tensor, size: int) -> Tensor:
    """A mask (T, T) at another size: true where every texel of the mask that is touched is true."""
    if mask.ndim != 2 or mask.shape[0] != mask.shape[1] or mask.dtype != torch.bool:
        raise ValueError(f"expected a bool mask (T, T), got {tuple(mask.shape)} {mask.dtype}")
    return functional.adaptive_max_pool2d((~mask).float()[None], size)[0] == 0


def _unhidden(vertices: Tensor, faces: Tensor, points: Tensor, cosine: Tensor, raster: int) -> Tensor:
    """Whether nothing of the mesh is in front of points (B, N, 3) whose incident angles have these cosines (B, N).

    The depth at the nearest pixel of the z-buffer may differ from the point's own by what the slope of the surface
    makes of half a pixel's diagonal.
    """
    low = vertices[..., :2].amin(1, keepdim=True)
    extent = (vertices[..., :2].amax(1, keepdim=True) - low).amax(-1, keepdim=True)
    scale = (raster - 1) / extent.clamp(min=1e-12)
    moved = torch.cat([(vertices[..., :2] - low) * scale, vertices[..., 2:]], -1)
    depth = rasterize(moved, faces, (raster, raster)).depth.flatten(1)
    column, row = ((points[..., :2] - low) * scale).round().long().clamp(0, raster - 1).unbind(-1)
    tangent = (1 - cosine**2).clamp(min=0).sqrt() / cosine.clamp(min=1e-3)
    slack = 0.5**0.5 * tangent / scale[..., 0] + _TOLERANCE * extent[..., 0]
    return points[..., 2] <= depth.gather(1, row * raster + column) + slack
