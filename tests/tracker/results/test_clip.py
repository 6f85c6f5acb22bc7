"""A track's clip, read again."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from selftrack.tracker.model import Model
from selftrack.tracker.results.clip import open_clip
from selftrack.tracker.sources.opening import open_source
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
