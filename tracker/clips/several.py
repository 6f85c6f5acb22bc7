"""Several faces of one clip: found once, followed in one pass, a folder of results for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from selftrack.errors import UserError
from selftrack.tracker.clips.choice import EVERYONE, Choice, check_choice
from selftrack.tracker.clips.config import TrackConfig, of_face
from selftrack.tracker.clips.files import OUTPUTS, Writer, write_settings
from selftrack.tracker.clips.following import PreparedFace, TrackedFace, prepare
from selftrack.tracker.clips.notes import no_face
from selftrack.tracker.clips.run import Run, running
from selftrack.tracker.clips.subjects import Faces, find_faces
from selftrack.tracker.clips.summary import FaceSummary, Summary
from selftrack.tracker.landmarks.cast import CastFace
from selftrack.tracker.model import Model
from selftrack.tracker.progress import Progress, no_progress
from selftrack.tracker.results import faces as pictures
from selftrack.tracker.threads import threads

Adapter = Callable[[int, CastFace | None, TrackConfig, Model], tuple[Model, Writer | None]]
"""Adapts a model to the face of a number with the settings of its track; also gives what writes its results."""
Models = Mapping[int, tuple[Model, Writer | None]]
"""By the number of a face its model, and what writes further results of it."""


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
    progress: Progress = no_progress,
) -> Summary:
    """Track several faces of a clip, and write the results of each into a sub-folder, `face0` and so on.

    Each of these is what `track_clip` writes for the face of that number, but for the overlay: one with all faces, and
    `faces.png` and `config.yaml`, are in the folder itself. The clip is followed once for all. All files appear when
    all are complete, and none of them after an error; folders of faces of an earlier run go with its results.

    Args, beside those of `track_clip`:
        choice: "all", how many of the first ones, or their numbers, see `choice.choose`.
        config: settings; its `detect.face` says nothing here.
        adapter: adapts the model to each face first.

    Raises:
        UserError: as `track_clip`; settings that are for one person; or the choice is none.
        NoFaceError: no face was found, or not one that the choice names.
    """
    config, choice = config or TrackConfig(), check_choice(choice)
    _check_for_several(config)
    with running(path, folder, config, model, overwrite, exports, settings, progress) as run:
        with run.watch("identity"), threads(config.threads):
            found, notes = find_faces(run.source, run.model, config, config.person, choice, run.progress)
        for number in found:
            run.output.part(face_folder(number)).check((*OUTPUTS, *run.exports.values()), overwrite)
        models = {number: _adapted(run, number, who, adapter) for number, who in found.items()}
        with threads(config.threads):
            tracked = _followed(run, found, models)
            fps = _write(run, tracked, models, choice, next(iter(found.values())).everyone)
        missed = [f"face {n} was in no frame found again; it was left out" for n in found if n not in tracked]
        return _summary(run, tracked, (*notes, *run.source.notes, *missed), fps)


def _check_for_several(config: TrackConfig) -> None:
    """Refuse settings that are for one person."""
    of_one = {"--calibration": config.person.calibration, "--decoder": config.decoder, "photo": config.person.photo}
    for option, given in of_one.items():
        if given is not None:
            raise UserError(f"{option} {given}: is of one person; use it with --face in place of --faces")


def face_folder(number: int) -> str:
    """The name of the sub-folder of a face."""
    return f"face{number}"


def _adapted(run: Run, number: int, who: Faces, adapter: Adapter | None) -> tuple[Model, Writer | None]:
    """The model for a face, and what writes further results of it."""
    if adapter is None:
        return run.model, None
    with run.watch("adapt"):
        return adapter(number, who.followed, of_face(run.config, number), run.model)


def _followed(run: Run, found: Mapping[int, Faces], models: Models) -> dict[int, TrackedFace]:
    """Track faces by their models; without those that are in no frame. Raises NoFaceError where that are all."""
    with run.watch("identity"):
        prepared = [_prepared(run, number, who, models[number][0]) for number, who in found.items()]
    followed = run.follow(prepared)
    tracked = {number: face for number, face in zip(found, followed, strict=True) if face.track.ok.any()}
    if not tracked:
        raise no_face(run.source.title, len(followed[0].track))
    return tracked


def _prepared(run: Run, number: int, who: Faces, model: Model) -> PreparedFace:
    """As `prepare`; an error names the face."""
    try:
        return prepare(run.source, model, of_face(run.config, number), who)
    except UserError as error:
        raise UserError(f"face {number}: {error}") from error


def _write(
    run: Run, tracked: Mapping[int, TrackedFace], models: Models, choice: Choice, everyone: Sequence[CastFace]
) -> float:
    """Write the results of each face, and what is of all; returns frames per second, see `Run.save`."""
    fps = run.save({face_folder(number): face.track for number, face in tracked.items()})
    for number, face in tracked.items():
        run.write_beside(face, face_folder(number), models[number][1])
    write_settings({**run.settings, "faces": choice}, run.results)
    pictures.write_faces(everyone, run.results)
    run.draw({number: face.track for number, face in tracked.items()})
    return fps


def _summary(run: Run, tracked: Mapping[int, TrackedFace], notes: Sequence[str], fps: float) -> Summary:
    """What the run did, while its files are still in the temporary folder."""
    faces = {number: FaceSummary.of(face.track, face.alone) for number, face in tracked.items()}
    return Summary(
        folder=run.output.path,
        frames=max(face.frames for face in faces.values()),
        lost=sum(face.lost for face in faces.values()),
        trusted=fmean(face.trusted for face in faces.values()),
        fps=fps,
        took=run.elapsed(),
        seconds=run.watch.seconds,
        notes=tuple(notes),
        names=tuple(sorted(entry.name for entry in run.results.iterdir() if entry != run.scratch)),
        adaptation=run.watch.seconds.get("adapt", 0.0),
        faces=faces,
    )
