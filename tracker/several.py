"""Several faces of one clip: found once, followed in one pass, a folder of results for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from selftrack.errors import NoFaceError, UserError
from selftrack.io import OutputFolder
from selftrack.tracker import export
from selftrack.tracker.clips.choice import EVERYONE, Choice, check_choice
from selftrack.tracker.clips.subjects import Faces, find_faces
from selftrack.tracker.landmarks.cast import CastFace
from selftrack.tracker.model import Model
from selftrack.tracker.pipeline import (
    OUTPUTS,
    Followed,
    Progress,
    TrackConfig,
    Writer,
    check_results,
    export_options,
    follow,
    load_for,
    open_clip,
    ready,
    scratch_folder,
    seen_in,
    threads,
    write_beside,
    write_settings,
)
from selftrack.tracker.results import faces as pictures
from selftrack.tracker.results import overlay, track_file
from selftrack.tracker.results.track_file import Track
from selftrack.tracker.sources.base import FrameSource
from selftrack.tracker.stopwatch import Stopwatch

Adapter = Callable[[int, CastFace | None, TrackConfig, Model], tuple[Model, Writer | None]]
"""Adapts a model to the face of a number with the settings of its track; also gives what writes its results."""


class OneFace(NamedTuple):
    """What a run did for one face."""

    frames: int
    lost: int
    trusted: float
    """Share of the frames, 0..1, whose confidence is 0.5 or more."""
    notes: tuple[str, ...]
    """What is to be known of it alone, one line each."""


@dataclass(frozen=True)
class FacesSummary:
    """What a run for several faces did."""

    folder: Path
    faces: dict[int, OneFace]
    """By number."""
    fps: float
    """Frames of the clip per second from file to all of track.npz, the model's loading included."""
    seconds: dict[str, float]
    """Time by stage."""
    notes: tuple[str, ...]
    """One line each of what the user should know of the clip."""
    names: tuple[str, ...]
    """Of the files and folders that were written."""
    adaptation: float = 0.0
    """Seconds of the adaptations that came before, reading the clip included; 0 where there were none."""

    def __str__(self) -> str:
        """One screen for the user."""
        adapted = f", after {self.adaptation:.0f} s of adaptation" if self.adaptation >= 0.5 else ""
        lines = [
            *(
                f"face {number:<3} {face.frames} frames, lost {face.lost}, {100 * face.trusted:.0f} % to be trusted "
                "(confidence >= 0.5)"
                for number, face in self.faces.items()
            ),
            f"speed    {self.fps:.1f} frames/s from file to {track_file.NAME} of all{adapted}",
            f"results  {self.folder}: {', '.join(self.names)}",
            *(f"note     {note}" for note in self.notes),
            *(f"note     face {number}: {note}" for number, face in self.faces.items() for note in face.notes),
        ]
        return "\n".join(lines)


def track_faces(
    path: Path | str,
    folder: Path | str,
    choice: Choice = EVERYONE,
    config: TrackConfig | None = None,
    *,
    model: Model | None = None,
    overwrite: bool = False,
    exports: Sequence[str] = (),
    adapter: Adapter | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> FacesSummary:
    """Track several faces of a clip, and write the results of each into a sub-folder, `face0` and so on.

    Each of these is what `track_clip` writes for the face of that number, but for the overlay: one with all faces, and
    `faces.png` and `config.yaml`, are in the folder itself. The clip is followed once for all. All files appear when
    all are complete, and none of them after an error; folders of faces of an earlier run go with its results.

    Args:
        path: a video, a folder of pictures, or a pattern of their names.
        folder: of the results.
        choice: "all", how many of the first ones, or their numbers, see `choice.choose`.
        config: settings; its `detect.face` says nothing here.
        model: what tracks; by default `load_model` of the settings.
        overwrite: replace the results of an earlier run.
        exports: names of formats of `tracker.export` to write for each face.
        adapter: adapts the model to each face first.
        settings: what `config.yaml` says; by default the settings of the tracking alone.
        progress: called as progress(stage, done, total) with total in frames.

    Raises:
        UserError: as `track_clip`; settings that are for one person; or the choice is none.
        NoFaceError: no face was found, or not one that the choice names.
    """
    config, choice, output = config or TrackConfig(), check_choice(choice), OutputFolder(folder)
    _check_for_several(config)
    names = {to: export.default_path(Path(path), to, output.path).name for to in export.known(exports)}
    every = (*OUTPUTS, *names.values())
    keep = Path(config.weights) if config.weights else None
    settings = settings or {"track": asdict(config), "adapt": None, "export": list(names)}
    check_results(path, output, every, overwrite)
    began, watch = time.perf_counter(), Stopwatch()
    with (
        output.writing(every, overwrite, keep) as results,
        open_clip(path, config) as source,
        scratch_folder(results) as scratch,
    ):
        with watch("load"):
            model = model or load_for(source, config)
            export.require(names, model.decoder, export_options(config))
        with watch("identity"), threads(config.threads):
            found, notes = find_faces(source, model, config, config.person, choice, partial(progress, "identity"))
        for number in found:
            output.part(_folder(number)).check(every, overwrite)
        adapted = {number: _adapted(number, who, config, model, adapter, watch) for number, who in found.items()}
        adaptation = watch.seconds.get("adapt", 0.0)
        with threads(config.threads):
            people = _follow_all(source, found, config, adapted, watch, progress, scratch)
            for person in people:
                (results / _folder(person.number)).mkdir()
                with watch("write"):
                    person.track.save(results / _folder(person.number))
            fps = len(people[0].track) / (time.perf_counter() - began - adaptation)
            for person in people:
                own = {**settings, "track": asdict(person.config)}
                place = results / _folder(person.number)
                home = output.part(_folder(person.number)).path
                write_beside(person.track, person.model, place, home, person.config, own, names, person.also, watch)
            write_settings({**settings, "faces": choice}, results)
            pictures.write_faces(found[people[0].number].everyone, results)
            if config.overlay:
                with watch("overlay"):
                    tracks = {person.number: person.track for person in people}
                    overlay.write_overlay(tracks, results, config.overlay_style, partial(progress, "overlay"))
        written = tuple(sorted(entry.name for entry in results.iterdir() if entry != scratch))
    each = {person.number: person.said() for person in people}
    missed = [f"face {number} was in no frame found again; it was left out" for number in found if number not in each]
    told = (*notes, *source.notes, *missed)
    return FacesSummary(output.path, each, fps, watch.seconds, told, written, adaptation)


class _Person(NamedTuple):
    """One face that has been tracked."""

    number: int
    config: TrackConfig
    track: Track
    model: Model
    also: Writer | None
    alone: tuple[str, ...]
    """Of the track's notes, those that are on nobody else."""

    def said(self) -> OneFace:
        """What is to be said of it."""
        return OneFace(len(self.track), int((~self.track.ok).sum()), self.track.trusted(), self.alone)


def _check_for_several(config: TrackConfig) -> None:
    """Refuse settings that are for one person."""
    for given, option in ((config.person.calibration, "--calibration"), (config.decoder, "--decoder")):
        if given is not None:
            raise UserError(f"{option} {given}: is of one person; use it with --face in place of --faces")


def _folder(number: int) -> str:
    return f"face{number}"


def _of_face(config: TrackConfig, number: int) -> TrackConfig:
    """The settings of a run for the face of that number alone."""
    return replace(config, detect=replace(config.detect, face=number))


def _adapted(
    number: int, who: Faces, config: TrackConfig, model: Model, adapter: Adapter | None, watch: Stopwatch
) -> tuple[Model, Writer | None]:
    """The model for a face, and what writes further results of it."""
    if adapter is None:
        return model, None
    with watch("adapt"):
        return adapter(number, who.followed, _of_face(config, number), model)


def _follow_all(
    source: FrameSource,
    found: Mapping[int, Faces],
    config: TrackConfig,
    adapted: Mapping[int, tuple[Model, Writer | None]],
    watch: Stopwatch,
    progress: Progress,
    scratch: Path,
) -> list[_Person]:
    """Track faces by their models; without those that are in no frame. Raises NoFaceError where that are all."""
    with watch("identity"):
        ones = [_ready(number, source, adapted[number][0], config, who) for number, who in found.items()]
    tracked = follow(source, ones, watch, progress, scratch)
    people = []
    for (number, who), one, (track, model) in zip(found.items(), ones, tracked, strict=True):
        if track.ok.any():
            alone = (*one.notes, *seen_in(track))
            track = replace(track, notes=(*who.notes, *one.notes, *source.notes, *seen_in(track)))
            people.append(_Person(number, one.config, track, model, adapted[number][1], alone))
    if not people:
        raise NoFaceError(f"{source.info.name}: no face was found in any frame; nothing was written")
    return people


def _ready(number: int, source: FrameSource, model: Model, config: TrackConfig, who: Faces) -> Followed:
    """As `pipeline.ready`; an error names the face."""
    try:
        return ready(source, model, _of_face(config, number), who.followed)
    except UserError as error:
        raise UserError(f"face {number}: {error}") from error
