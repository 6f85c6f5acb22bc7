"""Who is in a clip, as a picture."""

from __future__ import annotations

from pathlib import Path

from selftrack.io import OutputFolder
from selftrack.tracker.clips.config import TrackConfig, open_clip
from selftrack.tracker.clips.notes import no_face
from selftrack.tracker.landmarks.base import load_landmarks
from selftrack.tracker.landmarks.cast import CastFace, find_cast
from selftrack.tracker.model import choose_device
from selftrack.tracker.progress import Progress, no_progress
from selftrack.tracker.results import faces


def show_faces(
    path: Path | str,
    folder: Path | str,
    config: TrackConfig,
    overwrite: bool = False,
    progress: Progress = no_progress,
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
            raise no_face(source.title, source.count())
        faces.write_faces(everyone, results)
    return everyone
