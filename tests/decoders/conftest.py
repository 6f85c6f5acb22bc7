"""Meshes with known geometry."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor


@pytest.fixture(scope="session")
def sphere() -> tuple[Tensor, Tensor]:
    """Closed unit sphere: vertices (V, 3) and faces (F, 3), counter-clockwise from outside, y down."""
    rows, columns = 33, 64
    polar = torch.linspace(0, math.pi, rows)[1:-1, None]
    turn = torch.arange(columns) / columns * 2 * math.pi
    x, z = polar.sin() * turn.sin(), -polar.sin() * turn.cos()
    rings = torch.stack([x, (-polar.cos()).expand_as(x), z], -1).reshape(-1, 3)
    vertices = torch.cat([rings, torch.tensor([[0.0, -1, 0], [0, 1, 0]])])
    top, bottom = len(rings), len(rings) + 1
    here = torch.arange(columns)
    beside = (here + 1) % columns
    ring = torch.arange(rows - 3)[:, None] * columns
    a, b = (ring + here).reshape(-1), (ring + beside).reshape(-1)
    last = (rows - 3) * columns
    faces = [
        torch.stack([a, a + columns, b], -1),
        torch.stack([b, a + columns, b + columns], -1),
        torch.stack([here, beside, torch.full_like(here, top)], -1),
        torch.stack([last + beside, last + here, torch.full_like(here, bottom)], -1),
    ]
    return vertices, torch.cat(faces)
