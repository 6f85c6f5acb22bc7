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


TOPOLOGY = ("faces", "uvs", "uv_faces", "face_parts", "skin_faces", "skin_texels")
"""The tensors of a topology."""


@dataclass(frozen=True)
class Topology:
    """What all meshes of one kind share; any number of vertices, triangles and parts."""

    faces: Tensor  # (F,3) long
    uvs: Tensor  # (N,2) in 0..1, v down
    uv_faces: Tensor  # (F,3) long, into uvs
    face_parts: Tensor  # (F,) long, into part_names
    part_names: tuple[str, ...]
    skin_faces: Tensor  # (F,) bool
    skin_texels: Tensor  # (T,T) bool, texels that the losses may look at
    landmarks: Embedding | None  # the detector's 478 points, or not known
    head: str = ""  # hash of the default head where this is its topology

    @staticmethod
    def of(decoder: Decoder) -> Topology:
        """That of a decoder."""
        own = {name: getattr(decoder, name) for name in TOPOLOGY}
        head = decoder.hash if decoder.name == "head" else ""
        return Topology(**own, part_names=decoder.part_names, landmarks=decoder.landmarks478, head=head)


class Decoder(Protocol):
    """Code z (and view) -> geometry and texture (the D of Yoon et al. 2019, Sec. 3.1).

    The geometry is linear in its coefficients, which need not be linear in z: vertices = mean + coefficients(z) shapes.
    """

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
    mean: Tensor  # (V,3) metres, head frame
    shapes: Tensor  # (K,V,3) metres

    def coefficients(self, z: Tensor) -> Tensor:
        """(B,K) of the shapes, of codes z (B,Z)."""

    @property
    def curve_names(self) -> tuple[str, ...]:
        """What an animator gets of z, ARKit's names where they are known."""

    def curves(self, z: Tensor) -> Tensor:
        """(B,K) by `curve_names`, of codes z (B,Z)."""

    def geometry(self, z: Tensor) -> Tensor:
        """Vertices (B,V,3), metres, head frame, of codes z (B,Z)."""

    def colour(self, z: Tensor, view: Tensor | None = None) -> Tensor:
        """Texture (B,3,T,T), RGB in 0..1, of codes z (B,Z) seen from view (B,3); None: from the front."""

    def forward(self, z: Tensor, view: Tensor | None = None) -> Decoded:
        """z (B,Z), view (B,3) unit vector from the head to the camera in the head frame."""
