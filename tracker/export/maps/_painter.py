"""Draws the maps of a track's frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from selftrack.decoders.base import Decoder
from selftrack.decoders.landmarks import IBUG_68
from selftrack.decoders.mesh.normals import vertex_normals
from selftrack.decoders.mesh.rasterizer import Fragments, interpolate, rasterize
from selftrack.tracker.export.maps._settings import COLOURS, FACE, check_side, crop_box
from selftrack.tracker.geometry.camera import AXES
from selftrack.tracker.geometry.crop import CROP_SIZE
from selftrack.tracker.geometry.pose import project, rotation, through
from selftrack.tracker.results.track_file import Track, resting

_FACE_SIDE = 512  # pixels of the crop around the face, if no other size is asked for
_LINE = 0.006  # width of a line between landmarks over the picture's longer side
_FINE = 4  # bits behind the point of OpenCV's coordinates
_LINES = {
    "jaw": range(17),
    "right brow": range(17, 22),
    "left brow": range(22, 27),
    "nose": (*range(27, 36), 30),
    "right eye": (*range(36, 42), 36),
    "left eye": (*range(42, 48), 42),
    "outer lips": (*range(48, 60), 48),
    "inner lips": (*range(60, 68), 60),
}
"""Which of the 68 points a line joins."""


class Window(NamedTuple):
    """Which part of the frames pictures show."""

    size: tuple[int, int]
    """Width and height in pixels."""
    from_frame: np.ndarray
    """(T,2,3) float64 similarities, pixels of the frame -> pixels of the picture."""


def window_of(track: Track, crop: str, width: int | None) -> Window:
    """Find the window of a crop, see `_settings`, scaled to a width in pixels; None: `_FACE_SIDE` of the crop around
    the face, else as in the frame.

    Raises:
        UserError: a crop that is none, or a picture that is too small or too large.
    """
    box = crop_box(crop)
    if crop == FACE:
        width = height = width or _FACE_SIDE
        matrices, scale = track.crop.astype(float), width / CROP_SIZE
    else:
        x, y, *sides = box or (0, 0, *track.size)
        width, scale = width or round(sides[0]), (width or round(sides[0])) / sides[0]
        height = round(scale * sides[1])
        matrices = np.tile(np.array([[1.0, 0, -x], [0, 1, -y]]), (len(track), 1, 1))
    for side in (width, height):
        check_side(side)
    matrices = scale * matrices
    matrices[..., 2] += (scale - 1) / 2  # pixel centres are integers, so a picture's edge lies at -0.5
    return Window((width, height), matrices)


class Drawn(NamedTuple):
    """One map of one frame."""

    values: np.ndarray
    """(H,W,C) float32, in the channels' units."""
    covered: np.ndarray
    """(H,W) bool, where there is something; the values are 0 elsewhere."""


class MapPainter:
    """Draws maps of the frames of a track, each pixel as what is seen at its centre: nothing is blended."""

    def __init__(self, track: Track, names: Sequence[str], window: Window) -> None:
        """Draw those of `KINDS` that are named."""
        self._track, self._names, self._window = track, names, window
        self._head = track.model()
        mean = neutral_mean(track)
        low, high = mean.amin(0), mean.amax(0)
        self._codes = (mean - low) / (high - low).clamp(min=1e-9)
        self.extent = torch.stack([low, high], -1).tolist()
        """Of the mean, along each channel of pncc: least and largest, metres."""
        self._of_surface: dict[str, Callable[[_Surface], Tensor]] = {
            "pncc": lambda surface: surface.at(self._codes),
            "normals": lambda surface: functional.normalize(surface.at(surface.normals()), dim=-1),
            "depth": lambda surface: surface.pixels.depth[0, 0, :, None] / surface.scale,
            "uv": lambda surface: functional.pad(surface.at(self._head.uvs, self._head.uv_faces), (0, 1), value=1.0),
            "parts": lambda surface: 1.0 + self._head.face_parts[surface.pixels.face_index[0, 0], None],
        }

    def __call__(self, row: int) -> dict[str, Drawn]:
        """Draw the maps of a row, by name; all are empty where it is lost."""
        if not self._names:
            return {}
        width, height = self._window.size
        if not self._track.ok[row]:
            empty = Drawn(np.zeros((height, width, 3), np.float32), np.zeros((height, width), bool))
            return dict.fromkeys(self._names, empty)
        with torch.no_grad():
            surface = _Surface(self._head, *self._placed(row), self._track.inverse_distance, (height, width))
            return {name: self._map(name, surface) for name in self._names}

    def landmarks(self, row: int) -> np.ndarray:
        """Place the 68 points of 300-W in the picture of a row, (68,2) pixels."""
        geometry, pose = self._placed(row)
        return _landmarks(self._head, project(geometry, pose, self._track.inverse_distance))

    def _placed(self, row: int) -> tuple[Tensor, Tensor]:
        """The mesh (1,V,3) of a row in the head frame, metres, and its pose (1,6) in the picture."""
        rows = slice(row, row + 1)
        with torch.no_grad():
            geometry = self._head.geometry(torch.from_numpy(self._track.z[rows]))
        pose = torch.from_numpy(self._track.H_image[rows])
        return geometry, through(pose, torch.from_numpy(self._window.from_frame[rows]))

    def _map(self, name: str, surface: _Surface) -> Drawn:
        if name == "landmarks":
            picture = _sketch(_landmarks(self._head, surface.vertices), surface.size)
            return Drawn(picture.astype(np.float32) / 255, picture.max(-1) > 0)
        values = self._of_surface[name](surface).float()
        height, width = surface.size
        out = torch.zeros(height * width, values.shape[-1]).index_copy(0, surface.where, values)
        covered = torch.zeros(height * width, dtype=torch.bool).index_fill(0, surface.where, True)
        return Drawn(out.view(height, width, -1).numpy(), covered.view(height, width).numpy())


class _Surface:
    """What a picture (H,W) sees of a mesh (1,V,3) in the head frame under a pose (1,6) in the picture."""

    def __init__(
        self, head: Decoder, geometry: Tensor, pose: Tensor, inverse_distance: float, size: tuple[int, int]
    ) -> None:
        self.size, self.scale = size, float(pose[0, 0].exp())  # scale: pixels per metre
        self._faces, self._geometry, self._pose = head.faces, geometry, pose
        self.vertices = project(geometry, pose, inverse_distance)
        fragments = rasterize(self.vertices, head.faces, size)
        self.where = (fragments.face_index.flatten() >= 0).nonzero()[:, 0]
        """(N,) the pixels that see it, row by row."""
        self.pixels = Fragments(*(part.flatten(0, 2).index_select(0, self.where)[None, None] for part in fragments))
        """(1,1,N) what they see."""

    def at(self, attributes: Tensor, faces: Tensor | None = None) -> Tensor:
        """Interpolate attributes (V,C) of vertices, or those that other faces (F,3) index: (N,C)."""
        return interpolate(attributes, self._faces if faces is None else faces, self.pixels)[0, 0]

    def normals(self) -> Tensor:
        """(V,3) normals of the vertices in the picture's axes: x right, y up, z towards the viewer."""
        normals = vertex_normals(self._geometry, self._faces)[0]
        return normals @ rotation(self._pose[0, 1:4]).T * torch.tensor(AXES, dtype=normals.dtype)


def neutral_mean(track: Track) -> Tensor:
    """(V,3) the mean of the track's decoder, without what its person has at rest: metres, x to the picture's right at
    rest, y up, z towards the viewer."""
    mean = resting(track.model(), -track.rest).mean
    return mean * torch.tensor(AXES, dtype=mean.dtype)


def _landmarks(head: Decoder, vertices: Tensor) -> np.ndarray:
    """The 68 points (68,2) of vertices (1,V,3) in a picture, pixels."""
    return head.landmarks(len(IBUG_68))(vertices)[0, :, :2].numpy()


def _sketch(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture (H,W,3) uint8 RGB of the 68 points (68,2), joined by lines."""
    picture = np.zeros((*size, 3), np.uint8)
    for group, indices in _LINES.items():
        line, colour = np.rint(2**_FINE * points[list(indices)]).astype(np.int32), COLOURS[group]
        cv2.polylines(picture, [line[:, None]], False, colour, max(round(_LINE * max(size)), 1), cv2.LINE_8, _FINE)
    return picture
