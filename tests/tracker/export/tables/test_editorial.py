"""The edit decision list by its columns, and the timeline by opentimelineio: the cut is the tracked part."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from selftrack.tracker.export import write
from selftrack.tracker.results.track_file import Track

NTSC = 30000 / 1001


def event(path: Path) -> tuple[dict[str, str], list[str]]:
    """The fields of the one event of a CMX 3600 list, and the other lines."""
    code = r"\d\d:\d\d:\d\d[:;]\d\d"
    form = (
        rf"(?P<number>\d{{3}})  (?P<reel>\w{{1,8}}) +(?P<channels>V) +(?P<edit>C) +({code}) ({code}) ({code}) ({code})"
    )
    lines = path.read_text().splitlines()
    (found,) = [match for line in lines if (match := re.fullmatch(form, line))]
    times = dict(zip(("source_in", "source_out", "record_in", "record_out"), found.groups()[4:], strict=True))
    return found.groupdict() | times, [line for line in lines if line and line != found[0]]


def test_an_edl_has_the_tracked_part(make_track: Callable[..., Track], tmp_path: Path) -> None:
    track = replace(make_track(2 + np.arange(50) / 25), timecode="10:00:00:20", timecode_rate=25.0)
    fields, others = event(write(track, "edl", tmp_path / "a.edl"))
    assert (fields["number"], fields["reel"]) == ("001", "TAKE1")
    assert (fields["source_in"], fields["source_out"]) == ("10:00:02:20", "10:00:04:20")
    assert (fields["record_in"], fields["record_out"]) == ("01:00:00:00", "01:00:02:00")
    assert others == ["TITLE: take {1}", "FCM: NON-DROP FRAME", "* FROM CLIP NAME: take {1}.mp4"]


def test_an_edl_in_drop_frame(make_track: Callable[..., Track], tmp_path: Path) -> None:
    track = replace(make_track(np.arange(60) / NTSC), timecode="00:00:59;00", timecode_rate=NTSC)
    fields, others = event(write(track, "edl", tmp_path / "a.edl"))
    assert (fields["source_in"], fields["source_out"]) == ("00:00:59;00", "00:01:01;02")
    assert (fields["record_in"], fields["record_out"]) == ("01:00:00;00", "01:00:02;00")
    assert "FCM: DROP FRAME" in others


def test_an_edl_without_timecode_counts_from_the_start(make_track: Callable[..., Track], tmp_path: Path) -> None:
    fields, _ = event(write(replace(make_track(1 + np.arange(24) / 24), clip="/x/_.mp4"), "edl", tmp_path / "a.edl"))
    assert (fields["reel"], fields["source_in"], fields["source_out"]) == ("AX", "00:00:01:00", "00:00:02:00")


@pytest.mark.parametrize(("code", "rate"), [("10:00:00:20", 25.0), ("00:00:59;00", NTSC), ("", 0.0)])
def test_a_timeline_has_the_same_cut(make_track: Callable[..., Track], tmp_path: Path, code: str, rate: float) -> None:
    otio = pytest.importorskip("opentimelineio", reason="opentimelineio is an extra")
    track = replace(make_track(2 + np.arange(50) / (rate or 24)), timecode=code, timecode_rate=rate)
    fields, _ = event(write(track, "edl", tmp_path / "a.edl"))
    timeline = otio.adapters.read_from_file(str(write(track, "otio", tmp_path / "a.otio")))
    (clip,) = timeline.find_clips()
    cut, media = clip.source_range, clip.media_reference
    assert [time.to_timecode() for time in (cut.start_time, cut.end_time_exclusive())] == [
        fields["source_in"],
        fields["source_out"],
    ]
    assert cut.duration.value == 50 and timeline.global_start_time.to_timecode() == fields["record_in"]
    assert media.available_range.end_time_exclusive() == cut.end_time_exclusive()
    assert media.available_range.start_time.to_timecode() == (code or "00:00:00:00")
    assert media.target_url == (Path.cwd() / track.clip).as_uri()
    track_time = clip.transformed_time(
        cut.start_time + otio.opentime.RationalTime(10, cut.duration.rate), timeline.tracks
    )
    assert track_time.value == pytest.approx(10)
