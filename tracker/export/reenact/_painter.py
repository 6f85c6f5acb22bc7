"""Draws a photo's person as another face and pose."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from selftrack.decoders.landmarks import BROWS, EYE_CONTOURS, LEFT_IRIS, RIGHT_IRIS
from selftrack.decoders.teeth import Teeth
from selftrack.tracker.export.reenact._field import Field, Moved, resampled, sampled
from selftrack.tracker.export.reenact._interior import Interior
from selftrack.tracker.export.reenact._lids import Lid
from selftrack.tracker.export.reenact._photo import Photo
from selftrack.tracker.export.reenact._skin import photo_texture, plain_skin, without_opening
from selftrack.tracker.geometry.pose import project

_SEEN = 1 / 255  # share of a colour that can be seen
_SLIT = 0.001  # metres between lips, at least, that count as an opening
_GLANCE = 0.001  # metres that an iris moves, from which on the eye is drawn anew


class PhotoPainter:
    """Draws the person of a photo: the photo moved, and over it what it does not show of eyes and mouth."""

    def __init__(self, photo: Photo) -> None:
        track = photo.track
        self._image, self._head, self._inverse_distance = photo.image, track.model(), track.inverse_distance
        self._rest = torch.from_numpy(photo.rest).float()
        self._resting, self._teeth = self._head.resting(self._rest), Teeth(self._head)
        self.code, self.pose = torch.from_numpy(track.z[0]), torch.from_numpy(track.H_image[0])
        self._lips, plain, size = photo.lips, self._tracked(self.code), photo.image.shape[:2]
        self._open = self._opening(plain)
        self._off = self._lips.error(plain, self.pose, self._inverse_distance, track.landmarks[0], size)
        self._start = geometry = self._geometry(self.code)
        self._irises = self._head.landmarks478.subset((RIGHT_IRIS, LEFT_IRIS))
        vertices = project(geometry[None], self.pose[None], self._inverse_distance)[0]
        self._field = Field(self._head, geometry, self.pose, self._inverse_distance, size)
        self._shut = without_opening(photo.image, track.landmarks[0], float(self.pose[0].exp()))
        self._plain = plain_skin(self._head, photo.image, vertices)
        both = photo.image, self._plain
        self._lids = [Lid(self._head, *eye, both, geometry, vertices) for eye in zip(EYE_CONTOURS, BROWS, strict=True)]
        texture = photo_texture(self._head, photo.image, vertices.numpy(), track.landmarks[0])
        self._interior = Interior(self._head, texture)

    def __call__(self, code: Tensor, pose: Tensor) -> np.ndarray:
        """Draw the photo (H,W,3) uint8 with the face of a code (Z,) under a pose (6,) in it."""
        geometry = self._geometry(code)
        moved, mouth = self._field(geometry, pose), self._lips.alike(geometry, self._start)
        picture, kept = self._skin(moved, mouth), np.zeros(self._image.shape[:2], np.float32)
        kept[moved.rows, moved.columns] = moved.kept
        same = *self._same_gaze(geometry), mouth
        picture = self._interior(picture, geometry, pose, self._inverse_distance, kept, same)
        for lid in self._lids:
            lid(picture, geometry, pose, self._inverse_distance)
        return picture

    def _skin(self, moved: Moved, mouth: float) -> np.ndarray:
        """The photo moved. It is all lips as far as its `mouth` is not kept, 0..1; where the skin of lids is drawn out,
        it has the plain colour of the skin around: lashes and shadow would go over all of it."""
        shown = min(2 * mouth, 1)  # all of it while most of it is kept, so that no lip shines through teeth
        picture = resampled(cv2.addWeighted(self._image, shown, self._shut, 1 - shown, 0), moved)
        x, y, width, height = cv2.boundingRect((moved.drawn_out > _SEEN).astype(np.uint8))
        if width and height:
            box = slice(y, y + height), slice(x, x + width)
            part = picture[moved.rows, moved.columns][box]
            plain, share = sampled(self._plain, moved.places[box]), moved.drawn_out[box][..., None]
            part[:] = np.rint(part * (1 - share) + plain * share).astype(np.uint8)
        return picture

    def _same_gaze(self, geometry: Tensor) -> tuple[float, float]:
        """How far the right and the left eye of a face (V,3) look where they do in the photo, 0..1."""
        moved = (self._irises(geometry[None]) - self._irises(self._start[None]))[0].norm(dim=1)
        right, left = (-(moved / _GLANCE).square()).exp().tolist()
        return right, left

    def _geometry(self, code: Tensor) -> Tensor:
        """The face (V,3) of a code (Z,). As far as its lips are open, they lie as the photo's do."""
        geometry = self._tracked(code)
        return geometry + min(self._opening(geometry) / max(self._open, _SLIT), 1) * self._off

    def _opening(self, geometry: Tensor) -> float:
        """How far the lips of a face (V,3) are open, metres."""
        return max(float(self._lips.apart(geometry[None])) - self._lips.shut, 0)

    def _tracked(self, code: Tensor) -> Tensor:
        """The face (V,3) of a code (Z,) as it is tracked, whose teeth are shut when the photo's face is at rest."""
        above = code[None].clone()
        above[:, self._head.expression] -= self._rest
        with torch.no_grad():
            return self._teeth.closed(self._resting.geometry(above))[0]
