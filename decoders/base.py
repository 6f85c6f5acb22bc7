"""What every face decoder offers: code and view in, geometry and texture out (the D of Yoon et al. 2019, Sec. 3.1).

Head frame: metres, x to the image's right at rest, y down, z away from the camera, the origin fixed to the topology.
Left and right are the subject's own. Textures are RGB in 0..1, v down.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.landmarks import IBUG_68, POINTS, mirrored_points
from selftrack.errors import UserError


@dataclass(frozen=True)
class Decoded:
    """A decoded face."""

    vertices: Tensor  # (B,V,3) metres, head frame
    texture: Tensor  # (B,3,T,T) RGB in 0..1


@dataclass(frozen=True)
class Embedding:
    """Points on a surface, each a triangle and barycentric weights; or the mean of two such, with six corners."""

    triangles: Tensor  # (L,3) long, vertex indices
    weights: Tensor  # (L,3) float, sum 1

    def __call__(self, vertices: Tensor) -> Tensor:
        """Points (B,L,C) of per-vertex values (B,V,C)."""
        return torch.einsum("blkc,lk->blc", vertices[:, self.triangles], self.weights)

    def subset(self, index: Sequence[int]) -> Embedding:
        """Take the points of these indices."""
        return Embedding(self.triangles[list(index)], self.weights[list(index)])


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
    skin_texels: Tensor  # (T,T) bool, texels that the losses compare
    landmarks: Embedding | None  # the detector's 478 points, or not known
    head: str = ""  # hash of the bundled head where this is its topology

    def __post_init__(self) -> None:
        count = len(self.faces)
        shapes = {
            "faces": (count, 3),
            "uvs": (len(self.uvs), 2),
            "uv_faces": (count, 3),
            "face_parts": (count,),
            "skin_faces": (count,),
            "skin_texels": (len(self.skin_texels), len(self.skin_texels)),
        }
        for name, expected in shapes.items():
            if getattr(self, name).shape != expected:
                raise ValueError(f"expected {name} {expected}, got {tuple(getattr(self, name).shape)}")
        if self.landmarks is not None and self.landmarks.triangles.shape != (POINTS, 3):
            raise ValueError(f"expected {POINTS} landmarks, got {tuple(self.landmarks.triangles.shape)}")


class Decoder(nn.Module, ABC):
    """Code z (B,Z) and view (B,3) -> vertices (B,V,3) and texture (B,3,T,T).

    The geometry is linear in its coefficients, which need not be linear in z: vertices = mean + coefficients(z) shapes.

    A kind of decoder is a subclass that calls `__init__` with its topology, sets the attributes below, defines the
    abstract methods and is registered by `selftrack.decoders.registry.register_decoder`. Consumers ask for the
    capabilities (`has_landmarks`, `has_arkit_curves`, `has_blendshapes`, `paints_view`), never for a name or a class.
    """

    name: ClassVar[str]
    """Of the kind, in files and messages."""
    hash: str = ""
    """The first 16 hex digits of the SHA-256 of the decoder's file, if it is from one, or of an earlier one whose codes
    mean the same."""
    size: int
    """Z, length of the code."""
    identity: slice
    """Entries of z with one value per person."""
    expression: slice
    """Entries of z with one value per frame."""
    appearance: slice
    """Entries of z that only the texture depends on."""

    faces: Tensor  # (F,3) long
    uvs: Tensor  # (N,2) in 0..1, v down
    uv_faces: Tensor  # (F,3) long, into uvs
    face_parts: Tensor  # (F,) long, into part_names
    skin_faces: Tensor  # (F,) bool
    skin_texels: Tensor  # (T,T) bool
    part_names: tuple[str, ...]
    mean_texture: Tensor
    """(3,T,T) RGB in 0..1, v down."""
    _landmark_triangles: Tensor  # (478,3) long, where they are known
    _landmark_weights: Tensor  # (478,3)
    _mirror: Tensor  # (V,) long, each vertex's mirror image, where the mesh is symmetric

    has_blendshapes: ClassVar[bool] = False
    """Whether the expression entries of z are weights of fixed shapes, see `blendshapes`, 0..1 in use."""
    paints_view: ClassVar[bool] = False
    """Whether the texture follows the expression and the view; else it is the same in all frames of a person."""

    def __init__(self, topology: Topology) -> None:
        super().__init__()
        for name in TOPOLOGY:
            self.register_buffer(name, getattr(topology, name).clone(), persistent=False)
        self.part_names, self._head = topology.part_names, topology.head
        if topology.landmarks is not None:
            self.register_buffer("_landmark_triangles", topology.landmarks.triangles.clone(), persistent=False)
            self.register_buffer("_landmark_weights", topology.landmarks.weights.clone(), persistent=False)

    @classmethod
    def reads(cls, path: Path) -> bool:
        """Tell by a file's header whether it is of this kind; here, safetensors whose metadata name the kind."""
        try:
            with safe_open(path, "pt") as file:
                return (file.metadata() or {}).get("decoder") == cls.name
        except (SafetensorError, OSError):
            return False

    @classmethod
    @abstractmethod
    def load(cls, path: Path) -> Self:
        """Read a decoder from its file, its parameters frozen. Raises UserError when it is damaged."""

    @property
    @abstractmethod
    def expression_names(self) -> tuple[str, ...]:
        """Names of the expression entries of z."""

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """(V,3) vertices at coefficients 0, metres, head frame."""

    @property
    @abstractmethod
    def shapes(self) -> Tensor:
        """(K,V,3) displacements of the vertices by coefficients of 1, metres."""

    @abstractmethod
    def coefficients(self, z: Tensor) -> Tensor:
        """Compute the coefficients (B,K) of the shapes, of codes z (B,Z)."""

    @abstractmethod
    def colour(self, z: Tensor, view: Tensor | None = None) -> Tensor:
        """Compute the texture (B,3,T,T), RGB in 0..1, of codes z (B,Z) from view (B,3); None: from the front."""

    def geometry(self, z: Tensor) -> Tensor:
        """Compute the vertices (B,V,3), metres, head frame, of codes z (B,Z)."""
        return self.mean + (self.coefficients(z) @ self.shapes.flatten(1)).unflatten(1, (-1, 3))

    def forward(self, z: Tensor, view: Tensor | None = None) -> Decoded:
        """Decode codes z (B,Z), from view (B,3): unit vectors from the head to the camera in the head frame."""
        return Decoded(self.geometry(z), self.colour(z, view))

    def check(self, z: Tensor, view: Tensor | None = None) -> None:
        """Raise ValueError unless the code is z (B,Z) and the view (B,3) or None."""
        if z.ndim != 2 or z.shape[1] != self.size:
            raise ValueError(f"expected codes z (B,{self.size}), got {tuple(z.shape)}")
        if view is not None and view.shape != (len(z), 3):
            raise ValueError(f"expected a view ({len(z)},3), got {tuple(view.shape)}")

    @property
    def curve_names(self) -> tuple[str, ...]:
        """What an animator gets of z: ARKit's names where they are known, else those of the expression entries."""
        return self.expression_names

    def curves(self, z: Tensor) -> Tensor:
        """Compute the animation curves (B,K) by `curve_names`, of codes z (B,Z)."""
        self.check(z)
        return z[:, self.expression]

    @property
    def has_arkit_curves(self) -> bool:
        """Whether the curves are ARKit's 52, each 0..1."""
        return self.curve_names == ARKIT_NAMES

    @property
    def blendshapes(self) -> Tensor:
        """(E,V,3) metres, what a weight of 1 of each expression entry of z adds to the mesh.

        Raises:
            ValueError: without `has_blendshapes`.
        """
        if not self.has_blendshapes:
            raise ValueError(f"a decoder of kind {self.name} has no blend shapes")
        return self.shapes[self.expression]

    def resting(self, rest: Tensor) -> Self:
        """Return the decoder of a person whose face at rest has these expression entries (E,): what its own entries say
        is on top of them.

        Raises:
            ValueError: without `has_blendshapes`.
        """
        raise ValueError(f"a decoder of kind {self.name} has no blend shapes")

    def of_parts(self, names: Collection[str]) -> Tensor:
        """Tell which triangles (F,) bool are of parts of these names."""
        chosen = torch.tensor([name in names for name in self.part_names], device=self.face_parts.device)
        return chosen[self.face_parts.long()]

    @property
    def has_landmarks(self) -> bool:
        """Whether it is known where the detector's points lie on the surface."""
        return "_landmark_triangles" in self._buffers

    @property
    def landmarks478(self) -> Embedding:
        """The detector's 468 points and ten iris points (five per eye, centre first) on the surface.

        Raises:
            UserError: without `has_landmarks`.
        """
        if not self.has_landmarks:
            raise UserError("this model does not know where the detector's points lie on it; train it again")
        return Embedding(self._landmark_triangles, self._landmark_weights)

    @property
    def landmarks68(self) -> Embedding:
        """The 68 points of 300-W on the surface. Raises UserError without `has_landmarks`."""
        return self.landmarks478.subset(IBUG_68)

    def landmarks(self, points: int) -> Embedding:
        """Find the points on the surface of the detector that has 478 or 68 of them.

        Of a symmetric mesh each lies where it and the mirror image of its partner are in the mean: the places are those
        that a detector saw, to which left and right are not alike.

        Raises:
            ValueError: another number of points.
            UserError: without `has_landmarks`.
        """
        if points not in (POINTS, len(IBUG_68)):
            raise ValueError(f"expected {POINTS} or {len(IBUG_68)} points, got {points}")
        placed = self.landmarks478 if points == POINTS else self.landmarks68
        if "_mirror" not in self._buffers:
            return placed
        pairs = list(mirrored_points(points))
        corners = torch.cat([placed.triangles, self._mirror[placed.triangles[pairs]]], 1)
        return Embedding(corners, torch.cat([placed.weights, placed.weights[pairs]], 1) / 2)

    @property
    def skin_vertices(self) -> Tensor:
        """(V,) bool, the vertices of `skin_faces`."""
        skin = torch.zeros(len(self.mean), dtype=torch.bool, device=self.faces.device)
        skin[self.faces[self.skin_faces]] = True
        return skin

    @property
    def topology(self) -> Topology:
        """What this decoder shares with others of its topology."""
        landmarks = self.landmarks478 if self.has_landmarks else None
        tensors = {name: getattr(self, name) for name in TOPOLOGY}
        return Topology(**tensors, part_names=self.part_names, landmarks=landmarks, head=self._head)

    def copy_to(self, device: torch.device | str) -> Self:
        """Copy the decoder to a device; this one, which others may share, stays where it is."""
        return copy.deepcopy(self).to(device)


class SurfacePoints(nn.Module):
    """Points of a decoder's surface, which move linearly with its coefficients: much cheaper than all vertices.

    The coefficients are computed by the decoder, on the decoder's device.
    """

    mean: Tensor  # (N,3)
    shapes: Tensor  # (N,3,K), point by point in memory, for those who want a few of them

    def __init__(self, decoder: Decoder, mean: Tensor, shapes: Tensor) -> None:
        """Take points whose places are `mean` (N,3) and displacements `shapes` (K,N,3), metres, head frame."""
        super().__init__()
        if mean.shape != shapes.shape[1:] or mean.shape[1:] != (3,):
            raise ValueError(f"expected mean (N,3) and shapes (K,N,3), got {tuple(mean.shape)}, {tuple(shapes.shape)}")
        self.coefficients = decoder.coefficients
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("shapes", shapes.permute(1, 2, 0).contiguous(), persistent=False)

    @classmethod
    def landmarks(cls, decoder: Decoder, points: int = POINTS) -> Self:
        """Take those of the detector that has 478 or 68 points."""
        embedding = decoder.landmarks(points)
        return cls(decoder, embedding(decoder.mean[None])[0], embedding(decoder.shapes))

    def __len__(self) -> int:
        return len(self.mean)

    def forward(self, z: Tensor, index: Tensor | None = None) -> Tensor:
        """Place the points (B,N,3), metres, head frame, of codes z (B,Z); or only those (B,n,3) at `index` (n,)."""
        mean, shapes = (self.mean, self.shapes) if index is None else (self.mean[index], self.shapes[index])
        return mean + functional.linear(self.coefficients(z), shapes.flatten(0, 1)).unflatten(1, (-1, 3))
