"""Plain pictures of a mesh with shapes, as the landmark detector and people get to see it."""

from __future__ import annotations

import numpy as np
import torch

from selftrack.decoders.mesh.normals import vertex_normals
from selftrack.decoders.mesh.rasterizer import Fragments, interpolate, rasterize_numba
from selftrack.decoders.rigs.shaped import ShapedMesh

_GROUND = 0.25
_LAMP = torch.nn.functional.normalize(torch.tensor([-0.3, -0.5, -1.0]), dim=0)


def flat(vertices: np.ndarray, turn: np.ndarray, middle: np.ndarray, scale: float, side: int) -> np.ndarray:
    """Project points (V,3) without perspective into a square picture of `side` pixels: x, y and depth (V,3), pixels.

    Args:
        vertices: in the head frame's axes.
        turn: (3,3) what they are turned by, about `middle` (3,), which comes to the picture's middle.
        scale: pixels for a unit.
    """
    return ((vertices - middle) @ turn.T * scale + [(side - 1) / 2, (side - 1) / 2, 0.0]).astype(np.float32)


def seen(mesh: ShapedMesh, placed: np.ndarray, side: int) -> Fragments:
    """Find the triangle at each pixel of a mesh with its vertices at `placed` (V,3) pixels."""
    return rasterize_numba(torch.from_numpy(placed)[None], torch.from_numpy(mesh.faces), (side, side))


def picture(mesh: ShapedMesh, placed: np.ndarray, fragments: Fragments) -> np.ndarray:
    """Draw a mesh with its vertices at `placed` (V,3) pixels, see `seen`, under one lamp: (H,W,3) uint8 RGB."""
    corners = torch.from_numpy(mesh.corners.reshape(-1, 2)).float()
    at = interpolate(corners, torch.arange(len(corners)).view(-1, 3), fragments)
    texture = torch.from_numpy(mesh.texture).permute(2, 0, 1)[None].float() / 255
    colour = torch.nn.functional.grid_sample(texture, 2 * at - 1, align_corners=False)[0]
    faces = torch.from_numpy(mesh.faces)
    normals = vertex_normals(torch.from_numpy(placed)[None].double(), faces).float()
    normals = torch.nn.functional.normalize(interpolate(normals, faces, fragments)[0], dim=-1)
    facing = torch.where(normals[..., 2:] > 0, -normals, normals)  # of whatever winding
    light = 0.4 + 0.65 * (facing @ _LAMP).clamp(min=0)
    shown = torch.where(fragments.face_index[0] >= 0, (colour * light).clamp(0, 1), torch.tensor(_GROUND))
    return (255 * shown).byte().permute(1, 2, 0).numpy()
