"""How many pictures of a person a track is worth: frames that look alike say the same again."""

from __future__ import annotations

import numpy as np

from selftrack.tracker.landmarks.cast import SAMPLES
from selftrack.tracker.makehuman.reading import MANY
from selftrack.tracker.results.texture import evenly
from selftrack.tracker.results.track_file import Track

TURN, EXPRESSION = 5.0, 0.5
"""Degrees of yaw and pitch, and length of the change of all curves, from which on a frame is another picture: about
nineteen in twenty pairs of the drawn pictures by which readings were measured differ more, in either of them."""


def pictures(track: Track) -> int:
    """Count the pictures that differ in turn or expression, `MANY` at most, among as many frames, spread over the clip,
    as a person is found by. At least 1 of a track with a face."""
    pose = track.pose()
    looks = np.column_stack([pose["yaw"] / TURN, pose["pitch"] / TURN, expression(track) / EXPRESSION])
    left, count = looks[evenly(np.flatnonzero(track.ok), SAMPLES)], 0
    while len(left) and count < MANY:
        left = left[np.linalg.norm(left - left[0], axis=1) > 1]
        count += 1
    return count


def expression(track: Track) -> np.ndarray:
    """The curves (T,K) of a track but those of the gaze."""
    acts = [not name.startswith("eyeLook") for name in track.curve_names]
    return track.curve_values[:, acts]
