"""From a picture or a clip to the files of a MakeHuman character."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from selftrack.errors import UserError
from selftrack.io import OutputFolder
from selftrack.tracker.clips.choice import listed
from selftrack.tracker.clips.config import TrackConfig, of_face, open_clip
from selftrack.tracker.clips.following import follow, load_for, prepare
from selftrack.tracker.clips.subjects import find_face
from selftrack.tracker.makehuman.character import MakeHumanCharacter, find_character, write_character
from selftrack.tracker.makehuman.files import FILES
from selftrack.tracker.progress import TRACKING, Progress, no_progress
from selftrack.tracker.results.track_file import NAME, Track, is_track, load
from selftrack.tracker.sources.names import source_name
from selftrack.tracker.stopwatch import Stopwatch
from selftrack.tracker.threads import threads


def make_character(
    path: Path | str,
    folder: Path | str,
    config: TrackConfig,
    face: int | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> MakeHumanCharacter:
    """Find the character of a person and write its files into a folder, when all of them are complete.

    Args:
        path: a picture, a clip, or what `track` has written: a folder or its track.npz.
        folder: of the results.
        config: settings of the tracking of a clip.
        face: of several people in a clip the number of the one; None where there is one.
        overwrite: replace the results of an earlier run.
        progress: called as progress(stage, done, total).

    Raises:
        UserError: it cannot be read, shows several people and none is named, or the folder cannot be written or has
            results and `overwrite` is not set.
        NoFaceError: there is no face, or none of that number.
    """
    with OutputFolder(folder).writing(FILES, overwrite) as results, threads(config.threads):
        with _tracked(path, config, face, progress) as track:
            character = find_character(track)
            write_character(character, track, _name(path), results)
    return character


def _name(path: Path | str) -> str:
    """What the character of a clip or a track is called."""
    path = Path(path)
    return Path(source_name(str(path.absolute().parent if path.name == NAME else path))).name


@contextmanager
def _tracked(path: Path | str, config: TrackConfig, face: int | None, progress: Progress) -> Iterator[Track]:
    """The track of a person: read, or made."""
    if is_track(path):
        yield load(path)
        return
    with open_clip(path, config) as source, tempfile.TemporaryDirectory() as scratch:
        model = load_for(source, config)
        config = of_face(config, face or 0)
        who = find_face(source, model, config, config.person, progress)
        if face is None and len(who.everyone) > 1:
            faces = f"{len(who.everyone)} faces were found: {listed(who.everyone)}"
            raise UserError(f"{source.title}: {faces}; name the one with --face N")
        prepared = prepare(source, model, config, who)
        (followed,) = follow(source, [prepared], Path(scratch), Stopwatch(), partial(progress, TRACKING))
        yield followed.track
