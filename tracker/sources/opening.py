"""Any source by what the user calls it."""

from __future__ import annotations

from pathlib import Path

from selftrack.errors import UserError
from selftrack.io import file_hash
from selftrack.tracker.sources.base import FrameSource
from selftrack.tracker.sources.camera import CameraSource
from selftrack.tracker.sources.images import ImageSequence, find_pictures, pictures_hash
from selftrack.tracker.sources.names import Spec, camera_name, is_sequence, place_of
from selftrack.tracker.sources.video import VideoFile


def open_source(
    spec: Spec,
    start: float = 0.0,
    duration: float | None = None,
    fps: float | None = None,
    stream: int | None = None,
) -> FrameSource:
    """Open a video file, a sequence of pictures or a camera.

    Args:
        spec: a video file; a folder of pictures, or a pattern such as img%04d.png or img*.png; the number of a camera.
        start, duration: window in seconds of the source's own time; a camera has no start.
        fps: pictures per second of a sequence, 24 by default.
        stream: number of the video in a file with several; by default the one marked as default, else the largest.

    Raises:
        UserError: it cannot be opened, or a setting does not go with it.
    """
    place = place_of(spec)
    video = isinstance(place, Path) and not is_sequence(place)
    if stream is not None and not video:
        raise UserError(f"{spec}: has no stream {stream}; only a video file has several")
    if isinstance(place, Path) and not video:
        return ImageSequence(place, start, duration, fps)
    if fps is not None:
        raise UserError(f"{spec}: has frame times of its own; only a sequence of pictures takes a number per second")
    if isinstance(place, Path):
        return VideoFile(place, start, duration, stream)
    if start:
        raise UserError(f"{camera_name(place)}: cannot start at {start} s; a camera shows what is there now")
    return CameraSource(place, duration)


def source_files(path: Path) -> list[Path]:
    """The files that a clip consists of: the video, or all pictures. Raises UserError where there are no pictures."""
    return find_pictures(path) if is_sequence(path) else [path]


def source_hash(path: Path) -> str:
    """The `fingerprint` of a clip that is not opened: it may be damaged. Raises OSError where it cannot be read."""
    return pictures_hash(source_files(path)) if is_sequence(path) else file_hash(path)
