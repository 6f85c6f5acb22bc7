"""Which triangle covers which pixel: a Numba z-buffer on the CPU, PyTorch3D on CUDA, behind one function.

Vertices are in the image frame: x right, y down, in pixels, the centre of the top-left pixel at (0, 0); z is
depth in any unit, larger = farther, any sign. The projection is already done (orthographic rasterization:
attributes and depth are affine in a triangle). No triangle is culled by its orientation.

No gradients flow through the rasterizer. `barycentric_at` recomputes the barycentric coordinates from the
vertices in torch at the triangles found; `interpolate` is differentiable in them and in the attributes.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
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
    inputs = vertices.detach().to("cpu", torch.float32).contiguous(), faces.cpu().contiguous()
    _draw(*(array.numpy() for array in (*inputs, face_index, barycentric, depth)))
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


def _corners(attributes: Tensor, faces: Tensor, face_index: Tensor) -> Tensor:
    """Attributes (B, V, C) or (V, C) at the corners of the triangles face_index (B, ...): (B, ..., 3, C).

    Where there is no triangle, those of triangle 0. Flat `index_select`, whose backward pass is a plain sum.
    """
    index = faces.index_select(0, face_index.clamp(min=0).reshape(-1)).view(*face_index.shape, 3)
    if attributes.ndim == 3:
        count, vertices = attributes.shape[:2]
        if count != len(face_index):
            raise ValueError(f"got {count} sets of attributes for {len(face_index)} images; (V, C) is shared")
        start = torch.arange(count, device=index.device) * vertices
        index = index + start.view(-1, *[1] * (index.ndim - 1))
    flat = attributes.reshape(-1, attributes.shape[-1])
    return flat.index_select(0, index.reshape(-1)).view(*index.shape, -1)


@numba.njit(cache=True, nogil=True)
def _draw(
    vertices: np.ndarray,
    faces: np.ndarray,
    face_index: np.ndarray,
    barycentric: np.ndarray,
    depth: np.ndarray,
) -> None:
    """Draws all triangles of all images into prepared buffers; see `rasterize_numba` for the shapes."""
    for image in range(vertices.shape[0]):
        for face in range(faces.shape[0]):
            _draw_triangle(image, face, vertices, faces, face_index, barycentric, depth)


@numba.njit(cache=True, nogil=True)
def _draw_triangle(
    image: int,
    face: int,
    vertices: np.ndarray,
    faces: np.ndarray,
    face_index: np.ndarray,
    barycentric: np.ndarray,
    depth: np.ndarray,
) -> None:
    """Draws one triangle into one image, in double precision."""
    x0, y0, z0 = _corner(vertices, image, faces[face, 0])
    x1, y1, z1 = _corner(vertices, image, faces[face, 1])
    x2, y2, z2 = _corner(vertices, image, faces[face, 2])
    area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
    if not 0 < abs(area) < np.inf:
        return
    # edges opposite to each corner, clockwise on the screen whatever the triangle's orientation
    sign = 1.0 if area > 0 else -1.0
    dx0, dy0 = sign * (x2 - x1), sign * (y2 - y1)
    dx1, dy1 = sign * (x0 - x2), sign * (y0 - y2)
    dx2, dy2 = sign * (x1 - x0), sign * (y1 - y0)
    own0, own1, own2 = _owns_edge(dx0, dy0), _owns_edge(dx1, dy1), _owns_edge(dx2, dy2)
    left, right = max(min(x0, x1, x2), 0.0), min(max(x0, x1, x2), depth.shape[2] - 1.0)
    top, bottom = max(min(y0, y1, y2), 0.0), min(max(y0, y1, y2), depth.shape[1] - 1.0)
    for y in range(int(np.ceil(top)), int(np.floor(bottom)) + 1):
        v0, v1, v2 = y0 - y, y1 - y, y2 - y
        low, high = _narrow(left, right, x1, v1, dx0, dy0)
        low, high = _narrow(low, high, x2, v2, dx1, dy1)
        low, high = _narrow(low, high, x0, v0, dx2, dy2)
        for x in range(int(np.ceil(low)), int(np.floor(high)) + 1):
            # corners relative to the pixel: exactly antisymmetric in the ends of an edge, so no cracks
            u0, u1, u2 = x0 - x, x1 - x, x2 - x
            w0 = sign * (u1 * v2 - v1 * u2)
            w1 = sign * (u2 * v0 - v2 * u0)
            w2 = sign * (u0 * v1 - v0 * u1)
            if min(w0, w1, w2) < 0:
                continue
            if (w0 == 0 and not own0) or (w1 == 0 and not own1) or (w2 == 0 and not own2):
                continue
            inverse = 1 / (w0 + w1 + w2)
            w0, w1, w2 = w0 * inverse, w1 * inverse, w2 * inverse
            z = np.float32(w0 * z0 + w1 * z1 + w2 * z2)
            if z < depth[image, y, x]:
                depth[image, y, x] = z
                face_index[image, y, x] = face
                barycentric[image, y, x, 0] = w0
                barycentric[image, y, x, 1] = w1
                barycentric[image, y, x, 2] = w2


@numba.njit(cache=True, nogil=True, inline="always")
def _corner(vertices: np.ndarray, image: int, index: int) -> tuple[float, float, float]:
    """Coordinates of a vertex of an image in double precision."""
    x, y, z = vertices[image, index, 0], vertices[image, index, 1], vertices[image, index, 2]
    return np.float64(x), np.float64(y), np.float64(z)


@numba.njit(cache=True, nogil=True, inline="always")
def _owns_edge(dx: float, dy: float) -> bool:
    """Whether an edge that runs clockwise on the screen is the top (rightwards) or a left one (upwards)."""
    return dy < 0 or (dy == 0 and dx > 0)


@numba.njit(cache=True, nogil=True, inline="always")
def _narrow(low: float, high: float, x: float, v: float, dx: float, dy: float) -> tuple[float, float]:
    """Narrows a row's span to the inner side of a clockwise edge through x, v (v from the row), with a margin
    for rounding: the exact test follows at each pixel."""
    if dy == 0:
        return low, high
    crossing = x - v * dx / dy
    if dy < 0:
        return max(low, crossing - 1e-6), high
    return low, min(high, crossing + 1e-6)
