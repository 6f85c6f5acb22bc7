"""Any source by what the user calls it."""

from __future__ import annotations

from pathlib import Path

from selftrack.errors import UserError
from selftrack.tracker.sources.base import FrameSource
from selftrack.tracker.sources.camera import CameraSource, camera_name
from selftrack.tracker.sources.images import ImageSequence, is_sequence, sequence_name
from selftrack.tracker.sources.video import VideoFile

Spec = str | Path | int


def open_source(spec: Spec, start: float = 0.0, duration: float | None = None, fps: float | None = None) -> FrameSource:
    """Open a video file, a sequence of pictures or a camera.

    Args:
        spec: a video file; a folder of pictures, or a pattern such as img%04d.png or img*.png; the number of a camera.
        start, duration: window in seconds of the source's own time; a camera has no start.
        fps: pictures per second of a sequence, 24 by default.

    Raises:
        UserError: it cannot be opened, or a setting does not go with it.
    """
    number = _camera_number(spec)
    if number is None and is_sequence(Path(spec)):
        return ImageSequence(Path(spec), start, duration, fps)
    if fps is not None:
        raise UserError(f"{spec}: has frame times of its own; only a sequence of pictures takes a number per second")
    if number is None:
        return VideoFile(Path(spec), start, duration)
    if start:
        raise UserError(f"{camera_name(number)}: cannot start at {start} s; a camera shows what is there now")
    return CameraSource(number, duration)


def source_name(spec: Spec) -> str:
    """Name the results of a source, which may be gone: "smile" of smile.mp4, "img" of img%04d.png, "take" of take/."""
    number = _camera_number(spec)
    if number is not None:
        return camera_name(number)
    return sequence_name(Path(spec)) if is_sequence(Path(spec)) else Path(spec).stem


def _camera_number(spec: Spec) -> int | None:
    """The number of a camera: an int, or digits that name no file."""
    if isinstance(spec, int):
        return spec
    return int(spec) if isinstance(spec, str) and spec.isdecimal() and not Path(spec).exists() else None
