"""Frames in and frames out: video files through PyAV, forward only, in bounded memory.

Image frame: pixels of the frame as displayed (rotation metadata applied, square pixels), x right, y down,
the centre of the top-left pixel is (0, 0). Times are seconds on the container's own timeline: the
presentation timestamps, with edit lists applied, never frame_index / fps.
"""

import hashlib
import itertools
import queue
import threading
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.video.reformatter import VideoReformatter

from selftrack.errors import UserError

T = TypeVar("T")

# Their timeline starts at 0 by definition; other containers (MPEG-TS) start their clock anywhere.
ZERO_BASED = ("mov", "mp4", "matroska", "webm")
# Audio codecs that players read inside an mp4; every other one is re-encoded to AAC.
MP4_AUDIO = ("aac", "mp3", "ac3", "eac3", "opus", "flac", "alac")
MAX_ASPECT = 4  # a sample aspect ratio beyond 1:4 or 4:1 is taken for broken metadata


class VideoError(UserError):
    """A file that cannot be read as video; the message is one line for the user."""


@dataclass(frozen=True)
class VideoInfo:
    """What a file says about itself. Width and height in pixels as displayed, rate in frames/s (average)."""

    path: Path
    width: int
    height: int
    rate: Fraction
    duration: float | None  # seconds, None where the container does not say
    time_base: Fraction  # seconds per tick of the stream's timestamps


@dataclass(frozen=True)
class Frame:
    """One displayed frame: its row number, its time in seconds and its pixels (H,W,3) uint8 RGB."""

    index: int
    time: float
    image: np.ndarray


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def prefetch(items: Iterable[T], depth: int = 4) -> Iterator[T]:
    """Yield `items` while a background thread works up to `depth` of them ahead.

    An error in the thread is raised again here, after the items that came before it. Closing the generator
    stops the thread.
    """
    box: queue.Queue = queue.Queue(depth)
    stop = threading.Event()

    def put(entry: tuple) -> None:
        while not stop.is_set():
            try:
                return box.put(entry, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put((item, None, False))
                if stop.is_set():
                    return
            put((None, None, True))
        except BaseException as error:
            put((None, error, True))

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item, error, last = box.get()
            if error is not None:
                raise error
            if last:
                return
            yield item
    finally:
        stop.set()
        thread.join()


def orientation(frame: av.VideoFrame) -> np.ndarray:
    """(2,2) integer matrix taking stored (x, y) directions to displayed ones; identity without metadata.

    Read from the display matrix (ISO 14496-12, 8.3.2), rounded to the nearest quarter turn or mirror.
    """
    try:
        a, b, _, c, d = np.frombuffer(frame.side_data["DISPLAYMATRIX"], "<i4")[:5]
    except KeyError:
        return np.eye(2, dtype=int)
    if abs(int(a)) >= abs(int(b)):
        return np.array([[-1 if a < 0 else 1, 0], [0, -1 if d < 0 else 1]])
    return np.array([[0, -1 if c < 0 else 1], [-1 if b < 0 else 1, 0]])


def orient(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Turn a stored image (H,W,3) the way `orientation` says it is displayed."""
    if matrix[0, 0] == 0:
        image = image.transpose(1, 0, 2)
    flip_x, flip_y = matrix.sum(axis=1) < 0
    return np.ascontiguousarray(image[:: -1 if flip_y else 1, :: -1 if flip_x else 1])


def open_container(path: Path) -> InputContainer:
    """Open a media file for reading.

    Raises:
        VideoError: no such file, a folder, or no media file that FFmpeg knows.
    """
    if not path.exists():
        raise VideoError(f"{path}: no such file")
    if not path.is_file():
        raise VideoError(f"{path}: not a file")
    try:
        container = av.open(str(path.resolve()))
    except PermissionError as error:
        raise VideoError(f"{path}: no permission to read it") from error
    except (av.FFmpegError, ValueError) as error:
        raise VideoError(f"{path}: not a video file, or cut off before its index") from error
    if container.format.name == "tty":  # FFmpeg draws plain text as a terminal
        container.close()
        raise VideoError(f"{path}: not a video file but text")
    return container


def video_stream(container: InputContainer, path: Path) -> av.VideoStream:
    """The first video stream that is not a cover picture. Raises VideoError where there is none."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            if stream.codec_context is None:
                raise VideoError(f"{path}: its video codec is not known here")
            stream.thread_type = "AUTO"
            return stream
    raise VideoError(f"{path}: has no video stream")


def origin(container: InputContainer) -> Fraction:
    """The container's timestamp, in seconds, at which its presentation starts."""
    if any(name in ZERO_BASED for name in container.format.name.split(",")):
        return Fraction(0)
    streams = [*container.streams.video, *container.streams.audio]
    return min((s.start_time * s.time_base for s in streams if s.start_time is not None), default=Fraction(0))


def count_frames(path: Path, start: float = 0.0, duration: float | None = None) -> int:
    """How many frames a reader of that window will yield, from the packets alone (nothing is decoded).

    Exact for sound files; a damaged file can yield fewer.
    """
    path = Path(path)
    with open_container(path) as container:
        stream, zero = video_stream(container, path), origin(container)
        end = float("inf") if duration is None else start + duration
        count = 0
        for packet in _packets(container, stream):
            if packet.size and not packet.is_discard:
                time = start if packet.pts is None else float(packet.pts * packet.time_base - zero)
                count += start - _TOLERANCE <= time < end - _TOLERANCE
        return count


_TOLERANCE = 1e-6  # seconds; window edges are compared with times that went through floating point


def _packets(container: InputContainer, stream: av.stream.Stream) -> Iterator[av.Packet]:
    """Demux one stream up to its end or to the point where the file is broken."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):
            return
        yield packet


class VideoReader:
    """Reads a clip forward, frame by frame, decoding in a background thread.

    Args:
        path: the clip.
        start, duration: window in seconds of the clip's own time: start <= time < start + duration.
        only: row numbers whose frames are wanted; the others are decoded and dropped, which is cheaper.

    Iterating yields `Frame`s with strictly increasing times. Use it as a context manager. After an iteration
    `warning` says in one line whether the file was damaged (frames that decode are yielded all the same).

    Raises:
        VideoError: missing file, not a video, no video stream, no frame that decodes.
    """

    def __init__(
        self,
        path: Path,
        start: float = 0.0,
        duration: float | None = None,
        only: Container[int] | None = None,
    ) -> None:
        if start < 0 or (duration is not None and duration <= 0):
            raise VideoError(f"start {start} s must be at least 0 and duration {duration} s more than 0")
        self.path, self.start, self.duration, self.only = Path(path), float(start), duration, only
        self.warning: str | None = None
        self._last_time = self.start
        self._reformat = VideoReformatter()
        self._running: list[Iterator] = []
        self.info, self._stored, self._matrix = self._probe()
        if self.info.duration is not None and self.start >= self.info.duration:
            raise self._empty_window()

    @property
    def truncated(self) -> bool:
        """Whether the last iteration met damage or ended before the container says."""
        return self.warning is not None

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *exc: object) -> None:
        while self._running:
            self._running.pop().close()

    def __iter__(self) -> Iterator[Frame]:
        self.warning = None
        frames = prefetch(self._frames())
        self._running.append(frames)
        return frames

    def _probe(self) -> tuple[VideoInfo, tuple[int, int], np.ndarray]:
        """Info, stored size in square pixels, orientation: only a decoded frame has the display matrix."""
        with open_container(self.path) as container:
            stream = video_stream(container, self.path)
            first = next(self._decode(container, stream), None)
            if first is None:
                raise VideoError(f"{self.path}: has no frame that decodes")
            matrix = orientation(first)
            aspect = stream.sample_aspect_ratio or Fraction(1)
            if not Fraction(1, MAX_ASPECT) <= aspect <= MAX_ASPECT:
                aspect = Fraction(1)
            stored = max(1, round(first.width * aspect)), first.height
            width, height = stored if matrix[0, 0] else stored[::-1]
            seconds = _duration(container, stream)
            rate = stream.average_rate or stream.guessed_rate or Fraction(25)
            info = VideoInfo(self.path, width, height, rate, seconds, stream.time_base)
            return info, stored, matrix

    def _decode(self, container: InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
        """Every frame that decodes; damaged packets are passed over and noted."""
        packet = None
        for packet in _packets(container, stream):
            try:
                yield from packet.decode()
            except av.FFmpegError:
                self.warning = f"{self.path}: damaged; some frames did not decode"
        if packet is not None and packet.size:  # no closing packet: demuxing broke off
            self.warning = f"{self.path}: cut off or damaged; read as far as it goes"
            yield from stream.decode(None)

    def _timed(self) -> Iterator[tuple[float, av.VideoFrame]]:
        """(time in seconds, frame) from the start of the window on, times strictly increasing."""
        for seek in (self.start > 0, False):
            with open_container(self.path) as container:
                stream, zero = video_stream(container, self.path), origin(container)
                if seek:
                    container.seek(int((Fraction(self.start) + zero) / stream.time_base), stream=stream)
                timed = _strictly_increasing(self._decode(container, stream), stream, zero)
                first = next(timed, None)
                if seek and (first is None or first[0] > self.start):
                    continue  # the seek went too far (or past the end): read from the beginning
                if first is not None:
                    yield from itertools.chain([first], timed)
                    self._check_end(container, stream)
                return

    def _frames(self) -> Iterator[Frame]:
        end = float("inf") if self.duration is None else self.start + self.duration
        index = 0
        for time, frame in self._timed():
            if time < self.start - _TOLERANCE:
                continue
            if time >= end - _TOLERANCE:
                break
            if self.only is None or index in self.only:
                yield Frame(index, time, self._image(frame))
            self._last_time = time
            index += 1
        if index == 0:
            raise self._empty_window()

    def _empty_window(self) -> VideoError:
        length = "" if self.info.duration is None else f"; the clip is {self.info.duration:.2f} s long"
        return VideoError(f"{self.path}: no frames from {self.start} s on{length}")

    def _image(self, frame: av.VideoFrame) -> np.ndarray:
        width, height = self._stored
        rgb = self._reformat.reformat(frame, width=width, height=height, format="rgb24")
        return orient(rgb.to_ndarray(), self._matrix)

    def _check_end(self, container: InputContainer, stream: av.VideoStream) -> None:
        """Note a stream that ended more than two frames before the container says it does."""
        if self.warning is not None or self.info.duration is None:
            return
        if stream.duration is None and container.streams.audio:
            return  # only the file's length is known, and it may be the sound's
        began = (stream.start_time or 0) * stream.time_base - origin(container)
        promised = float(began) + self.info.duration
        if self._last_time + 3 / self.info.rate < promised:
            self.warning = f"{self.path}: cut off; it ends at {self._last_time:.2f} s of {promised:.2f} s"


def _duration(container: InputContainer, stream: av.VideoStream) -> float | None:
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    return None if container.duration is None else container.duration / av.time_base


def _strictly_increasing(
    frames: Iterator[av.VideoFrame], stream: av.VideoStream, zero: Fraction
) -> Iterator[tuple[float, av.VideoFrame]]:
    """Pair frames with their times; missing or repeated timestamps are placed after the previous frame."""
    step, previous = 1 / (stream.average_rate or stream.guessed_rate or Fraction(25)), None
    for frame in frames:
        time = None if frame.pts is None else frame.pts * frame.time_base - zero
        if time is None:
            time = Fraction(0) if previous is None else previous + step
        elif previous is not None and time <= previous:
            time = previous + stream.time_base
        previous = time
        yield float(time), frame


class VideoWriter:
    """Writes an H.264 mp4 with given frame times, and the audio of a source clip beside it.

    The file gets its name only when it is complete: frames go to `<name>.part` first, which is removed when
    the context is left by an error. Odd sizes are padded to even ones by repeating the last row or column.

    Args:
        path: the file to write.
        size: (width, height) of the frames.
        source: clip whose timing grid and audio are used. start, duration: its window, as for `VideoReader`;
            the written file starts where the window starts.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        source: VideoInfo,
        start: float = 0.0,
        duration: float | None = None,
    ) -> None:
        self.path = Path(path)
        self.start, self.size = start, size
        self._part = self.path.with_name(self.path.name + ".part")
        self._out = av.open(str(self._part.resolve()), "w", format="mp4")
        options = {"crf": "20", "preset": "veryfast"}
        self._stream = self._out.add_stream("libx264", rate=source.rate, options=options)
        self._stream.width, self._stream.height = (n + n % 2 for n in size)
        self._stream.pix_fmt = "yuv420p"
        fine = source.time_base.denominator <= 1_000_000  # x264 counts ticks in 32 bits
        self._tick = source.time_base if fine else Fraction(1, 90_000)
        self._stream.codec_context.time_base = self._tick
        for name in ("colorspace", "color_primaries", "color_trc", "color_range"):
            setattr(self._stream.codec_context, name, 1)  # BT.709, limited range
        self._audio = _audio_packets(source.path, self._out, start, duration)
        self._pending = next(self._audio, None)

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, kind: type | None, *exc: object) -> None:
        if kind is None:
            self._out.mux(self._stream.encode())
            self._mux_audio(float("inf"))
        self._audio.close()
        self._out.close()
        if kind is None:
            self._part.replace(self.path)
        else:
            self._part.unlink(missing_ok=True)

    def write(self, image: np.ndarray, time: float) -> None:
        """Append an image (H,W,3) uint8 RGB shown from `time` on (seconds of the source)."""
        width, height = self.size
        if image.shape != (height, width, 3):
            raise ValueError(f"image must be ({height},{width},3), got {image.shape}")
        padded = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(padded, "rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        frame.time_base = self._tick
        frame.pts = round((Fraction(time) - Fraction(self.start)) / self._tick)
        self._out.mux(self._stream.encode(frame))
        self._mux_audio(time - self.start)

    def _mux_audio(self, until: float) -> None:
        """Interleave: audio goes in as far as the picture has come, so that the muxer holds nothing back."""
        while self._pending is not None and self._pending[0] <= until:
            self._out.mux(self._pending[1])
            self._pending = next(self._audio, None)


def _audio_packets(
    path: Path, out: OutputContainer, start: float, duration: float | None
) -> Iterator[tuple[float, av.Packet]]:
    """(seconds from the window's start, packet) of the clip's first audio stream, for a new stream of `out`.

    Packets are copied as they are where an mp4 can hold their codec, and re-encoded to AAC otherwise. Audio
    that breaks off ends there.
    """
    with open_container(path) as container:
        stream = next((s for s in container.streams.audio if s.codec_context is not None), None)
        if stream is None:
            return
        if start > 0:
            container.seek(int((start + float(origin(container))) * av.time_base))
        shift = origin(container) + Fraction(start)
        take = _copied if stream.codec.canonical_name in MP4_AUDIO else _encoded
        for time, packet in take(container, stream, out, shift):
            if start > 0 and time < 0:
                continue
            if duration is not None and time >= duration:
                break
            yield time, packet


def _copied(
    container: InputContainer, stream: av.AudioStream, out: OutputContainer, shift: Fraction
) -> Iterator[tuple[float, av.Packet]]:
    target = out.add_stream_from_template(stream)
    ticks = round(shift / stream.time_base)
    for packet in _packets(container, stream):
        if packet.dts is None or packet.pts is None:
            continue
        packet.pts -= ticks
        packet.dts -= ticks
        time = float(packet.pts * packet.time_base)
        packet.stream = target
        yield time, packet


def _encoded(
    container: InputContainer, stream: av.AudioStream, out: OutputContainer, shift: Fraction
) -> Iterator[tuple[float, av.Packet]]:
    rate = stream.rate if stream.rate in (48_000, 44_100, 32_000, 22_050, 16_000, 8_000) else 48_000
    target = out.add_stream("aac", rate=rate, layout="stereo" if stream.channels > 1 else "mono")
    resampler = av.AudioResampler(format="fltp", layout=target.layout, rate=rate)
    for packet in _packets(container, stream):
        try:
            decoded = packet.decode()
        except av.FFmpegError:
            continue
        for frame in decoded:
            if frame.pts is None or (time := frame.pts * frame.time_base - shift) < 0:
                continue
            frame.pts, frame.time_base = round(time * frame.sample_rate), Fraction(1, frame.sample_rate)
            for piece in resampler.resample(frame):
                yield from _stamped(target.encode(piece))
    for piece in resampler.resample(None):
        yield from _stamped(target.encode(piece))
    yield from _stamped(target.encode())


def _stamped(packets: list[av.Packet]) -> Iterator[tuple[float, av.Packet]]:
    return ((float(packet.pts * packet.time_base), packet) for packet in packets)
