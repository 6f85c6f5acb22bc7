"""A tracked clip as a capture with one camera, from which a person's own model can be trained without a lab."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from selftrack.decoders.capture import Camera
from selftrack.decoders.mesh.unwrap import texel_map, unwrap
from selftrack.errors import UserError
from selftrack.tracker.geometry.pose import project, view_of
from selftrack.tracker.progress import Steps, no_steps
from selftrack.tracker.results.clip import open_clip
from selftrack.tracker.results.texture import TextureConfig, clip_texture
from selftrack.tracker.results.track_file import Track

_QUALITY = 97
"""JPEG quality of the pictures kept in memory."""
_LEAST = 0.1
"""Cosine of the incident angle at which a frame's texture is still taken."""


class ClipCapture:
    """Frames of a track where a face was found; a `selftrack.decoders.capture.Capture`.

    Meshes are those of the track, without its pose. A frame's texture is what it shows; texels that it hides come from
    the clip's texture, and what that lacks from the decoder's.
    """

    missing: tuple[str, ...] = ()

    def __init__(self, track: Track, size: int, progress: Steps = no_steps) -> None:
        """Read the clip; textures have `size` texels a side.

        Raises:
            UserError: no frame shows a face.
        """
        rows = np.flatnonzero(track.ok)
        if not len(rows):
            raise UserError(f"{track.clip}: shows no face to make a model of; name a clip of the person")
        self.track, self.rows, self._size = track, rows, size
        self.topology = track.model().topology
        self.cameras: tuple[Camera, ...] = (Camera("clip", np.eye(3), np.eye(3, 4)),)
        self.frames = tuple(f"{row:06d}" for row in rows)
        self._complete = (255 * clip_texture(track, TextureConfig(size=size))).round().byte().permute(1, 2, 0).numpy()
        # eyes, teeth and the mouth's inside, too, and near the outline: the model paints all that the mesh covers
        texels = texel_map(track.model(), size, torch.ones(1, 1, dtype=torch.bool))
        self._pictures, self._textures = [], []
        with open_clip(track) as source:
            for done, frame in enumerate(source.frames(only=set(rows.tolist())), 1):
                image = torch.from_numpy(frame.image).permute(2, 0, 1)[None].float()
                placed = torch.from_numpy(track.vertices(slice(frame.index, frame.index + 1)))
                texture, weight = unwrap(image, placed, self.topology.faces, texels, _LEAST)
                shown = texture[0].permute(1, 2, 0).round().byte().numpy()
                self._textures.append(np.where((weight[0] > 0).numpy()[..., None], shown, self._complete))
                coded = cv2.imencode(".jpg", frame.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
                self._pictures.append(coded)
                progress(done, len(rows))
        with torch.no_grad():
            self._meshes = track.model().geometry(torch.from_numpy(track.z[rows])).numpy()

    def views(self, frame: int) -> tuple[int, ...]:
        return (0,)

    def vertices(self, frame: int) -> np.ndarray:
        return self._meshes[frame]

    def view(self, frame: int, camera: int) -> np.ndarray:
        return view_of(self._pose(frame))[0].numpy()

    def project(self, frame: int, camera: int, points: np.ndarray) -> np.ndarray:
        at = torch.from_numpy(np.asarray(points, np.float32))[None]
        return project(at, self._pose(frame), self.track.inverse_distance)[0].numpy()

    def image(self, frame: int, camera: int) -> np.ndarray:
        return np.asarray(cv2.imdecode(self._pictures[frame], cv2.IMREAD_COLOR_RGB))

    def texture(self, frame: int, camera: int, size: int) -> np.ndarray:
        assert size == self._size, f"made for {self._size} texels a side, asked for {size}"
        return self._textures[frame]

    def average(self, frame: int, size: int) -> np.ndarray:
        return self.texture(frame, 0, size)

    def mean_vertices(self) -> np.ndarray:
        return self._meshes.mean(0)

    def mean_texture(self, size: int) -> np.ndarray:
        return self._complete

    def _pose(self, frame: int) -> torch.Tensor:
        row = self.rows[frame]
        return torch.from_numpy(self.track.H_image[row : row + 1])
