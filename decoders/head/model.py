"""The default decoder: a linear, CC0 head with the 52 ARKit expressions.

z (128) = 60 identity + 52 expression + 16 appearance. Identity and appearance are in standard deviations of the
population the model was built from; expression is in ARKit units (0..1). See ASSETS.md for where the data is from.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from selftrack.decoders.base import Decoded, Decoder, Embedding
from selftrack.errors import UserError

ASSET = Path(__file__).parents[1] / "assets" / "head.npz"
N_IDENTITY, N_APPEARANCE = 60, 16

_PAIRS_EYE = ("eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeSquint", "eyeWide")
EXPRESSION_NAMES: tuple[str, ...] = (
    *(name + side for side in ("Left", "Right") for name in _PAIRS_EYE),
    *("jawForward", "jawLeft", "jawRight", "jawOpen"),
    *("mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft", "mouthRight"),
    *(n + s for n in ("mouthSmile", "mouthFrown", "mouthDimple", "mouthStretch") for s in ("Left", "Right")),
    *("mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
    *(n + s for n in ("mouthPress", "mouthLowerDown", "mouthUpperUp", "browDown") for s in ("Left", "Right")),
    *("browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff"),
    *("cheekSquintLeft", "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut"),
)
"""ARKit's 52 names in Apple's order; left and right are the subject's own."""

# The 68 points of iBUG/300-W among the 468 dense points.
IBUG_68 = (
    *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),
    *(71, 63, 105, 66, 107, 336, 296, 334, 293, 301, 168, 197, 5, 4, 75, 97, 2, 326, 305),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87),
)


class Head(nn.Module):
    """Linear face model; see `selftrack.decoders.base.Decoder` for the attributes."""

    name = "head"
    size = N_IDENTITY + len(EXPRESSION_NAMES) + N_APPEARANCE
    identity = slice(0, N_IDENTITY)
    expression = slice(N_IDENTITY, N_IDENTITY + len(EXPRESSION_NAMES))
    appearance = slice(N_IDENTITY + len(EXPRESSION_NAMES), size)
    expression_names = EXPRESSION_NAMES

    def __init__(self, path: Path = ASSET) -> None:
        super().__init__()
        self.hash = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        with np.load(path, allow_pickle=False) as data:
            asset = {k: data[k] for k in data.files}
        if tuple(asset["expression_names"]) != EXPRESSION_NAMES:
            raise UserError(
                f"{path}: expression names differ from ARKit's; rebuild it with scripts/build_head.py"
            )

        def buffer(name: str, value: np.ndarray, dtype: torch.dtype) -> None:
            self.register_buffer(name, torch.as_tensor(value).to(dtype), persistent=False)

        buffer("mean", asset["mean"], torch.float32)
        shapes = np.concatenate([asset["identity"], asset["expression"]]).astype(np.float32)
        buffer("shapes", shapes, torch.float32)  # (60+52,V,3)
        for name in ("faces", "uv_faces"):
            buffer(name, asset[name], torch.long)
        buffer("uvs", asset["uvs"], torch.float32)
        buffer("face_parts", asset["face_parts"], torch.long)
        self.part_names = tuple(str(n) for n in asset["part_names"])
        buffer("skin_faces", asset["skin_faces"], torch.bool)  # (F,)
        buffer("skin_texels", asset["skin_texels"], torch.bool)  # (T,T)
        texture = asset["texture"].astype(np.float32) / 255
        basis = asset["appearance"].astype(np.float32) / 127 * asset["appearance_scale"][:, None, None, None]
        buffer("mean_texture", texture.transpose(2, 0, 1), torch.float32)  # (3,T,T)
        buffer("texture_basis", basis.transpose(0, 3, 1, 2), torch.float32)  # (16,3,T,T)
        skin_vertices = np.zeros(len(asset["mean"]), bool)
        skin_vertices[asset["faces"][asset["skin_faces"]]] = True
        buffer("skin_vertices", skin_vertices, torch.bool)  # (V,)
        if "landmark_triangles" in asset:
            buffer("_landmark_triangles", asset["faces"][asset["landmark_triangles"]], torch.long)
            buffer("_landmark_weights", asset["landmark_weights"], torch.float32)

    @property
    def landmarks478(self) -> Embedding:
        """The detector's 468 points and ten iris points (five per eye, centre first) on the surface."""
        return Embedding(self._landmark_triangles, self._landmark_weights)

    @property
    def landmarks68(self) -> Embedding:
        """The 68 points of 300-W on the surface."""
        index = list(IBUG_68)
        return Embedding(self._landmark_triangles[index], self._landmark_weights[index])

    curve_names = EXPRESSION_NAMES

    def curves(self, z: Tensor) -> Tensor:
        """(B,52) ARKit values in 0..1 of codes z (B,128)."""
        return z[:, self.expression].clamp(0, 1)

    def coefficients(self, z: Tensor) -> Tensor:
        """(B,112) of the shapes: codes z (B,128) without the appearance."""
        k = len(self.shapes)
        assert z.ndim == 2 and z.shape[1] >= k, f"expected z (B,{self.size}), got {tuple(z.shape)}"
        return z[:, :k]

    def geometry(self, z: Tensor) -> Tensor:
        """Vertices (B,V,3), metres, head frame, of codes z (B,128); the appearance part is not read."""
        return self.mean + (self.coefficients(z) @ self.shapes.flatten(1)).reshape(len(z), -1, 3)

    def colour(self, z: Tensor, view: Tensor | None = None) -> Tensor:
        """Texture (B,3,T,T), RGB in 0..1, of codes z (B,128), from any view."""
        a = z[:, self.appearance]
        return (self.mean_texture + torch.einsum("bk,kcij->bcij", a, self.texture_basis)).clamp(0, 1)

    def forward(self, z: Tensor, view: Tensor | None = None) -> Decoded:
        """Decode z (B,128). The texture does not depend on `view`."""
        return Decoded(self.geometry(z), self.colour(z))


class LandmarkHead(nn.Module):
    """A decoder restricted to the detector's 478 points, or to 68 of them; much cheaper than all vertices."""

    def __init__(self, decoder: Decoder, points: int = 478) -> None:
        super().__init__()
        if points not in (478, len(IBUG_68)):
            raise ValueError(f"expected 478 or 68 points, got {points}")
        embedding = decoder.landmarks478 if points == 478 else decoder.landmarks68
        self.coefficients = decoder.coefficients
        self.register_buffer("mean", embedding(decoder.mean[None])[0], persistent=False)  # (L,3)
        self.register_buffer("shapes", embedding(decoder.shapes).flatten(1), persistent=False)  # (K,3L)

    def forward(self, z: Tensor) -> Tensor:
        """Points (B,L,3), metres, head frame, of codes z (B,Z)."""
        return self.mean + (self.coefficients(z) @ self.shapes).reshape(len(z), -1, 3)


@lru_cache(maxsize=1)
def load_head() -> Head:
    """The bundled head, loaded once."""
    return Head()
