"""What is behind lids and lips: eyes, teeth, tongue and mouth of the mesh, drawn over the moved photo."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from selftrack.decoders.base import Decoder
from selftrack.tracker.results.painter import MeshPainter, OverlayConfig
from selftrack.tracker.results.texture import EYES, INNER, TEETH


class Interior:
    """Draws eyes and the inside of the mouth, as far as the mesh's lids and lips let them be seen."""

    def __init__(self, head: Decoder, texture: Tensor) -> None:
        """Draw those of a head in a texture (3,T,T), see `_skin.photo_texture`."""
        self._paint = MeshPainter(head, OverlayConfig(mode="texture"), texture)
        parts = torch.tensor([name in (*EYES, *TEETH, *INNER) for name in head.part_names])
        self._paint.shown = parts[head.face_parts]

    def __call__(self, picture: np.ndarray, vertices: np.ndarray) -> np.ndarray:
        """Draw them for a mesh with vertices (V,3) in the pixels of a picture (H,W,3) uint8, on a copy."""
        return self._paint(picture, vertices)
