"""The decoder, reduced to the skin and the landmarks that the losses look at."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from selftrack.decoders.base import Decoder, SurfacePoints
from selftrack.decoders.landmarks import BROW_HEIGHTS, FACE_OVAL, MESH_POINTS, OPENINGS, layout
from selftrack.decoders.mesh.unwrap import TexelMap, surface, texel_map


def face_texels(head: Decoder, size: int) -> TexelMap:
    """The skin's texels in front of the face's oval: hair, ears and neck move on their own."""
    texels = texel_map(head, size)
    at = surface(head.mean[None], texels)[0]
    oval = head.landmarks478(head.mean[None])[0][list(FACE_OVAL)]
    hull = cv2.convexHull(np.ascontiguousarray(oval[:, :2].cpu().numpy()))
    inside = [cv2.pointPolygonTest(hull, (x, y), False) >= 0 for x, y in at[:, :2].tolist()]
    keep = torch.tensor(inside, device=at.device) & (at[:, 2] < oval[:, 2].max())
    return texels._replace(**{name: getattr(texels, name)[keep] for name in ("texel", "corners", "weights")})


def _apart_from_the_eyes(head: Decoder, least: float = 1e-3) -> Tensor:
    """(V,) bool of the vertices that no curve of the eyes moves by `least` metres: a blink or a glance is one jump in a
    few frames, and nobody should have to pay for it as for trembling. All of a model whose curves are not known."""
    if not head.has_blendshapes:
        return torch.ones(len(head.mean), dtype=torch.bool, device=head.mean.device)
    eyes = [name.startswith("eye") for name in head.expression_names]
    return (head.blendshapes[eyes].norm(dim=2) < least).all(0)


class Face:
    """The decoder, reduced to what the losses look at."""

    def __init__(self, head: Decoder, points: int, texture: int, irises: float, device: str) -> None:
        """`points` that the detector finds; `texture` is its side in texels; a point of an iris weighs `irises`."""
        self.head = head.copy_to(device)
        self.texels = face_texels(self.head, texture)
        with torch.no_grad():
            mean, shapes = self.head.mean, self.head.shapes
            self.skin = SurfacePoints(self.head, surface(mean[None], self.texels)[0], surface(shapes, self.texels))
            calm = _apart_from_the_eyes(self.head)
            self.vertices = SurfacePoints(self.head, mean[calm], shapes[:, calm])
        self.landmarks = SurfacePoints.landmarks(self.head, points)
        self.contour = torch.zeros(points, dtype=torch.bool, device=device)
        self.contour[list(layout(points).contour)] = True
        self.weight = torch.ones(points, device=device)
        self.weight[MESH_POINTS:] = irises
        pairs = (*OPENINGS, *BROW_HEIGHTS) if points > 68 else ()
        self.pairs = torch.tensor(pairs, dtype=torch.long, device=device).reshape(-1, 2)

    def painted(self, z: Tensor, view: Tensor, index: Tensor) -> Tensor:
        """The decoder's own texture (B,3,n) at the texels `index` (n,), of codes z (B,Z) seen from view (B,3)."""
        place = (self.texels.texel[index].flip(1) + 0.5) / self.texels.size  # u, v
        grid = (2 * place - 1).expand(len(z), 1, -1, 2).to(z)
        return nn.functional.grid_sample(self.head.colour(z, view), grid, align_corners=False)[:, :, 0]
