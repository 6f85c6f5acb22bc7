"""Videos out: H.264 with given frame times, and the sound of a source beside it."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from fractions import Fraction
from math import floor, inf
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer

from selftrack.tracker.sources.base import SourceInfo, Window
from selftrack.tracker.sources.container import clock_leaps, open_container, origin, packets, time_base
from selftrack.tracker.sources.timeline import Timeline

_OVERLAP = Fraction(1, 100)  # seconds by which sound may overlap with the sound before it: stamps are rounded
# Audio codecs that players read inside an mp4; every other one is re-encoded to AAC.
MP4_AUDIO = ("aac", "mp3", "ac3", "eac3", "opus", "flac", "alac")


class VideoWriter:
    """Writes an H.264 mp4 with given frame times, and the audio of a source clip beside it.

    The file gets its name only when it is complete: frames go to `<name>.part` first, which is removed when
    the context is left by an error. Odd sizes are padded to even ones by repeating the last row or column.

    Args:
        path: the file to write.
        size: (width, height) of the frames.
        source: clip whose timing grid and audio, if it has any, are used.
        window: part of the source; the written file starts where it starts.
        crf: how much is compressed, 0 (nothing is lost) to 51.
        metadata: of the file, by keys that an mp4 has, such as comment.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        source: SourceInfo,
        window: Window | None = None,
        crf: int = 20,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.path, self.size, window = Path(path), size, window or Window()
        self.start = window.start
        self._part = self.path.with_name(self.path.name + ".part")
        self._out = av.open(str(self._part.resolve()), "w", format="mp4")
        self._out.metadata.update(metadata or {})
        options = {"crf": str(crf), "preset": "veryfast"}
        self._stream = self._out.add_stream("libx264", rate=source.rate, options=options)
        self._stream.width, self._stream.height = (n + n % 2 for n in size)
        self._stream.pix_fmt = "yuv420p"
        fine = source.time_base.denominator <= 1_000_000  # x264 counts ticks in 32 bits
        self._tick = source.time_base if fine else Fraction(1, 90_000)
        self._stream.codec_context.time_base = self._tick
        for name in ("colorspace", "color_primaries", "color_trc", "color_range"):
            setattr(self._stream.codec_context, name, 1)  # BT.709, limited range
        self._last = -1  # ticks, of the frame before
        self._audio = _audio_packets(source, self._out, window)
        self._pending = next(self._audio, None)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type | None, *exc: object) -> None:
        try:
            if kind is None:
                self._out.mux(self._stream.encode())
                self._mux_audio(float("inf"))
            self._audio.close()
            self._out.close()
            if kind is None:
                self._part.replace(self.path)
        finally:
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
        # half a tick always goes up: rounded to even, two frames would get one time
        ticks = floor((Fraction(time) - Fraction(self.start)) / self._tick + Fraction(1, 2))
        frame.pts = self._last = max(ticks, self._last + 1)  # times closer than a tick get the next one
        self._out.mux(self._stream.encode(frame))
        self._mux_audio(time - self.start)

    def _mux_audio(self, until: float) -> None:
        """Interleave: audio goes in as far as the picture has come, so that the muxer holds nothing back."""
        while self._pending is not None and self._pending[0] <= until:
            self._out.mux(self._pending[1])
            self._pending = next(self._audio, None)


def _audio_packets(
    source: SourceInfo, out: OutputContainer, window: Window
) -> Generator[tuple[float, av.Packet], None, None]:
    """Yield (seconds from the window's start, packet) of the clip's first audio stream, for a new stream of `out`.

    Packets are copied as they are where an mp4 can hold their codec, and re-encoded to AAC otherwise. Audio
    that breaks off ends there.
    """
    if source.path is None or not source.has_audio:
        return
    with open_container(source.path) as container:
        stream = next((s for s in container.streams.audio if s.codec_context is not None), None)
        if stream is None:
            return
        start = window.start
        if start > 0 and not source.shifts:
            container.seek(int((start + float(origin(container))) * av.time_base))
        shift = origin(container) + Fraction(start)
        take = _copied if stream.codec.canonical_name in MP4_AUDIO else _encoded
        timeline = Timeline(time_base(stream), clock_leaps(container), known=source.shifts)
        for time, packet in take(timeline(packets(container, stream)), stream, out, shift):
            if start > 0 and time < 0:
                continue
            if window.duration is not None and time >= window.duration:
                break
            yield time, packet


def _copied(
    read: Iterator[av.Packet], stream: av.AudioStream, out: OutputContainer, shift: Fraction
) -> Iterator[tuple[float, av.Packet]]:
    target = out.add_stream_from_template(stream)
    ticks, last = round(shift / time_base(stream)), -inf
    for packet in read:
        if packet.dts is None or packet.pts is None or packet.dts <= last:  # a part's sound can begin before its video
            continue
        last = packet.dts
        packet.pts -= ticks
        packet.dts -= ticks
        time = float(packet.pts * time_base(packet))
        packet.stream = target
        yield time, packet


def _encoded(
    read: Iterator[av.Packet], stream: av.AudioStream, out: OutputContainer, shift: Fraction
) -> Iterator[tuple[float, av.Packet]]:
    rate = stream.rate if stream.rate in (48_000, 44_100, 32_000, 22_050, 16_000, 8_000) else 48_000
    target = out.add_stream("aac", rate=rate, layout="stereo" if stream.channels > 1 else "mono")
    resampler = av.AudioResampler(format="fltp", layout=target.layout, rate=rate)
    end = Fraction(0)
    for packet in read:
        try:
            decoded = packet.decode()
        except av.FFmpegError:
            continue
        for frame in decoded:
            assert isinstance(frame, av.AudioFrame)
            if frame.pts is None or (time := frame.pts * time_base(frame) - shift) < max(end - _OVERLAP, 0):
                continue  # before the window, or before the end of the part before
            end = time + Fraction(frame.samples, frame.sample_rate)
            frame.pts, frame.time_base = round(time * frame.sample_rate), Fraction(1, frame.sample_rate)
            for piece in resampler.resample(frame):
                yield from _stamped(target.encode(piece))
    for piece in resampler.resample(None):
        yield from _stamped(target.encode(piece))
    yield from _stamped(target.encode())


def _stamped(encoded: list[av.Packet]) -> Iterator[tuple[float, av.Packet]]:
    return ((float(packet.pts * time_base(packet)), packet) for packet in encoded if packet.pts is not None)
