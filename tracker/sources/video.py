"""Video files through PyAV, forward only, in bounded memory.

Frames are as displayed: rotation metadata applied, square pixels. Times are the presentation timestamps, with edit
lists applied, never frame_index / fps.
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.reformatter import VideoReformatter

from selftrack.errors import UserError
from selftrack.io import file_hash
from selftrack.tracker.sources.base import Frame, FrameSource, SourceInfo, Window
from selftrack.tracker.sources.container import open_container, origin, packets, time_base, video_stream

MAX_ASPECT = 4  # a sample aspect ratio beyond 1:4 or 4:1 is taken for broken metadata


def orientation(frame: av.VideoFrame) -> np.ndarray:
    """(2,2) integer matrix taking stored (x, y) directions to displayed ones; identity without metadata.

    Read from the display matrix (ISO 14496-12, 8.3.2), rounded to the nearest quarter turn or mirror.
    """
    try:
        a, b, _, c, d = np.frombuffer(frame.side_data["DISPLAYMATRIX"], "<i4")[:5]  # type: ignore[typeddict-item]
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


class VideoFile(FrameSource):
    """A clip in a media file.

    After a pass `warning` tells of damage; frames that decode are yielded all the same.
    """

    def __init__(self, path: Path, start: float = 0.0, duration: float | None = None) -> None:
        """Open the file; `start` and `duration` are a window in seconds of the clip's own time.

        Raises:
            UserError: missing file, not a video, no video stream, no frame that decodes, nothing in the window.
        """
        super().__init__()
        self.path, self.window = Path(path), Window(float(start), duration)
        self._last_time = self.window.start
        self._reformat = VideoReformatter()
        self.info, self._stored, self._matrix = self._probe()
        if self.info.duration is not None and self.window.start >= self.info.duration:
            raise self._empty_window()

    def count(self) -> int:
        """Return how many frames a pass will yield, from the packets alone (nothing is decoded).

        Exact for sound files; a damaged file can yield fewer.
        """
        with open_container(self.path) as container:
            stream, zero = video_stream(container, self.path), origin(container)
            number = 0
            for packet in packets(container, stream):
                if packet.size and not packet.is_discard:
                    # what has no timestamp is counted
                    time = self.window.start if packet.pts is None else float(packet.pts * packet.time_base - zero)
                    number += not self.window.is_before(time) and not self.window.is_over(time)
            return number

    def fingerprint(self) -> str:
        """Return the SHA-256 of the file's bytes."""
        return file_hash(self.path)

    def _probe(self) -> tuple[SourceInfo, tuple[int, int], np.ndarray]:
        """Info, stored size in square pixels, orientation: only a decoded frame has the display matrix."""
        with open_container(self.path) as container:
            stream = video_stream(container, self.path)
            first = next(self._decode(container, stream), None)
            if first is None:
                raise UserError(f"{self.path}: has no frame that decodes")
            matrix = orientation(first)
            aspect = stream.sample_aspect_ratio or Fraction(1)
            if not Fraction(1, MAX_ASPECT) <= aspect <= MAX_ASPECT:
                aspect = Fraction(1)
            stored = max(1, round(first.width * aspect)), first.height
            width, height = stored if matrix[0, 0] else stored[::-1]
            seconds = _duration(container, stream)
            rate = stream.average_rate or stream.guessed_rate or Fraction(25)
            info = SourceInfo(
                name=self.path.stem,
                path=self.path.resolve(),
                width=width,
                height=height,
                rate=rate,
                duration=seconds,
                time_base=time_base(stream),
                has_audio=bool(container.streams.audio),
            )
            return info, stored, matrix

    def _decode(self, container: InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
        """Every frame that decodes; damaged packets are passed over and noted."""
        packet = None
        for packet in packets(container, stream):
            try:
                yield from packet.decode()
            except av.FFmpegError:
                self.warning = f"{self.path}: damaged; some frames did not decode"
        if packet is not None and packet.size:  # no closing packet: demuxing broke off
            self.warning = f"{self.path}: cut off or damaged; read as far as it goes"
            yield from stream.decode(None)

    def _timed(self) -> Iterator[tuple[float, av.VideoFrame]]:
        """(time in seconds, frame) from the start of the window on, times strictly increasing."""
        for seek in (self.window.start > 0, False):
            with open_container(self.path) as container:
                stream, zero = video_stream(container, self.path), origin(container)
                if seek:
                    container.seek(int((Fraction(self.window.start) + zero) / time_base(stream)), stream=stream)
                timed = _strictly_increasing(self._decode(container, stream), stream, zero)
                first = next(timed, None)
                if seek and (first is None or first[0] > self.window.start):
                    continue  # the seek went too far (or past the end): read from the beginning
                if first is not None:
                    yield from itertools.chain([first], timed)
                    self._check_end(container, stream)
                return

    def _read(self, only: Container[int] | None) -> Iterator[Frame]:
        index = 0
        for time, frame in self._timed():
            if self.window.is_before(time):
                continue
            if self.window.is_over(time):
                break
            if only is None or index in only:
                yield Frame(index, time, self._image(frame))
            self._last_time = time
            index += 1
        if index == 0:
            raise self._empty_window()

    def _empty_window(self) -> UserError:
        length = "" if self.info.duration is None else f"; the clip is {self.info.duration:.2f} s long"
        return UserError(f"{self.path}: no frames from {self.window.start} s on{length}")

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
        began = (stream.start_time or 0) * time_base(stream) - origin(container)
        promised = float(began) + self.info.duration
        if self._last_time + 3 / self.info.rate < promised:
            self.warning = f"{self.path}: cut off; it ends at {self._last_time:.2f} s of {promised:.2f} s"


def _duration(container: InputContainer, stream: av.VideoStream) -> float | None:
    if stream.duration is not None:
        return float(stream.duration * time_base(stream))
    return None if container.duration is None else container.duration / av.time_base


def _strictly_increasing(
    frames: Iterator[av.VideoFrame], stream: av.VideoStream, zero: Fraction
) -> Iterator[tuple[float, av.VideoFrame]]:
    """Pair frames with their times; missing or repeated timestamps are placed after the previous frame."""
    step = 1 / (stream.average_rate or stream.guessed_rate or Fraction(25))
    previous: Fraction | None = None
    for frame in frames:
        time = None if frame.pts is None else frame.pts * time_base(frame) - zero
        if time is None:
            time = Fraction(0) if previous is None else previous + step
        elif previous is not None and time <= previous:
            time = previous + time_base(stream)
        previous = time
        yield float(time), frame
