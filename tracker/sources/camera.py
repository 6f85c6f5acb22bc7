"""Cameras through OpenCV: always the newest frame, so that slow work makes the picture late by one frame at most."""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections.abc import Callable, Container, Generator, Iterator
from fractions import Fraction
from typing import Protocol

import cv2
import numpy as np

from selftrack.errors import UserError
from selftrack.tracker.sources.base import Frame, FrameSource, SourceInfo, Window
from selftrack.tracker.sources.names import camera_name

PATIENCE = 5.0
"""Seconds without a frame after which a camera is taken for gone."""
_TICK = Fraction(1, 1_000_000)  # seconds by which times differ at least
_POLL = 0.01  # seconds between tries


class Capture(Protocol):
    """What is used of `cv2.VideoCapture`; pictures are BGR."""

    def isOpened(self) -> bool: ...

    def read(self) -> tuple[bool, np.ndarray | None]: ...

    def get(self, propId: int) -> float: ...

    def release(self) -> None: ...


class CameraSource(FrameSource):
    """A camera's frames as they come; of those that arrive while one is worked on, all but the newest are dropped.

    Times are seconds since the first frame of the pass, by the clock at which each arrived. There is one pass. It ends
    after `duration`, or with a note when the camera gives no more frames or frames of another size.
    """

    repeatable = False

    def __init__(
        self,
        number: int,
        duration: float | None = None,
        factory: Callable[[int], Capture] = cv2.VideoCapture,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the camera and take one frame to learn its size.

        Args:
            number: counted from 0.
            duration: seconds after which to end.
            factory, clock: what opens a camera by its number, and what tells the time in seconds.

        Raises:
            UserError: it cannot be opened, or gives no frame.
        """
        super().__init__()
        self.window, self._clock, self._used = Window(duration=duration), clock, False
        name = camera_name(number)
        self._capture, first = open_capture(number, factory, clock)
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        known = math.isfinite(rate) and rate > 0
        self.info = SourceInfo(
            name=name,
            path=None,
            width=first.shape[1],
            height=first.shape[0],
            rate=Fraction(rate).limit_denominator(1001) if known else Fraction(30),
            duration=None,
            time_base=_TICK,
        )
        self._arrived = threading.Condition()
        self._newest: tuple[float, np.ndarray] | None = None
        self._last = 0.0  # by the clock, when a frame arrived
        self._error: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=name, daemon=True)

    def frames(self, only: Container[int] | None = None) -> Iterator[Frame]:
        """Begin the one pass, see `FrameSource.frames`. Raises RuntimeError at the second."""
        if self._used:
            raise RuntimeError(f"{self.info.name}: has one pass only")
        self._used = True
        frames = self._read(only)
        self._passes.append(frames)
        return frames

    def count(self) -> None:
        """Return None: nobody knows."""
        return None

    def fingerprint(self) -> str:
        """Return the SHA-256 of the camera's name: it has no bytes that could be read again."""
        return hashlib.sha256(self.info.name.encode()).hexdigest()

    def close(self) -> None:
        """End the pass and free the camera."""
        super().close()
        self._stop.set()
        if self._thread.ident is None:
            self._capture.release()

    def _read(self, only: Container[int] | None) -> Generator[Frame, None, None]:
        index, began, previous = 0, math.nan, -math.inf
        self._last = self._clock()
        self._thread.start()
        try:
            while True:
                arrived = self._take()
                if arrived is None:
                    self.notes = (f"{self.info.name}: gave no more pictures after {max(previous, 0):.1f} s",)
                    return
                at, image = arrived
                began = at if index == 0 else began
                seconds = max(at - began, previous + float(_TICK))
                if self.window.is_over(seconds):
                    return
                height, width = image.shape[:2]
                if (width, height) != (self.info.width, self.info.height):
                    size = f"{self.info.width}x{self.info.height} to {width}x{height}"
                    self.notes = (f"{self.info.name}: ended at {seconds:.1f} s, when its picture changed from {size}",)
                    return
                if only is None or index in only:
                    yield Frame(index, seconds, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
                index, previous = index + 1, seconds
        finally:
            self._stop.set()
            self._thread.join(1.0)  # one that hangs in the camera's driver frees the camera when it comes back

    def _take(self) -> tuple[float, np.ndarray] | None:
        """The newest frame and when it arrived, once there is a new one; None when the camera is gone or hangs."""
        with self._arrived:
            while self._newest is None and self._thread.is_alive() and self._clock() - self._last < PATIENCE:
                self._arrived.wait(_POLL)
            if self._newest is None and self._error is not None:
                raise self._error
            newest, self._newest = self._newest, None
            return newest

    def _watch(self) -> None:
        """In the background: keep the newest frame until the end."""
        try:
            while (image := next_picture(self._capture, self._clock, self._stop)) is not None:
                with self._arrived:
                    self._last = self._clock()
                    self._newest = self._last, image
                    self._arrived.notify()
        except BaseException as error:
            self._error = error
        finally:
            self._capture.release()


def open_capture(
    number: int, factory: Callable[[int], Capture], clock: Callable[[], float]
) -> tuple[Capture, np.ndarray]:
    """Open a camera and take one picture (H,W,3).

    Raises:
        UserError: it cannot be opened, or gives no picture.
    """
    name, capture = camera_name(number), factory(number)
    if not capture.isOpened():
        capture.release()
        raise UserError(f"{name}: cannot be opened; is it connected, and does no other program use it?")
    first = next_picture(capture, clock, threading.Event())
    if first is None:
        capture.release()
        raise UserError(f"{name}: gives no picture; does another program use it?")
    return capture, first


def next_picture(
    capture: Capture, clock: Callable[[], float], stop: threading.Event, patience: float | None = None
) -> np.ndarray | None:
    """The next picture (H,W,3); None when none has come for `patience` seconds (`PATIENCE`) or `stop` is set."""
    began, patience = clock(), PATIENCE if patience is None else patience
    while not stop.is_set():
        good, image = capture.read()
        if good and image is not None:
            return image
        if clock() - began >= patience:
            return None
        stop.wait(_POLL)
    return None
