"""Where the eyes look, from ARKit's eyeLook curves and what these do to the bundled head's irises."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from selftrack.decoders.landmarks import LEFT_IRIS, RIGHT_IRIS
from selftrack.tracker.geometry.camera import towards

if TYPE_CHECKING:
    from torch import Tensor

    from selftrack.decoders.base import Decoder
    from selftrack.tracker.results.track_file import Track

_DIRECTIONS = ("Down", "In", "Out", "Up")
_IRIS = {"Left": LEFT_IRIS, "Right": RIGHT_IRIS}
_RADIUS = 0.010
"""Metres from an eye's centre of rotation, 13.5 mm behind the cornea (Fry and Hill 1962), to the plane of its iris."""


def gaze_rotations(track: Track) -> np.ndarray:
    """Compute the smallest rotations (T,2,3,3) that turn the left and the right eye from (0, 0, -1) to where they look,
    see `gaze_directions`; head axes."""
    backwards = -gaze_directions(track)
    return towards(backwards.reshape(-1, 3)).as_matrix().reshape(-1, 2, 3, 3)


def gaze_directions(track: Track) -> np.ndarray:
    """Compute unit vectors (T,2,3) along which the subject's left and right eye look, see `directions_of`."""
    return directions_of(track.curves())


def directions_of(curves: Mapping[str, np.ndarray]) -> np.ndarray:
    """Compute unit vectors (T,2,3) along which the subject's left and right eye look, by curves (T,) each; head axes (x
    to the image's right at rest, y down, z away from the camera); (0, 0, -1) where no eyeLook curve is up.

    An eye turns by as much as brings its iris to where the bundled head's eyeLook shapes have it: by 35 degrees
    sideways and 30 up or down for one unit, whichever decoder the curves are from. A head's own eyeballs are no better
    guide: larger than real ones, they slide as they turn.
    """
    directions = []
    for names, shifts in _shifts():
        across = np.stack([curves[n] for n in names], axis=1).astype(float) @ shifts / _RADIUS
        across /= np.maximum(1, np.linalg.norm(across, axis=1, keepdims=True) / 0.95)  # no eye looks behind itself
        ahead = -np.sqrt(1 - np.square(across).sum(axis=1, keepdims=True))
        directions.append(np.concatenate([across, ahead], axis=1))
    return np.stack(directions, axis=1)


@lru_cache(maxsize=1)
def _shifts() -> tuple[tuple[tuple[str, ...], np.ndarray], ...]:
    """Of the left and the right eye the names of its four curves, and how far a unit of each moves the iris across
    (4,2), metres."""
    from selftrack.decoders.head.model import load_head

    head, eyes = load_head(), []
    for side, iris in _IRIS.items():
        names = tuple(f"eyeLook{direction}{side}" for direction in _DIRECTIONS)
        shapes = head.blendshapes[[head.expression_names.index(name) for name in names]]
        eyes.append((names, head.landmarks478(shapes)[:, iris, :2].numpy()))
    return tuple(eyes)


def eye_centres(head: Decoder, code: Tensor) -> np.ndarray:
    """Find the points (2,3) about which the subject's left and right eye turn, metres, head axes, of a code (1,Z): as
    far behind the iris as `gaze_directions` takes it to be.
    """
    irises = head.landmarks478(head.geometry(code))[0, list(_IRIS.values())]
    return irises.detach().double().numpy() + np.array([0, 0, _RADIUS])
