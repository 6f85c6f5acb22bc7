"""Frames in: times, orientation, windows, formats and damage, against the standards' closed forms."""

import hashlib
import struct
import time
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from selftrack.errors import UserError
from selftrack.tracker.sources import base
from selftrack.tracker.sources.base import Frame, Window
from selftrack.tracker.sources.pictures import Renderer
from selftrack.tracker.sources.video import VideoFile

MakeClip = Callable[..., Path]


def counting(n: int, height: int = 32, width: int = 48) -> list[np.ndarray]:
    """Grey frames whose level tells their number: 5, 10, 15, ..."""
    return [np.full((height, width, 3), 5 * i + 5, np.uint8) for i in range(n)]


def numbers(frames: Iterable[Frame]) -> list[int]:
    """The numbers that `counting` wrote into the frames."""
    return [round(float(frame.image.mean()) / 5) - 1 for frame in frames]


def patch(path: Path, box: bytes, offset: int, data: bytes) -> None:
    """Overwrite bytes of the first mp4 box of that type, `offset` bytes after its type."""
    raw = bytearray(path.read_bytes())
    at = raw.index(box) + 4 + offset
    raw[at : at + len(data)] = data
    path.write_bytes(raw)


def test_bundled_clip(smile: Path) -> None:
    with VideoFile(smile) as reader:
        frames = list(reader)
    assert (reader.info.width, reader.info.height, reader.info.rate) == (640, 360, 30)
    assert [f.index for f in frames] == list(range(72))
    np.testing.assert_allclose([f.time for f in frames], np.arange(72) / 30, atol=1e-9)
    assert all(f.image.shape == (360, 640, 3) and f.image.dtype == np.uint8 for f in frames)
    assert reader.notes == () and reader.count() == 72
    assert reader.fingerprint() == hashlib.sha256(smile.read_bytes()).hexdigest()


def test_variable_rate_times_are_the_containers(make_clip: MakeClip) -> None:
    ticks = [0, 40, 41, 120, 700, 733]
    clip = make_clip("vfr.mkv", counting(6), ticks, Fraction(1, 1000))
    with VideoFile(clip) as reader:
        assert [f.time for f in reader] == pytest.approx(np.array(ticks) / 1000, abs=1e-9)


def test_transport_stream_starts_at_zero(make_clip: MakeClip) -> None:
    clip = make_clip("clip.ts", counting(10))
    with VideoFile(clip) as reader:
        assert [f.time for f in reader] == pytest.approx(np.arange(10) / 25, abs=1e-6)


def test_edit_list_cuts_the_beginning(make_clip: MakeClip) -> None:
    clip = make_clip("edit.mp4", counting(20), bf="0", g="7", crf="1")
    scale = VideoFile(clip).info.time_base.denominator
    # elst: version/flags, count, then (duration in movie ticks of 1/1000 s, media time, rate)
    patch(clip, b"elst", 4, struct.pack(">IIi", 1, 600, 5 * scale // 25))
    with VideoFile(clip) as reader:
        frames = list(reader)
    assert round(frames[0].image.mean() / 5) - 1 == 5
    assert [f.time for f in frames[:15]] == pytest.approx(np.arange(15) / 25, abs=1e-9)
    assert reader.count() == len(frames)


def test_edit_list_delays_the_picture(make_clip: MakeClip) -> None:
    clip = make_clip("late.mp4", counting(5), [10, 11, 12, 13, 14])
    assert b"elst" in clip.read_bytes()
    with VideoFile(clip) as reader:
        assert [f.time for f in reader] == pytest.approx(np.arange(10, 15) / 25, abs=1e-9)


@pytest.mark.parametrize("a,b,c,d", [(0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0), (-1, 0, 0, 1), (0, 1, 1, 0)])
def test_display_matrix(make_clip: MakeClip, a: int, b: int, c: int, d: int) -> None:
    """ISO 14496-12: x' = a x + c y, y' = b x + d y, up to a shift into the picture."""
    stored = np.zeros((32, 64, 3), np.uint8)
    stored[:16, :16] = 255  # white square at the top left, reaching to (15, 15)
    clip = make_clip("turned.mp4", [stored] * 3, crf="1")
    one = 1 << 16
    patch(clip, b"tkhd", 40, struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30))
    corners = np.array([[0, 0], [63, 0], [0, 31], [63, 31]]) @ np.array([[a, b], [c, d]])
    x, y = np.array([8, 8]) @ np.array([[a, b], [c, d]]) - corners.min(axis=0)
    with VideoFile(clip) as reader:
        images = [f.image for f in reader]
    assert (reader.info.height, reader.info.width) == images[0].shape[:2]
    assert images[0].shape[:2] == tuple(np.ptp(corners, axis=0)[::-1] + 1)
    for image in images:
        assert image[y, x].min() > 240 and image.mean() == pytest.approx(255 / 8, rel=0.1)


def test_sample_aspect_ratio_is_applied(make_clip: MakeClip) -> None:
    with VideoFile(make_clip("wide.mp4", counting(3), aspect=Fraction(3, 2))) as reader:
        assert next(iter(reader)).image.shape == (32, 72, 3)
        assert reader.info.width == 72


@pytest.mark.parametrize("start,duration", [(0.0, 0.4), (0.3, None), (0.96, 0.5), (1.5, 0.04)])
def test_window_is_a_slice_of_the_clip(make_clip: MakeClip, start: float, duration: float | None) -> None:
    clip = make_clip("long.mp4", counting(50), g="18", bf="3", crf="1")
    end = 9.0 if duration is None else start + duration
    wanted = [i for i in range(50) if start - 1e-6 <= i / 25 < end - 1e-6]
    with VideoFile(clip, start, duration) as reader:
        frames = list(reader)
        assert numbers(reader) == wanted
    assert [f.index for f in frames] == list(range(len(wanted)))
    assert [f.time for f in frames] == pytest.approx(np.array(wanted) / 25, abs=1e-9)
    assert reader.count() == len(wanted)


def test_only_some_rows(make_clip: MakeClip) -> None:
    clip = make_clip("long.mp4", counting(50), crf="1")
    with VideoFile(clip, start=0.4) as reader:
        frames = list(reader.frames(only={3, 17}))
        assert [(f.index, f.time) for f in frames] == [(3, pytest.approx(0.52)), (17, pytest.approx(1.08))]
        assert numbers(frames) == [13, 27] and numbers(reader) == list(range(10, 50))


def test_window_past_the_end_says_how_long_the_clip_is(smile: Path) -> None:
    with pytest.raises(UserError, match="no frames from 7.0 s on; the clip runs from 0.00 to 2.40 s"):
        VideoFile(smile, start=7)


@pytest.mark.parametrize(
    "name,codec,pix_fmt,height,width",
    [
        ("one.mkv", "ffv1", "bgr0", 1, 1),
        ("odd.mkv", "ffv1", "yuv420p", 33, 47),
        ("grey.mkv", "ffv1", "gray", 32, 48),
        ("grey10.mkv", "ffv1", "gray10le", 32, 48),
        ("ten.mkv", "ffv1", "yuv422p10le", 32, 48),
        ("ten.mp4", "libx264", "yuv420p10le", 32, 48),
        ("full.avi", "mjpeg", "yuvj420p", 32, 48),
    ],
)
def test_formats(make_clip: MakeClip, name: str, codec: str, pix_fmt: str, height: int, width: int) -> None:
    clip = make_clip(name, counting(8, height, width), codec=codec, pix_fmt=pix_fmt)
    with VideoFile(clip) as reader:
        images = [f.image for f in reader]
    assert len(images) == 8
    for i, image in enumerate(images):
        assert image.shape == (height, width, 3) and image.dtype == np.uint8
        np.testing.assert_allclose(image, 5 * i + 5, atol=4)


@pytest.mark.parametrize("name", ["cut.mp4", "cut.avi", "cut.mkv"])
def test_truncated_file_yields_what_is_there(make_clip: MakeClip, name: str) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (64, 64, 3), dtype=np.uint8) for _ in range(40)]
    clip = make_clip(name, images, g="5", codec="mpeg4" if name.endswith("avi") else "libx264")
    raw = clip.read_bytes()
    clip.write_bytes(raw[: int(len(raw) * 0.6)])
    with VideoFile(clip) as reader:
        frames = list(reader)
    assert 15 < len(frames) < 40
    assert (np.diff([f.time for f in frames]) > 0).all()
    assert reader.notes and all("\n" not in note and clip.name in note for note in reader.notes)


@pytest.mark.parametrize("name,codec", [("late.mkv", "libx264"), ("late.webm", "libvpx-vp9")])
def test_a_file_that_begins_late_is_whole(make_clip: MakeClip, name: str, codec: str) -> None:
    """Matroska says when it ends, not how long it lasts: such a file was called cut off."""
    images = [np.full((48, 64, 3), 10 * row, np.uint8) for row in range(20)]
    clip = make_clip(name, images, [1000_000 + 40 * row for row in range(20)], Fraction(1, 1000), codec=codec)
    with VideoFile(clip) as source:
        times = [frame.time for frame in source]
    assert source.notes == () and source.info.duration == pytest.approx(0.8, abs=0.05)
    np.testing.assert_allclose(times, 1000 + 0.04 * np.arange(20), atol=1e-3)
    with VideoFile(clip, start=1000.4) as source:
        assert len(list(source)) == 10
    with pytest.raises(UserError, match=r"no frames from 3.0 s on; the clip runs from 1000.00 to 1000.8. s"):
        list(VideoFile(clip, start=3.0, duration=1.0))


def test_stamps_that_hardly_differ_are_none(make_clip: MakeClip) -> None:
    """Frames of such a file lay less than a thousandth of a second apart."""
    images = [np.full((48, 64, 3), 4 * row, np.uint8) for row in range(60)]
    with VideoFile(make_clip("stuck.mp4", images, range(60), Fraction(1, 12800))) as source:
        times = [frame.time for frame in source]
    np.testing.assert_allclose(times, np.arange(60) / 25, atol=1e-6)
    assert "has neither time stamps nor a rate; 25 frames/s were taken" in source.notes[0]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -1.0])
def test_a_window_is_of_numbers(number: float) -> None:
    with pytest.raises(UserError, match="--start .*: must be a number of seconds, at least 0"):
        Window(start=number)
    with pytest.raises(UserError, match="--duration .*: must be a number of seconds, more than 0"):
        Window(duration=number)


def test_whole_file_is_not_called_truncated(make_clip: MakeClip) -> None:
    for name in ("whole.mp4", "whole.mkv", "whole.avi", "whole.ts"):
        with VideoFile(make_clip(name, counting(20))) as reader:
            assert len(list(reader)) == 20 and reader.notes == ()


def bad_files(folder: Path, smile: Path) -> dict[str, Path]:
    """One file of each unreadable kind."""
    names = "missing.mp4", "text.txt", "noise.mp4", "none.mp4", "no index.mp4", "sound.wav", "empty.avi"
    files = {name: folder / name for name in names} | {"folder": folder}
    files["text.txt"].write_text("not a video\n" * 50)
    files["noise.mp4"].write_bytes(np.random.default_rng(0).bytes(5000))
    files["none.mp4"].write_bytes(b"")
    files["no index.mp4"].write_bytes(smile.read_bytes()[:60_000])
    with av.open(str(files["sound.wav"]), "w") as out:
        sound = out.add_stream("pcm_s16le", rate=8000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        silence.sample_rate = 8000
        out.mux(sound.encode(silence))
    with av.open(str(files["empty.avi"]), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        out.start_encoding()
    return files


@pytest.mark.parametrize(
    "name,words",
    [
        ("missing.mp4", "no such file"),
        ("folder", "not a file"),
        ("text.txt", "text"),
        ("noise.mp4", "not a video"),
        ("none.mp4", "not a video"),
        ("no index.mp4", "cut off before its index"),
        ("sound.wav", "no video stream"),
        ("empty.avi", "no frame"),
    ],
)
def test_bad_files_say_what_is_wrong_in_one_line(tmp_path: Path, smile: Path, name: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        VideoFile(bad_files(tmp_path, smile)[name])
    assert "\n" not in str(error.value) and name.replace("folder", tmp_path.name) in str(error.value)
    assert words == "no such file" or "; " in str(error.value)  # and what to do


def test_pictures_that_are_too_large_are_refused(make_clip: MakeClip) -> None:
    """The screen of a GIF has its size in bytes 6 to 9."""
    clip = make_clip("huge.gif", counting(1), codec="gif", pix_fmt="rgb8")
    raw = bytearray(clip.read_bytes())
    raw[6:10] = struct.pack("<2H", 9000, 9000)
    clip.write_bytes(raw)
    with pytest.raises(UserError, match="huge.gif: its picture is 9000x9000, or damaged; at most 67 million pixels"):
        VideoFile(clip)


def test_a_frame_that_is_too_large_does_not_decode(make_clip: MakeClip) -> None:
    """VP8 keeps width and height in 14 bits each of every key frame (RFC 6386, 9.1)."""
    clip = make_clip("grows.webm", counting(4), codec="libvpx", g="1")
    raw = bytearray(clip.read_bytes())
    at = raw.rindex(b"\x9d\x01\x2a") + 3
    raw[at : at + 4] = struct.pack("<2H", 16_383, 16_383)
    clip.write_bytes(raw)
    with VideoFile(clip) as reader:
        assert numbers(reader) == [0, 1, 2][: len(list(reader))]
    assert "1 did not decode" in reader.notes[0]


def test_large_frames_are_not_read_far_ahead(make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch) -> None:
    clip, read = make_clip("large.mp4", counting(9, 64, 96)), list[int]()

    def counted(self: Renderer, frame: av.VideoFrame, aspect: Fraction) -> np.ndarray:
        read.append(1)
        return np.zeros((64, 96, 3), np.uint8)

    monkeypatch.setattr(Renderer, "__call__", counted)
    monkeypatch.setattr(base, "_AHEAD", 2 * 64 * 96 * 3)
    with VideoFile(clip) as reader:
        next(reader.frames())
        time.sleep(0.3)
        assert len(read) <= 1 + 2 + 1  # taken, waiting, in the thread's hands
