"""What is behind lids and lips: eyes, teeth, tongue and mouth of the mesh, drawn over the moved photo."""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from selftrack.decoders.base import Decoder
from selftrack.decoders.landmarks import EYE_CONTOURS, LIPS
from selftrack.decoders.mesh.rasterizer import Fragments, interpolate, rasterize
from selftrack.decoders.teeth import OF_MOUTH, TEETH, Teeth
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.results.painter import MOUTH, light_behind_teeth, light_between
from selftrack.tracker.results.texture import EYES, light_in_mouth

_FINE = 2  # samples of a pixel in each direction
_DARKEST = (0.28, 0.24, 0.22)  # share of red, green and blue light that there is in the depth of the mouth
_MARGIN = 0.15  # of a region's longer side, around it


class Interior:
    """Draws eyes and the inside of the mouth, as far as the mesh's lids and lips let them be seen."""

    def __init__(self, head: Decoder, texture: Tensor) -> None:
        """Draw those of a head in a texture (3,T,T), see `_skin.photo_texture`."""
        self._head, self._texture = head, texture[None]
        self._teeth, self._mouth = Teeth(head), head.landmarks478.subset(MOUTH)
        self._regions = [head.landmarks478.subset(points) for points in (*EYE_CONTOURS, LIPS)]
        self._inside = torch.tensor([name in (*EYES, *OF_MOUTH) for name in head.part_names])
        self._reached = light_in_mouth(head, head.mean).sqrt()

    def __call__(
        self,
        picture: np.ndarray,
        geometry: Tensor,
        pose: Tensor,
        inverse_distance: float,
        kept: np.ndarray,
        alike: tuple[float, float, float],
    ) -> np.ndarray:
        """Draw them over a picture.

        Args:
            picture: (H,W,3) uint8 RGB.
            geometry: (V,3) metres, head frame.
            pose: (6,) of the head in the picture.
            inverse_distance: of the camera, 1/metres.
            kept: (H,W) in 0..1, how far the picture's own eyes and inside of the mouth can be kept.
            alike: how far the right and the left eye look where they do in the picture, and the mouth is as open, 0..1.

        Returns:
            The picture, a copy.
        """
        vertices = project(geometry[None], pose[None], inverse_distance)
        light = light_between(self._mouth(vertices)[0]) * light_behind_teeth(self._teeth.apart(vertices))
        out = picture.copy()
        for region, same in zip(self._regions, alike, strict=True):
            place = _box(region(vertices)[0, :, :2].numpy(), picture.shape[:2])
            if place is not None:
                rows, columns = place
                layer = self._layer(vertices, rows, columns, light, same * kept[rows, columns])
                mixed = out[rows, columns] * (1 - layer[..., 3:]) + 255 * layer[..., :3]
                out[rows, columns] = np.rint(mixed).astype(np.uint8)
        return out

    def _layer(self, vertices: Tensor, rows: slice, columns: slice, light: float, kept: np.ndarray) -> np.ndarray:
        """RGBA (h,w,4) in 0..1 of a part of the picture, with premultiplied alpha: the mean of finer samples."""
        height, width = rows.stop - rows.start, columns.stop - columns.start
        fine = _FINE * (vertices - torch.tensor([columns.start, rows.start, 0.0]))
        fine[..., :2] += (_FINE - 1) / 2  # pixel centres are integers, so a picture's edge lies at -0.5
        seen = rasterize(fine, self._head.faces, (_FINE * height, _FINE * width))
        index = seen.face_index.flatten()
        part = self._head.face_parts[index.clamp(min=0)].long()
        drawn = ((index >= 0) & self._inside[part]).nonzero()[:, 0]
        samples = torch.zeros(len(index), 4)
        if len(drawn):
            pixels = Fragments(*(values.flatten(0, 2).index_select(0, drawn)[None, None] for values in seen))
            colour = self._colour(pixels, part[drawn], light)
            own = torch.from_numpy(kept.repeat(_FINE, 0).repeat(_FINE, 1).ravel())[drawn].float()
            alpha = (1 - own)[:, None]
            samples[drawn] = torch.cat([alpha * colour, alpha], -1)
        samples = samples.view(_FINE * height, _FINE * width, 4)
        layer = torch.zeros(height, width, 4)
        for row, column in product(range(_FINE), repeat=2):
            layer += samples[row::_FINE, column::_FINE] / _FINE**2
        return layer.numpy()

    def _colour(self, pixels: Fragments, part: Tensor, light: float) -> Tensor:
        """Colours (N,3) in 0..1 of pixels (1,1,N) of these parts (N,), of which as much light gets into the mouth."""
        head = self._head
        uvs = interpolate(head.uvs, head.uv_faces, pixels)
        colour = functional.grid_sample(self._texture, 2 * uvs - 1, align_corners=False)[0, :, 0].T
        points = interpolate(head.mean, head.faces, pixels)[0, 0]
        reached = interpolate(self._reached[:, None], head.faces, pixels)[0, 0]
        for name in OF_MOUTH:
            own = part == head.part_names.index(name)
            factor = self._teeth.light(name, points) if name in TEETH else light * reached
            factor = torch.maximum(factor, colour.new_tensor(_DARKEST))
            colour = torch.where(own[:, None], factor * colour, colour)
        return colour


def _box(points: np.ndarray, size: tuple[int, int]) -> tuple[slice, slice] | None:
    """Rows and columns around points (N,2) in a picture (H,W); None where they are beside it."""
    low, high = points.min(0), points.max(0)
    margin = _MARGIN * float((high - low).max()) + 2
    low = np.clip(np.floor(low - margin), 0, size[::-1]).astype(int)
    high = np.clip(np.ceil(high + margin) + 1, 0, size[::-1]).astype(int)
    if (high <= low).any():
        return None
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))
