"""The loops of `rasterizer` over triangles and pixels, compiled by Numba: apart, since importing Numba takes a third of
a second."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def draw(
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


@numba.njit(cache=True, nogil=True)
def mix(
    attributes: np.ndarray, faces: np.ndarray, face_index: np.ndarray, barycentric: np.ndarray, out: np.ndarray
) -> None:
    """Interpolates attributes (B,V,C), or (1,V,C) for all images, at N pixels (B,N) of each into `out` (B,N,C), which
    is left as it is where there is no triangle; see `rasterizer.interpolate`."""
    shared = attributes.shape[0] == 1
    for image in range(face_index.shape[0]):
        values = attributes[0 if shared else image]
        for pixel in range(face_index.shape[1]):
            face = face_index[image, pixel]
            if face < 0:
                continue
            first, second, third = faces[face]
            a, b, c = barycentric[image, pixel]
            for k in range(attributes.shape[2]):
                out[image, pixel, k] = a * values[first, k] + b * values[second, k] + c * values[third, k]
