"""A character beside the person: the frame, the character as it is turned there, and from the front."""

from __future__ import annotations

import numpy as np
import torch

from selftrack.decoders.rigs.shaped import ShapedMesh
from selftrack.tracker.characters.similarity import moved, similarity
from selftrack.tracker.characters.views import flat, picture, seen
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.makehuman.pictures import expression
from selftrack.tracker.results.clip import read_rows
from selftrack.tracker.results.painter import Crop
from selftrack.tracker.results.track_file import Track

SIDE = 512
"""Pixels of each picture."""
_MARGIN = 0.35
_REACH = 0.3
"""Metres that the picture from the front shows."""
_TURN = 35.0
"""Degrees by which the last picture is turned."""


def portrait(track: Track, mesh: ShapedMesh, face: np.ndarray) -> np.ndarray:
    """Draw the frame that shows the face best, and the character with its expression beside it, at rest from the front
    and turned: (SIDE,4 SIDE,3) uint8 RGB.

    Args:
        track: whose clip is read.
        mesh: of the character, with ARKit's shapes, head frame.
        face: (V,) bool, the vertices by which it is placed on the tracked head.

    Raises:
        UserError: as `read_rows`.
    """
    row = best_row(track)
    (frame,) = read_rows(track, {row}, verify=True)
    crop = Crop(track.landmarks[row].astype(float), frame.image, SIDE, _MARGIN)
    decoder = track.model()
    with torch.no_grad():
        own = decoder.geometry(torch.from_numpy(track.z[row : row + 1]))[0].double().numpy()
    acted = mesh.neutral + np.tensordot(track.curve_values[row], mesh.deltas, 1)
    placed = moved(acted, similarity(acted[face], own[face]))
    there = project(
        torch.from_numpy(placed)[None], torch.from_numpy(track.H_image[row : row + 1]).double(), track.inverse_distance
    )
    beside = _drawn(mesh, crop.vertices(there[0].numpy()))
    middle = mesh.neutral[face].mean(0)
    views = [_drawn(mesh, flat(mesh.neutral, turn, middle, SIDE / _REACH, SIDE)) for turn in (np.eye(3), _aside())]
    return np.concatenate([crop.picture, beside, *views], 1)


def best_row(track: Track) -> int:
    """Choose the row of a face to look at: trusted, large, from the front, and at rest."""
    pose = track.pose()
    turned = np.abs(pose["yaw"]) + np.abs(pose["pitch"])
    worth = 2 * track.confidence - turned / 30 - expression(track).sum(1) / 4 + np.log(pose["scale"])
    return int(np.where(track.ok, worth, -np.inf).argmax())


def _drawn(mesh: ShapedMesh, placed: np.ndarray) -> np.ndarray:
    placed = placed.astype(np.float32)
    return picture(mesh, placed, seen(mesh, placed, SIDE))


def _aside() -> np.ndarray:
    cosine, sine = np.cos(np.radians(_TURN)), np.sin(np.radians(_TURN))
    return np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
