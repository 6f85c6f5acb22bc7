"""Which triangle covers which pixel: a Numba z-buffer on the CPU, PyTorch3D on CUDA, behind one function.

Vertices are in the image frame: x right, y down, in pixels, the centre of the top-left pixel at (0, 0); z is
depth in any unit, larger = farther, any sign. The projection is already done (orthographic rasterization:
attributes and depth are affine in a triangle). No triangle is culled by its orientation.

No gradients flow through the rasterizer. `barycentric_at` recomputes the barycentric coordinates from the
vertices in torch at the triangles found; `interpolate` is differentiable in them and in the attributes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from selftrack.errors import of_extra


class Fragments(NamedTuple):
    """What the pixels (H, W) of B images see."""

    face_index: Tensor
    """(B, H, W) int64, -1 where there is no triangle."""
    barycentric: Tensor
    """(B, H, W, 3) float32 weights of the triangle's corners at the pixel's centre, 0 where there is none."""
    depth: Tensor
    """(B, H, W) float32, inf where there is no triangle."""


def rasterize(vertices: Tensor, faces: Tensor, size: tuple[int, int]) -> Fragments:
    """Find the nearest triangle of each pixel: by PyTorch3D if the vertices are on CUDA, else by the Numba z-buffer.

    Both find the same triangles except at pixels whose centres lie on an edge, within rounding.

    Args:
        vertices: (B, V, 3) image frame.
        faces: (F, 3) int64 indexes of vertices, on the same device.
        size: (H, W) of the images.

    Raises:
        ValueError: wrong shapes or types.
        UserError: CUDA without PyTorch3D.
    """
    return (rasterize_pytorch3d if vertices.is_cuda else rasterize_numba)(vertices, faces, size)


def rasterize_numba(vertices: Tensor, faces: Tensor, size: tuple[int, int]) -> Fragments:
    """Do what `rasterize` does by a z-buffer on one CPU core, without the GIL.

    A pixel's centre on a shared edge belongs to exactly one of the two triangles (top-left rule: to the one
    of which the edge is the top or a left side). At equal depth the lower index wins. Triangles without area
    or with coordinates that are not finite are skipped.
    """
    _check(vertices, faces, size)
    device, count = vertices.device, vertices.shape[0]
    if faces.numel() and not 0 <= int(faces.min()) <= int(faces.max()) < vertices.shape[1]:
        span = f"{int(faces.min())}..{int(faces.max())}"
        raise ValueError(f"faces index {span}, but there are {vertices.shape[1]} vertices")
    face_index = torch.full((count, *size), -1, dtype=torch.int64)
    barycentric = torch.zeros((count, *size, 3))
    depth = torch.full((count, *size), torch.inf)
    from selftrack.decoders.mesh.zbuffer import draw  # here, since it brings Numba

    inputs = vertices.detach().to("cpu", torch.float32).contiguous(), faces.cpu().contiguous()
    draw(*(array.numpy() for array in (*inputs, face_index, barycentric, depth)))
    return Fragments(face_index.to(device), barycentric.to(device), depth.to(device))


def rasterize_pytorch3d(vertices: Tensor, faces: Tensor, size: tuple[int, int]) -> Fragments:
    """Do what `rasterize` does by PyTorch3D, on CUDA or (very slowly) on the CPU.

    A pixel whose centre lies exactly on an edge belongs to neither triangle.
    """
    _check(vertices, faces, size)
    with of_extra("pytorch3d"):
        from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
        from pytorch3d.structures import Meshes
    height, width = size
    with torch.no_grad():
        x, y, z = vertices.detach().float().unbind(-1)
        # PyTorch3D: x left, y up, the shorter side spans [-1, 1], only z > 0 is in front of the camera
        shorter = min(height, width)
        ndc = [(width - 1 - 2 * x) / shorter, (height - 1 - 2 * y) / shorter, z - z.min() + 1]
        meshes = Meshes(torch.stack(ndc, -1), faces.expand(len(vertices), -1, -1))
        packed = rasterize_meshes(meshes, size, faces_per_pixel=1, perspective_correct=False)[0][..., 0]
        face_index = torch.where(packed < 0, -1, packed % max(len(faces), 1))
        # PyTorch3D adds an epsilon to each area: its own barycentric coordinates are off in small triangles
        barycentric = barycentric_at(vertices.detach().float(), faces, face_index)
        depth = (barycentric * _corners(z[..., None], faces, face_index)[..., 0]).sum(-1)
        return Fragments(face_index, barycentric, depth.masked_fill(face_index < 0, torch.inf))


def barycentric_at(vertices: Tensor, faces: Tensor, face_index: Tensor, pixels: Tensor | None = None) -> Tensor:
    """Compute barycentric coordinates of points in triangles, differentiable in the vertices and the points.

    Args:
        vertices: (B, V, 2 or 3) image frame; only x and y count.
        faces: (F, 3) int64.
        face_index: (B, ...) int64, -1 for none.
        pixels: (..., 2) or (B, ..., 2) x and y of the points; None for the centres of the pixels of a
            face_index of shape (B, H, W).

    Returns:
        (B, ..., 3), sums to 1; 0 where there is no triangle or where it has no area.
    """
    if pixels is None:
        height, width = face_index.shape[-2:]
        pixels = pixel_grid((height, width), vertices)
    if pixels.shape[-1] != 2:
        raise ValueError(f"expected pixels (..., 2), got {tuple(pixels.shape)}")
    a, b, c = (_corners(vertices[..., :2], faces, face_index) - pixels[..., None, :]).unbind(-2)
    areas = torch.stack([_cross(b, c), _cross(c, a), _cross(a, b)], -1)
    total = areas.sum(-1, keepdim=True)
    valid = (face_index >= 0)[..., None] & (total != 0)
    return torch.where(valid, areas / torch.where(valid, total, 1), 0)


def interpolate(attributes: Tensor, faces: Tensor, fragments: Fragments) -> Tensor:
    """Interpolate attributes of vertices at the pixels, differentiable in them and in `fragments.barycentric`.

    For gradients with respect to the vertices, replace the fragments' barycentric coordinates by those of
    `barycentric_at`.

    Args:
        attributes: (B, V, C) or, shared by all images, (V, C).
        faces: (F, 3) int64.
        fragments: of shape (B, H, W).

    Returns:
        (B, H, W, C), 0 where there is no triangle.
    """
    corners = _corners(attributes, faces, fragments.face_index)
    a, b, c = fragments.barycentric.to(corners.dtype).split(1, -1)
    # the sum written out: a reduction over three is several times slower
    return a * corners[..., 0, :] + b * corners[..., 1, :] + c * corners[..., 2, :]


def interpolate_numba(attributes: Tensor, faces: Tensor, fragments: Fragments) -> Tensor:
    """Do what `interpolate` does on the CPU in single precision, several times faster and without gradients."""
    from selftrack.decoders.mesh.zbuffer import mix  # here, since it brings Numba

    _check_count(attributes, fragments.face_index)
    values = attributes if attributes.ndim == 3 else attributes[None]
    out = torch.zeros(*fragments.face_index.shape, values.shape[-1])
    flat = fragments.face_index.flatten(1), fragments.barycentric.flatten(1, -2), out.flatten(1, -2)
    mix(*(array.detach().contiguous().numpy() for array in (values, faces, *flat)))
    return out


def pixel_grid(size: tuple[int, int], like: Tensor) -> Tensor:
    """List the centres (H, W, 2) of the pixels, x and y, in the type and on the device of `like`."""
    rows, columns = (torch.arange(count, dtype=like.dtype, device=like.device) for count in size)
    return torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)


def _check(vertices: Tensor, faces: Tensor, size: tuple[int, int]) -> None:
    """Refuses inputs that are not vertices (B, V, 3) floating, faces (F, 3) int64, size (H, W)."""
    if vertices.ndim != 3 or vertices.shape[2] != 3 or not vertices.is_floating_point():
        raise ValueError(f"expected float vertices (B, V, 3), got {tuple(vertices.shape)} {vertices.dtype}")
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype != torch.int64:
        raise ValueError(f"expected int64 faces (F, 3), got {tuple(faces.shape)} {faces.dtype}")
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"expected a positive size (height, width), got {size}")


def _cross(a: Tensor, b: Tensor) -> Tensor:
    """Twice the signed area of the triangles (0, a, b): (..., 2) x (..., 2) -> (...)."""
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _check_count(attributes: Tensor, face_index: Tensor) -> None:
    """Refuses attributes (B, V, C) of more or fewer images than `face_index` (B, ...) is of."""
    if attributes.ndim == 3 and len(attributes) != len(face_index):
        raise ValueError(f"got {len(attributes)} sets of attributes for {len(face_index)} images; (V, C) is shared")


def _corners(attributes: Tensor, faces: Tensor, face_index: Tensor) -> Tensor:
    """Attributes (B, V, C) or (V, C) at the corners of the triangles face_index (B, ...): (B, ..., 3, C).

    Where there is no triangle, those of triangle 0. Flat `index_select`, whose backward pass is a plain sum.
    """
    index = faces.index_select(0, face_index.clamp(min=0).reshape(-1)).view(*face_index.shape, 3)
    if attributes.ndim == 3:
        count, vertices = attributes.shape[:2]
        _check_count(attributes, face_index)
        start = torch.arange(count, device=index.device) * vertices
        index = index + start.view(-1, *[1] * (index.ndim - 1))
    flat = attributes.reshape(-1, attributes.shape[-1])
    return flat.index_select(0, index.reshape(-1)).view(*index.shape, -1)
