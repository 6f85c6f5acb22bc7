"""Colours of skin and eyes, from the pixels of a clip, as the clip's light and camera show them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np

from selftrack.decoders.landmarks import EYE_CORNERS, LEFT_IRIS, RIGHT_IRIS
from selftrack.tracker.refinement.observation import ObservationConfig, visible_gaze
from selftrack.tracker.results.clip import read_rows
from selftrack.tracker.results.texture import evenly
from selftrack.tracker.results.track_file import Track

FRAMES = 24
"""At most so many frames are read, evenly spaced."""
_SKIN = (50, 101, 205, 280, 330, 425, 9, 107, 151, 336)
"""Points of the cheeks and the forehead."""
_SMALLEST = 3.0
"""Pixels, radius below which an iris is too small to have a colour of its own."""
_RING = (0.5, 0.85)
"""Of an iris's radius, where it is neither pupil nor rim."""
_SIDEWAYS = 0.9
"""Radians from the horizontal, beyond which the lids and what they reflect are near."""
_OUTSIDE, _INSIDE = 1.2, 0.8
"""Where an eye is white: from so many radii of its iris on, up to that share of the way to a corner."""
_LEAST = 20
"""Pixels at least that make a colour."""
_WHITE = 230.0
"""sRGB of the white of an eye in white light."""
_BRIGHT = 75
"""Percentile of the pixels beside the irises that is their white: some of them are in the lids' shadow."""
EYE_COLOURS = {
    "brown": (74, 48, 33),
    "brownlight": (128, 88, 52),
    "green": (104, 110, 72),
    "lightblue": (140, 160, 175),
    "blue": (92, 116, 146),
    "deepblue": (52, 74, 116),
}
"""sRGB of MakeHuman's own eyes, about."""


class Colours(NamedTuple):
    """What a clip shows, (3,) sRGB 0..255 each; None where no frame shows it."""

    skin: np.ndarray | None
    irises: np.ndarray | None
    whites: np.ndarray | None
    """Of the eyes, beside the irises."""


def colours(track: Track) -> Colours:
    """Find the colours of a person: the median over pixels and frames.

    Irises may be hidden or too small. Takes a track of 478 points; raises UserError where its clip is gone or another.
    """
    skin, irises, whites = ([np.zeros((0, 3))] for _ in range(3))
    for frame in read_rows(track, set(evenly(np.flatnonzero(track.ok), FRAMES).tolist()), verify=True):
        points = track.landmarks[frame.index].astype(float)
        skin.append(_sampled(frame.image, points[list(_SKIN)]))
        if visible_gaze(points, ObservationConfig()) == 1:
            for first in (RIGHT_IRIS, LEFT_IRIS):
                irises.append(_sampled(frame.image, _ring(points, first)))
                whites.append(_sampled(frame.image, _beside(points, first)))
    return Colours(_typical(skin, 1), _typical(irises, _LEAST), _typical(whites, _LEAST, _BRIGHT))


def eye_material(irises: np.ndarray, whites: np.ndarray | None = None) -> str:
    """Choose MakeHuman's material of eyes that is nearest to irises' sRGB (3,) 0..255 in the light in which the whites
    of the eyes are white, by CIE L*a*b*, where how light it is counts half."""
    lit = irises if whites is None else (irises / np.maximum(whites, 1) * _WHITE).clip(0, 255)
    names, references = zip(*EYE_COLOURS.items(), strict=True)
    lab = cv2.cvtColor((np.array([[lit, *references]]) / 255).astype(np.float32), cv2.COLOR_RGB2LAB)[0]
    return str(names[int(np.linalg.norm((lab[1:] - lab[0]) * [0.5, 1, 1], axis=1).argmin())])


def _ring(points: np.ndarray, first: int) -> np.ndarray:
    """Pixels (N,2) of an iris beside its pupil, of points (478,2); none where it is too small."""
    centre, radius, corners = _eye(points, first)
    if radius < _SMALLEST:
        return np.zeros((0, 2))
    across = (corners[1] - corners[0]) / np.linalg.norm(corners[1] - corners[0])
    down = np.array([-across[1], across[0]])
    angles = np.linspace(-_SIDEWAYS, _SIDEWAYS, 9)
    angles = np.concatenate([angles, angles + np.pi])
    around = np.outer(np.cos(angles), across) + np.outer(np.sin(angles), down)
    return (centre + radius * np.linspace(*_RING, 4)[:, None, None] * around).reshape(-1, 2)


def _beside(points: np.ndarray, first: int) -> np.ndarray:
    """Pixels (N,2) between an iris and the corners of its eye, as far as there is room, of points (478,2)."""
    centre, radius, corners = _eye(points, first)
    if radius < _SMALLEST:
        return np.zeros((0, 2))
    ways = corners - centre
    far = np.linalg.norm(ways, axis=1, keepdims=True)
    reach = np.linspace(_OUTSIDE * radius / far, _INSIDE, 4)  # (4,2,1)
    return (centre + reach * ways)[:, far[:, 0] * _INSIDE > _OUTSIDE * radius].reshape(-1, 2)


def _eye(points: np.ndarray, first: int) -> tuple[np.ndarray, float, np.ndarray]:
    """An iris's centre (2,) and radius, and the corners of its eye (2,2)."""
    centre, corners = points[first], points[list(EYE_CORNERS)]
    radius = float(np.linalg.norm(points[first + 1 : first + 5] - centre, axis=1).mean())
    return centre, radius, corners[np.argsort(np.linalg.norm(corners - centre, axis=1))[:2]]


def _sampled(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The pixels (N,3) nearest to points (N,2); those beside the picture are left out."""
    columns, rows = np.rint(points).astype(int).T
    inside = (rows >= 0) & (columns >= 0) & (rows < image.shape[0]) & (columns < image.shape[1])
    return image[rows[inside], columns[inside]].astype(float)


def _typical(pixels: Iterable[np.ndarray], least: int, percentile: float = 50) -> np.ndarray | None:
    every = np.concatenate(list(pixels))
    return np.percentile(every, percentile, axis=0) if len(every) >= least else None
