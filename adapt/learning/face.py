"""The decoder, reduced to the skin and the landmarks that the losses look at."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from selftrack.decoders.base import Decoder, SurfacePoints
from selftrack.decoders.landmarks import FACE_OVAL
from selftrack.decoders.mesh.unwrap import TexelMap, surface, texel_map


def face_texels(decoder: Decoder, size: int) -> TexelMap:
    """List the skin's texels in front of the face's oval: hair, ears and neck move on their own."""
    texels = texel_map(decoder, size)
    at = surface(decoder.mean[None], texels)[0]
    oval = decoder.landmarks478(decoder.mean[None])[0][list(FACE_OVAL)]
    hull = cv2.convexHull(np.ascontiguousarray(oval[:, :2].cpu().numpy()))
    inside = [cv2.pointPolygonTest(hull, (x, y), False) >= 0 for x, y in at[:, :2].tolist()]
    keep = torch.tensor(inside, device=at.device) & (at[:, 2] < oval[:, 2].max())
    return texels._replace(**{name: getattr(texels, name)[keep] for name in ("texel", "corners", "weights")})


def _not_of_the_eyes(decoder: Decoder, least: float = 1e-3) -> Tensor:
    """Find the vertices (V,), bool, that no curve of the eyes moves by `least` metres: a blink or a glance is one jump
    in a few frames and no trembling. Of a decoder without blend shapes these are all."""
    if not decoder.has_blendshapes:
        return torch.ones(len(decoder.mean), dtype=torch.bool, device=decoder.mean.device)
    eyes = [name.startswith("eye") for name in decoder.expression_names]
    return (decoder.blendshapes[eyes].norm(dim=2) < least).all(0)


class Face:
    """The decoder, reduced to what the losses look at."""

    def __init__(self, decoder: Decoder, points: int, texture: int, device: str) -> None:
        """Copy the decoder to the device; `points` is how many the detector finds, `texture` its side in texels."""
        self.decoder = decoder.copy_to(device)
        self.texels = face_texels(self.decoder, texture)
        with torch.no_grad():
            mean, shapes = self.decoder.mean, self.decoder.shapes
            self.skin = SurfacePoints(self.decoder, surface(mean[None], self.texels)[0], surface(shapes, self.texels))
            kept = _not_of_the_eyes(self.decoder)
            self.vertices = SurfacePoints(self.decoder, mean[kept], shapes[:, kept])
        self.landmarks = SurfacePoints.landmarks(self.decoder, points)

    def painted(self, z: Tensor, view: Tensor, index: Tensor) -> Tensor:
        """Paint the decoder's own texture (B,3,n) at the texels `index` (n,), of codes z (B,Z) from view (B,3)."""
        place = (self.texels.texel[index].flip(1) + 0.5) / self.texels.size  # u, v
        grid = (2 * place - 1).expand(len(z), 1, -1, 2).to(z)
        return nn.functional.grid_sample(self.decoder.colour(z, view), grid, align_corners=False)[:, :, 0]
