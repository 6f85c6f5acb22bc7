"""Clips as a user names them: one line says what cannot be read, and what was chosen."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest

from selftrack.tracker import load
from selftrack.tracker.sources.opening import open_source


@pytest.mark.parametrize("arguments", [["https://host/a.mp4"], ["CLIP", "--calibration", "https://host/a.mp4"]])
def test_a_url_is_refused_in_one_line(run: Callable, smile: Path, arguments: list[str]) -> None:
    status, _, err = run("track", *(smile if argument == "CLIP" else argument for argument in arguments))
    assert status == 2
    assert err.strip() == "track: https://host/a.mp4: URLs are not read; download the file and name it"


@pytest.mark.parametrize("pattern", ["gone*.mp4", "gone%04d", "none/img*.png", "img?.txt"])
def test_a_pattern_of_no_pictures_is_no_clip(run: Callable, pattern: str) -> None:
    """Pictures alone are named by a pattern, in a folder that is there."""
    status, _, err = run("track", pattern)
    assert status == 2 and not list(Path().iterdir())
    why = "no such file; name a video, a folder of pictures or a pattern of their names"
    assert err.strip() == f"track: {pattern}: {why}"


def test_one_of_several_videos(run: Callable, smile: Path, tmp_path: Path) -> None:
    """A small video is the default one; the face is in the other, and the overlay is made of that."""
    clip = tmp_path / "several.mkv"
    with open_source(smile) as source, av.open(str(clip), "w") as out:
        videos = [out.add_stream("libx264", rate=30, options={"crf": "10"}) for _ in range(2)]
        marks = av.stream.Disposition.default, av.stream.Disposition(0)
        for video, size, mark in zip(videos, ((96, 64), (640, 360)), marks, strict=True):
            (video.width, video.height), video.pix_fmt, video.disposition = size, "yuv420p", mark
        for picture in source.frames(only=range(3)):
            for video in videos:
                frame = av.VideoFrame.from_ndarray(picture.image, "rgb24").reformat(video.width, video.height)
                frame.pts, frame.time_base = picture.index, Fraction(1, 30)
                out.mux(video.encode(frame))
        for video in videos:
            out.mux(video.encode())
    status, printed, _ = run("track", clip, "--stream", 1, "-o", "out")
    assert status == 0 and "0 (96x64), 1 (640x360); 1 was taken" in printed
    track = load("out")
    assert track.size == (640, 360) and track.ok.all() and track.settings()["stream"] == 1
    with open_source("out/overlay.mp4") as overlay:
        assert (overlay.info.width, overlay.info.height) == (1280, 360)
    status, _, err = run("track", clip, "--stream", 7, "-o", "again")
    assert status == 2 and "has no video stream 7; its video streams are 0 (96x64), 1 (640x360)" in err
