"""The clip's head as scene formats want it: its neutral, what each expression adds, and its place in every frame.

Axes: metres, x to the image's right, y up, z towards the viewer; the clip's camera is the origin and looks along -z.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from selftrack.decoders.base import Decoder
from selftrack.decoders.mesh.normals import vertex_normals
from selftrack.decoders.teeth import TEETH, row_of
from selftrack.tracker.export.scenes._teeth import raise_lower
from selftrack.tracker.geometry.camera import AXES, camera_pose
from selftrack.tracker.results.track_file import Track

_CHUNK = 64  # frames decoded at a time
_EARS = 0.85  # of the head's half width


@dataclass(frozen=True)
class ShapedHead:
    """A head in its own frame, at rest and by expression."""

    neutral: np.ndarray  # (V,3) metres
    normals: np.ndarray  # (V,3) of the neutral
    offsets: np.ndarray  # (E,V,3) metres, what an expression at 1 adds
    normal_offsets: np.ndarray  # (E,V,3)


def neutral_code(track: Track) -> Tensor:
    """The code (1,Z) of the clip's identity without any expression."""
    head = track.model()
    code = torch.zeros(1, head.size)
    code[0, head.identity] = torch.from_numpy(track.identity)
    return code


def shaped_head(track: Track, own_teeth: bool = False) -> ShapedHead:
    """Shape the head of the clip's identity: neutral + weights x offsets are the track's vertices in the head frame,
    but for lower teeth, if they are not its own: these stand a little higher, the more the jaw is shut."""
    head = track.model()
    neutral, offsets = head.geometry(neutral_code(track))[0], head.blendshapes
    if not own_teeth:
        neutral, offsets = raise_lower(head, neutral, offsets)
    normals = vertex_normals(torch.cat([neutral[None], neutral + offsets]), head.faces)
    for part in TEETH:
        _face_outwards(normals, neutral, head, part)
    tilted = normals[1:] - normals[0]
    return ShapedHead(*(_y_up(values) for values in (neutral, normals[0], offsets, tilted)))


def _face_outwards(normals: Tensor, neutral: Tensor, head: Decoder, part: str) -> None:
    """Let the normals (B,V,3) of a row of teeth point away from the middle of its arch, if the decoder has that part:
    front and back of so thin a band share their vertices, whose own normals lie anywhere and look dark."""
    if part not in head.part_names:
        return
    row = row_of(head, part)
    away = neutral[row] - torch.stack([neutral[row, 0].mean(), neutral[row, 1].mean(), neutral[row, 2].max()])
    away[:, 1] = 0
    normals[:, row] = functional.normalize(away, dim=-1)


def head_places(track: Track, focal: float) -> tuple[np.ndarray, np.ndarray]:
    """Place the head before the camera: rotations (T,3,3) and translations (T,3) metres, both in y-up axes."""
    rotation, translation = camera_pose(track, focal)
    return rotation * AXES[:, None] * AXES, translation * AXES


def neck_joint(head: Decoder, code: Tensor) -> np.ndarray:
    """Find the point (3,) about which the head turns on the neck, metres, head axes with y up, of a code (1,Z).

    It is on the midline, at the depth of the ears' middle and the height of their lobes, where the skull rests on the
    spine. The ears are what lies farther out than `_EARS` of the head's half width.
    """
    points = _y_up(head.geometry(code)[0])
    aside = np.abs(points[:, 0])
    ears = points[aside > _EARS * aside.max()]
    return np.array([0.0, ears[:, 1].min(), ears[:, 2].mean()])


def placed_vertices(track: Track, focal: float) -> Iterator[np.ndarray]:
    """Give the vertices (V,3) of each frame, metres, before the camera, of a track by any decoder."""
    rotation, translation = head_places(track, focal)
    head, done = track.model(), 0
    for codes in torch.from_numpy(track.z).split(_CHUNK):
        with torch.no_grad():
            shapes = _y_up(head.geometry(codes))
        for shape in shapes:
            yield shape @ rotation[done].T + translation[done]
            done += 1


def _y_up(values: Tensor) -> np.ndarray:
    return values.detach().double().numpy() * AXES
