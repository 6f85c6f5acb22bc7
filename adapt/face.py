"""The decoder, reduced to the skin and the landmarks that the losses look at."""

from __future__ import annotations

import copy

import cv2
import numpy as np
import torch
from torch import Tensor

from decoders.head import Head, LandmarkHead
from decoders.unwrap import TexelMap, surface, texel_map
from tracker.landmark_net import MESH_POINTS
from tracker.studio import FACE_OVAL
from tracker.train import OPENINGS


def face_texels(head: Head, size: int) -> TexelMap:
    """The skin's texels in front of the face's oval: hair, ears and neck move on their own."""
    texels = texel_map(head, size)
    at = surface(head.mean[None], texels)[0]
    oval = head.landmarks478(head.mean[None])[0][list(FACE_OVAL)]
    hull = cv2.convexHull(np.ascontiguousarray(oval[:, :2].cpu().numpy()))
    inside = [cv2.pointPolygonTest(hull, (x, y), False) >= 0 for x, y in at[:, :2].tolist()]
    keep = torch.tensor(inside, device=at.device) & (at[:, 2] < oval[:, 2].max())
    return texels._replace(**{name: getattr(texels, name)[keep] for name in ("texel", "corners", "weights")})


class Points:
    """Points of the head that move linearly with the code."""

    def __init__(self, mean: Tensor, shapes: Tensor) -> None:
        """`mean` (N,3) and `shapes` (112,N,3) in the head frame."""
        self.mean = mean
        # (N,336), point by point in memory: a step gathers a few of them
        self.shapes = shapes.transpose(0, 1).flatten(1).contiguous()

    def __len__(self) -> int:
        return len(self.mean)

    def __call__(self, z: Tensor, index: Tensor) -> Tensor:
        """Points (B,n,3) of the codes z (B,128) at `index` (n,)."""
        shapes = self.shapes[index].unflatten(1, (-1, 3)).transpose(0, 1)  # (112,n,3)
        return self.mean[index] + (z[:, : len(shapes)] @ shapes.flatten(1)).unflatten(1, (-1, 3))


class Face:
    """The decoder, reduced to what the losses look at."""

    def __init__(self, head: Head, points: int, texture: int, irises: float, device: str) -> None:
        """`points` that the detector finds; `texture` is its side in texels; a point of an iris weighs `irises`."""
        self.head = copy.deepcopy(head).to(device)  # the loaded head is everybody's
        self.texels = face_texels(self.head, texture)
        with torch.no_grad():
            self.skin = Points(surface(self.head.mean[None], self.texels)[0], surface(self.head.shapes, self.texels))
            self.vertices = Points(self.head.mean, self.head.shapes)
        self.landmarks = LandmarkHead(self.head, points).to(device)
        self.contour = torch.zeros(points, dtype=torch.bool, device=device)
        self.contour[list(FACE_OVAL) if points > 68 else list(range(17))] = True
        self.weight = torch.ones(points, device=device)
        self.weight[MESH_POINTS:] = irises
        self.pairs = torch.tensor(OPENINGS if points > 68 else [], dtype=torch.long, device=device).reshape(-1, 2)
