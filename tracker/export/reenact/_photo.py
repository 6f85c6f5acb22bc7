"""Who is in a photo: the picture, tracked as a clip of one frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.registry import load_decoder
from selftrack.errors import NoFaceError, UserError
from selftrack.tracker.clips.subjects import PersonConfig, find_subject
from selftrack.tracker.export.reenact._lips import PARTING, Lips
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
_MOUTH = np.array([name.startswith(("jaw", "mouth", "cheek")) for name in ARKIT_NAMES])
_PARTS = np.array([float(name in PARTING) for name in ARKIT_NAMES])
_ACTS = 0.004
"""Metres between the lips, from which on nothing of the mouth is at rest."""
MOST = 16384
"""Pixels of the picture's sides at most: H.264's encoder takes no more."""


@dataclass(frozen=True)
class Photo:
    """A picture and the face in it."""

    image: np.ndarray
    """(H,W,3) uint8 RGB."""
    track: Track
    """Of one frame."""

    @cached_property
    def lips(self) -> Lips:
        """The lips of its head, which are shut where that has neither curves nor a person."""
        return Lips(load_decoder(self.track.decoder_path or None))

    @cached_property
    def rest(self) -> np.ndarray:
        """(52,) curves of what is taken for the face at rest, on which the performance comes on top: of those that the
        photo shows, but for its gaze and for what a mouth that is open does, and so that the lips are shut."""
        head, shown = self.track.model(), np.minimum(self.track.curve_values[0], _REST) * ~_GAZE
        code = torch.from_numpy(self.track.z)
        open_ = float(self.lips.apart(head.geometry(code))) - self.lips.shut
        rest = shown * (1 - _MOUTH * np.clip(open_ / _ACTS, 0, 1))
        codes = code.repeat(2, 1)
        codes[:, head.expression] = torch.from_numpy(np.stack([rest, rest + _PARTS])).to(code)
        apart, wider = self.lips.apart(head.geometry(codes)).tolist()
        return rest - max(apart - self.lips.shut, 0) / (wider - apart) * _PARTS


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
                f"--onto {path}: its face is {faces[0].size:.0f} pixels wide; name a photo where it has {LEAST} or more"
            )
        (frame,) = source.frames()
        subject = find_subject(faces[0], source, model, config, PersonConfig()).subject
        tracker = Tracker(model, config, subject, faces[0].places)
        tracker(frame)
        track = tracker.finish(source, config)
    if not track.ok[0]:
        raise NoFaceError(f"--onto {path}: no face was found; name a photo that shows one from the front")
    return Photo(frame.image, track)
