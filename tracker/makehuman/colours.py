"""Colours of skin and eyes, from the pixels of a clip, as the clip's light and camera show them."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from selftrack.decoders.landmarks import EYE_CORNERS, LEFT_IRIS, POINTS, RIGHT_IRIS
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
_LEAST = 20
"""Pixels of an iris at least."""
EYE_COLOURS = {
    "brown": (74, 48, 33),
    "brownlight": (128, 88, 52),
    "green": (104, 110, 72),
    "lightblue": (140, 160, 175),
    "blue": (92, 116, 146),
    "deepblue": (52, 74, 116),
}
"""sRGB of MakeHuman's own eyes, about."""


def colours(track: Track) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Find the colour of the skin and of the irises, (3,) sRGB 0..255 each: the median over pixels and frames.

    None where no frame shows it: the detector has no such points, or irises are hidden or too small.
    """
    if track.landmarks.shape[1] != POINTS:
        return None, None
    skin, irises = [np.zeros((0, 3))], [np.zeros((0, 3))]
    for frame in read_rows(track, set(evenly(np.flatnonzero(track.ok), FRAMES).tolist())):
        points = track.landmarks[frame.index].astype(float)
        skin.append(_sampled(frame.image, points[list(_SKIN)]))
        if visible_gaze(points, ObservationConfig()) == 1:
            irises += [_sampled(frame.image, _ring(points, first)) for first in (RIGHT_IRIS, LEFT_IRIS)]
    return _median(skin, 1), _median(irises, _LEAST)


def eye_material(colour: np.ndarray) -> str:
    """Choose MakeHuman's material of eyes whose colour is nearest to sRGB (3,) 0..255, by CIE L*a*b*, where how light
    it is counts half."""
    names, references = zip(*EYE_COLOURS.items(), strict=True)
    lab = cv2.cvtColor((np.array([[colour, *references]]) / 255).astype(np.float32), cv2.COLOR_RGB2LAB)[0]
    return str(names[int(np.linalg.norm((lab[1:] - lab[0]) * [0.5, 1, 1], axis=1).argmin())])


def _ring(points: np.ndarray, first: int) -> np.ndarray:
    """Pixels (N,2) of an iris beside its pupil, of points (478,2); none where it is too small."""
    centre, radius = points[first], np.linalg.norm(points[first + 1 : first + 5] - points[first], axis=1).mean()
    if radius < _SMALLEST:
        return np.zeros((0, 2))
    corners = points[list(EYE_CORNERS)]
    own = corners[np.argsort(np.linalg.norm(corners - centre, axis=1))[:2]]
    across = (own[1] - own[0]) / np.linalg.norm(own[1] - own[0])
    down = np.array([-across[1], across[0]])
    angles = np.linspace(-_SIDEWAYS, _SIDEWAYS, 9)
    angles = np.concatenate([angles, angles + np.pi])
    around = np.outer(np.cos(angles), across) + np.outer(np.sin(angles), down)
    return (centre + radius * np.linspace(*_RING, 4)[:, None, None] * around).reshape(-1, 2)


def _sampled(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The pixels (N,3) nearest to points (N,2); those beside the picture are left out."""
    columns, rows = np.rint(points).astype(int).T
    inside = (rows >= 0) & (columns >= 0) & (rows < image.shape[0]) & (columns < image.shape[1])
    return image[rows[inside], columns[inside]].astype(float)


def _median(pixels: Iterable[np.ndarray], least: int) -> np.ndarray | None:
    every = np.concatenate(list(pixels))
    return np.median(every, axis=0) if len(every) >= least else None
