"""What every face decoder offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Decoded:
    """A decoded face."""

    vertices: Tensor  # (B,V,3) metres, head frame
    texture: Tensor  # (B,3,T,T) RGB in 0..1


@dataclass(frozen=True)
class Embedding:
    """Points on a surface, each a triangle and barycentric weights."""

    triangles: Tensor  # (L,3) long, vertex indices
    weights: Tensor  # (L,3) float, sum 1

    def __call__(self, vertices: Tensor) -> Tensor:
        """Points (B,L,C) of per-vertex values (B,V,C)."""
        return torch.einsum("blkc,lk->blc", vertices[:, self.triangles], self.weights)


class Decoder(Protocol):
    """Code z (and view) -> geometry and texture (the D of Yoon et al. 2019, Sec. 3.1)."""

    name: str
    hash: str
    size: int  # Z, length of the code
    identity: slice  # one value per person
    expression: slice  # one per frame
    appearance: slice
    expression_names: tuple[str, ...]
    faces: Tensor  # (F,3) long
    uvs: Tensor  # (N,2) in 0..1, v down
    uv_faces: Tensor  # (F,3) long, into uvs
    landmarks478: Embedding
    landmarks68: Embedding

    def forward(self, z: Tensor, view: Tensor | None = None) -> Decoded:
        """z (B,Z), view (B,3) unit vector from the head to the camera in the head frame."""
