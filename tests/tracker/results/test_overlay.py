"""`overlay.mp4` in its modes: sizes, what is drawn where, and the words burnt in. The split view is tested with a
run."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from selftrack.decoders.head.model import load_head
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.results.overlay import _at_a_time, _Scene, burnt_in, write_overlay
from selftrack.tracker.results.painter import MODES, MeshPainter, OverlayConfig
from selftrack.tracker.results.texture import TextureConfig
from selftrack.tracker.results.track_file import Track
from selftrack.tracker.sources.opening import open_source

HEAD = load_head()
GREY, WIDTH, HEIGHT = 60, 240, 200
TIMES = np.arange(3) / 25


@pytest.fixture
def track(make_clip: Callable[..., Path], make_track: Callable[..., Track]) -> Track:
    """Three grey frames of 240x200; the head is in its middle, and lost in the last one."""
    clip = make_clip("grey.mp4", [np.full((HEIGHT, WIDTH, 3), GREY, np.uint8)] * 3, crf="1")
    made = make_track(TIMES, {"jawOpen": 0.4}, lost=[2], size=(WIDTH, HEIGHT))
    return replace(made, clip=str(clip))


def pictures(track: Track, folder: Path, **settings: object) -> list[np.ndarray]:
    """The frames of an overlay with these settings."""
    with open_source(write_overlay(track, folder, OverlayConfig(**settings))) as source:
        frames = list(source)
    np.testing.assert_allclose([frame.time for frame in frames], TIMES, atol=1e-6)
    return [frame.image.astype(int) for frame in frames]


@pytest.mark.parametrize("mode", ["mesh", "wire", "texture"])
def test_the_mesh_lies_over_the_frame_at_the_clips_size(track: Track, tmp_path: Path, mode: str) -> None:
    first, _, lost = pictures(track, tmp_path, mode=mode, texture=TextureConfig(size=128))
    assert first.shape == (HEIGHT, WIDTH, 3) and np.abs(lost - GREY).max() < 4
    frame, mesh = np.full((HEIGHT, WIDTH, 3), GREY, np.uint8), track.vertices()[0]
    if mode != "texture":  # which is that of the grey clip
        painted = MeshPainter(HEAD, OverlayConfig(mode=mode))(frame, mesh).astype(int)
        assert np.abs(first - painted).mean() < 3 and np.abs(painted - GREY).mean() > 3
    beside = np.ones((HEIGHT, WIDTH), bool)
    beside[:, int(mesh[:, 0].min()) - 2 : int(mesh[:, 0].max()) + 3] = False
    assert np.abs(first[beside] - GREY).max() < 4


def test_points_are_those_detected_and_those_of_the_mesh(track: Track, tmp_path: Path) -> None:
    """In yellow and in blue; here the detector saw the mean head's points a little farther right."""
    placed = project(HEAD.landmarks(478)(HEAD.mean[None]), torch.from_numpy(track.H_image[:1]))[0, :, :2].numpy()
    closed = track.with_codes(np.zeros_like(track.z))
    first, *_ = pictures(replace(closed, landmarks=np.stack([placed + [6, 0]] * 3)), tmp_path, mode="points")
    chin, forehead = (placed[point].round().astype(int) for point in (152, 10))
    for x, y in (chin, forehead):
        red, _, blue = first[y, x]
        assert blue - red > 60, "the mesh's"
        red, _, blue = first[y, x + 6]
        assert red - blue > 60, "the detected"
    assert np.abs(first[:, :20] - GREY).max() < 4


@pytest.mark.parametrize(
    ("mode", "highest", "size"),
    [("mesh", None, (600, 80)), ("split", None, (540, 144)), ("mesh", 300, (300, 40)), ("split", 600, (600, 160))],
)
def test_sizes(
    make_clip: Callable[..., Path],
    make_track: Callable[..., Track],
    tmp_path: Path,
    mode: str,
    highest: int | None,
    size: tuple[int, int],
) -> None:
    """All but the split view have the clip's own size, which is 80x600; that view has panes of 540 pixels at most."""
    clip = make_clip("tall.mp4", [np.zeros((600, 80, 3), np.uint8)] * 2)
    track = replace(make_track([0, 0.04], size=(80, 600), f=4.0), clip=str(clip))
    with open_source(write_overlay(track, tmp_path, OverlayConfig(mode=mode, max_height=highest))) as source:
        assert (source.info.height, source.info.width) == size


@pytest.mark.parametrize("mode", MODES)
def test_frames_drawn_at_the_same_time_are_those_drawn_one_by_one(
    make_clip: Callable[..., Path],
    make_track: Callable[..., Track],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
) -> None:
    """Two heads that move, each in its own way, over frames of which no two are the same."""
    clip = str(make_clip("greys.mp4", [np.full((80, 160, 3), 15 * i, np.uint8) for i in range(9)], crf="1"))
    times, jaws = np.arange(9) / 25, np.linspace(0, 0.8, 9)
    left = replace(make_track(times, {"jawOpen": jaws}, lost=[4], size=(160, 80), f=5.2), clip=clip)
    left.H_image[:, 4] -= 40
    right = replace(make_track(times, {"eyeBlinkLeft": jaws}, size=(160, 80), f=5.2, rz=jaws), clip=clip)
    right.H_image[:, 4] += 40
    drawn = []
    for cores in (1, 3):
        monkeypatch.setenv("OMP_NUM_THREADS", str(cores))
        assert _at_a_time(160, 80) == cores
        settings = OverlayConfig(mode=mode, texture=TextureConfig(size=64), burn_in=True)
        with open_source(write_overlay({0: left, 1: right}, tmp_path, settings)) as source:
            drawn.append(np.stack([frame.image for frame in source]))
    np.testing.assert_array_equal(*drawn)
    assert (np.abs(np.diff(drawn[0].astype(int), axis=0)).max((1, 2, 3)) > 10).all()


@pytest.mark.parametrize(
    ("cores", "width", "height", "count"),
    [
        (8, 1920, 1080, 3),
        (8, 540, 540, 3),
        (2, 1920, 1080, 2),
        (1, 540, 540, 1),
        (8, 2160, 2160, 1),
        (8, 7680, 4320, 1),
    ],
)
def test_frames_drawn_at_the_same_time_are_as_many_as_cores_and_memory_allow(
    monkeypatch: pytest.MonkeyPatch, cores: int, width: int, height: int, count: int
) -> None:
    """Each takes 0.2 KB for a pixel: what a process of a batch has, one core and 2 GB, is kept."""
    monkeypatch.setenv("OMP_NUM_THREADS", str(cores))
    assert _at_a_time(width, height) == count


def test_an_error_in_drawing_is_raised_and_leaves_no_file(
    track: Track, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: _Scene, picture: np.ndarray, meshes: object, row: int, scale: object) -> np.ndarray:
        if row == 1:
            raise ValueError("no such colour")
        return picture

    monkeypatch.setattr(_Scene, "__call__", broken)
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(ValueError, match="no such colour"):
        write_overlay(track, folder)
    assert not list(folder.iterdir())


def test_burn_in_stands_in_the_bottom_left(track: Track, tmp_path: Path) -> None:
    bare, burnt = (pictures(track, tmp_path, mode="mesh", burn_in=on) for on in (False, True))
    for one, other in zip(bare, burnt, strict=True):
        rows, columns = np.nonzero(np.abs(one - other).max(2) > 40)
        assert rows.min() > HEIGHT * 0.8 and columns.min() < 15 and columns.max() < WIDTH
        assert other[rows.min() :].max() > 220 and other[rows.min() :].min() < 25  # light on dark
    differ = [np.abs(burnt[0] - other)[-30:].max() for other in burnt[1:]]
    assert min(differ) > 100  # another number, another time; no confidence where no face is


def test_burn_in_says_the_timecode_of_a_clip_that_has_one(track: Track) -> None:
    def legend(track: Track, row: int) -> str:
        return _Scene({None: track}, OverlayConfig(), None).legend(row)

    assert legend(track, 1) == "000001  0:00.040  confidence 0.90"
    coded = replace(track, timecode="01:59:59:24", timecode_rate=25.0)
    assert legend(coded, 1) == "000001  0:00.040  02:00:00:00  confidence 0.90"
    assert legend(replace(coded, times=track.times + 59.96), 2) == "000002  1:00.040  02:01:00:00  no face"


def test_words_are_readable_on_white_and_on_black() -> None:
    for grey in (0, 255):
        picture = burnt_in(np.full((120, 300, 3), grey, np.uint8), "000012  0:00.480").astype(int)
        assert picture.max() > 240 and picture.min() < 60
        assert (picture[:60] == grey).all() and (picture[:, 280:] == grey).all()
