"""One clip from source to results: source -> Tracker -> writers, forward only."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml

from selftrack.errors import NoFaceError, UserError
from selftrack.io import OutputFolder
from selftrack.tracker import export
from selftrack.tracker.clips.subjects import PersonConfig, find_face, find_subject
from selftrack.tracker.export.options import ExportOptions
from selftrack.tracker.landmarks.base import load_landmarks
from selftrack.tracker.landmarks.cast import CastFace, find_cast
from selftrack.tracker.model import Crops, Model, choose_device
from selftrack.tracker.network.weights import ClipFit
from selftrack.tracker.refinement.subject import Subject
from selftrack.tracker.results import confidence, contact_sheet, curves, faces, overlay, regions, texture, track_file
from selftrack.tracker.results.painter import OverlayConfig
from selftrack.tracker.results.track_file import Track
from selftrack.tracker.rows import FileRows
from selftrack.tracker.sources.base import FrameSource
from selftrack.tracker.sources.opening import open_source
from selftrack.tracker.stopwatch import Stopwatch
from selftrack.tracker.timecode import Timecode
from selftrack.tracker.tracker import Tracker, TrackerConfig

CONFIG = "config.yaml"
ADAPTED, ADAPTATION = "adapted.safetensors", "adaptation.json"
REPORT, REPORT_DATA = "report.html", "report.json"  # of `track-eval`: those of an earlier run go with its track
_TRACKED = (track_file.NAME, curves.NAME, overlay.NAME, contact_sheet.NAME, CONFIG, faces.NAME)
OUTPUTS = (*_TRACKED, ADAPTED, ADAPTATION, texture.NAME, REPORT, REPORT_DATA)
_NO_FACE = 0.03
"""Share of trusted frames below which what was found may be no face."""
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
    timecode: str | None = None
    """Timecode of the clip's time 0, HH:MM:SS:FF, or HH:MM:SS;FF for drop-frame; None for what the clip itself says."""
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
    """Whether to write overlay.mp4 and contact_sheet.png."""
    overlay_style: OverlayConfig = field(default_factory=OverlayConfig)
    """How it is drawn."""
    character: str | None = None
    """The user's own character, a .rig file of track-rig, for `--export character`."""
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
    trusted: float
    """Share of the frames, 0..1, whose confidence is 0.5 or more."""
    fps: float
    """Frames per second from file to track.npz, the model's loading included."""
    seconds: dict[str, float]
    """Time by stage."""
    notes: tuple[str, ...]
    """One line each of what the user should know."""
    names: tuple[str, ...]
    """Of the files that were written."""
    adaptation: float = 0.0
    """Seconds of the adaptation that came before, reading the clip included; 0 where there was none."""

    def __str__(self) -> str:
        """One screen for the user."""
        adapted = f", after {self.adaptation:.0f} s of adaptation" if self.adaptation >= 0.5 else ""
        lines = [
            f"frames   {self.frames}, lost {self.lost}, {100 * self.trusted:.0f} % to be trusted (confidence >= 0.5)",
            f"speed    {self.fps:.1f} frames/s from file to {track_file.NAME}{adapted}",
            f"results  {self.folder}: {', '.join(self.names)}",
            *(f"note     {note}" for note in self.notes),
        ]
        return "\n".join(lines)


def load_model(config: TrackConfig) -> Model:
    """The model that the settings name; see `Model.load`. Raises UserError, too, of streams that it does not read."""
    model = Model.load(config.weights, config.decoder, config.landmarks, config.device, config.streams)
    model.network.config.check_streams(Path(config.streams) if config.streams else None)
    return model


def load_for(source: FrameSource, config: TrackConfig) -> Model:
    """As `load_model`. Raises UserError, too, where its weights know this clip's person, and another way is named."""
    model = load_model(config)
    if model.fit and _is_of(model.fit, source, config) and config.person != PersonConfig(samples=config.person.samples):
        raise UserError(
            f"{config.weights}: was adapted to this very clip and keeps the person that it found; leave --neutral and "
            "--calibration out, or adapt anew with them"
        )
    return model


def _is_of(fit: ClipFit, source: FrameSource, config: TrackConfig) -> bool:
    """Whether it was adapted to this face of this clip."""
    return (fit.clip_hash, fit.face) == (source.fingerprint(), config.detect.face)


def open_clip(path: Path | str, config: TrackConfig) -> FrameSource:
    """The window of a clip that the settings name, with their timecode; see `open_source`."""
    source = open_source(path, config.start, config.duration, config.fps, config.stream)
    if config.timecode is not None:
        text = str(Timecode.parse(config.timecode, source.info.rate))
        source.info = replace(source.info, timecode=text)
    return source


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
    """Track a clip and write `track.npz`, `curves.csv`, `config.yaml` and pictures of the track into a folder.

    The folder gets the files when all of them are complete, and none of them after an error. While it runs, torch has
    as many threads as the settings say.

    Args:
        path: a video, a folder of pictures, or a pattern of their names.
        model: what tracks; by default `load_model` of the settings.
        overwrite: replace the results of an earlier run.
        exports: names of formats of `tracker.export` to write there too.
        also: writes further results.
        settings: what `config.yaml` says; by default the settings of the tracking alone.
        progress: called as progress(stage, done, total) with total in frames.

    Raises:
        UserError: the clip cannot be read, settings that do not hold, an unknown format, a folder that cannot be
            written or has results and `overwrite` is not set, or files there that are the user's.
        NoFaceError: no face was found.
    """
    config, output = config or TrackConfig(), OutputFolder(folder)
    names = {to: export.default_path(Path(path), to, output.path).name for to in export.known(exports)}
    keep = Path(config.weights) if config.weights else None
    check_results(path, output, [*OUTPUTS, *names.values()], overwrite)
    began, watch = time.perf_counter(), Stopwatch()
    with (
        output.writing([*OUTPUTS, *names.values()], overwrite, keep) as results,
        open_clip(path, config) as source,
        threads(config.threads),
        scratch_folder(results) as scratch,
    ):
        with watch("load"):
            model = model or load_for(source, config)
            export.require(names, model.decoder, export_options(config))
        with watch("identity"):
            found = find_face(source, model, config, config.person, partial(progress, "identity"))
            one = ready(source, model, config, found.followed)
        ((track, model),) = follow(source, [one], watch, progress, scratch)
        track = noted(track, (*found.notes, *one.notes, *source.notes), path)
        with watch("write"):
            track.save(results)
        fps = len(track) / (time.perf_counter() - began)
        if len(found.everyone) > 1:
            faces.write_faces(found.everyone, results)
        if config.overlay:
            with watch("overlay"):
                overlay.write_overlay(track, results, config.overlay_style, partial(progress, "overlay"))
        complete = settings or {"track": asdict(config), "adapt": None, "export": list(names)}
        write_beside(track, model, results, output.path, config, complete, names, also, watch)
        written = tuple(name for name in (*OUTPUTS, *names.values()) if (results / name).exists())
    lost = int((~track.ok).sum())
    return Summary(output.path, len(track), lost, track.trusted(), fps, watch.seconds, track.notes, written)


def write_beside(
    track: Track,
    model: Model,
    results: Path,
    home: Path,
    config: TrackConfig,
    settings: Mapping[str, Any],
    names: Mapping[str, str],
    also: Writer | None,
    watch: Stopwatch,
) -> None:
    """Write what belongs to the track of one face beside it, but for the overlay.

    Args:
        track: lies in the folder `results`.
        model: what made it.
        results: where to.
        home: where these files will lie when all are complete.
        config: the settings of the tracking.
        settings: what `config.yaml` says.
        names: of the files to export to, by format.
        also: writes further results.
        watch: gets the times.
    """
    with watch("write"):
        curves.write_curves(track, results)
        write_settings(settings, results)
    if config.overlay:
        with watch("overlay"):
            contact_sheet.write_contact_sheet(track, results, config.overlay_style)
    if also:
        also(track, model, results)
    for to, name in names.items():
        with watch("export"):
            export.write(track, to, results / name, export_options(config, results, home))


def export_options(config: TrackConfig, folder: Path | None = None, home: Path | None = None) -> ExportOptions:
    """What writers of a run's results in `folder` get; they will lie in `home`."""
    return ExportOptions(folder=folder, home=home, character=Path(config.character) if config.character else None)


def write_settings(settings: Mapping[str, Any], folder: Path) -> None:
    """Write `config.yaml` into a folder."""
    (folder / CONFIG).write_text(yaml.safe_dump(dict(settings), sort_keys=False), encoding="utf-8")


def show_faces(
    path: Path | str,
    folder: Path | str,
    config: TrackConfig,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[CastFace, ...]:
    """Write `faces.png` alone into a folder: the faces of a clip with their numbers, found in all frames.

    Returns:
        The faces, by number.

    Raises:
        UserError: the clip cannot be read, or the folder cannot be written or has that file and `overwrite` is not set.
        NoFaceError: no face was found.
    """
    with OutputFolder(folder).writing([faces.NAME], overwrite) as results, open_clip(path, config) as source:
        landmarks = load_landmarks("mediapipe", choose_device(config.device))
        everyone = find_cast(source, landmarks, config.detect, progress, everyone=True)
        if not everyone:
            raise NoFaceError(f"{path}: no face was found; nothing was written")
        faces.write_faces(everyone, results)
    return everyone


def check_results(path: Path | str, output: OutputFolder, names: Sequence[str], overwrite: bool) -> None:
    """Make sure that results of a clip may be written into a folder under these names.

    Raises:
        UserError: as `OutputFolder.check`; or it holds the results of another clip and `overwrite` is not set.
    """
    other = "" if overwrite else _clip_of(output)
    if other and other != str(Path(path).resolve()):
        raise UserError(f"{output.path}: holds the results of another clip, {other}; name a folder for these with -o")
    output.check(names, overwrite)


def _clip_of(output: OutputFolder) -> str:
    """The clip whose results a folder holds; empty where that is not known."""
    for folder in (output, *output.parts()):
        if folder.is_ours(track_file.NAME):
            try:
                return track_file.load(folder.path).clip
            except UserError:  # of a version that cannot be read any more: the results of an earlier run
                return ""
    return ""


def noted(track: Track, notes: tuple[str, ...], path: Path | str) -> Track:
    """The track with these notes and those of what is to be seen in it. Raises NoFaceError where there is no face."""
    if not track.ok.any():
        known = "".join(f"; {note}" for note in notes)
        raise NoFaceError(f"{path}: no face was found in any of {len(track)} frames; nothing was written{known}")
    return replace(track, notes=(*notes, *seen_in(track)))


def seen_in(track: Track) -> list[str]:
    """Notes of what is to be seen in a track."""
    return [*_hidden(track), *_doubt(track)]


def _hidden(track: Track) -> list[str]:
    """A note for each of eyes, brows and mouth that something hides."""
    notes = []
    for region, flags in track.held().items():
        spans = [f"{first:.1f} to {last:.1f} s" for first, last in regions.spans(track.times, flags)]
        if spans:
            more = f" and {len(spans) - 3} times more" if len(spans) > 3 else ""
            notes.append(
                f"{region} hidden, on one side at least, from {', '.join(spans[:3])}{more}; what was seen last is held "
                "there; look at the overlay, or film that uncovered"
            )
    return notes


def _doubt(track: Track) -> list[str]:
    """A note where most of the frames are not to be trusted."""
    if track.trusted() >= 0.5:
        return []
    share, good = track.trusted(), track.confidence[track.ok] >= track_file.TRUSTED
    advice = "look at the worst ones with track-eval, and film the face larger, sharper or in more light"
    if good.mean() >= 0.5:
        advice = f"in {(~track.ok).sum()} of {len(track)} no face was found"
    elif share < _NO_FACE:
        advice = "look at the overlay: perhaps what was found is no face"
    found = f"only {100 * share:.0f} % of the frames are to be trusted (confidence 0.5 or more)"
    return [f"{found}; all were written; {advice}"]


class Followed(NamedTuple):
    """A face that is to be followed through a clip, and what by."""

    face: CastFace | None
    """None where none was found in the sampled frames."""
    config: TrackConfig
    model: Model
    subject: Subject | None
    notes: tuple[str, ...]
    """For the user."""


def follow(
    source: FrameSource, everyone: Sequence[Followed], watch: Stopwatch, progress: Progress, scratch: Path
) -> list[tuple[Track, Model]]:
    """Follow faces through a source in one pass; gives the track of each and the model that made it.

    The tracks lie in files of the empty folder `scratch`, as long as it is there.
    """
    with ExitStack() as stack:
        trackers = []
        for number, one in enumerate(everyone):
            (scratch / str(number)).mkdir()
            rows = stack.enter_context(FileRows(scratch / str(number)))
            places = one.face.places if one.face else None
            trackers.append(Tracker(one.model, one.config, one.subject, places, rows=rows))
            trackers[-1].watch = watch
        total, frames = source.count() or 0, watch.waiting("decode", source.frames())
        for done, _ in enumerate(Tracker.stream_together(trackers, frames), 1):
            progress("track", done, max(total, done))
        return [
            _calibrated(one.model, tracker.finish(source, one.config))
            for one, tracker in zip(everyone, trackers, strict=True)
        ]


def ready(source: FrameSource, model: Model, config: TrackConfig, face: CastFace | None) -> Followed:
    """Find the subject of a face that is to be followed through a clip, and choose the model to use.

    A model adapted to another clip is used if it fits this one no worse than the one that it was adapted from.

    Raises:
        UserError: as `find_subject`, and where the settings name a rest for no identity of the clip.
    """
    fit = model.fit
    notes: list[str] = []
    if fit is not None and _is_of(fit, source, config):
        return Followed(face, config, model, None, ())
    if config.identity == "per-frame" and (config.person.neutral is not None or config.person.calibration is not None):
        raise UserError("--neutral and --calibration are for one identity; use them without --identity per-frame")
    if fit is None and config.identity == "per-frame":
        return Followed(face, config, model, None, ())
    subject, crops = find_subject(face, source, model, config, config.person)
    if fit is not None and not fit.trained:
        notes.append(
            f"{config.weights}: holds key frames of another clip and no network of its own; it was left out; adapt to "
            "this clip with --adapt"
        )
        model = model.unadapted()
    elif fit is not None:
        model = model.elsewhere()
        if subject is not None and not _fits(model, crops, subject):
            notes.append(
                f"{config.weights}: fits this clip worse than the weights it was adapted from; those were used; adapt "
                "to this clip with --adapt"
            )
            model = model.unadapted()
    return Followed(face, config, model, None if config.identity == "per-frame" else subject, tuple(notes))


def _fits(model: Model, faces: Crops, subject: Subject) -> bool:
    """Whether an adapted model brings the mesh no farther from the detected landmarks than the un-adapted one."""
    return model.landmark_distance(faces, subject) <= model.unadapted().landmark_distance(faces, subject)


def _calibrated(model: Model, track: Track) -> tuple[Track, Model]:
    """The track with the confidence that the windows of the model's adaptation tell, and the model with its log-odds:
    windows are of this run's frames, so they serve once."""
    if not (model.fit and model.fit.windows):
        return track, model
    log_odds = np.float32(confidence.clip_shift(track, model.fit.windows))  # in the precision of the file
    fit = replace(model.fit, log_odds=float(log_odds), windows=())
    return replace(track, confidence=confidence.confidence(track, fit.log_odds)), replace(model, fit=fit)


@contextmanager
def scratch_folder(results: Path) -> Iterator[Path]:
    """A folder for files that are not among the results, on the disk of these, where there is room for a clip's."""
    with tempfile.TemporaryDirectory(prefix=".scratch", dir=results) as folder:
        yield Path(folder)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use that many threads, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
