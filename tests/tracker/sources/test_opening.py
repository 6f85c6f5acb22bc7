"""Which source a name opens."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from selftrack.errors import UserError
from selftrack.tracker.sources.images import ImageSequence
from selftrack.tracker.sources.names import source_name
from selftrack.tracker.sources.opening import open_source
from selftrack.tracker.sources.video import VideoFile


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "take"
    folder.mkdir()
    for number in range(3):
        assert cv2.imwrite(str(folder / f"img{number:02d}.png"), np.full((4, 6, 3), 10 * number, np.uint8))
    return folder


def test_by_what_is_there(pictures: Path, smile: Path) -> None:
    for spec in (pictures, f"{pictures}/img%02d.png", f"{pictures}/*.png", pictures / "img00.png"):
        with open_source(spec) as source:
            assert isinstance(source, ImageSequence) and source.info.rate == 24
    with open_source(str(smile), duration=0.1) as source:
        assert isinstance(source, VideoFile) and source.count() == 3
    with open_source(pictures, fps=12, start=0.1) as source:
        assert [frame.time for frame in source] == pytest.approx([2 / 12])


def test_a_file_may_have_digits_for_a_name(
    make_clip: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clip("0.mp4", [np.zeros((16, 16, 3), np.uint8)]).rename(tmp_path / "0")
    monkeypatch.chdir(tmp_path)
    with open_source("0") as source:
        assert isinstance(source, VideoFile)
    assert source_name("0") == "0" and source_name("7") == "camera7"


def test_what_cannot_be_opened(pictures: Path, smile: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nosuch.mp4"):
        open_source(tmp_path / "nosuch.mp4")
    with pytest.raises(UserError, match="no such file"):
        open_source(pictures / "other%02d.png")
    with pytest.raises(UserError, match="frame times of its own"):
        open_source(smile, fps=24)


@pytest.mark.parametrize("spec", ["https://host/a.mp4", Path("https://host/a.mp4")])
def test_a_url_is_refused_whole(spec: str | Path) -> None:
    with pytest.raises(UserError) as error:
        open_source(spec)
    assert str(error.value) == "https://host/a.mp4: URLs are not read; download the file and name it"


def test_only_files_have_streams(pictures: Path, smile: Path) -> None:
    with open_source(smile, stream=0, duration=0.1) as source:
        assert source.stream == 0 and source.count() == 3
    for spec in (pictures, 0):
        with pytest.raises(UserError, match="has no stream 1; only a video file has several"):
            open_source(spec, stream=1)


def test_names_of_results(pictures: Path, smile: Path) -> None:
    names = [source_name(spec) for spec in (smile, pictures, pictures / "img%02d.png", pictures / "*.png", 2)]
    assert names == ["smile", "take", "img", "take", "camera2"]
