"""Who is seen in a clip: found with frames spread over it, or known from a clip or a track of the same person."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from selftrack.errors import UserError
from selftrack.tracker.model import Crops, Model
from selftrack.tracker.refinement.subject import Person, Subject
from selftrack.tracker.results.track_file import NAME, load
from selftrack.tracker.sources.base import FrameSource
from selftrack.tracker.sources.opening import open_source
from selftrack.tracker.tracker import TrackerConfig

AROUND = 0.1
"""Seconds around a neutral moment in which the face is taken to be at rest."""

Progress = Callable[[int, int], None]
Face = tuple[np.ndarray, np.ndarray]
"""A frame (H,W,3) and its landmarks (L,2)."""


@dataclass(frozen=True)
class PersonConfig:
    """Settings of how it is found who is seen."""

    neutral: float | None = None
    """Second at which the face is at rest: of the clip, or of the calibration; None: where the face is least active."""
    calibration: str | None = None
    """A clip or a track of the same person, whose face and rest are taken; None: those of the clip itself."""
    samples: int = 24
    """Frames, spread over the clip."""


def no_progress(done: int, total: int) -> None:
    """Report nothing."""


def find_in_clip(
    source: FrameSource,
    model: Model,
    tracking: TrackerConfig,
    config: PersonConfig,
    progress: Progress = no_progress,
) -> tuple[Subject | None, Crops]:
    """Find the subject of a clip; None where no face was found or the source cannot be read twice.

    Args:
        source: the clip.
        model: what tracks it.
        tracking: detection.
        config: how.
        progress: called with what is done and the number of all.

    Returns:
        The subject, and the crops that are spread over the clip.

    Raises:
        UserError: no face at the neutral moment, or none in the calibration; or that is of another decoder, or of one
            whose rest cannot be told.
    """
    if model.refiner is None and (config.neutral is not None or config.calibration is not None):
        raise UserError("this face model has no rest of its own; leave --neutral and --calibration out")
    spread = list(_spread_faces(source, model, tracking, config.samples, progress))
    known, at_rest = None, list[Face]()
    if config.calibration is not None:
        known = _known(Path(config.calibration), model, tracking, config)
    elif config.neutral is not None:
        at_rest = _neutral_faces(source, model, tracking, config.neutral)
    faces = Crops.around([*spread, *at_rest])
    if not len(faces):
        return None, faces
    marks = np.arange(len(faces)) >= len(spread) if at_rest else None
    return model.subject(faces, marks, known), Crops.around(spread)


def _known(path: Path, model: Model, tracking: TrackerConfig, config: PersonConfig) -> Person:
    """The person of a track, or of a clip."""
    if path.suffix == ".npz" or (path / NAME).is_file():
        track = load(path)
        if track.decoder_hash != model.decoder.hash:
            raise UserError(f"{path}: tracked with another face model; calibrate with a track by the one in use")
        if config.neutral is not None:
            raise UserError(f"--neutral {config.neutral:g}: {path} is a track, whose rest is known; leave that out")
        return Person(track.identity.astype(float), track.rest.astype(float), 0.0)
    with open_source(path) as source:
        subject, _ = find_in_clip(source, model, tracking, replace(config, calibration=None))
    if subject is None:
        raise UserError(f"{path}: no face was found; calibrate with a clip that shows the person")
    return Person(subject.identity.double().numpy(), subject.rest.double().numpy(), 0.0)


def _neutral_faces(source: FrameSource, model: Model, tracking: TrackerConfig, time: float) -> list[Face]:
    """The faces around a moment."""
    follower, found = model.landmarks.follower(tracking.detect), []
    for frame in source.frames():
        if frame.time > time + AROUND:
            break
        if frame.time >= time - AROUND:
            face = follower.detect_once(frame.image)
            if face is not None:
                found.append((frame.image, face.points))
    if not found:
        raise UserError(f"--neutral {time:g}: no face was found at that second; name one at which the face is at rest")
    return found


def _spread_faces(
    source: FrameSource, model: Model, tracking: TrackerConfig, samples: int, progress: Progress
) -> Iterator[Face]:
    """The faces in frames that are spread evenly over the clip."""
    count = source.count()
    if not source.repeatable or count is None:
        return
    rows = np.unique(np.linspace(0, count - 1, samples + 2)[1:-1].round().astype(int))
    follower = model.landmarks.follower(tracking.detect)
    for done, frame in enumerate(source.frames(only=set(rows.tolist())), 1):
        found = follower.detect_once(frame.image)
        if found is not None:
            yield frame.image, found.points
        progress(done, len(rows))
