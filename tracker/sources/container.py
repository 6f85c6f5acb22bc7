"""Media files through PyAV: how they are opened, and where their time begins."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer

from selftrack.errors import UserError

# Their timeline starts at 0 by definition; other containers (MPEG-TS) start their clock anywhere.
ZERO_BASED = ("mov", "mp4", "matroska", "webm")


def open_container(path: Path) -> InputContainer:
    """Open a media file for reading.

    Raises:
        UserError: no such file, a folder, or no media file that FFmpeg knows.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file")
    if not path.is_file():
        raise UserError(f"{path}: not a file")
    try:
        container = av.open(str(path.resolve()))
    except PermissionError as error:
        raise UserError(f"{path}: no permission to read it") from error
    except (av.FFmpegError, ValueError) as error:
        raise UserError(f"{path}: not a video file, or cut off before its index") from error
    if container.format.name == "tty":  # FFmpeg draws plain text as a terminal
        container.close()
        raise UserError(f"{path}: not a video file but text")
    return container


def video_stream(container: InputContainer, path: Path) -> av.VideoStream:
    """Return the first video stream that is not a cover picture. Raises UserError where there is none."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            if stream.codec_context is None:
                raise UserError(f"{path}: its video codec is not known here")
            stream.thread_type = "AUTO"
            return stream
    raise UserError(f"{path}: has no video stream")


def origin(container: InputContainer) -> Fraction:
    """Return the container's timestamp, in seconds, at which its presentation starts."""
    if any(name in ZERO_BASED for name in container.format.name.split(",")):
        return Fraction(0)
    streams = [*container.streams.video, *container.streams.audio]
    starts = [s.start_time * time_base(s) for s in streams if s.start_time is not None]
    return min(starts, default=Fraction(0))


def time_base(timed: av.stream.Stream | av.Packet | av.frame.Frame) -> Fraction:
    """Return the seconds per tick of the timestamps of what was read from a container, which always has them."""
    assert timed.time_base is not None
    return timed.time_base


def packets(container: InputContainer, stream: av.stream.Stream) -> Iterator[av.Packet]:
    """Demux one stream up to its end or to the point where the file is broken."""
    demuxed = container.demux(stream)
    while True:
        try:
            packet = next(demuxed)
        except (StopIteration, av.FFmpegError):
            return
        yield packet
