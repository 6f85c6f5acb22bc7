"""One face of a clip, from source to results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selftrack.tracker.clips.config import TrackConfig, of_face
from selftrack.tracker.clips.files import OUTPUTS, Writer
from selftrack.tracker.clips.following import prepare
from selftrack.tracker.clips.notes import check_face
from selftrack.tracker.clips.run import Run, running
from selftrack.tracker.clips.subjects import find_face
from selftrack.tracker.clips.summary import Summary
from selftrack.tracker.model import Model
from selftrack.tracker.progress import Progress, no_progress
from selftrack.tracker.results import faces
from selftrack.tracker.threads import threads


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
    progress: Progress = no_progress,
) -> Summary:
    """Track a clip and write `track.npz`, `curves.csv`, `config.yaml` and pictures of the track into a folder.

    The folder gets the files when all of them are complete, and none of them after an error. While it runs, torch has
    as many threads as the settings say.

    Args:
        path: a video, a folder of pictures, or a pattern of their names.
        folder: of the results.
        config: settings of the tracking.
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
    config = config or TrackConfig()
    with (
        running(path, folder, config, model, overwrite, exports, settings, progress) as run,
        threads(config.threads),
    ):
        return _track(run, also)


def _track(run: Run, also: Writer | None) -> Summary:
    """Track the face and write its results."""
    with run.watch("identity"):
        who = find_face(run.source, run.model, run.config, run.config.person, run.progress)
        prepared = prepare(run.source, run.model, of_face(run.config, who.number), who)
    (face,) = run.follow([prepared])
    track = face.track
    check_face(track, run.source.title)
    fps = run.save({"": track})
    if len(who.everyone) > 1:
        faces.write_faces(who.everyone, run.results)
    run.draw(track)
    run.write_beside(face, also=also)
    written = tuple(name for name in (*OUTPUTS, *run.exports.values()) if (run.results / name).exists())
    lost = int((~track.ok).sum())
    return Summary(
        folder=run.output.path,
        frames=len(track),
        lost=lost,
        trusted=track.trusted(),
        fps=fps,
        took=run.elapsed(),
        seconds=run.watch.seconds,
        notes=(*track.notes, *run.outdated()),
        names=written,
    )
