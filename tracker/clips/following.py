"""Faces followed through a clip in one pass, each by the model and as the subject that fit it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from selftrack.errors import UserError
from selftrack.tracker.clips.config import TrackConfig, load_model
from selftrack.tracker.clips.notes import noted, seen_in
from selftrack.tracker.clips.subjects import Faces, PersonConfig, find_subject
from selftrack.tracker.model import Crops, Model
from selftrack.tracker.network.weights import ClipFit
from selftrack.tracker.progress import Steps
from selftrack.tracker.refinement.subject import Subject
from selftrack.tracker.results import confidence
from selftrack.tracker.results.track_file import Track
from selftrack.tracker.rows import FileRows
from selftrack.tracker.sources.base import FrameSource
from selftrack.tracker.stopwatch import Stopwatch
from selftrack.tracker.tracker import Tracker


class PreparedFace(NamedTuple):
    """A face that is to be followed through a clip, and what by."""

    who: Faces
    config: TrackConfig
    model: Model
    subject: Subject | None = None
    notes: tuple[str, ...] = ()
    """On the choice of the model."""


class TrackedFace(NamedTuple):
    """A face that was followed through a clip."""

    config: TrackConfig
    track: Track
    model: Model
    """What made the track."""
    alone: tuple[str, ...]
    """Of the track's notes, those that are of no other face."""


def load_for(source: FrameSource, config: TrackConfig) -> Model:
    """As `load_model`. Raises UserError, too, where its weights know this clip's person, and another way is named."""
    model = load_model(config)
    asked = replace(config.person, photo=None, samples=PersonConfig.samples)
    if model.fit and _is_of(model.fit, source, config) and asked != PersonConfig():
        raise UserError(
            f"{config.weights}: was adapted to this very clip and keeps the person that it found; leave --neutral and "
            "--calibration out, or adapt anew with them"
        )
    return model


def _is_of(fit: ClipFit, source: FrameSource, config: TrackConfig) -> bool:
    """Whether it was adapted to this face of this clip."""
    return (fit.clip_hash, fit.face) == (source.fingerprint(), config.detect.face)


def prepare(source: FrameSource, model: Model, config: TrackConfig, who: Faces) -> PreparedFace:
    """Find the subject of a face that is to be followed through a clip, and choose the model to use.

    A model adapted to another clip is used if it fits this one no worse than the one that it was adapted from.

    Raises:
        UserError: as `find_subject`, and where the settings name a rest for no identity of the clip.
    """
    per_frame, person = config.identity == "per-frame", config.person
    if model.fit is not None and _is_of(model.fit, source, config):
        return PreparedFace(who, config, model)
    if per_frame and (person.neutral is not None or person.calibration is not None):
        raise UserError("--neutral and --calibration are for one identity; use them without --identity per-frame")
    if per_frame and model.fit is None:
        return PreparedFace(who, config, model)
    subject, crops, notes = find_subject(who.followed, source, model, config, person)
    model, more = _fitting(model, config, crops, subject)
    notes += more
    return PreparedFace(who, config, model, None if per_frame else subject, notes)


def _fitting(model: Model, config: TrackConfig, crops: Crops, subject: Subject | None) -> tuple[Model, tuple[str, ...]]:
    """The model for a clip that it was not adapted to, or the one that it was adapted from; and why."""
    if model.fit is None:
        return model, ()
    if not model.fit.trained:
        why = "holds key frames of another clip and no network of its own; it was left out"
    elif subject is not None and _fits_worse(model, crops, subject):
        why = "fits this clip worse than the weights it was adapted from; those were used"
    else:
        return model.elsewhere(), ()
    return model.unadapted(), (f"{config.weights}: {why}; adapt to this clip with --adapt",)


def _fits_worse(model: Model, crops: Crops, subject: Subject) -> bool:
    """Whether an adapted model brings the mesh farther from the detected landmarks than the un-adapted one."""
    return model.landmark_distance(crops, subject) > model.unadapted().landmark_distance(crops, subject)


def follow(
    source: FrameSource,
    faces: Sequence[PreparedFace],
    scratch: Path,
    watch: Stopwatch,
    progress: Steps,
) -> list[TrackedFace]:
    """Follow faces through a source in one pass.

    The tracks lie in files of the empty folder `scratch`, as long as it is there. `watch` gets the times,
    `progress` the frames that are done.
    """
    with ExitStack() as stack:
        trackers = []
        for number, face in enumerate(faces):
            (scratch / str(number)).mkdir()
            rows = stack.enter_context(FileRows(scratch / str(number)))
            places = face.who.followed.places if face.who.followed else None
            trackers.append(Tracker(face.model, face.config, face.subject, places, rows=rows))
            trackers[-1].watch = watch
        total, frames = source.count() or 0, watch.waiting("decode", source.frames())
        for done, _ in enumerate(Tracker.stream_together(trackers, frames), 1):
            progress(done, max(total, done))
        return [_finished(source, face, tracker) for face, tracker in zip(faces, trackers, strict=True)]


def _finished(source: FrameSource, face: PreparedFace, tracker: Tracker) -> TrackedFace:
    """The track of a face, with the notes for the user."""
    track, model = _calibrated(face.model, tracker.finish(source, face.config))
    alone = (*face.notes, *seen_in(track))
    return TrackedFace(face.config, noted(track, (*face.who.notes, *face.notes, *source.notes)), model, alone)


def _calibrated(model: Model, track: Track) -> tuple[Track, Model]:
    """The track with the confidence that the windows of the model's adaptation tell, and the model with its log-odds:
    windows are of this run's frames, so they serve once."""
    if not (model.fit and model.fit.windows):
        return track, model
    log_odds = np.float32(confidence.clip_shift(track, model.fit.windows))  # in the precision of the file
    fit = replace(model.fit, log_odds=float(log_odds), windows=())
    return replace(track, confidence=confidence.confidence(track, fit.log_odds)), replace(model, fit=fit)
