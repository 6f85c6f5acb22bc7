"""One clip from source to results: source -> Tracker -> writers, forward only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from selftrack.errors import UserError
from selftrack.io import OutputFolder
from selftrack.tracker import export
from selftrack.tracker.export.options import ExportOptions
from selftrack.tracker.model import Crops, Model
from selftrack.tracker.network.weights import ClipFit
from selftrack.tracker.refinement.subject import Subject
from selftrack.tracker.results import confidence, curves, overlay, texture, track_file
from selftrack.tracker.results.overlay import OverlayConfig
from selftrack.tracker.results.track_file import Track
from selftrack.tracker.sources.base import FrameSource
from selftrack.tracker.sources.opening import open_source
from selftrack.tracker.stopwatch import Stopwatch
from selftrack.tracker.subjects import PersonConfig, find_in_clip
from selftrack.tracker.tracker import Tracker, TrackerConfig

CONFIG = "config.yaml"
ADAPTED, ADAPTATION = "adapted.safetensors", "adaptation.json"
REPORT, REPORT_DATA = "report.html", "report.json"  # of `track-eval`: those of an earlier run go with its track
OUTPUTS = (track_file.NAME, curves.NAME, overlay.NAME, CONFIG, ADAPTED, ADAPTATION, texture.NAME, REPORT, REPORT_DATA)
Progress = Callable[[str, int, int], None]
Writer = Callable[[Track, Model, Path], None]
"""Writes further results of a track by a model into a folder, under names of `OUTPUTS`."""


@dataclass(frozen=True)
class TrackConfig(TrackerConfig):
    """Settings of `track`."""

    start: float = 0.0
    """Where to begin, seconds of the clip's own time."""
    duration: float | None = None
    """How much to track, seconds; None for all."""
    fps: float | None = None
    """Frames per second of a sequence of pictures; None for 24. A video has times of its own."""
    stream: int | None = None
    """Number of the video to track in a file with several; None for the default one, else the largest."""
    landmarks: str = "mediapipe"
    """Source of the landmarks: mediapipe (478 points) or fan (68 points)."""
    weights: str | None = None
    """File of I2ZNet weights; None for the bundled ones."""
    streams: str | None = None
    """File of `track-train streams`, for weights whose network reads VGG-16 or FAN's heatmaps."""
    decoder: str | None = None
    """File of a personal model, beside which its network lies; None for the bundled head."""
    device: str = "auto"
    """cpu, cuda, or auto: cuda where there is one."""
    overlay: bool = True
    """Whether to write overlay.mp4."""
    overlay_style: OverlayConfig = field(default_factory=OverlayConfig)
    """How it is drawn."""
    person: PersonConfig = field(default_factory=PersonConfig)
    """How it is found who is seen."""
    threads: int = 1
    """Of torch on the CPU. The bundled networks are small: more threads mostly wait for each other."""


@dataclass(frozen=True)
class Summary:
    """What a run did."""

    folder: Path
    frames: int
    lost: int
    fps: float
    """Frames per second from file to track.npz, the model's loading included."""
    seconds: dict[str, float]
    """Time by stage."""
    notes: tuple[str, ...]
    """One line each of what the user should know."""
    names: tuple[str, ...]
    """Of the files that were written."""

    def __str__(self) -> str:
        """One screen for the user."""
        lines = [
            f"frames   {self.frames}, lost {self.lost}",
            f"speed    {self.fps:.1f} frames/s from file to {track_file.NAME}",
            f"results  {self.folder}: {', '.join(self.names)}",
            *(f"note     {note}" for note in self.notes),
        ]
        return "\n".join(lines)


def load_model(config: TrackConfig) -> Model:
    """The model that the settings name; see `Model.load`. Raises UserError, too, of streams that it does not read."""
    model = Model.load(config.weights, config.decoder, config.landmarks, config.device, config.streams)
    model.network.config.check_streams(Path(config.streams) if config.streams else None)
    return model


def open_clip(path: Path | str, config: TrackConfig) -> FrameSource:
    """The window of a clip that the settings name; see `open_source`."""
    return open_source(path, config.start, config.duration, config.fps, config.stream)


def track_clip(
    path: Path | str,
    folder: Path | str,
    config: TrackConfig | None = None,
    *,
    model: Model | None = None,
    overwrite: bool = False,
    exports: Sequence[str] = (),
    also: Writer | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> Summary:
    """Track a clip and write `track.npz`, `curves.csv`, `config.yaml` and `overlay.mp4` into a folder.

    The folder gets the files when all of them are complete, and none of them after an error. While it runs, torch has
    as many threads as the settings say.

    Args:
        path: a video, a folder of pictures, or a pattern of their names.
        model: what tracks; by default `load_model` of the settings.
        overwrite: replace the results of an earlier run, unless no face is found now.
        exports: names of formats of `tracker.export` to write there too.
        also: writes further results.
        settings: what `config.yaml` says; by default the settings of the tracking alone.
        progress: called as progress(stage, done, total) with total in frames.

    Raises:
        UserError: the clip cannot be read, settings that do not hold, an unknown format, a folder that cannot be
            written or has results and `overwrite` is not set, or files there that are the user's.
    """
    config, output = config or TrackConfig(), OutputFolder(folder)
    names = {to: export.default_path(Path(path), to, output.path).name for to in export.known(exports)}
    keep = Path(config.weights) if config.weights else None
    began, watch = time.perf_counter(), Stopwatch()
    with (
        output.writing([*OUTPUTS, *names.values()], overwrite, keep) as results,
        open_clip(path, config) as source,
        _threads(config.threads),
    ):
        with watch("load"):
            model = model or load_model(config)
            export.require(names, model.decoder)
        track, model, notes = _track(source, model, config, watch, progress)
        with watch("write"):
            track.save(results)
        fps = len(track) / (time.perf_counter() - began)
        with watch("write"):
            curves.write_curves(track, results)
            complete = settings or {"track": asdict(config), "adapt": None, "export": list(names)}
            (results / CONFIG).write_text(yaml.safe_dump(complete, sort_keys=False), encoding="utf-8")
        if config.overlay:
            with watch("overlay"):
                overlay.write_overlay(track, results, config.overlay_style, partial(progress, "overlay"))
        if also:
            also(track, model, results)
        for to, name in names.items():
            with watch("export"):
                export.write(track, to, results / name, ExportOptions(folder=results))
        lost = int((~track.ok).sum())
        notes += source.notes
        if lost == len(track):
            if overwrite and (output.path / track_file.NAME).exists():
                raise UserError(f"{path}: no face was found in any frame; the earlier results in {output.path} stay")
            notes.append(f"{path}: no face was found in any frame")
        written = tuple(name for name in (*OUTPUTS, *names.values()) if (results / name).exists())
    return Summary(output.path, len(track), lost, fps, watch.seconds, tuple(notes), written)


def _track(
    source: FrameSource, model: Model, config: TrackConfig, watch: Stopwatch, progress: Progress
) -> tuple[Track, Model, list[str]]:
    """The track of a source, the model that made it, and notes for the user."""
    with watch("identity"):
        model, subject, notes = _for_clip(source, model, config, partial(progress, "identity"))
    tracker, total = Tracker(model, config, subject), source.count() or 0
    tracker.watch = watch
    for done, _ in enumerate(tracker.stream(watch.waiting("decode", source.frames())), 1):
        progress("track", done, max(total, done))
    track = tracker.finish(source, config)
    if model.fit and model.fit.windows:
        fit = _calibrated(model.fit, track)
        model = replace(model, fit=fit)
        track = replace(track, confidence=confidence.confidence(track, fit.log_odds))
    return track, model, notes


def _for_clip(
    source: FrameSource, model: Model, config: TrackConfig, progress: Callable[[int, int], None]
) -> tuple[Model, Subject | None, list[str]]:
    """The model to use for a clip, the clip's subject, and notes for the user.

    A model adapted to another clip is used if it fits this one no worse than the one that it was adapted from.
    """
    fit = model.fit
    notes: list[str] = []
    if fit is not None and (fit.clip_hash, fit.face) == (source.fingerprint(), config.detect.face):
        return model, None, notes
    if config.identity == "per-frame" and (config.person.neutral is not None or config.person.calibration is not None):
        raise UserError("--neutral and --calibration are for one identity; use them without --identity per-frame")
    if fit is None and config.identity == "per-frame":
        return model, None, notes
    subject, faces = find_in_clip(source, model, config, config.person, progress)
    if fit is not None and not fit.trained:
        notes.append(
            f"{config.weights}: holds key frames of another clip and no network of its own; they were left out"
        )
        model = model.unadapted()
    elif fit is not None:
        model = model.elsewhere()
        if subject is not None and not _fits(model, faces, subject):
            notes.append(f"{config.weights}: fits this clip worse than the weights it was adapted from; they were used")
            model = model.unadapted()
    return model, None if config.identity == "per-frame" else subject, notes


def _fits(model: Model, faces: Crops, subject: Subject) -> bool:
    """Whether an adapted model brings the mesh no farther from the detected landmarks than the un-adapted one."""
    return model.landmark_distance(faces, subject) <= model.unadapted().landmark_distance(faces, subject)


def _calibrated(fit: ClipFit, track: Track) -> ClipFit:
    """With the log-odds of the confidence that its windows tell; they are of this run's frames, so they serve once."""
    log_odds = np.float32(confidence.clip_shift(track, fit.windows))  # in the precision of the file
    return replace(fit, log_odds=float(log_odds), windows=())


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let torch use that many threads, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
