"""Cameras, by one whose frames and clock are made up."""

import threading
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from selftrack.errors import UserError
from selftrack.tracker.sources import camera
from selftrack.tracker.sources.camera import CameraSource
from selftrack.tracker.sources.opening import open_source


class FakeCamera:
    """Delivers frames whose red level is their number times ten, each when it is asked for, and then no more."""

    def __init__(self, pictures: list[np.ndarray], rate: float = 25.0, opens: bool = True) -> None:
        self.pictures, self.rate, self.opens, self.released = list(pictures), rate, opens, threading.Event()
        self.allowed = threading.Semaphore(0)
        """One for each frame that the test lets through."""
        self.taken = 0

    def isOpened(self) -> bool:
        return self.opens

    def read(self) -> tuple[bool, np.ndarray | None]:
        if not self.pictures or (self.taken and not self.allowed.acquire(timeout=0.01)):
            return False, None
        self.taken += 1
        return True, self.pictures.pop(0)

    def get(self, propId: int) -> float:
        return self.rate if propId == cv2.CAP_PROP_FPS else 0.0

    def release(self) -> None:
        self.released.set()


class Clock:
    """Tells the time that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def numbered(count: int, size: tuple[int, int] = (4, 6)) -> list[np.ndarray]:
    """BGR pictures of red alone, of level ten times their number."""
    return [np.full((*size, 3), (0, 0, 10 * i), np.uint8) for i in range(count)]


@pytest.fixture
def open_camera() -> Callable[..., tuple[CameraSource, FakeCamera, Clock]]:
    def make(pictures: list[np.ndarray], duration: float | None = None, rate: float = 25.0) -> tuple:
        fake, clock = FakeCamera(pictures, rate), Clock()
        return CameraSource(0, duration, lambda number: fake, clock), fake, clock

    return make


def test_frames_are_rgb_and_timed_by_the_clock(open_camera: Callable) -> None:
    source, fake, clock = open_camera(numbered(4))
    assert (source.info.width, source.info.height, source.info.rate) == (6, 4, 25)
    assert source.info.path is None and source.count() is None and not source.repeatable
    with source:
        frames = source.frames()
        for index, seconds in enumerate((0.0, 0.05, 0.2)):
            clock.now = 100.0 + seconds
            fake.allowed.release()
            frame = next(frames)
            assert frame.index == index and frame.time == pytest.approx(seconds, abs=1e-6)
            # the first picture told the size; those of the pass follow it
            assert (frame.image == [10 * (index + 1), 0, 0]).all()
    assert fake.released.wait(2)


def test_only_the_newest_of_the_frames_that_waited(open_camera: Callable) -> None:
    """Four arrive while the first is worked on: the next that is yielded is the last of them."""
    source, fake, clock = open_camera(numbered(6))
    with source:
        frames = source.frames()
        fake.allowed.release()
        assert next(frames).image[0, 0, 0] == 10
        clock.now += 0.1
        fake.allowed.release(4)
        while fake.taken < 6:
            threading.Event().wait(0.005)
        threading.Event().wait(0.02)  # until the last is put where it is fetched
        frame = next(frames)
        assert (frame.index, frame.image[0, 0, 0]) == (1, 50)


def test_times_increase_though_the_clock_stands(open_camera: Callable) -> None:
    source, fake, _ = open_camera(numbered(4))
    with source:
        frames, times = source.frames(), []
        for _ in range(3):
            fake.allowed.release()
            times.append(next(frames).time)
    assert times[0] == 0 and times[0] < times[1] < times[2] < 1e-4


def test_a_camera_that_falls_silent_ends_the_pass(open_camera: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "PATIENCE", 0.5)
    source, fake, clock = open_camera(numbered(2))
    with source:
        frames = source.frames()
        fake.allowed.release()
        next(frames)
        clock.now += 1.0
        assert next(frames, None) is None
    assert source.notes == ("camera0: gave no more pictures after 0.0 s",)
    assert fake.released.wait(2)


def test_it_ends_after_its_duration(open_camera: Callable) -> None:
    source, fake, clock = open_camera(numbered(4), duration=0.3)
    with source:
        frames = source.frames()
        for seconds in (0.0, 0.2):
            clock.now = 100 + seconds
            fake.allowed.release()
            assert next(frames).time == pytest.approx(seconds, abs=1e-5)
        clock.now = 100.3
        fake.allowed.release()
        assert next(frames, None) is None and source.notes == ()


def test_another_size_ends_it_with_a_warning(open_camera: Callable) -> None:
    source, fake, _ = open_camera([*numbered(2), *numbered(1, size=(8, 8))])
    with source:
        frames = source.frames()
        fake.allowed.release()
        next(frames)
        fake.allowed.release()
        assert next(frames, None) is None
    assert len(source.notes) == 1 and "from 6x4 to 8x8" in source.notes[0]


def test_one_pass(open_camera: Callable) -> None:
    source, *_ = open_camera(numbered(2))
    with source:
        source.frames()
        with pytest.raises(RuntimeError, match="one pass only"):
            source.frames()


def test_errors_of_the_driver_reach_the_reader(open_camera: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    source, fake, _ = open_camera(numbered(1))

    def fail() -> tuple[bool, None]:
        raise OSError("unplugged")

    monkeypatch.setattr(fake, "read", fail)
    with source, pytest.raises(OSError, match="unplugged"):
        next(source.frames())


@pytest.mark.parametrize(("opens", "words"), [(False, "cannot be opened"), (True, "gives no picture")])
def test_no_camera_is_one_line(opens: bool, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "PATIENCE", 0.0)
    fake = FakeCamera([], opens=opens)
    with pytest.raises(UserError, match=f"camera3: {words}"):
        CameraSource(3, None, lambda number: fake)
    assert fake.released.is_set()


def test_a_camera_has_no_start(tmp_path: object) -> None:
    with pytest.raises(UserError, match="camera0: cannot start at 2 s"):
        open_source(0, start=2)
    with pytest.raises(UserError, match="has frame times of its own"):
        open_source(0, fps=24)
