"""The default decoder: a linear, CC0 head with the 52 ARKit expressions.

z (128) = 60 identity + 52 expression + 16 appearance. Identity and appearance are in standard deviations of the
population the model was built from; expression is in ARKit units (0..1). See ASSETS.md for where the data is from.
"""

from __future__ import annotations

import copy
import hashlib
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.base import Decoder, Embedding, Topology
from selftrack.decoders.registry import register_decoder
from selftrack.errors import UserError

ASSET = Path(__file__).parents[1] / "assets" / "head.npz"
N_IDENTITY, N_APPEARANCE = 60, 16
_OF_JAW = ("teeth_lower", "tongue")
SYMMETRIC = 1e-4
"""Metres by which a vertex of the mean head may be off its mirror image."""


@register_decoder
class Head(Decoder):
    """Linear face model; its expression entries are weights of ARKit's 52 shapes."""

    name = "head"
    size = N_IDENTITY + len(ARKIT_NAMES) + N_APPEARANCE
    identity = slice(0, N_IDENTITY)
    expression = slice(N_IDENTITY, N_IDENTITY + len(ARKIT_NAMES))
    appearance = slice(N_IDENTITY + len(ARKIT_NAMES), size)
    expression_names = ARKIT_NAMES
    has_blendshapes = True

    texture_basis: Tensor  # (16,3,T,T)
    _mean: Tensor
    _shapes: Tensor

    def __init__(self, path: Path = ASSET) -> None:
        """Read the model from its file, by default the bundled one.

        Raises:
            UserError: a file of other expressions.
        """
        with np.load(path, allow_pickle=False) as data:
            asset = {k: data[k] for k in data.files}
        if tuple(asset["expression_names"]) != ARKIT_NAMES:
            raise UserError(f"{path}: expression names differ from ARKit's; rebuild it with scripts/build_head.py")
        # a head that has been rebuilt with the same codes names the one before, by which networks and tracks know them
        own_hash = str(asset.get("codes", hashlib.sha256(path.read_bytes()).hexdigest()[:16]))
        super().__init__(_topology(asset, own_hash))
        self.hash = own_hash
        shapes = np.concatenate([asset["identity"], asset["expression"]])
        basis = asset["appearance"].astype(np.float32) / 127 * asset["appearance_scale"][:, None, None, None]
        texture = asset["texture"].astype(np.float32) / 255
        for name, value in (
            ("_mean", asset["mean"]),
            ("_shapes", shapes),
            ("mean_texture", texture.transpose(2, 0, 1)),
            ("texture_basis", basis.transpose(0, 3, 1, 2)),
        ):
            self.register_buffer(name, torch.from_numpy(value).float(), persistent=False)
        mirror = _mirror(asset["mean"])
        if mirror is not None:
            self.register_buffer("_mirror", torch.from_numpy(mirror), persistent=False)

    @classmethod
    def reads(cls, path: Path) -> bool:
        """Tell by the names of its arrays whether a file is a head's."""
        try:
            with zipfile.ZipFile(path) as file:
                return {"expression_names.npy", "appearance_scale.npy"} <= set(file.namelist())
        except (zipfile.BadZipFile, OSError):
            return False

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a head from its file. Raises UserError when it is damaged."""
        try:
            return cls(path)
        except UserError:
            raise
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise UserError(f"{path}: not a head ({error}); take the bundled one") from error

    @property
    def mean(self) -> Tensor:
        """(V,3) the mean head, metres."""
        return self._mean

    @property
    def shapes(self) -> Tensor:
        """(112,V,3) metres: a standard deviation of each identity component, then each expression at 1."""
        return self._shapes

    def resting(self, rest: Tensor) -> Self:
        """Return the head of a person whose face at rest has these expressions (52,), see `Decoder.resting`.

        Its teeth are shut, whatever they say of the jaw: they are how that person's lips and chin are seen at rest.
        """
        other = copy.copy(self)
        moved = torch.tensordot(rest.to(self._mean), self._shapes[self.expression], 1)
        moved[self.faces[self.of_parts(_OF_JAW)]] = 0
        other._buffers = self._buffers | {"_mean": self._mean + moved}
        return other

    def curves(self, z: Tensor) -> Tensor:
        """Compute ARKit values (B,52) in 0..1 of codes z (B,128)."""
        return super().curves(z).clamp(0, 1)

    def coefficients(self, z: Tensor) -> Tensor:
        """Compute the coefficients (B,112) of the shapes: codes z (B,128) without the appearance."""
        self.check(z)
        return z[:, : len(self.shapes)]

    def colour(self, z: Tensor, view: Tensor | None = None) -> Tensor:
        """Compute the texture (B,3,T,T), RGB in 0..1, of codes z (B,128); the same from any view."""
        self.check(z, view)
        a = z[:, self.appearance]
        return (self.mean_texture + torch.einsum("bk,kcij->bcij", a, self.texture_basis)).clamp(0, 1)


def _mirror(vertices: np.ndarray) -> np.ndarray | None:
    """The vertex (V,) that is each one's mirror image, of vertices (V,3); None where the mesh is not symmetric."""
    flipped = vertices * np.array([-1, 1, 1])
    mirror = np.empty(len(vertices), np.int64)
    mirror[np.lexsort(flipped.T)] = np.lexsort(vertices.T)
    if (vertices[mirror] == flipped).all():
        return mirror
    from scipy.spatial import cKDTree  # here, since it takes a while and the bundled head is symmetric to the bit

    off, mirror = cKDTree(vertices).query(flipped)
    return mirror if off.max() < SYMMETRIC else None


def _topology(asset: dict[str, np.ndarray], own_hash: str) -> Topology:
    index = {name: torch.from_numpy(asset[name]).long() for name in ("faces", "uv_faces", "face_parts")}
    masks = {name: torch.from_numpy(asset[name]) for name in ("skin_faces", "skin_texels")}
    landmarks = None
    if "landmark_triangles" in asset:
        triangles = torch.from_numpy(asset["faces"][asset["landmark_triangles"]]).long()
        landmarks = Embedding(triangles, torch.from_numpy(asset["landmark_weights"]).float())
    names = tuple(str(name) for name in asset["part_names"])
    uvs = torch.from_numpy(asset["uvs"])
    return Topology(**index, **masks, uvs=uvs, part_names=names, landmarks=landmarks, head=own_hash)


def load_head() -> Head:
    """A copy of the bundled head, on the CPU: its file is read once."""
    return copy.deepcopy(_bundled())


@lru_cache(maxsize=1)
def _bundled() -> Head:
    return Head()
