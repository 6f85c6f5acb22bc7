"""Video files through PyAV, forward only, in bounded memory.

Frames are as displayed: rotation metadata applied, square pixels, progressive, in the range of a usual screen. Times
are the presentation timestamps, with edit lists applied, never frame_index / fps.
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Iterator, Set
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import av
from av.container import InputContainer

from selftrack.errors import UserError
from selftrack.io import file_hash
from selftrack.tracker.sources.base import Frame, FrameSource, SourceInfo, Window, check_size
from selftrack.tracker.sources.container import (
    clock_leaps,
    described,
    has_index,
    has_stamps,
    open_container,
    origin,
    packets,
    time_base,
    video_stream,
    video_streams,
    written_timecode,
)
from selftrack.tracker.sources.pictures import HDR, Deinterlacer, Renderer, Shape, orientation
from selftrack.tracker.sources.timeline import DEFAULT_RATE, MOST_LED, Stamps, Timeline
from selftrack.tracker.timecode import Timecode

_COMBED = 0.15  # share of the pictures; fewer may be tricks of cuts
_NAMED = 3  # times that a note lists
FASTEST = 1000  # frames/s; where stamps say more, all of them are the same
_FEW = 0.5  # share of the packets; to decode more of them is not worth the trouble
MAX_ASPECT = 4  # a sample aspect ratio beyond 1:4 or 4:1 is taken for broken metadata


@dataclass
class _Span:
    """Packets, by number, that have to be decoded for some frames: from a key frame on."""

    first: int
    last: int
    rows: dict[int, int]
    """Of the frames that are wanted, by their time stamps."""

    def wanted_of(self, frames: Iterable[av.VideoFrame]) -> list[av.VideoFrame]:
        """Those of some frames that are wanted; none that is damaged or interlaced."""
        return [f for f in frames if f.pts in self.rows and not (f.is_corrupt or f.interlaced_frame)]


class _Reading:
    """One file that is open for one pass over a video in it, and what was found so far."""

    def __init__(self, container: InputContainer, path: Path, number: int | None) -> None:
        """Choose the video, see `video_stream`. Raises UserError where there is none."""
        self.container, self.path = container, path
        self.stream, self.zero = video_stream(container, path, number), origin(container)
        self.stamped = has_stamps(container) and (self.stream.average_rate or 0) <= FASTEST
        self.timeline = Timeline(time_base(self.stream), clock_leaps(container), 1 / self.rate)
        self.stamps, self.deinterlacer = Stamps(1 / self.rate), Deinterlacer()
        self.renderer: Renderer | None = None
        self._aspects: dict[tuple[int, int], Fraction] = {}
        self.taken = self.damaged = self.failed = 0
        self.broken_off = self._broken = False

    @cached_property
    def known_rate(self) -> Fraction | None:
        """Frames/s; of a raw stream, what its header says: the format's own rate is an assumption there."""
        if self.stamped:
            return self.stream.average_rate or self.stream.guessed_rate
        rate = self.stream.codec_context.framerate
        return rate if rate and rate <= FASTEST else None

    @property
    def rate(self) -> Fraction:
        """Frames/s, `DEFAULT_RATE` where nothing says it."""
        return self.known_rate or DEFAULT_RATE

    def aspect(self, frame: av.VideoFrame) -> Fraction:
        """Width of a frame's pixels over their height; the file says it of the first size, the codec of others."""
        size, codec = (frame.width, frame.height), self.stream.codec_context
        if size not in self._aspects:
            own = codec.sample_aspect_ratio if self._aspects else self.stream.sample_aspect_ratio
            self._aspects[size] = own if own and Fraction(1, MAX_ASPECT) <= own <= MAX_ASPECT else Fraction(1)
        return self._aspects[size]

    def packet_times(self) -> Iterator[Fraction | None]:
        """Times in seconds of what will be shown, in decoding order; None where there is no time stamp."""
        shown = (packet for packet in packets(self.container, self.stream) if packet.size and not packet.is_discard)
        for number, packet in enumerate(self.timeline(shown)):
            if not self.stamped:
                yield number / self.rate
            else:
                yield None if packet.pts is None else packet.pts * time_base(packet) - self.zero

    def frames(self) -> Iterator[av.VideoFrame]:
        """Every frame that decodes; packets that do not are passed over and counted."""
        packet = None
        for packet in self.timeline(packets(self.container, self.stream)):
            try:
                for frame in packet.decode():
                    self.aspect(frame)  # now: the codec soon speaks of the frames that follow
                    yield frame
            except av.FFmpegError:
                self.failed += 1
        if packet is not None and packet.size:  # no closing packet: demuxing broke off
            self.broken_off = True
            yield from self.stream.decode(None)

    def glimpses(self, spans: Iterable[_Span]) -> Iterator[list[av.VideoFrame]]:
        """For each span of packets the frames that are wanted of it, as far as they decode without damage."""
        numbered = enumerate(self.timeline(packets(self.container, self.stream)))
        for span in spans:
            found = list[av.VideoFrame]()
            for number, packet in numbered:
                if number < span.first:
                    continue
                with suppress(av.FFmpegError):
                    found += span.wanted_of(packet.decode())
                if number == span.last:
                    break
            with suppress(av.FFmpegError):
                found += span.wanted_of(self.stream.decode(None))
            self.stream.codec_context.flush_buffers()
            yield found

    def timed(self) -> Iterator[tuple[float, av.VideoFrame]]:
        """(time in seconds, progressive frame), times strictly increasing."""
        return self.stamps((self._stamp(frame), frame) for frame in self.deinterlacer(self.frames()))

    def judge(self, frame: av.VideoFrame, taken: bool) -> None:
        """Count what is damaged of the frames that are taken; all come here, in the order in which they are shown.

        A frame is damaged, too, that comes after a damaged one and before the next whole key frame.
        """
        self._broken = frame.is_corrupt or (self._broken and not frame.key_frame)
        self.taken, self.damaged = self.taken + taken, self.damaged + (taken and self._broken)

    def _stamp(self, frame: av.VideoFrame) -> Fraction | None:
        if frame.pts is None or not self.stamped:
            return None
        return frame.pts * time_base(frame) - self.zero

    def notes(self) -> Iterator[str]:
        """What the user should know of the pass so far."""
        yield from self.join_notes()
        if self.renderer is not None:
            yield from _picture_notes(self.path, self.renderer.hdr, self.deinterlacer.used)
            if self.renderer.combed > _COMBED * self.renderer.searched:
                yield (
                    f"{self.path}: moving things have the lines of two moments, though the file does not say that it "
                    "is interlaced; it was taken as it is; deinterlace it before (ffmpeg -vf bwdif)"
                )
            if self.renderer.others:
                sizes = ", ".join(f"{width}x{height}" for width, height in self.renderer.others)
                yield (
                    f"{self.path}: its picture changes its size to {sizes}; all frames were made as large as the "
                    "first; cut the clip there if that is not wanted"
                )
        if self.stamps.mended:
            yield (
                f"{self.path}: {self.stamps.mended} time stamps repeat or go back; those frames were placed between "
                "their neighbours; look at the overlay there"
            )
        if self.failed or self.damaged:
            yield (
                f"{self.path}: {self.damaged} of {self.taken} frames are damaged and were taken as they are, "
                f"{self.failed} did not decode; track a clean copy if there is one"
            )
        if self.broken_off:
            yield f"{self.path}: cut off or damaged; read as far as it goes; track a whole copy if there is one"

    def join_notes(self) -> Iterator[str]:
        """What the user should know of parts that were joined."""
        if self.timeline.joins:
            joins = ", ".join(f"{float(time - self.zero):.2f} s" for time in self.timeline.joins[:_NAMED])
            more = f" and {len(self.timeline.joins) - _NAMED} more" if len(self.timeline.joins) > _NAMED else ""
            yield (
                f"{self.path}: its time stamps start again at {joins}{more}; the parts were taken one after the other; "
                "look at the overlay there"
            )

    def cut_note(self, duration: float | None, last: float) -> Iterator[str]:
        """A note of a video whose last frame is more than two frames before where the container says it ends.

        Args:
            duration: seconds that the container says.
            last: seconds, of the last frame.
        """
        if self.broken_off or self.timeline.joins or duration is None or clock_leaps(self.container):
            return  # it is known already, or there is no such promise
        if self.stream.duration is None and self.container.streams.audio:
            return  # only the file's length is known, and it may be the sound's
        began = (self.stream.start_time or 0) * time_base(self.stream) - self.zero
        promised = float(began) + duration
        if last + 3 / self.rate < promised:
            ends = f"{last:.2f} s of {promised:.2f} s"
            yield f"{self.path}: cut off; it ends at {ends}; track a whole copy if there is one"


class VideoFile(FrameSource):
    """A clip in a media file. Frames that are damaged are yielded all the same, and notes tell of them."""

    def __init__(
        self, path: Path, start: float = 0.0, duration: float | None = None, stream: int | None = None
    ) -> None:
        """Open the file.

        Args:
            path: a media file.
            start, duration: window in seconds of the clip's own time.
            stream: number of the video in the file, by default the one marked as default, else the largest.

        Raises:
            UserError: missing file, not a video, no video stream, no frame that decodes, nothing in the window.
        """
        super().__init__()
        self.path, self.window, self.stream = Path(path), Window(float(start), duration), stream
        self.info, self._shape = self._probe()
        if self.info.duration is not None and self.window.start >= self._began + self.info.duration:
            raise self._empty_window()

    @property
    def title(self) -> str:
        """Return the path as it was given."""
        return str(self.path)

    def count(self) -> int:
        """Return how many frames a pass will yield, from the packets alone (nothing is decoded).

        Exact for sound files; a damaged file can yield fewer.
        """
        with open_container(self.path) as container:
            reading = _Reading(container, self.path, self.stream)
            led, inside, first = 0, 0, None
            for time in reading.packet_times():
                if time is None and first is None:
                    led += 1
                    continue
                inside += time is None or self._shows(float(time))  # what has no time stamp is counted
                if time is not None:
                    first = time if first is None else min(first, time)
            if first is None or led > MOST_LED:
                return inside + led
            return inside + sum(self._shows(float(first - behind / reading.rate)) for behind in range(1, led + 1))

    def _shows(self, time: float) -> bool:
        """Whether a frame of that time lies in the window."""
        return not self.window.is_before(time) and not self.window.is_over(time)

    def fingerprint(self) -> str:
        """Return the SHA-256 of the file's bytes."""
        return file_hash(self.path)

    def _probe(self) -> tuple[SourceInfo, Shape]:
        """What the file says, and the first frame: only a decoded one has the display matrix."""
        with open_container(self.path) as container:
            reading = _Reading(container, self.path, self.stream)
            first = next(reading.frames(), None)
            if first is None:
                raise UserError(f"{self.path}: has no frame that decodes; copy or export it again")
            notes = list(self._first_notes(reading, first))
            duration, shifts = _duration(container, reading.stream), tuple[Fraction, ...]()
            leaps = clock_leaps(container)
            if leaps or (self.window.start > 0 and not has_index(container)):
                walked, shifts, joins = self._walk()
                duration, notes = walked if leaps or shifts else duration, notes + joins
            self._seekable = reading.stamped and not shifts
            timecode, problem = _timecode(reading)
            notes += problem
            self._began = max(float((reading.stream.start_time or 0) * time_base(reading.stream) - reading.zero), 0.0)
            self.notes = self._on_opening = tuple(notes)
            shape = Shape((first.width, first.height), orientation(first), reading.aspect(first))
            check_size(self.path, *shape.displayed)
            info = SourceInfo(
                name=self.path.stem,
                path=self.path.resolve(),
                width=shape.displayed[0],
                height=shape.displayed[1],
                rate=reading.rate,
                duration=duration,
                time_base=time_base(reading.stream),
                has_audio=bool(container.streams.audio),
                shifts=shifts,
                timecode=timecode,
            )
            return info, shape

    def _walk(self) -> tuple[float, tuple[Fraction, ...], list[str]]:
        """Go through all packets: seconds that the clip lasts, its parts' shifts (see `Timeline`), notes of them."""
        with open_container(self.path) as container:
            reading = _Reading(container, self.path, self.stream)
            for _ in reading.packet_times():
                pass
            timeline = reading.timeline
            return float(timeline.end - reading.zero), tuple(timeline.shifts), list(reading.join_notes())

    def _first_notes(self, reading: _Reading, first: av.VideoFrame) -> Iterator[str]:
        """What is known before a pass."""
        streams = video_streams(reading.container)
        if len(streams) > 1:
            yield (
                f"{self.path}: has several videos, {described(streams)}; {reading.stream.index} was taken; "
                "name another with --stream"
            )
        if not reading.stamped and reading.known_rate:
            yield (
                f"{self.path}: has no time stamps; the {float(reading.rate):g} frames/s of its header were taken; "
                "put it into an mp4 or mkv if that is wrong"
            )
        elif not reading.stamped:
            yield (
                f"{self.path}: has neither time stamps nor a rate; {float(reading.rate):g} frames/s were taken; "
                "put it into an mp4 or mkv with the right rate"
            )
        yield from _picture_notes(self.path, HDR.get(first.color_trc), bool(first.interlaced_frame))

    def _read(self, only: Container[int] | None) -> Iterator[Frame]:
        for seek in (self.window.start > 0 and self._seekable, False):
            with open_container(self.path) as container:
                reading = _Reading(container, self.path, self.stream)
                if seek:
                    target = (Fraction(self.window.start) + reading.zero) / time_base(reading.stream)
                    container.seek(int(target), stream=reading.stream)
                timed = reading.timed()
                first = next(timed, None)
                if seek and (first is None or first[0] > self.window.start):
                    continue  # the seek went too far (or past the end): read from the beginning
                yield from self._rendered(reading, itertools.chain([first] if first else [], timed), only)
                return

    def _read_few(self, rows: Set[int]) -> Iterator[Frame]:
        spans, left = self._spans(rows), set(rows)
        if spans:
            with open_container(self.path) as container:
                reading = _Reading(container, self.path, self.stream)
                render, tick = Renderer(self._shape), time_base(reading.stream)
                for span, frames in zip(spans, reading.glimpses(spans), strict=False):
                    if len(frames) < len(span.rows):
                        break  # something is unusual there
                    for frame in frames:
                        stamp = frame.pts or 0
                        left.remove(span.rows[stamp])
                        time = float(stamp * tick - reading.zero)
                        yield Frame(span.rows[stamp], time, render(frame, reading.aspect(frame)))
        if left:
            yield from self._read(left)

    def _spans(self, rows: Set[int]) -> list[_Span]:
        """What has to be decoded for the frames of these rows; nothing where that is most of the file, or where its
        stamps do not say which these are."""
        stamps, keys = list[int](), set[int]()
        shown = dict[int, int]()  # by stamp, the number of the packet
        with open_container(self.path) as container:
            reading = _Reading(container, self.path, self.stream)
            tick, zero = time_base(reading.stream), reading.zero
            for packet in reading.timeline(packets(container, reading.stream)):
                if not packet.size:
                    continue
                if packet.pts is None or packet.pts in shown or not reading.stamped:
                    return []
                if packet.is_keyframe:
                    keys.add(len(stamps))
                if not packet.is_discard:
                    shown[packet.pts] = len(stamps)
                stamps.append(packet.pts)
        inside = [stamp for stamp in sorted(shown) if self._shows(float(stamp * tick - zero))]
        spans = list[_Span]()
        for row in sorted(rows) if max(rows, default=0) < len(inside) else ():
            last = shown[inside[row]]
            first = next((n for n in range(last, -1, -1) if n in keys and stamps[n] <= inside[row]), 0)
            if not spans or first > spans[-1].last:
                spans.append(_Span(first, last, {}))
            spans[-1].last = max(spans[-1].last, last)
            spans[-1].rows[inside[row]] = row
        few = sum(span.last - span.first + 1 for span in spans) < _FEW * len(stamps)
        return spans if few else []

    def _rendered(
        self, reading: _Reading, timed: Iterator[tuple[float, av.VideoFrame]], only: Container[int] | None
    ) -> Iterator[Frame]:
        """The pictures of the window; at its end or the file's, the notes of the pass."""
        index, time, notes = 0, self.window.start, list[str]()
        render = reading.renderer = Renderer(self._shape)
        for time, frame in timed:
            if self.window.is_over(time):
                break
            inside = not self.window.is_before(time)
            reading.judge(frame, inside)
            if not inside:
                continue
            if only is None or index in only:
                yield Frame(index, time, render(frame, reading.aspect(frame)))
            index += 1
        else:
            notes += reading.cut_note(self.info.duration, time)
        if index == 0:
            raise self._empty_window()
        self.notes = tuple(dict.fromkeys([*self._on_opening, *reading.notes(), *notes]))

    def _empty_window(self) -> UserError:
        known = ""
        if self.info.duration is not None:
            known = f"; the clip runs from {self._began:.2f} to {self._began + self.info.duration:.2f} s"
        return UserError(f"{self.path}: no frames from {self.window.start} s on{known}; name another --start")


def _duration(container: InputContainer, stream: av.VideoStream) -> float | None:
    """Seconds from the first frame to the end, where the file says."""
    if stream.duration is not None:
        return float(stream.duration * time_base(stream))
    if container.duration is None:
        return None
    # Matroska has no duration of a stream, and its own is the time of its end
    began = container.start_time or 0 if "matroska" in container.format.name else 0
    return (container.duration - began) / av.time_base


def _timecode(reading: _Reading) -> tuple[str, list[str]]:
    """The timecode of the start, empty where there is none, and a note where what is written there is none."""
    text = written_timecode(reading.container, reading.stream, reading.rate)
    try:
        return (str(Timecode.parse(text, reading.rate)) if text else ""), []
    except UserError as error:
        return "", [f"{reading.path}: {error}; it was left out; name the right one with --timecode"]


def _picture_notes(path: Path, hdr: str | None, interlaced: bool) -> Iterator[str]:
    """What was done to the pictures."""
    if hdr is not None:
        yield f"{path}: is HDR ({hdr}) and was tone-mapped to SDR; convert it yourself if its colours look wrong"
    if interlaced:
        yield (
            f"{path}: is interlaced; one picture was made of each two fields; deinterlace it to twice the rate "
            "yourself for every field"
        )
