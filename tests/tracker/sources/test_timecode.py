"""The timecode of files: where they have it, and what of it the track and the tables keep."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from selftrack.errors import UserError
from selftrack.tracker.clips.config import TrackConfig, open_clip
from selftrack.tracker.sources.video import VideoFile

FRAMES = [np.full((64, 96, 3), 20 * i, np.uint8) for i in range(6)]
NTSC = Fraction(30000, 1001)


@pytest.mark.parametrize(
    ("name", "rate", "code"),
    [
        ("tmcd.mov", 25, "10:00:00:05"),
        ("tmcd.mp4", Fraction(24000, 1001), "00:59:59:23"),
        ("tag.mkv", 25, "10:00:00:05"),
        ("drop.mov", NTSC, "01:00:59;28"),
        ("drop.mp4", 2 * NTSC, "01:01:00;04"),
        ("package.mxf", 25, "10:00:00:05"),
    ],
)
def test_timecode_of_a_container(make_clip: Callable[..., Path], name: str, rate: Fraction, code: str) -> None:
    codec = "mpeg2video" if name.endswith("mxf") else "libx264"
    clip = make_clip(name, FRAMES, tick=1 / Fraction(rate), codec=codec, rate=rate, metadata={"timecode": code})
    with VideoFile(clip) as reader:
        assert reader.info.timecode == code and reader.notes == ()


def test_time_reference_of_a_broadcast_wave(make_clip: Callable[..., Path]) -> None:
    """Samples since midnight, of sound at 48 kHz."""
    at = 48_000 * (3600 * 10 + 60 * 20 + 30) + 48_000 * 7 // 25
    clip = make_clip("sound.mkv", FRAMES, click=0.1, metadata={"time_reference": str(at)})
    with VideoFile(clip) as reader:
        assert reader.info.timecode == "10:20:30:07"


def test_what_is_no_timecode_is_left_out_and_noted(make_clip: Callable[..., Path]) -> None:
    with VideoFile(make_clip("wrong.mkv", FRAMES, metadata={"timecode": "10:00:00;00"})) as reader:
        (note,) = reader.notes
        assert reader.info.timecode == "" and "this clip has 25" in note and "with --timecode" in note
    with VideoFile(make_clip("none.mkv", FRAMES)) as reader:
        assert reader.info.timecode == "" and reader.notes == ()


def test_the_users_timecode_comes_first(make_clip: Callable[..., Path]) -> None:
    clip = make_clip("own.mov", FRAMES, metadata={"timecode": "10:00:00:05"})
    with open_clip(clip, TrackConfig(timecode="01:00:00:24")) as source:
        assert source.info.timecode == "01:00:00:24"
    with pytest.raises(UserError, match="goes from"):
        open_clip(clip, TrackConfig(timecode="01:00:00:25"))
