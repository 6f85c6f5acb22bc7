"""A few frames of a file, for which the others need not be decoded: the same as those of a whole pass."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from selftrack.tracker.sources.video import VideoFile

MakeClip = Callable[..., Path]
COUNT, GROUP = 96, 12
ROWS = {5, 40, 47, 48, 90}
X264, X265 = f"keyint={GROUP}:min-keyint={GROUP}:scenecut=0:bframes=3", f":keyint={GROUP}:bframes=3:log-level=none"


@pytest.fixture(scope="module")
def moving() -> list[np.ndarray]:
    """Noise that slides, so that a frame made from a wrong one is seen to be wrong."""
    noise = np.random.default_rng(0).integers(0, 255, (8, 12, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    return [np.roll(noise, (3 * i, 5 * i), (0, 1)) for i in range(COUNT)]


def spans_of(clip: VideoFile, rows: set[int] = ROWS) -> list[tuple[int, int]]:
    """The packets, by number, that are decoded for these rows."""
    return [(span.first, span.last) for span in clip._spans(rows)]


def check(clip: VideoFile, rows: set[int] = ROWS) -> None:
    whole, few = list(clip.frames(only=rows)), list(clip.glimpses(rows))
    assert [frame.index for frame in few] == sorted(rows)
    for expected, frame in zip(whole, few, strict=True):
        assert (frame.index, frame.time) == (expected.index, expected.time)
        np.testing.assert_array_equal(frame.image, expected.image)


def check_without_the_others(clip: VideoFile, rows: set[int] = ROWS) -> None:
    check(clip, rows)
    clip._read = None  # a whole pass, which it needs no more
    assert [frame.index for frame in clip.glimpses(rows)] == sorted(rows)


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {"x264-params": X264}),
        ("a.mkv", "libx264", {"x264-params": X264}),
        ("a.ts", "libx264", {"x264-params": X264}),
        ("open.mp4", "libx264", {"x264-params": f"open-gop=1:{X264}"}),
        ("open.mkv", "libx264", {"x264-params": f"open-gop=1:{X264}"}),
        ("open.mov", "libx265", {"x265-params": f"open-gop=1{X265}"}),
        ("a.webm", "libvpx-vp9", {"g": str(GROUP), "deadline": "realtime", "cpu-used": "8"}),
        ("a.avi", "mpeg4", {"g": str(GROUP), "bf": "0"}),
        ("each.mov", "mjpeg", {}),
    ],
)
def test_they_are_those_of_a_whole_pass(
    make_clip: MakeClip, moving: list[np.ndarray], name: str, codec: str, options: dict[str, str]
) -> None:
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    with VideoFile(make_clip(name, moving, codec=codec, pix_fmt=pix_fmt, **options)) as clip:
        spans = spans_of(clip)
        assert spans and sum(last - first + 1 for first, last in spans) < COUNT / 2
        check_without_the_others(clip)


def test_only_what_a_frame_is_made_from_is_decoded(make_clip: MakeClip, moving: list[np.ndarray]) -> None:
    """From its key frame on; without frames that are shown out of order packets are frames."""
    clip = make_clip("a.mp4", moving, **{"x264-params": X264.replace("bframes=3", "bframes=0")})
    with VideoFile(clip) as source:
        assert spans_of(source) == [(0, 5), (36, 47), (48, 48), (84, 90)]
        assert spans_of(source, set(range(0, COUNT, 2))) == []  # most of the file: it is read as a whole
        check(source, set(range(0, COUNT, 2)))


@pytest.mark.parametrize(("start", "duration"), [(0.5, None), (1.01, 2.2), (0.0, 3.0)])
def test_rows_are_those_of_the_window(
    make_clip: MakeClip, moving: list[np.ndarray], start: float, duration: float | None
) -> None:
    clip = make_clip("a.mp4", moving, **{"x264-params": X264})
    with VideoFile(clip, start, duration) as source:
        assert spans_of(source, {3, 50})
        check_without_the_others(source, {3, 50})


def test_times_are_the_containers(make_clip: MakeClip, moving: list[np.ndarray]) -> None:
    ticks = np.cumsum(np.random.default_rng(1).integers(1, 90, COUNT)).tolist()
    with VideoFile(make_clip("vfr.mkv", moving, ticks, tick=Fraction(1, 1000), **{"x264-params": X264})) as source:
        assert spans_of(source)
        check_without_the_others(source)


def test_interlaced_frames_are_read_as_a_whole(make_clip: MakeClip, moving: list[np.ndarray]) -> None:
    """What makes them progressive looks at the frames around them."""
    clip = make_clip("fields.mp4", moving, flags="+ildct+ilme", g=str(GROUP), bf="0")
    with VideoFile(clip) as source:
        assert spans_of(source)
        check(source)


def test_without_time_stamps_all_is_read(make_clip: MakeClip, moving: list[np.ndarray]) -> None:
    with VideoFile(make_clip("a.h264", moving, **{"x264-params": X264})) as source:
        assert not spans_of(source)
        check(source)


def test_where_frames_do_not_decode_the_rest_is_read_as_a_whole(make_clip: MakeClip, moving: list[np.ndarray]) -> None:
    """The key frame of the third group is gone: none of its frames comes twice or out of order."""
    clip = make_clip("bad.mp4", moving, codec="mjpeg", pix_fmt="yuvj420p")
    raw = bytearray(clip.read_bytes())
    pictures = [at for at in range(len(raw)) if raw[at : at + 3] == b"\xff\xd8\xff"]
    assert len(pictures) == COUNT
    raw[pictures[40] : pictures[41]] = bytes(pictures[41] - pictures[40])
    clip.write_bytes(raw)
    with VideoFile(clip) as source:
        few = list(source.glimpses(ROWS))
    indices = [frame.index for frame in few]
    assert indices[0] == 5 and indices == sorted(set(indices)) and set(indices) <= ROWS and len(indices) >= 4
