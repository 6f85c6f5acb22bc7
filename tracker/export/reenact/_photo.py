"""Who is in a photo: the picture, tracked as a clip of one frame."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.errors import NoFaceError, UserError
from selftrack.tracker.clips.subjects import PersonConfig, find_subject
from selftrack.tracker.landmarks.cast import find_cast
from selftrack.tracker.model import Model
from selftrack.tracker.results.track_file import Track
from selftrack.tracker.sources.images import ImageSequence
from selftrack.tracker.sources.names import SUFFIXES, is_picture
from selftrack.tracker.tracker import Tracker, TrackerConfig

LEAST = 48
"""Pixels of a face's side at least: of a smaller one neither lids nor lips can be told."""
_REST = 0.2
"""Of a curve that the photo shows, up to which it is taken for the face at rest."""
_GAZE = np.array([name.startswith(("eyeLook", "eyeBlink")) for name in ARKIT_NAMES])
MOST = 16384
"""Pixels of the picture's sides at most: H.264's encoder takes no more."""


class Photo(NamedTuple):
    """A picture and the face in it."""

    image: np.ndarray
    """(H,W,3) uint8 RGB."""
    track: Track
    """Of one frame."""

    @property
    def rest(self) -> np.ndarray:
        """(52,) of its curves, what is taken for the face at rest, on which the performance comes on top."""
        return np.minimum(self.track.curve_values[0], _REST) * ~_GAZE


def read_photo(path: Path, model: Model) -> Photo:
    """Read a picture and track its face.

    Raises:
        UserError: it is no picture, cannot be read, is too large, or shows several faces, or one that is too small.
        NoFaceError: it shows none.
    """
    if not path.exists():
        raise UserError(f"--onto {path}: no such file")
    if not (path.is_file() and is_picture(path)):
        raise UserError(f"--onto {path}: is not a picture that can be read; name one of {', '.join(SUFFIXES)}")
    config = TrackerConfig()
    with ImageSequence(path) as source:
        if max(source.info.width, source.info.height) > MOST:
            raise UserError(f"--onto {path}: no side may be longer than {MOST} pixels; make the picture smaller")
        faces = find_cast(source, model.landmarks, config.detect, everyone=True)
        if not faces:
            raise NoFaceError(f"--onto {path}: no face was found; name a photo that shows one from the front")
        if len(faces) > 1:
            raise UserError(
                f"--onto {path}: shows {len(faces)} faces; cut the picture so that it has only the one to be moved"
            )
        if faces[0].size < LEAST:
            raise UserError(
                f"--onto {path}: its face is {faces[0].size:.0f} pixels wide; name a photo of {LEAST} or more"
            )
        (frame,) = source.frames()
        subject, _ = find_subject(faces[0], source, model, config, PersonConfig())
        tracker = Tracker(model, config, subject, faces[0].places)
        tracker(frame)
        track = tracker.finish(source, config)
    if not track.ok[0]:
        raise NoFaceError(f"--onto {path}: no face was found; name a photo that shows one from the front")
    return Photo(frame.image, track)
