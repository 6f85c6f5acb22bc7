"""SMPTE timecode against the numbering written out frame by frame, and against opentimelineio."""

from fractions import Fraction

import pytest

from selftrack.errors import UserError
from selftrack.tracker.timecode import Timecode, counted_rate

NTSC = {30: Fraction(30000, 1001), 60: Fraction(60000, 1001)}


def numbered(frames: int, whole: int, drop: bool) -> list[str]:
    """The texts of so many frames from midnight on, counted as a deck does: one by one, skipping what is dropped."""
    texts, hours, minutes, seconds, frame = [], 0, 0, 0, 0
    while len(texts) < frames:
        if not (drop and minutes % 10 and seconds == 0 and frame < whole // 15):
            texts.append(f"{hours:02d}:{minutes:02d}:{seconds:02d}{';' if drop else ':'}{frame:02d}")
        frame += 1
        if frame == whole:
            seconds, frame = seconds + 1, 0
        if seconds == 60:
            minutes, seconds = minutes + 1, 0
        if minutes == 60:
            hours, minutes = hours + 1, 0
    return texts


@pytest.mark.parametrize("whole", NTSC)
@pytest.mark.parametrize("drop", [False, True])
def test_numbers_are_those_of_counting(whole: int, drop: bool) -> None:
    """22 minutes: two of them with all numbers, all the others without the first ones."""
    for frame, text in enumerate(numbered(22 * 60 * whole, whole, drop)):
        code = Timecode(frame, NTSC[whole], drop)
        assert str(code) == text and Timecode.parse(text, NTSC[whole]) == code


@pytest.mark.parametrize(
    ("frame", "rate", "text"),
    [
        (1_799, 29.97, "00:00:59;29"),
        (1_800, 29.97, "00:01:00;02"),
        (17_981, 29.97, "00:09:59;29"),
        (17_982, 29.97, "00:10:00;00"),  # ST 12-1: 17982 frames in ten minutes
        (107_892, 29.97, "01:00:00;00"),  # 108 fewer than without
        (2_589_407, 29.97, "23:59:59;29"),
        (3_600, 59.94, "00:01:00;04"),
        (215_784, 59.94, "01:00:00;00"),
        (86_400, 24, "01:00:00:00"),
        (86_400, 23.976, "01:00:00:00"),
        (90_000, 25, "01:00:00:00"),
        (432_119, 120, "01:00:00:119"),
    ],
)
def test_known_numbers(frame: int, rate: float, text: str) -> None:
    code = Timecode.parse(text, rate)
    assert code.frame == frame and str(code) == text


@pytest.mark.parametrize("rate", [24, 25, 30, 50, 60, *NTSC.values(), Fraction(24000, 1001)])
def test_opentimelineio_agrees(rate: Fraction) -> None:
    opentime = pytest.importorskip("opentimelineio.opentime")
    for drop in {False, rate in NTSC.values()}:
        for frame in [0, 1, 1799, 1800, 17981, 17982, 107891, 107892, *range(10_000, 1_900_000, 98_765)]:
            code = Timecode(frame, counted_rate(rate), drop)
            assert str(code) == opentime.RationalTime(frame, float(rate)).to_timecode(float(rate), drop)


def test_midnight_begins_anew() -> None:
    assert str(Timecode.parse("23:59:59:24", 25).after(0.04)) == "00:00:00:00"
    assert str(Timecode.parse("23:59:59;29", 29.97).after(1 / 29.97)) == "00:00:00;00"


def test_frames_after_a_time() -> None:
    start = Timecode.parse("10:00:00:12", 25)
    assert [str(start.after(n / 25)) for n in (0, 12, 13)] == ["10:00:00:12", "10:00:00:24", "10:00:01:00"]
    assert start.seconds() == pytest.approx(36000.48)
    # drop-frame stays with the clock: an hour later by the clock the number is an hour more
    assert str(Timecode.parse("10:00:00;00", 29.97).after(3600)) == "11:00:00;00"
    assert str(Timecode.parse("10:00:00:00", 29.97).after(3600)) == "10:59:56:12"


@pytest.mark.parametrize(
    ("rate", "exact"),
    [
        (29.9, NTSC[30]),
        (29.97, NTSC[30]),
        (30.01, 30),
        (23.98, Fraction(24000, 1001)),
        (24, 24),
        (27.3, 27),
        (12.4, 12),
    ],
)
def test_the_rate_that_is_counted(rate: float, exact: Fraction) -> None:
    assert counted_rate(rate) == exact


@pytest.mark.parametrize(
    ("text", "rate", "words"),
    [
        ("1:00:00:00", 25, "must be HH:MM:SS:FF"),
        ("noon", 25, "must be HH:MM:SS:FF"),
        ("٠١:00:00:00", 25, "must be HH:MM:SS:FF"),
        ("24:00:00:00", 25, "goes from 00:00:00:00 to 23:59:59:24"),
        ("01:60:00:00", 25, "goes from"),
        ("01:00:00:24", 24, "to 23:59:59:23"),
        ("01:00:00;00", 25, "drop-frame .* this clip has 25; write it with :"),
        ("01:00:00;00", 23.976, "this clip has 23.976"),
        ("01:00:00;00", 30, "drop-frame"),
        ("00:01:00;01", 29.97, "leaves this number out; the next one ends with 02"),
        ("00:01:00;03", 59.94, "the next one ends with 04"),
    ],
)
def test_a_wrong_text_is_refused_in_one_line(text: str, rate: float, words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        Timecode.parse(text, rate)
    assert "\n" not in str(error.value)
