"""What people bring: every row of the table in docs/usage.md, in files made here."""

import os
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from selftrack.errors import UserError
from selftrack.tracker.sources.video import VideoFile

MakeClip = Callable[..., Path]
PAGE = Path(__file__).parents[3] / "docs" / "usage.md"
COUNT = 8
ONE = 1 << 16  # of a display matrix

BASICS = "mp4, mov, mkv, webm, avi"
CODECS = "H.264 and HEVC of 8 and 10 bits, VP9, AV1, ProRes, MJPEG, DNxHD"
RAW = "raw H.264, HEVC or MJPEG"
TURNED = "rotation, mirrored front cameras"
SEVERAL = "several videos"
BESIDE = "cover art, sound, other data beside the video"
ALONE = "no video: sound alone, cover art alone"
CODED = "timecode: a timecode track, a tag, a broadcast wave's time reference"


def counting(n: int = COUNT, height: int = 64, width: int = 96) -> list[np.ndarray]:
    """Grey frames whose level tells their number: 25, 50, 75 ..."""
    return [np.full((height, width, 3), 25 * i + 25, np.uint8) for i in range(n)]


@dataclass(frozen=True)
class Kind:
    """A kind of file: its row of the table, how to make it, and what is to be seen. Frames are `counting`."""

    row: str
    name: str
    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    make: Callable[["Kind", MakeClip], Path] | None = None
    note: str = ""
    refused: str = ""
    size: tuple[int, int] = (96, 64)
    times: tuple[float, ...] = tuple(i / 25 for i in range(COUNT))
    first: int = 0
    atol: float = 5.0
    options: tuple[tuple[str, str], ...] = ()

    def write(self, make_clip: MakeClip) -> Path:
        """Make the file."""
        if self.make is not None:
            return self.make(self, make_clip)
        frames = counting(height=self.size[1], width=self.size[0])
        return make_clip(self.name, frames, codec=self.codec, pix_fmt=self.pix_fmt, **dict(self.options))


def patched(clip: Path, box: bytes, offset: int, data: bytes) -> Path:
    """Overwrite bytes of the first mp4 box of that type, `offset` bytes after its type."""
    raw = bytearray(clip.read_bytes())
    at = raw.index(box) + 4 + offset
    raw[at : at + len(data)] = data
    clip.write_bytes(raw)
    return clip


def turned(kind: Kind, make_clip: MakeClip, matrix: tuple[int, int, int, int]) -> Path:
    a, b, c, d = (ONE * n for n in matrix)
    matrix_box = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    return patched(make_clip(kind.name, counting()), b"tkhd", 40, matrix_box)


def stretched(kind: Kind, make_clip: MakeClip) -> Path:
    return make_clip(kind.name, counting(), aspect=Fraction(3, 2))


def uneven(kind: Kind, make_clip: MakeClip) -> Path:
    return make_clip(kind.name, counting(), [round(1000 * time) for time in kind.times], Fraction(1, 1000))


def edited(kind: Kind, make_clip: MakeClip) -> Path:
    clip = make_clip(kind.name, counting(), bf="0", g="1")
    scale = VideoFile(clip).info.time_base.denominator
    # elst: version/flags, count, then (duration in movie ticks of 1/1000 s, media time, rate)
    return patched(clip, b"elst", 4, struct.pack(">IIi", 1, 240, 2 * scale // 25))


def coded(kind: Kind, make_clip: MakeClip, code: str) -> Path:
    return make_clip(kind.name, counting(), codec=kind.codec, metadata={"timecode": code})


def delayed(kind: Kind, make_clip: MakeClip) -> Path:
    return make_clip(kind.name, counting(), range(10, 10 + COUNT))


def with_alpha(kind: Kind, make_clip: MakeClip) -> Path:
    path = make_clip(kind.name, counting(1), codec=kind.codec, pix_fmt=kind.pix_fmt)
    with av.open(str(path), "w") as out:
        stream = out.add_stream(kind.codec, rate=25, options=dict(kind.options))
        stream.width, stream.height, stream.pix_fmt = *kind.size, kind.pix_fmt
        for i, image in enumerate(counting()):
            alpha = np.full((*image.shape[:2], 1), 40, np.uint8)
            frame = av.VideoFrame.from_ndarray(np.concatenate([image, alpha], 2), "rgba")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def hdr(kind: Kind, make_clip: MakeClip) -> Path:
    """Levels are those of the tests of tone mapping: here all that counts is that there is a picture."""
    return make_clip(kind.name, counting(), codec=kind.codec, pix_fmt=kind.pix_fmt, **dict(kind.options))


def streams(kind: Kind, make_clip: MakeClip, sizes: dict[tuple[int, int], int], *more: str) -> Path:
    """Videos of these sizes with these dispositions, and more; only the one of the right size has the frames."""
    path = make_clip(kind.name, counting(1))
    with av.open(str(path), "w") as out:
        videos = []
        for (width, height), disposition in sizes.items():
            codec = "mjpeg" if disposition & av.stream.Disposition.attached_pic else "libx264"
            video = out.add_stream(codec, rate=25)
            video.width, video.height, video.pix_fmt = width, height, "yuvj420p" if codec == "mjpeg" else "yuv420p"
            video.disposition = disposition
            videos.append(video)
        speech = out.add_stream("aac", rate=48_000, layout="mono") if "sound" in more else None
        data = out.add_data_stream("klv") if "data" in more else None
        for i in range(COUNT):
            for video in videos:
                if i and video.disposition & av.stream.Disposition.attached_pic:
                    continue
                wanted = (video.width, video.height) == kind.size
                image = counting(height=video.height, width=video.width)[i]
                frame = av.VideoFrame.from_ndarray(image if wanted else image * 0, "rgb24")
                frame.pts, frame.time_base = i, Fraction(1, 25)
                out.mux(video.encode(frame))
        if data is not None:
            packet = av.Packet(b"where and when")
            packet.stream, packet.pts, packet.dts, packet.time_base = data, 0, 0, Fraction(1, 25)
            out.mux(packet)
        if speech is not None:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), "fltp", "mono")
            silence.sample_rate, silence.pts = 48_000, 0
            out.mux(speech.encode(silence))
        for stream in [*videos, *([speech] if speech else [])]:
            out.mux(stream.encode())
    return path


def sound_alone(kind: Kind, make_clip: MakeClip) -> Path:
    path = make_clip(kind.name, counting(1))
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=48_000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), "fltp", "mono")
        silence.sample_rate = 48_000
        out.mux(stream.encode(silence))
        out.mux(stream.encode())
    return path


def joined(kind: Kind, make_clip: MakeClip, *sizes: tuple[int, int]) -> Path:
    """The first half of the frames in one file, the others in another, one after the other."""
    halves = counting()[: COUNT // 2], counting()[COUNT // 2 :]
    parts = []
    for number, (half, (width, height)) in enumerate(zip(halves, sizes, strict=True)):
        images = [np.full((height, width, 3), image[0, 0], np.uint8) for image in half]
        parts.append(make_clip(f"{number}.ts", images))
    path = parts[0].with_name(kind.name)
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def back(kind: Kind, make_clip: MakeClip) -> Path:
    clip = make_clip(kind.name, counting(), range(0, 40 * COUNT, 40), Fraction(1, 1000), codec="ffv1", g="1")
    raw, block = clip.read_bytes(), b"\x81\x00\xa0\x80"  # Matroska's block of track 1 at 160 ms
    assert raw.count(block) == 1
    clip.write_bytes(raw.replace(block, b"\x81\x00\x6e\x80"))
    return clip


def early(kind: Kind, make_clip: MakeClip) -> Path:
    """Matroska keeps no times before its zero."""
    clip = make_clip(kind.name, counting(1))
    with av.open(str(clip), "w", options={"avoid_negative_ts": "disabled"}) as out:
        stream = out.add_stream(kind.codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = *kind.size, kind.pix_fmt
        for i, image in enumerate(counting()):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts = i - 3
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return clip


def damaged(kind: Kind, make_clip: MakeClip) -> Path:
    """Key frames alone, so that the damage is in one of them; slices of noise, so that it has bytes to hit."""
    noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    clip = make_clip(kind.name, [noise] * COUNT, g="1", slices="4")
    raw = bytearray(clip.read_bytes())
    at = raw.index(b"mdat") + (len(raw) - raw.index(b"mdat")) // 2
    for place in range(at, at + 400, 20):
        raw[place] ^= 0x55
    clip.write_bytes(raw)
    return clip


def cut(kind: Kind, make_clip: MakeClip) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (20, 64, 96, 3), dtype=np.uint8)
    clip = make_clip(kind.name, list(noise), g="1", bf="0")
    raw = clip.read_bytes()
    clip.write_bytes(raw[: int(0.5 * len(raw))])
    return clip


def of(maker: Callable[..., Path], *given: object) -> Callable[[Kind, MakeClip], Path]:
    """A maker with more arguments."""
    return lambda kind, make_clip: maker(kind, make_clip, *given)


COVER, DEFAULT = av.stream.Disposition.attached_pic, av.stream.Disposition.default
NONE = av.stream.Disposition(0)
LATE = tuple((10 + i) / 25 for i in range(COUNT))
UNEVEN = (0.0, 0.04, 0.05, 0.2, 0.21, 0.3, 0.7, 0.71)
PQ = (("x265-params", "log-level=none:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc"),)
HLG = (("x265-params", "log-level=none:colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc"),)
QUIET = (("x265-params", "log-level=none"),)

KINDS = [
    *(Kind(BASICS, f"clip.{ending}") for ending in ("mp4", "mov", "mkv")),
    Kind(BASICS, "clip.webm", "libvpx-vp9"),
    Kind(BASICS, "clip.avi", "mpeg4"),
    *(Kind("ts, mts", f"clip.{ending}") for ending in ("ts", "mts")),
    Kind("gif", "clip.gif", "gif", "gray"),
    Kind(RAW, "clip.h264", note="the 25 frames/s of its header were taken"),
    Kind(RAW, "clip.hevc", "libx265", options=QUIET, note="the 25 frames/s of its header were taken"),
    Kind(RAW, "clip.mjpeg", "mjpeg", "yuvj420p", note="neither time stamps nor a rate; 25 frames/s were taken"),
    Kind(CODECS, "h264.mp4"),
    Kind(CODECS, "h264_10.mp4", "libx264", "yuv420p10le"),
    Kind(CODECS, "hevc.mp4", "libx265", options=QUIET),
    Kind(CODECS, "hevc_10.mov", "libx265", "yuv420p10le", options=QUIET),
    Kind(CODECS, "vp9.mp4", "libvpx-vp9"),
    Kind(CODECS, "av1.mp4", "libsvtav1", options=(("preset", "12"),)),
    Kind(CODECS, "prores.mov", "prores_ks", "yuv422p10le"),
    Kind(CODECS, "mjpeg.mov", "mjpeg", "yuvj420p"),
    Kind(CODECS, "dnxhd.mov", "dnxhd", "yuv422p", options=(("profile", "dnxhr_sq"),), size=(256, 128)),
    *(Kind(TURNED, "turned.mp4", make=of(turned, way), size=(64, 96)) for way in ((0, 1, -1, 0), (0, 1, 1, 0))),
    Kind(TURNED, "mirrored.mov", make=of(turned, (-1, 0, 0, 1))),
    Kind("pixels that are not square", "wide.mp4", make=stretched, size=(144, 64)),
    *(Kind("variable rate", f"uneven.{ending}", make=uneven, times=UNEVEN) for ending in ("mp4", "mkv")),
    Kind("an edit list", "edited.mp4", make=edited, first=2, times=tuple(i / 25 for i in range(COUNT - 2))),
    Kind("an edit list", "late.mp4", make=delayed, times=LATE),
    Kind("interlaced frames", "fields.mp4", options=(("flags", "+ildct+ilme"),), note="is interlaced"),
    Kind("alpha", "alpha.mov", "prores_ks", "yuva444p10le", with_alpha, options=(("profile", "4444"),)),
    Kind("alpha", "alpha.mkv", "ffv1", "bgra", with_alpha),
    Kind("HDR (HLG, PQ)", "hlg.mov", "libx265", "yuv420p10le", hdr, "HDR (HLG)", atol=120, options=HLG),
    Kind("HDR (HLG, PQ)", "pq.mp4", "libx265", "yuv420p10le", hdr, "HDR (PQ)", atol=120, options=PQ),
    Kind(SEVERAL, "a.mkv", make=of(streams, {(160, 96): NONE, (96, 64): DEFAULT}), note="0 (160x96), 1 (96x64); 1 was"),
    Kind(SEVERAL, "b.mkv", make=of(streams, {(48, 32): DEFAULT, (96, 64): DEFAULT}), note="1 (96x64); 1 was taken"),
    Kind(SEVERAL, "c.mkv", make=of(streams, {(96, 64): NONE, (48, 32): NONE}), note="1 (48x32); 0 was taken"),
    Kind(BESIDE, "sound.mov", make=of(streams, {(96, 64): DEFAULT}, "sound")),
    Kind(BESIDE, "data.ts", make=of(streams, {(96, 64): DEFAULT}, "data")),
    Kind(BESIDE, "cover.mp4", make=of(streams, {(160, 96): COVER, (96, 64): DEFAULT}, "sound")),
    Kind(ALONE, "sound.m4a", make=sound_alone, refused="has no video stream"),
    Kind(ALONE, "cover.mp4", make=of(streams, {(160, 96): COVER}, "sound"), refused="has no video stream"),
    *(Kind(CODED, f"code.{ending}", make=of(coded, "10:00:00:05")) for ending in ("mov", "mp4", "mkv")),
    Kind(CODED, "code.mxf", "mpeg2video", make=of(coded, "10:00:00:05")),
    Kind(CODED, "wrong.mkv", make=of(coded, "10:00:00:99"), note="goes from 00:00:00:00 to 23:59:59:24 in this clip"),
    Kind("time stamps that start again", "re.ts", make=of(joined, (96, 64), (96, 64)), note="start again at 0.16 s"),
    Kind("frames before the first time stamp", "early.mkv", make=early, first=3, times=tuple(i / 25 for i in range(5))),
    Kind("time stamps that repeat or go back", "back.mkv", make=back, note="1 time stamps repeat or go back"),
    Kind("a size that changes", "sizes.ts", make=of(joined, (96, 64), (48, 32)), note="changes its size to 48x32"),
]


def rows() -> Iterator[str]:
    """The first cells of the table."""
    section = PAGE.read_text(encoding="utf-8").split("| In the file | What happens |\n|---|---|\n")[1]
    for line in section.splitlines():
        if not line.startswith("|"):
            return
        yield line.split("|")[1].strip()


OF_DAMAGE = {"damaged frames", "a file that is cut off"}
OF_FIELDS = {"interlaced frames that the file calls progressive"}  # see test_pictures.py


def test_every_row_of_the_page_is_tested() -> None:
    assert set(rows()) == {kind.row for kind in KINDS} | OF_DAMAGE | OF_FIELDS


def can_encode(codec: str) -> bool:
    """Whether this build of FFmpeg has the encoder."""
    try:
        return av.Codec(codec, "w").is_encoder
    except (av.codec.codec.UnknownCodecError, ValueError):
        return False


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: re.sub(r"\W", "_", f"{kind.row[:20]} {kind.name}"))
def test_a_row_of_the_page(make_clip: MakeClip, kind: Kind) -> None:
    if not can_encode(kind.codec):
        pytest.skip(f"this build of FFmpeg cannot make {kind.codec}")
    clip = kind.write(make_clip)
    if hasattr(os, "sched_getscheduler"):
        assert os.sched_getscheduler(0) == os.SCHED_OTHER  # encoders raise it, and all later tests would have it
    if kind.refused:
        with pytest.raises(UserError, match=kind.refused):
            VideoFile(clip)
        return
    with VideoFile(clip) as reader:
        frames = list(reader)
        assert reader.count() == len(frames) == len(kind.times)
    assert (reader.info.width, reader.info.height) == kind.size
    assert [frame.time for frame in frames] == pytest.approx(kind.times, abs=1e-3)
    for number, frame in enumerate(frames, kind.first):
        assert frame.image.shape == (*kind.size[::-1], 3) and frame.image.dtype == np.uint8
        np.testing.assert_allclose(frame.image, 25 * number + 25, atol=kind.atol)
    if kind.note:
        assert any(kind.note in note for note in reader.notes)
    else:
        assert reader.notes == ()
    assert all("\n" not in note and note.startswith(f"{clip}: ") for note in reader.notes)


def test_damage_is_noted_with_its_number(make_clip: MakeClip) -> None:
    kind = Kind("damaged frames", "bad.mp4")
    with VideoFile(damaged(kind, make_clip)) as reader:
        assert reader.notes == ()
        frames = list(reader)
    assert len(reader.notes) == 1
    found = re.search(r"(\d) of (\d) frames are damaged .*, (\d) did not decode", reader.notes[0])
    assert found is not None
    bad, decoded, failed = map(int, found.groups())
    assert decoded == len(frames) == COUNT - failed and 1 <= bad + failed <= 2


def test_what_comes_after_damage_is_damaged_up_to_the_next_key_frame(make_clip: MakeClip) -> None:
    """One key frame, and it is damaged: all frames are made from it."""
    noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    clip = make_clip("bad.mp4", [noise] * COUNT, bf="0", slices="4")
    raw = bytearray(clip.read_bytes())
    at = raw.index(b"mdat") + 3000
    for place in range(at, at + 200, 20):
        raw[place] ^= 0x55
    clip.write_bytes(raw)
    with VideoFile(clip) as reader:
        assert len(list(reader)) == COUNT
    assert f"{COUNT} of {COUNT} frames are damaged" in reader.notes[0]


@pytest.mark.parametrize("codec,options", [("libx264", "x264-params"), ("libx265", "x265-params")])
def test_a_window_that_begins_in_an_open_group_is_not_damaged(make_clip: MakeClip, codec: str, options: str) -> None:
    """Frames before a key frame that need the group before it are not in the window."""
    level = "" if codec == "libx264" else ":log-level=none"
    images = [np.roll(image, 7 * i, 1) for i, image in enumerate(counting(8) * 6)]
    clip = make_clip("open.mkv", images, codec=codec, **{options: f"open-gop=1:keyint=12:bframes=3:scenecut=0{level}"})
    with VideoFile(clip, start=1.0) as reader:
        assert len(list(reader)) == 48 - 25 and reader.notes == ()


def test_a_file_that_is_cut_off(make_clip: MakeClip) -> None:
    with VideoFile(cut(Kind("a file that is cut off", "cut.mp4"), make_clip)) as reader:
        assert 6 < len(list(reader)) < 14
    assert any("cut off" in note for note in reader.notes)


def test_the_stream_that_is_asked_for(make_clip: MakeClip) -> None:
    kind = Kind(SEVERAL, "several.mkv")
    clip = streams(kind, make_clip, {(160, 96): DEFAULT, (96, 64): NONE})
    with VideoFile(clip) as reader:
        assert reader.info.width == 160 and reader.stream is None
    with VideoFile(clip, stream=1) as reader:
        assert reader.info.width == 96 and reader.count() == COUNT and reader.stream == 1
        assert [round(float(frame.image.mean()) / 25) - 1 for frame in reader] == list(range(COUNT))
        assert "1 was taken" in reader.notes[0]
    with pytest.raises(UserError, match=r"no video stream 7; its video streams are 0 \(160x96\), 1 \(96x64\)"):
        VideoFile(clip, stream=7)


def test_a_raw_stream_has_the_rate_of_its_header(make_clip: MakeClip, tmp_path: Path) -> None:
    path = tmp_path / "fast.h264"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=Fraction(30_000, 1001), options={"bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for i, image in enumerate(counting()):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = i, Fraction(1001, 30_000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    with VideoFile(path, start=0.1) as reader:
        assert reader.info.rate == Fraction(30_000, 1001)
        frames = list(reader)
        assert reader.count() == len(frames) == COUNT - 3
    assert [frame.time for frame in frames] == pytest.approx(np.arange(3, COUNT) * 1.001 / 30, abs=1e-6)
    assert [round(float(frame.image.mean()) / 25) - 1 for frame in frames] == list(range(3, COUNT))
