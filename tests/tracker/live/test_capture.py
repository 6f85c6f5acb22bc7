"""Cameras that stall, vanish, come back and change their size, by one that is made up; files at their own speed."""

import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from selftrack.errors import UserError
from selftrack.tracker.live import capture
from selftrack.tracker.live.capture import CameraFeed, EveryFrame, Feed, PacedFile, Shot, fitted
from selftrack.tracker.sources.opening import open_source

PATIENCE = 0.15


class FakeCamera:
    """Shows what the test puts into it; while it is unplugged, it gives nothing and cannot be opened."""

    def __init__(self) -> None:
        self.pictures: list[np.ndarray] = []
        self.plugged, self.opened, self.released = True, 0, 0

    def __call__(self, number: int) -> "FakeCamera":
        self.opened += 1
        return self

    def isOpened(self) -> bool:
        return self.plugged

    def read(self) -> tuple[bool, np.ndarray | None]:
        return (True, self.pictures.pop(0)) if self.plugged and self.pictures else (False, None)

    def get(self, propId: int) -> float:
        return 30.0

    def release(self) -> None:
        self.released += 1


def red(level: int, width: int = 6, height: int = 4) -> np.ndarray:
    """BGR of a camera."""
    return np.full((height, width, 3), (0, 0, level), np.uint8)


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> FakeCamera:
    monkeypatch.setattr(capture, "RETRY", 0.02)
    fake = FakeCamera()
    fake.pictures.append(red(1))
    return fake


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def feed(camera: FakeCamera, said: list[str]) -> Iterator[CameraFeed]:
    with CameraFeed(0, PATIENCE, said.append, camera) as made:
        yield made


def show(camera: FakeCamera, *pictures: np.ndarray) -> None:
    """Let the camera give pictures, and wait until they are taken in."""
    camera.pictures += pictures
    while camera.pictures:
        time.sleep(0.005)
    time.sleep(0.03)


def taken(feed: Feed) -> Shot:
    shot = feed.take(5.0)
    assert shot is not None
    return shot


def test_the_newest_alone(camera: FakeCamera, feed: CameraFeed) -> None:
    """Four come while the first is worked on: the last of them is next, and three were dropped."""
    camera.pictures.append(red(10))
    first = taken(feed)
    show(camera, *(red(level) for level in (20, 30, 40, 50)))
    second = taken(feed)
    assert (first.image[0, 0] == [10, 0, 0]).all() and (second.image[0, 0] == [50, 0, 0]).all()
    assert first.time == 0 and second.time == pytest.approx(second.captured - first.captured) and second.time > 0
    assert feed.dropped == 3 and feed.take(0.01) is None and not feed.ended


def test_a_camera_that_stalls_and_goes_on(camera: FakeCamera, feed: CameraFeed, said: list[str]) -> None:
    camera.pictures.append(red(10))
    before = taken(feed)
    assert feed.take(0.02) is None and not said
    assert feed.take(3 * PATIENCE) is None and feed.take(0.02) is None
    assert said == ["camera0: gives no picture; waiting for it, and trying to open it again"]
    camera.pictures.append(red(20))
    after = taken(feed)
    assert after.image[0, 0, 0] == 20 and after.time > before.time + PATIENCE
    assert len(said) == 2 and said[1].startswith("camera0: is back after ")


def test_a_camera_that_vanishes_is_opened_again(camera: FakeCamera, feed: CameraFeed, said: list[str]) -> None:
    camera.pictures.append(red(10))
    taken(feed)
    camera.plugged = False
    assert feed.take(3 * PATIENCE) is None and not feed.ended
    opened = camera.opened
    camera.plugged = True
    camera.pictures.append(red(30))
    assert taken(feed).image[0, 0, 0] == 30
    assert opened > 2 and camera.released >= opened - 1 and len(said) == 2


def test_a_size_that_changes_is_made_to_fit(camera: FakeCamera, feed: CameraFeed, said: list[str]) -> None:
    """A picture twice as high as wide stands in the middle of the first one's shape, between black borders."""
    camera.pictures.append(red(10))
    taken(feed)
    camera.pictures.append(red(200, 20, 40))
    image = taken(feed).image
    assert image.shape == (4, 6, 3)
    assert (image[:, 2:4, 0] == 200).all() and not image[:, :2].any() and not image[:, 4:].any()
    camera.pictures.append(red(100))
    assert (taken(feed).image == [100, 0, 0]).all()
    assert said == [
        "camera0: its picture is 20x40 now; it is made to fit 6x4",
        "camera0: its picture is 6x4 now; it is made to fit 6x4",
    ]


def test_it_is_freed(camera: FakeCamera) -> None:
    with CameraFeed(0, PATIENCE, print, camera):
        pass
    assert camera.released == 1
    camera.pictures += [red(1), red(2)]
    with CameraFeed(0, PATIENCE, print, camera) as feed:
        taken(feed)
    assert camera.released == 2


def test_a_camera_that_is_not_there(camera: FakeCamera) -> None:
    camera.plugged = False
    with pytest.raises(UserError, match="camera0: cannot be opened; is it connected"):
        CameraFeed(0, PATIENCE, print, camera)


def test_an_error_of_the_driver_is_raised(camera: FakeCamera, feed: CameraFeed) -> None:
    camera.read = lambda: 1 / 0  # type: ignore[assignment,method-assign,return-value]
    with pytest.raises(ZeroDivisionError):
        for _ in range(100):
            feed.take(0.05)


@pytest.fixture
def clip(make_clip: Callable[..., Path]) -> Path:
    """Half a second of 20 frames/s, of levels 0, 20, ... 180."""
    images = [np.full((32, 32, 3), 20 * i, np.uint8) for i in range(10)]
    return make_clip("half.mkv", images, [50 * i for i in range(10)], Fraction(1, 1000), "ffv1", "bgr0", rate=20)


def level(shot: Shot) -> int:
    return round(float(shot.image.mean()) / 20)


def test_every_frame_of_a_file(clip: Path) -> None:
    with EveryFrame(open_source(clip)) as feed:
        shots = [taken(feed) for _ in range(10)]
        assert feed.take(1.0) is None and feed.ended
    assert [level(shot) for shot in shots] == list(range(10)) and feed.dropped == 0
    np.testing.assert_allclose([shot.time for shot in shots], np.arange(10) / 20, atol=1e-6)


@pytest.mark.parametrize("kind", [EveryFrame, PacedFile])
def test_messages_name_a_file_as_it_was_given(clip: Path, kind: type) -> None:
    with kind(open_source(clip)) as feed:
        assert (feed.title, feed.name) == (str(clip), clip.stem)


def test_a_sample_is_a_picture_before_the_stream_begins(clip: Path, feed: CameraFeed) -> None:
    """Nothing is dropped for it, however late the first frame is asked for; a file is not at its own speed yet."""
    np.testing.assert_array_equal(feed.sample(), red(1)[..., ::-1])
    with PacedFile(open_source(clip)) as paced:
        picture = paced.sample()
        time.sleep(0.12)
        first = taken(paced)
        assert level(first) == 0 and first.time == 0 and paced.dropped == 0
        np.testing.assert_array_equal(picture, first.image)
    with EveryFrame(open_source(clip)) as every:
        assert every.sample() is None


def test_a_file_at_its_own_speed(clip: Path) -> None:
    """Who asks late gets the newest; each counts as taken when it was to be shown."""
    with PacedFile(open_source(clip)) as feed:
        shots = [taken(feed)]
        time.sleep(0.22)
        while not feed.ended:
            shot = feed.take(0.5)
            shots += [] if shot is None else [shot]
    assert level(shots[0]) == 0 and level(shots[1]) >= 3 and level(shots[-1]) == 9
    assert feed.dropped == 10 - len(shots) >= 2
    for shot in shots:
        assert shot.captured - shots[0].captured == pytest.approx(level(shot) / 20, abs=1e-6)
        assert shot.time == pytest.approx(level(shot) / 20, abs=1e-6)


@pytest.mark.parametrize("size", [(6, 4), (9, 9), (300, 100), (1, 1)])
def test_fitted_keeps_the_shape(size: tuple[int, int]) -> None:
    """A white picture: how much of the result is white is what its shape says."""
    image = fitted(np.full((60, 60, 3), 255, np.uint8), size)
    assert image.shape == (size[1], size[0], 3)
    assert (image.min(axis=2) == 255).sum() == min(size) ** 2
    assert cv2.countNonZero(image[..., 0]) == min(size) ** 2
