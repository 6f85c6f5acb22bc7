"""A short real track, and a browser."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from selftrack.tracker.clips.config import TrackConfig
from selftrack.tracker.clips.single import track_clip
from selftrack.tracker.clips.subjects import PersonConfig
from selftrack.tracker.sources.opening import open_source

CLIP = Path(__file__).parents[1] / "data" / "smile.mp4"
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --enable-logging=stderr --virtual-time-budget=3000 --dump-dom"
).split()


@pytest.fixture(scope="session")
def plain_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `track` writes of 40 frames of the bundled clip. Copy it to change it."""
    folder = tmp_path_factory.mktemp("tracks") / "plain"
    track_clip(CLIP, folder, TrackConfig(overlay=False, duration=1.33, person=PersonConfig(samples=6)))
    return folder


@pytest.fixture(scope="session")
def short_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 24 frames of the bundled clip, encoded again."""
    path = tmp_path_factory.mktemp("clips") / "short.mp4"
    with open_source(CLIP, duration=0.8) as source, av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = source.info.width, source.info.height, "yuv420p"
        for frame in source:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame.image, "rgb24")))
        out.mux(stream.encode())
    return path


@pytest.fixture
def browse(tmp_path: Path) -> Callable[[Path], tuple[str, list[str]]]:
    """`browse(page)` -> the DOM after its scripts have run, and what it said on the console."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium to open the page in")

    def browse(page: Path) -> tuple[str, list[str]]:
        command = [browser, *FLAGS, f"--user-data-dir={tmp_path / 'browser'}", page.resolve().as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]

    return browse
