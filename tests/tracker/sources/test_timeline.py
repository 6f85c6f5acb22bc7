"""One timeline: parts that start again, wrong and missing time stamps; worked out by hand, and in files made here."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from selftrack.tracker.sources.timeline import Stamps, Timeline
from selftrack.tracker.sources.video import VideoFile

MakeClip = Callable[..., Path]
HUNDREDTH = Fraction(1, 100)  # of a second


def grey(n: int, height: int = 32, width: int = 48, first: int = 0) -> list[np.ndarray]:
    """Grey frames whose level tells their number."""
    return [np.full((height, width, 3), 5 * (first + i) + 5, np.uint8) for i in range(n)]


def joined(path: Path, *parts: Path) -> Path:
    """Files one after the other, as `cat` does."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def moved(timeline: Timeline, stamps: list[tuple[int, int]]) -> list[int | None]:
    """Presentation stamps that a timeline makes of (pts, dts), hundredths of a second."""

    def packet(pts: int, dts: int) -> av.Packet:
        made = av.Packet(b"x")
        made.pts, made.dts, made.time_base, made.duration = pts, dts, HUNDREDTH, 4
        return made

    return [moved.pts for moved in timeline(packet(*stamp) for stamp in stamps)]


def test_a_part_goes_on_where_the_last_ended() -> None:
    """The order of decoding is not that of showing: only decoding times tell a new part."""
    part = [(0, -8), (12, -4), (4, 0), (8, 4)]
    timeline = Timeline(HUNDREDTH, leaps=False)
    assert moved(timeline, part * 3) == [0, 12, 4, 8, 16, 28, 20, 24, 32, 44, 36, 40]
    assert timeline.shifts == [Fraction(16, 100), Fraction(32, 100)] and timeline.end == Fraction(48, 100)
    assert moved(Timeline(HUNDREDTH, leaps=False, known=[Fraction(1)]), part * 2)[4:] == [100, 112, 104, 108]


@pytest.mark.parametrize("leaps,last", [(True, 8), (False, 5004)])
def test_a_long_gap_is_a_jump_of_the_clock_only_where_clocks_jump(leaps: bool, last: int) -> None:
    assert moved(Timeline(HUNDREDTH, leaps), [(0, 0), (4, 4), (5004, 5004), (5008, 5008)]) == [0, 4, last, last + 4]


@pytest.mark.parametrize("wrong", [-500, 5004])
def test_a_single_wrong_stamp_is_no_new_part(wrong: int) -> None:
    timeline = Timeline(HUNDREDTH, leaps=True)
    assert moved(timeline, [(0, 0), (4, 4), (wrong, wrong), (12, 12)]) == [0, 4, wrong, 12]
    assert not timeline.joins and timeline.end == Fraction(16, 100)


@pytest.mark.parametrize(
    "stamps,times,mended",
    [
        ([0, 1, 2, 3], [0, 1, 2, 3], 0),
        ([0, 1, 9, 10], [0, 1, 9, 10], 0),  # a pause is one
        ([0, 1, 1, 3], [0, 1, 2, 3], 1),
        ([0, 1, 0, 3], [0, 1, 2, 3], 1),
        ([0, 1, 50, 3], [0, 1, 2, 3], 1),
        ([0, 1, 3, 2.5, 5], [0, 1, 1.75, 2.5, 5], 1),
        ([0, 1, 2, 1.5, 4], [0, 1, 2, 3, 4], 1),
        ([0, 0, 2, 2, 4, 4], [0, 1, 2, 3, 4, 5], 3),
        ([0, 0, 0, 0], [0, 1, 2, 3], 3),
        ([None, None, None], [0, 1, 2], 0),
        ([5, None, 7], [5, 6, 7], 0),
        ([None, None, 5, 6], [3, 4, 5, 6], 0),
        ([None, 0, 1, 2], [-1, 0, 1, 2], 0),
        ([*[None] * 40, 5], [*range(40), 40], 1),
    ],
)
def test_stamps_that_are_wrong_lie_between_their_neighbours(
    stamps: list[float | None], times: list[float], mended: int
) -> None:
    fixed = Stamps(Fraction(1))
    timed = [(None if stamp is None else Fraction(stamp), number) for number, stamp in enumerate(stamps)]
    assert list(fixed(timed)) == [(float(time), number) for number, time in enumerate(times)]
    assert fixed.mended == mended


def test_joined_transport_streams_are_one_take(make_clip: MakeClip, tmp_path: Path) -> None:
    first, second = make_clip("a.ts", grey(10)), make_clip("b.ts", grey(10, first=10))
    with VideoFile(joined(tmp_path / "joined.ts", first, second, first)) as reader:
        assert len(reader.notes) == 1 and "start again at 0.40 s, 0.80 s; " in reader.notes[0]
        frames = list(reader)
        assert reader.count() == 30 and reader.info.duration == pytest.approx(1.2)
    assert [f.time for f in frames] == pytest.approx(np.arange(30) / 25, abs=1e-5)
    assert [round(float(f.image.mean()) / 5) - 1 for f in frames] == [*range(20), *range(10)]
    assert len(reader.notes) == 1


@pytest.mark.parametrize("early", [True, False])
def test_parts_whose_clocks_lie_far_apart(make_clip: MakeClip, tmp_path: Path, early: bool) -> None:
    clips = [make_clip("a.ts", grey(10)), make_clip("b.ts", grey(10), range(2000, 2010))]
    with VideoFile(joined(tmp_path / "joined.ts", *(clips if early else clips[::-1]))) as reader:
        assert [f.time for f in reader] == pytest.approx(np.arange(20) / 25, abs=1e-5)


@pytest.mark.parametrize("ending", ["ts", "mpg", "mkv"])
@pytest.mark.parametrize("start,wanted", [(0.2, range(5, 20)), (0.6, range(15, 20))])
def test_a_window_of_joined_streams(
    make_clip: MakeClip, tmp_path: Path, ending: str, start: float, wanted: range
) -> None:
    codec = "mpeg2video" if ending == "mpg" else "libx264"
    parts = [make_clip(f"{n}.{ending}", grey(10, first=10 * n), codec=codec) for n in range(2)]
    with VideoFile(joined(tmp_path / f"joined.{ending}", *parts), start) as reader:
        frames = list(reader)
        assert reader.count() == len(frames)
    assert [round(float(f.image.mean()) / 5) - 1 for f in frames] == list(wanted)
    assert [f.time for f in frames] == pytest.approx(np.array(wanted) / 25, abs=1e-5)


def test_a_stamp_that_goes_back_in_a_file(make_clip: MakeClip) -> None:
    clip = make_clip("back.mkv", grey(10), range(0, 400, 40), Fraction(1, 1000), codec="ffv1", g="1")
    raw, block = clip.read_bytes(), b"\x81\x00\xa0\x80"  # Matroska's block of track 1 at 160 ms
    assert raw.count(block) == 1
    clip.write_bytes(raw.replace(block, b"\x81\x00\x0a\x80"))
    with VideoFile(clip) as reader:
        assert [f.time for f in reader] == pytest.approx(np.arange(10) / 25, abs=1e-9)
        assert len(reader.notes) == 1 and "1 time stamps repeat or go back" in reader.notes[0]


def stripes(height: int, width: int) -> np.ndarray:
    """A picture (H,W,3) that is red on the left and blue on the right."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2, 0], image[:, width // 2 :, 2] = 200, 200
    return image


@pytest.mark.parametrize(
    "height,width,aspect,left,top",
    [
        (32, 64, None, 0, 0),  # the same shape
        (64, 64, None, 32, 0),  # taller: borders at the sides
        (16, 64, None, 0, 16),  # wider: borders above and below
        (64, 64, Fraction(2), 0, 0),  # the shape is the same, its pixels are wider
    ],
)
def test_a_size_that_changes(
    make_clip: MakeClip, tmp_path: Path, height: int, width: int, aspect: Fraction | None, left: int, top: int
) -> None:
    """All frames have the first size, 128x64, and the picture its shape."""
    parts = make_clip("a.ts", [stripes(64, 128)] * 5), make_clip("b.ts", [stripes(height, width)] * 5, aspect=aspect)
    with VideoFile(joined(tmp_path / "joined.ts", *parts)) as reader:
        images = [f.image for f in reader]
        assert sum(f"changes its size to {width}x{height}" in note for note in reader.notes) == 1
    assert {image.shape for image in images} == {(64, 128, 3)} and len(images) == 10
    last = images[-1].astype(int)
    assert np.abs(last[top + 2 : 62 - top, left + 2 : 60] - (200, 0, 0)).max() < 12
    assert np.abs(last[top + 2 : 62 - top, 68 : 126 - left] - (0, 0, 200)).max() < 12
    for border in (last[: max(top - 1, 0)], last[64 - max(top - 1, 0) :], last[:, : max(left - 1, 0)]):
        assert border.size == 0 or border.max() == 0
