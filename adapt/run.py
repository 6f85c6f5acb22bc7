"""`adapt`: a model that has learned from one clip, and what held-out frames say of it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import torch
import yaml

from selftrack.adapt import checkpoint as checkpoints
from selftrack.adapt.frames.clip import Clip, read_clip
from selftrack.adapt.learning.held_out import HeldOut
from selftrack.adapt.learning.loop import Adaptation
from selftrack.adapt.learning.trainer import AdaptConfig, Tracked, Trainer
from selftrack.adapt.verdict import Verdict, judge
from selftrack.decoders.base import Decoder
from selftrack.errors import UserError
from selftrack.io import file_hash
from selftrack.tracker.clips.subjects import PersonConfig, find_face, find_subject
from selftrack.tracker.landmarks.cast import CastFace
from selftrack.tracker.model import Crops, Model
from selftrack.tracker.network.weights import ClipFit
from selftrack.tracker.refinement.subject import Person, Subject
from selftrack.tracker.results.skin_points import Window, find_windows, frame_step
from selftrack.tracker.sources.base import FrameSource
from selftrack.tracker.threads import cores, threads
from selftrack.tracker.tracker import TrackerConfig

Progress = Callable[[str, int, int, dict[str, float]], None]
Say = Callable[[str], None]
"""Tells the user something in one line while it runs."""
_RESULT = "result"
"""Of a checkpoint: the verdict, and the adapted model where it was kept."""


def load_preset(name: str = "fast", decoder: Decoder | None = None) -> AdaptConfig:
    """The settings `configs/adapt_<name>.yaml`, fast or thorough, with what a personal model needs where the decoder is
    one."""
    config = AdaptConfig(**_settings(name))
    return for_personal_model(config) if decoder is not None and not decoder.has_blendshapes else config


def for_personal_model(config: AdaptConfig) -> AdaptConfig:
    """The settings for a personal model, of whose code only the network knows what it means:
    `configs/adapt_dam.yaml`."""
    return config.changed(**_settings("dam"))


def _settings(name: str) -> dict[str, Any]:
    text = (files("selftrack.configs") / f"adapt_{name}.yaml").read_text(encoding="utf-8")
    settings: dict[str, Any] = yaml.safe_load(text)["adapt"]
    return settings


@dataclass(frozen=True)
class Reading:
    """All that an adaptation takes from a clip, so that it may be made where the clip is not."""

    clip: Clip
    windows: list[Window]
    """Skin points of all frames, see `skin_windows`."""
    subject: Subject | None
    """Who is seen; None for a model that is not refined."""
    number: int
    """Which of the clip's faces it is."""

    def to(self, device: torch.device) -> Reading:
        """Moved to a device."""
        if self.subject is None:
            return replace(self, clip=self.clip.to(device))
        network, identity, rest = (
            x.to(device) for x in (self.subject.network, self.subject.identity, self.subject.rest)
        )
        subject = self.subject._replace(network=network, identity=identity, rest=rest)
        return replace(self, clip=self.clip.to(device), subject=subject)


def adapt(
    model: Model,
    source: FrameSource,
    config: AdaptConfig | None = None,
    tracking: TrackerConfig | None = None,
    progress: Progress = lambda stage, done, total, figures: None,
    checkpoint: Path | None = None,
    person: PersonConfig | None = None,
    say: Say = lambda line: None,
    face: CastFace | None = None,
    reading: Reading | None = None,
) -> tuple[Model, Verdict]:
    """Fine-tune a copy of a model on a clip, without labels (Yoon et al. 2019, Sec. 3.2).

    Ctrl-C ends the adaptation with the best state so far.

    Args:
        model: stays as it is.
        source: the clip; it is read twice.
        config: settings of the adaptation; by default the preset `fast`.
        tracking: settings of the tracker that finds the face.
        progress: called as progress(stage, done, total, figures).
        checkpoint: file from which a run with the same settings goes on; where it has the result, that is returned.
        person: how it is found who is seen, see `subjects.find_subject`.
        say: told from where it goes on.
        face: the one of the number in `tracking`, where it has been found already.
        reading: what `read` has made of the source with these settings, which then is not read here.

    Returns:
        The adapted model, and the verdict of frames that it did not learn from; where these say that it is no better,
        the model as it was.

    Raises:
        UserError: the clip cannot be read or shows too little of a face, a model that cannot be adapted, or a damaged
            checkpoint.
    """
    config, tracking = config or load_preset(), tracking or TrackerConfig()
    if model.base is not None:
        raise UserError("these weights have been adapted already; adapt from the weights that they were made from")
    if tracking.identity != "clip":
        raise UserError("--adapt learns one identity for the clip; use it without --identity per-frame")
    who = person or PersonConfig()
    settings: dict[str, Any] = {"clip": source.fingerprint(), "base": file_hash(model.weights)}
    settings |= {"tracking": asdict(tracking), "adapt": asdict(config), "person": asdict(who)}
    if checkpoint and (result := checkpoints.load(checkpoint, settings, _RESULT)):
        say(f"resuming after the adaptation, which had ended; delete {checkpoint} to adapt anew")
        return _unpack(result, model, settings)
    torch.manual_seed(config.seed)
    read_here = reading or read(model, source, config, tracking, who, progress, face)
    run = _prepared(model, config, read_here.to(model.device))
    if checkpoint and run.resume(checkpoint, settings):
        ended = f", where the adaptation had ended; delete {checkpoint} to adapt anew" if run.ended else ""
        say(f"resuming at step {run.step} of {config.steps}{ended}")
    with threads(max(torch.get_num_threads(), cores())):
        run(lambda step, steps, figures: progress("adapting", step, steps, figures), checkpoint, settings)
    if run.interrupted:
        say(f"ended at step {run.step} of {config.steps}; going on with the best state so far; Ctrl-C ends the run")
    used = run.trainer.tracked()
    verdict = replace(judge(run, used), history=run.history, settings=settings)
    if verdict.kept:
        model = _adapted(model, run, used if verdict.trained else run.trainer.keyed, verdict, read_here.number)
    if checkpoint:
        checkpoints.save(checkpoint, settings, _RESULT, _pack(model, verdict))
    return model, verdict


def read(
    model: Model,
    source: FrameSource,
    config: AdaptConfig,
    tracking: TrackerConfig,
    person: PersonConfig,
    progress: Progress = lambda stage, done, total, figures: None,
    face: CastFace | None = None,
    known: Person | None = None,
) -> Reading:
    """Read a clip for an adaptation and find its person, in it unless it is a known face or a `known` person, of whom
    only the camera is found.

    Args and errors are those of `adapt`.
    """

    def show(stage: str, done: int, total: int) -> None:
        progress(stage, done, total, {})

    number = tracking.detect.face
    if face is None:
        who = find_face(source, model, tracking, person, show)
        face, number = who.followed, who.number
    places = face.places if face else None
    clip = read_clip(source, model, tracking, config.clip, partial(show, "reading the clip"), places)
    windows = skin_windows(source, clip)
    subject = None
    if model.refiner is not None:  # as the un-adapted tracker sees the person, or the verdict would compare two people
        if known is None:
            subject = find_subject(face, source, model, tracking, person).subject
        else:
            subject = model.subject(Crops.of(face.samples if face else ()), known=known)
    return Reading(clip, windows, subject, number)


def _prepared(model: Model, config: AdaptConfig, reading: Reading) -> Adaptation:
    """An adaptation before its first step."""
    trainer = Trainer(reading.clip, model.network, config, model.decoder, model.refiner, reading.subject)
    return Adaptation(trainer, reading.windows)


def _adapted(model: Model, run: Adaptation, used: Tracked, verdict: Verdict, face: int) -> Model:
    """The model that an adaptation has made, by which the frames are tracked as `used`."""
    heads = run.trainer.model.heads if verdict.trained else copy.deepcopy(model.network.heads)
    # the verdict is on frames that are no key frames; now all may be
    keys = run.trainer.key_frames(used)
    clip_hash = verdict.settings["clip"]
    held = set(run.trainer.clip.split.held.tolist())
    windows = tuple(window for window in run.windows if window.start in held)
    fit = ClipFit(clip_hash, face, used.subject, windows, keys, verdict.trained)
    return model.adapted(heads, fit)


def _pack(model: Model, verdict: Verdict) -> dict[str, Any]:
    """The result of an adaptation for a checkpoint, whose settings are those of the verdict."""
    said = {name: value for name, value in asdict(verdict).items() if name != "settings"}
    return {"verdict": said, "model": checkpoints.pack_model(model) if verdict.kept else None}


def _unpack(result: dict[str, Any], model: Model, settings: dict[str, Any]) -> tuple[Model, Verdict]:
    """The result of `_pack`, from the model that was adapted."""
    errors = {name: HeldOut(**result["verdict"][name]) for name in ("before", "after")}
    verdict = Verdict(**result["verdict"] | errors, settings=settings)
    return checkpoints.unpack_model(result["model"], model) if verdict.kept else model, verdict


def skin_windows(source: FrameSource, clip: Clip) -> list[Window]:
    """Skin points of all frames, followed in the clip itself; no window has both held-out frames and others."""
    held, step = set(clip.split.held.tolist()), frame_step(clip.times)
    place, landmarks = {row: at for at, row in enumerate(clip.rows.tolist())}, clip.points.cpu().numpy()
    seen = (
        (frame.index, cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY), landmarks[place[frame.index]])
        for frame in source.frames(only=set(place))
    )
    parts = groupby(seen, key=lambda one: one[0] in held)
    return [window for _, part in parts for window in find_windows(part, step)]
