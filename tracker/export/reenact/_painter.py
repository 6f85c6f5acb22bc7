"""Draws a photo's person as another face and pose."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from selftrack.tracker.export.reenact._field import Field, resampled
from selftrack.tracker.export.reenact._interior import Interior
from selftrack.tracker.export.reenact._mouth import seated
from selftrack.tracker.export.reenact._photo import Photo
from selftrack.tracker.export.reenact._skin import photo_texture
from selftrack.tracker.geometry.pose import project


class PhotoPainter:
    """Draws the person of a photo: the photo moved, and over it what it does not show of eyes and mouth."""

    def __init__(self, photo: Photo) -> None:
        track = photo.track
        self._image, self._head, self._inverse_distance = photo.image, track.model(), track.inverse_distance
        self.code, self.pose = torch.from_numpy(track.z[0]), torch.from_numpy(track.H_image[0])
        geometry = self._geometry(self.code)
        vertices = project(seated(self._head, geometry)[None], self.pose[None], self._inverse_distance)[0]
        self._field = Field(self._head, geometry, self.pose, self._inverse_distance, photo.image.shape[:2])
        self._interior = Interior(self._head, photo_texture(self._head, photo.image, vertices.numpy()))

    def __call__(self, code: Tensor, pose: Tensor) -> np.ndarray:
        """Draw the photo (H,W,3) uint8 with the face of a code (Z,) under a pose (6,) in it."""
        geometry = self._geometry(code)
        moved = self._field(geometry, pose)
        picture, kept = resampled(self._image, moved), np.zeros(self._image.shape[:2], np.float32)
        kept[moved.rows, moved.columns] = moved.kept
        return self._interior(picture, geometry, pose, self._inverse_distance, kept)

    def _geometry(self, code: Tensor) -> Tensor:
        with torch.no_grad():
            return self._head.geometry(code[None])[0]
