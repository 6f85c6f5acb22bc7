"""Media files through PyAV: how they are opened, and where their time begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer

from selftrack.errors import UserError
from selftrack.tracker.sources.base import MOST_PIXELS, check_size
from selftrack.tracker.timecode import Timecode, counted_rate

# Their timeline starts at 0 by definition; other containers (MPEG-TS) start their clock anywhere.
ZERO_BASED = ("mov", "mp4", "matroska", "webm")
_TS_DISCONT, _NO_TIMESTAMPS = 0x200, 0x80  # AVFMT_* of libavformat: what a format says of itself
_STILL = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails


def open_container(path: Path) -> InputContainer:
    """Open a media file for reading.

    Raises:
        UserError: no such file, a folder, or no media file that FFmpeg knows.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file")
    if not path.is_file():
        raise UserError(f"{path}: not a file; name a video")
    try:
        container = av.open(str(path.resolve()))
    except PermissionError as error:
        raise UserError(f"{path}: no permission to read it; allow that, or copy the file") from error
    except (av.FFmpegError, ValueError) as error:
        advice = "name a video, or copy this one again from where it is whole"
        raise UserError(f"{path}: not a video file, or cut off before its index; {advice}") from error
    if container.format.name == "tty":  # FFmpeg draws plain text as a terminal
        container.close()
        raise UserError(f"{path}: not a video file but text; name a video")
    return container


def video_streams(container: InputContainer) -> list[av.VideoStream]:
    """List the videos of a file; covers and thumbnails are none."""
    return [stream for stream in container.streams.video if not stream.disposition & _STILL]


def video_stream(container: InputContainer, path: Path, number: int | None = None) -> av.VideoStream:
    """Return a video of a file: the one with that number, by default the one marked as default, else the largest.

    Raises:
        UserError: there is none, its codec is not known, or its pictures are too large.
    """
    streams = video_streams(container)
    if not streams:
        raise UserError(f"{path}: has no video stream; name a file with pictures")
    stream = _numbered(streams, path, number) if number is not None else _best(streams)
    if stream.codec_context is None:
        raise UserError(f"{path}: its video codec is not known here; convert it, such as to H.264 with FFmpeg")
    check_size(path, stream.width, stream.height)
    stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}  # later frames may be larger
    stream.thread_type = "AUTO"
    return stream


def described(streams: Sequence[av.VideoStream]) -> str:
    """Name videos by number and size: "0 (160x90), 1 (512x512)"."""
    return ", ".join(f"{s.index} ({s.width}x{s.height})" if s.codec_context else f"{s.index}" for s in streams)


def _numbered(streams: Sequence[av.VideoStream], path: Path, number: int) -> av.VideoStream:
    for stream in streams:
        if stream.index == number:
            return stream
    raise UserError(f"{path}: has no video stream {number}; its video streams are {described(streams)}")


def _best(streams: Sequence[av.VideoStream]) -> av.VideoStream:
    """The one that can be decoded, is marked as default and has the largest picture, in that order."""

    def rank(stream: av.VideoStream) -> tuple[bool, bool, int]:
        known = stream.codec_context is not None
        default = bool(stream.disposition & av.stream.Disposition.default)
        return known, default, stream.width * stream.height if known else 0

    return max(streams, key=rank)


def clock_leaps(container: InputContainer) -> bool:
    """Whether the format's time stamps may start anywhere and jump, as those of MPEG-TS."""
    return bool(container.format.flags & _TS_DISCONT)


def has_index(container: InputContainer) -> bool:
    """Whether the format has one index of all packets, so that nothing can be joined to a file as it is."""
    return "mov" in container.format.name.split(",")


def has_stamps(container: InputContainer) -> bool:
    """Whether the format has time stamps at all; raw streams have none."""
    return not container.format.flags & _NO_TIMESTAMPS


def origin(container: InputContainer) -> Fraction:
    """Return the container's timestamp, in seconds, at which its presentation starts."""
    if any(name in ZERO_BASED for name in container.format.name.split(",")):
        return Fraction(0)
    streams = [*container.streams.video, *container.streams.audio]
    starts = [s.start_time * time_base(s) for s in streams if s.start_time is not None]
    return min(starts, default=Fraction(0))


def written_timecode(container: InputContainer, stream: av.VideoStream, rate: Fraction) -> str:
    """Return the timecode of the start as a file has it, or as a broadcast wave's time reference says; else "".

    That is a number of sound samples since midnight; `rate` is of the video, frames/s.
    """
    places = [stream.metadata, *(other.metadata for other in container.streams.data), container.metadata]
    written = {key.lower(): value for place in reversed(places) for key, value in place.items()}  # the video's own last
    samples, sound = written.get("time_reference", ""), container.streams.audio
    if "timecode" not in written and samples.isdecimal() and sound:
        exact = counted_rate(rate)
        return str(Timecode(round(int(samples) / sound[0].rate * exact), exact))
    return written.get("timecode", "")


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
