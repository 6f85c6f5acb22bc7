"""Who is seen in a clip: found with frames spread over it, or known from a clip or a track of the same person."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from selftrack.errors import NoFaceError, UserError
from selftrack.tracker.clips.choice import EVERYONE, Choice, check_choice, choose, listed, most_like
from selftrack.tracker.clips.notes import no_face
from selftrack.tracker.geometry.crop import face_crop
from selftrack.tracker.identity.descriptor import Sample
from selftrack.tracker.identity.photo import describe_photo, distances
from selftrack.tracker.landmarks.cast import SAMPLES, CastFace, find_cast
from selftrack.tracker.model import Crops, Model
from selftrack.tracker.progress import Progress, no_progress
from selftrack.tracker.refinement.subject import Person, Subject
from selftrack.tracker.results.curves import AROUND
from selftrack.tracker.results.track_file import is_track, load
from selftrack.tracker.sources.base import FrameSource
from selftrack.tracker.sources.opening import open_source
from selftrack.tracker.tracker import TrackerConfig


@dataclass(frozen=True)
class PersonConfig:
    """Settings of how it is found who is seen."""

    neutral: float | None = None
    """Second at which the face is at rest: of the clip, or of the calibration; None: where the face is least active."""
    calibration: str | None = None
    """A clip or a track of the same person, whose face and rest are taken; None: those of the clip itself."""
    photo: str | None = None
    """A photo of the person to follow, in place of a number in `track.detect.face`."""
    samples: int = SAMPLES
    """Frames, spread over the clip."""


class Faces(NamedTuple):
    """Who is in a clip."""

    followed: CastFace | None
    """The face to follow; None where none was found in the sampled frames."""
    everyone: tuple[CastFace, ...]
    """By number."""
    notes: list[str]
    """For the user."""
    number: int = 0
    """Of the face to follow."""


class Found(NamedTuple):
    """The subject of a clip."""

    subject: Subject | None
    """None where no face was found or the source cannot be read twice."""
    crops: Crops
    """That are spread over the clip."""
    notes: tuple[str, ...] = ()
    """For the user, on the face at rest."""


def find_face(
    source: FrameSource,
    model: Model,
    tracking: TrackerConfig,
    config: PersonConfig,
    progress: Progress = no_progress,
) -> Faces:
    """Find the faces of a clip and the one to follow: that of the photo in the settings, or of the number
    `tracking.detect.face`.

    Raises:
        UserError: the photo shows not exactly one face.
        NoFaceError: there is no face of that number, or nobody looks like the photo.
    """
    if config.photo is not None:
        return _of_photo(config.photo, source, model, tracking, config, progress)
    number = tracking.detect.face
    faces = find_cast(source, model.landmarks, tracking.detect, progress, config.samples, everyone=number > 0)
    if number and not faces:
        raise no_face(source.title, source.count())
    if number and number >= len(faces):
        raise NoFaceError(f"--face {number}: the faces of {source.title} are {listed(faces)}; name one of these")
    return _one_of(faces, number, source.title)


def find_faces(
    source: FrameSource,
    model: Model,
    tracking: TrackerConfig,
    config: PersonConfig,
    choice: Choice = EVERYONE,
    progress: Progress = no_progress,
) -> tuple[dict[int, Faces], list[str]]:
    """Find the faces of a clip and those to follow.

    Args:
        source: the clip.
        model: what tracks it.
        tracking: detection.
        config: how many samples are looked at.
        choice: who is followed, see `choice.choose`.
        progress: see `landmarks.cast.find_cast`.

    Returns:
        By the number of each face to follow what `find_face` says of it; and notes on the clip for the user.

    Raises:
        UserError: the choice is none.
        NoFaceError: there is no face, or one that the choice names is not there.
    """
    choice, name = check_choice(choice), source.title
    faces = find_cast(source, model.landmarks, tracking.detect, progress, config.samples, everyone=True)
    if not faces:
        raise no_face(source.title, source.count())
    numbers, notes = choose(faces, choice, name, source.info.duration)
    return {number: _one_of(faces, number, name) for number in numbers}, notes


def _of_photo(
    photo: str, source: FrameSource, model: Model, tracking: TrackerConfig, config: PersonConfig, progress: Progress
) -> Faces:
    """The face of a clip that looks most like a photo."""
    own, name = describe_photo(photo, model.landmarks, tracking.detect), source.title
    faces = find_cast(source, model.landmarks, tracking.detect, progress, config.samples, everyone=True)
    if not faces:
        raise no_face(source.title, source.count())
    number, note = most_like(faces, distances(own, [face.samples for face in faces]), name, photo)
    return Faces(faces[number], faces, [note], number)


def _one_of(faces: tuple[CastFace, ...], number: int, name: str) -> Faces:
    """The face of a number among those of a clip of that name; none where there are none."""
    if len(faces) < 2:
        return Faces(faces[0] if faces else None, faces, [])
    others = ", ".join(f"--face {k} ({face})" for k, face in enumerate(faces) if k != number)
    followed = f"{len(faces)} faces were found; face {number} ({faces[number]}) was followed"
    return Faces(faces[number], faces, [f"{name}: {followed}; for another one: {others}"], number)


def find_in_clip(
    source: FrameSource,
    model: Model,
    tracking: TrackerConfig,
    config: PersonConfig,
    progress: Progress = no_progress,
) -> Found:
    """Find a clip's face and then its subject, see `find_face` and `find_subject`."""
    followed = find_face(source, model, tracking, config, progress).followed
    return find_subject(followed, source, model, tracking, config)


def find_subject(
    face: CastFace | None, source: FrameSource, model: Model, tracking: TrackerConfig, config: PersonConfig
) -> Found:
    """Find the subject of a clip, and tell where it cannot be known what its face is like at rest.

    Args:
        face: the one to follow, see `find_face`.
        source: the clip.
        model: what tracks it.
        tracking: detection.
        config: how.

    Raises:
        UserError: no face at the neutral moment, or none in the calibration; or that is of another decoder, or of one
            whose rest cannot be told.
    """
    if model.refiner is None and (config.neutral is not None or config.calibration is not None):
        raise UserError("this face model has no rest of its own; leave --neutral and --calibration out")
    spread = list(face.samples) if face else []
    known, at_rest, notes = None, list[Sample](), tuple[str, ...]()
    if config.calibration is not None:
        known, notes = known_person(Path(config.calibration), model, tracking, config)
    elif config.neutral is not None:
        at_rest = _neutral_faces(source, model, tracking, config.neutral, face)
    faces, crops = Crops.of([*spread, *at_rest]), Crops.of(spread)
    if not len(faces):
        return Found(None, faces, notes)
    marks = np.arange(len(faces)) >= len(spread) if at_rest else None
    if config.calibration is None:
        notes = _active(model, Crops.of(at_rest), config.neutral) if at_rest else _unrest(model, crops, source.count())
    return Found(model.subject(faces, marks, known), crops, notes)


def _unrest(model: Model, crops: Crops, frames: int | None) -> tuple[str, ...]:
    """A note where a face is at rest in no part of its clip, of so many frames if that is known, by crops that are
    spread over it."""
    if not len(crops) or model.shows_rest(crops):
        return ()
    if frames == 1:
        return (
            "the face is not at rest in this picture, so that its rest is a guess, by how faces usually are; give a "
            "clip of the person that has one with --calibration FILE",
        )
    return (
        "the face is hardly at rest in this clip, so that its rest is a guess, by how faces usually are; give a moment "
        "of rest with --neutral SECOND, or a clip that has one with --calibration FILE",
    )


def _active(model: Model, crops: Crops, time: float | None) -> tuple[str, ...]:
    """A note where a face seems to be active at the moment, seconds, that was named as its rest."""
    if model.shows_rest(crops):
        return ()
    return (
        f"--neutral {time:g}: the face seems to be active there; what it does at that second was taken for its rest, "
        "and is missing from the curves; name another second if that is not what you want",
    )


def known_person(
    path: Path, model: Model, tracking: TrackerConfig, config: PersonConfig
) -> tuple[Person, tuple[str, ...]]:
    """Find the person of an earlier track, or of a clip, and notes for the user on its face at rest.

    Raises:
        UserError: it cannot be read, shows no face, or is of another face model than the one in use.
    """
    if is_track(path):
        track = load(path)
        if track.decoder_hash != model.decoder.hash:
            raise UserError(f"{path}: tracked with another face model; calibrate with a track by the one in use")
        if config.neutral is not None:
            raise UserError(f"--neutral {config.neutral:g}: {path} is a track, whose rest is known; leave that out")
        return Person(track.identity.astype(float), track.rest.astype(float), 0.0), ()
    alone = replace(tracking, detect=replace(tracking.detect, face=0))  # the number is that of the clip's own faces
    with open_source(path) as source:
        subject, _, notes = find_in_clip(source, model, alone, replace(config, calibration=None))
    if subject is None:
        raise UserError(f"{path}: no face was found; calibrate with a clip that shows the person")
    person = Person(subject.identity.double().numpy(), subject.rest.double().numpy(), 0.0)
    return person, tuple(f"{path}: {note}" for note in notes)


def _neutral_faces(
    source: FrameSource, model: Model, tracking: TrackerConfig, time: float, face: CastFace | None
) -> list[Sample]:
    """The face around a moment."""
    _check_neutral(source, time)
    follower, found = model.landmarks.follower(tracking.detect, face.places if face else None), []
    for frame in source.frames():
        if frame.time > time + AROUND:
            break
        if frame.time >= time - AROUND:
            seen = follower(frame.image, frame.time)
            if seen is not None:
                found.append(face_crop(frame.image, seen.points))
    if not found:
        raise UserError(f"--neutral {time:g}: no face was found at that second; name one at which the face is at rest")
    return found


def _check_neutral(source: FrameSource, time: float) -> None:
    """Raise UserError where a neutral moment is not within the source, as far as its ends can be read."""
    count = source.count()
    if not count:
        return
    ends = {0, count - 1}
    times = [frame.time for frame in source.glimpses(ends)]
    if len(times) == len(ends) and not times[0] - AROUND <= time <= times[-1] + AROUND:
        if count == 1:
            raise UserError(
                f"--neutral {time:g}: what is tracked of {source.title} is a single picture, at second "
                f"{times[0]:.2f}; name that if the face is at rest there, or leave --neutral out"
            )
        length = (times[-1] - times[0]) * count / (count - 1)
        raise UserError(
            f"--neutral {time:g}: what is tracked of {source.title} is {length:.2f} s long; name a second from "
            f"{times[0]:.2f} to {times[-1]:.2f}, at which the face is at rest"
        )
