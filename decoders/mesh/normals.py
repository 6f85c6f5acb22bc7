"""Normals of a mesh.

Axes are those of the image and the head frame: x right, y down, z away from the camera. The normal of a triangle is
(v1 - v0) x (v2 - v0). With triangles wound counter-clockwise on the screen as seen from outside (as in OBJ files,
whose axes are ours turned by 180 degrees about x), normals point outwards and a surface that faces the camera has
n_z < 0.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Compute unit normals of the vertices: the area-weighted mean over their triangles.

    Args:
        vertices: (B, V, 3), x right, y down, z away from the camera, in one unit.
        faces: (F, 3) int64.

    Returns:
        (B, V, 3), outwards; 0 at vertices without a triangle that has an area.
    """
    if vertices.ndim != 3 or vertices.shape[2] != 3:
        raise ValueError(f"expected vertices (B, V, 3), got {tuple(vertices.shape)}")
    a, b, c = (vertices.index_select(1, corner) for corner in faces.unbind(1))
    doubled_areas = torch.linalg.cross(b - a, c - a)
    normals = torch.zeros_like(vertices)
    for corner in faces.unbind(1):
        normals = normals.index_add(1, corner, doubled_areas)
    return functional.normalize(normals, dim=-1, eps=torch.finfo(vertices.dtype).tiny)
