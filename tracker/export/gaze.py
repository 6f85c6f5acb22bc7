"""Where the eyes look, from the eyeLook curves and what these do to the head model's irises."""

import numpy as np

from selftrack.tracker.results.track_file import Track

_LOOKS = ("Down", "In", "Out", "Up")
_IRIS = {"Left": 473, "Right": 468}  # their centres among the detector's points
_RADIUS = 0.010
"""Metres from an eye's centre of rotation, 13.5 mm behind the cornea (Fry and Hill 1962), to the plane of its iris."""


def gaze_directions(track: Track) -> np.ndarray:
    """Unit vectors (T,2,3) along which the subject's left and right eye look, head axes (x to the image's right at
    rest, y down, z away from the camera); (0, 0, -1) where no eyeLook curve is up.

    An eye turns by as much as brings its iris to where the eyeLook shapes have it: by 33 degrees out, 35 in, 16 up
    and 24 down for one unit. The model's own eyeballs tell less: larger than real ones, they slide as they turn.
    """
    head, curves = track.model(), track.curves()
    directions = []
    for side, iris in _IRIS.items():
        names = [f"eyeLook{look}{side}" for look in _LOOKS]
        shapes = head.shapes[[head.expression.start + head.expression_names.index(n) for n in names]]
        shifts = head.landmarks478(shapes)[:, iris, :2].numpy()  # (4,2) metres for a unit of each
        across = np.stack([curves[n] for n in names], axis=1).astype(float) @ shifts / _RADIUS
        across /= np.maximum(1, np.linalg.norm(across, axis=1, keepdims=True) / 0.95)  # no eye looks behind itself
        ahead = -np.sqrt(1 - np.square(across).sum(axis=1, keepdims=True))
        directions.append(np.concatenate([across, ahead], axis=1))
    return np.stack(directions, axis=1)
