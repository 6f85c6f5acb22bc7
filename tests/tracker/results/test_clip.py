"""A track's clip, read again."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from selftrack.tracker.model import Model
from selftrack.tracker.results.clip import open_clip, read_rows
from selftrack.tracker.results.track_file import Track
from selftrack.tracker.sources.opening import open_source
from selftrack.tracker.sources.video import VideoFile
from selftrack.tracker.tracker import Tracker


def test_the_stream_that_was_tracked_is_read_again(fake_model: Callable[[], Model], tmp_path: Path) -> None:
    clip = tmp_path / "two.mkv"
    with av.open(str(clip), "w") as out:
        videos = [out.add_stream("ffv1", rate=25) for _ in range(2)]
        for video, width in zip(videos, (96, 64), strict=True):
            video.width, video.height, video.pix_fmt = width, 48, "yuv420p"
        for i in range(3):
            for video in videos:
                frame = av.VideoFrame.from_ndarray(np.full((48, video.width, 3), 90, np.uint8), "rgb24")
                frame.pts, frame.time_base = i, Fraction(1, 25)
                out.mux(video.encode(frame))
    for asked, width in ((None, 96), (1, 64)):
        tracker = Tracker(fake_model())
        with open_source(clip, stream=asked) as source:
            for frame in source:
                tracker(frame)
            track = tracker.finish(source)
        assert track.size == (width, 48)
        with open_clip(track, verify=True) as again:
            assert again.info.width == width and again.stream == asked


def test_frames_of_rows_where_some_did_not_decode(
    fake_model: Callable[[], Model], make_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is the one that was tracked as that row, by its time; in a sound clip no whole pass is needed for that."""
    noise = np.random.default_rng(0).integers(0, 255, (40, 48, 64, 3), dtype=np.uint8)
    clip = make_clip("a.mp4", list(noise), codec="mjpeg", pix_fmt="yuvj420p")
    rows = {2, 20, 33}

    def track_of(clip: Path) -> tuple[Track, list[np.ndarray]]:
        tracker = Tracker(fake_model())
        with open_source(clip) as source:
            pictures = [frame.image for frame in source if tracker(frame)]
            return tracker.finish(source), pictures

    def check(track: Track, pictures: list[np.ndarray]) -> None:
        read = list(read_rows(track, rows))
        assert [frame.index for frame in read] == sorted(rows)
        for frame in read:
            assert frame.time == track.times[frame.index]
            np.testing.assert_array_equal(frame.image, pictures[frame.index])

    track, pictures = track_of(clip)
    assert len(track) == 40
    with monkeypatch.context() as patch:
        patch.delattr(VideoFile, "_read")
        check(track, pictures)
    raw = bytearray(clip.read_bytes())
    starts = [at for at in range(len(raw)) if raw[at : at + 3] == b"\xff\xd8\xff"]
    raw[starts[10] : starts[11]] = bytes(starts[11] - starts[10])
    clip.write_bytes(raw)
    track, pictures = track_of(clip)
    assert len(track) == 39
    check(track, pictures)
