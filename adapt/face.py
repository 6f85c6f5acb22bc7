"""The decoder, reduced to the skin and the landmarks that the losses look at."""

from __future__ import annotations

import copy

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from selftrack.decoders.dam.model import Dam
from selftrack.decoders.head.model import Head, LandmarkHead
from selftrack.decoders.mesh.unwrap import TexelMap, surface, texel_map
from selftrack.synthetic.studio import FACE_OVAL
from selftrack.tracker.landmarks.attention_mesh import MESH_POINTS
from selftrack.training.i2znet import OPENINGS

# Pairs of points, of a brow and of the eye's corner below it: how far brows are up.
BROW_HEIGHTS = (
    *((55, 133), (66, 133), (107, 133), (105, 33), (70, 33)),
    *((285, 362), (296, 362), (336, 362), (334, 263), (300, 263)),
)


def face_texels(head: Head | Dam, size: int) -> TexelMap:
    """The skin's texels in front of the face's oval: hair, ears and neck move on their own."""
    texels = texel_map(head, size)
    at = surface(head.mean[None], texels)[0]
    oval = head.landmarks478(head.mean[None])[0][list(FACE_OVAL)]
    hull = cv2.convexHull(np.ascontiguousarray(oval[:, :2].cpu().numpy()))
    inside = [cv2.pointPolygonTest(hull, (x, y), False) >= 0 for x, y in at[:, :2].tolist()]
    keep = torch.tensor(inside, device=at.device) & (at[:, 2] < oval[:, 2].max())
    return texels._replace(**{name: getattr(texels, name)[keep] for name in ("texel", "corners", "weights")})


def _apart_from_the_eyes(head: Head | Dam, least: float = 1e-3) -> Tensor:
    """(V,) bool of the vertices that no curve of the eyes moves by `least` metres: a blink or a glance is one jump in a
    few frames, and nobody should have to pay for it as for trembling. All of a model whose curves are not known."""
    eyes = [name.startswith("eye") for name in getattr(head, "expression_names", ())]
    if not any(eyes):
        return torch.ones(len(head.mean), dtype=torch.bool, device=head.mean.device)
    return (head.shapes[head.expression][eyes].norm(dim=2) < least).all(0)


class Points:
    """Points of the head that move linearly with the code."""

    def __init__(self, head: Head | Dam, mean: Tensor, shapes: Tensor) -> None:
        """`mean` (N,3) and `shapes` (K,N,3) in the head frame."""
        self.coefficients, self.mean = head.coefficients, mean
        # (N,3K), point by point in memory: a step gathers a few of them
        self.shapes = shapes.transpose(0, 1).flatten(1).contiguous()

    def __len__(self) -> int:
        return len(self.mean)

    def __call__(self, z: Tensor, index: Tensor) -> Tensor:
        """Points (B,n,3) of the codes z (B,Z) at `index` (n,)."""
        shapes = self.shapes[index].unflatten(1, (-1, 3)).transpose(0, 1)  # (K,n,3)
        return self.mean[index] + (self.coefficients(z) @ shapes.flatten(1)).unflatten(1, (-1, 3))


class Face:
    """The decoder, reduced to what the losses look at."""

    def __init__(self, head: Head | Dam, points: int, texture: int, irises: float, device: str) -> None:
        """`points` that the detector finds; `texture` is its side in texels; a point of an iris weighs `irises`."""
        self.head = copy.deepcopy(head).to(device)  # the loaded head is everybody's
        self.texels = face_texels(self.head, texture)
        with torch.no_grad():
            mean, shapes = self.head.mean, self.head.shapes
            self.skin = Points(self.head, surface(mean[None], self.texels)[0], surface(shapes, self.texels))
            calm = _apart_from_the_eyes(self.head)
            self.vertices = Points(self.head, mean[calm], shapes[:, calm])
        self.landmarks = LandmarkHead(self.head, points).to(device)
        self.contour = torch.zeros(points, dtype=torch.bool, device=device)
        self.contour[list(FACE_OVAL) if points > 68 else list(range(17))] = True
        self.weight = torch.ones(points, device=device)
        self.weight[MESH_POINTS:] = irises
        pairs = (*OPENINGS, *BROW_HEIGHTS) if points > 68 else ()
        self.pairs = torch.tensor(pairs, dtype=torch.long, device=device).reshape(-1, 2)

    def painted(self, z: Tensor, view: Tensor, index: Tensor) -> Tensor:
        """The decoder's own texture (B,3,n) at the texels `index` (n,), of codes z (B,Z) seen from view (B,3)."""
        place = (self.texels.texel[index].flip(1) + 0.5) / self.texels.size  # u, v
        grid = (2 * place - 1).expand(len(z), 1, -1, 2).to(z)
        return nn.functional.grid_sample(self.head.colour(z, view), grid, align_corners=False)[:, :, 0]
