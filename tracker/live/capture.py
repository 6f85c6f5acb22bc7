"""Where a live stream's frames come from: a camera, or a file at its own speed, of which the newest frame is worked on
and older ones are dropped; or a file frame by frame."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import NamedTuple

import cv2
import numpy as np

from selftrack.tracker.sources.base import FrameSource
from selftrack.tracker.sources.camera import Capture, next_picture, open_capture
from selftrack.tracker.sources.names import camera_name
from selftrack.tracker.sources.pictures import bordered

RETRY = 1.0
"""Seconds between tries to open a camera that is gone."""
_TICK = 1e-6  # seconds by which times differ at least
_POLL = 0.02  # seconds between looks whether the stream is to end


class Shot(NamedTuple):
    """A frame as it comes."""

    time: float
    """Seconds of the stream, increasing."""
    captured: float
    """When it was taken, by the clock."""
    image: np.ndarray
    """(H,W,3) uint8 RGB; all of a stream have one size."""


Clock = Callable[[], float]
Say = Callable[[str], None]


class Feed(ABC):
    """Frames as they come. Use it as a context manager."""

    name: str
    """What a recording is named after."""
    dropped = 0
    """How many frames came while others were worked on."""
    ended = False
    """Whether there will be no more."""

    @property
    def title(self) -> str:
        """What messages call it, see `FrameSource.title`."""
        return self.name

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def sample(self) -> np.ndarray | None:
        """A picture (H,W,3) uint8 RGB such as will come, without beginning with them; None where none is lost however
        late the first one is asked for."""
        return None

    @abstractmethod
    def take(self, timeout: float) -> Shot | None:
        """Wait for the next frame; None when none has come for `timeout` seconds, or there are no more."""

    @abstractmethod
    def close(self) -> None:
        """Free the camera or the file."""


class EveryFrame(Feed):
    """A file's frames, one after the other, none dropped; each counts as taken when it is asked for."""

    def __init__(self, source: FrameSource, clock: Clock = time.monotonic) -> None:
        self.name, self.source, self._clock = source.info.name, source, clock
        self._frames = source.frames()

    @property
    def title(self) -> str:
        """See `Feed.title`."""
        return self.source.title

    def take(self, timeout: float) -> Shot | None:
        """See `Feed.take`."""
        frame = next(self._frames, None)
        if frame is None:
            self.ended = True
            return None
        return Shot(frame.time, self._clock(), frame.image)

    def close(self) -> None:
        """See `Feed.close`."""
        self.source.close()


class NewestFrame(Feed):
    """The newest of the frames that a thread takes in; of those that wait, the older ones are dropped and counted.

    Where none comes for `patience` seconds, a line says so, and another one when they come again.
    """

    def __init__(self, name: str, clock: Clock, say: Say, patience: float) -> None:
        self.name, self._clock, self._say, self._patience = name, clock, say, patience
        self._arrived = threading.Condition()
        self._newest: Shot | None = None
        self._error: BaseException | None = None
        self._stop, self._last, self._silent, self._first = threading.Event(), clock(), False, ""
        self._thread = threading.Thread(target=self._watch, name=name, daemon=True)

    def take(self, timeout: float) -> Shot | None:
        """See `Feed.take`."""
        if self._thread.ident is None:
            self._last = self._clock()
            self._thread.start()
        until = self._clock() + timeout
        with self._arrived:
            while self._newest is None and self._thread.is_alive() and self._clock() < until:
                self._arrived.wait(min(_POLL, timeout))
            shot, self._newest = self._newest, None
        if shot is None:
            if self._error is not None:
                raise self._error
            self.ended = not self._thread.is_alive()
            self._note_silence()
            return None
        if self._silent:
            self._say(f"{self.title}: is back after {shot.captured - self._last:.1f} s")
        self._silent, self._last = False, shot.captured
        return shot

    def close(self) -> None:
        """See `Feed.close`; a thread that hangs in a camera's driver frees the camera when it comes back."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(1.0)

    @abstractmethod
    def _shots(self) -> Iterator[Shot]:
        """The frames as they are taken; runs in the thread until `_stop` is set."""

    def _note_silence(self) -> None:
        silent = self._clock() - self._last >= self._patience
        if silent and not self._silent and not self.ended:
            self._silent = True
            self._say(f"{self.title}: gives no picture; waiting for it, and trying to open it again")

    def _watch(self) -> None:
        try:
            for shot in self._shots():
                with self._arrived:
                    self.dropped += self._newest is not None
                    self._newest = shot
                    self._arrived.notify()
        except BaseException as error:
            self._error = error


class CameraFeed(NewestFrame):
    """A camera. One that stalls or vanishes is opened again until it is back; a picture of another size than the first
    is made to fit that, with black borders where its shape differs."""

    def __init__(
        self,
        number: int,
        patience: float = 2.0,
        say: Say = print,
        factory: Callable[[int], Capture] | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        """Open the camera.

        Args:
            number: counted from 0.
            patience: seconds without a picture after which it is opened again.
            say: takes a line for the user.
            factory, clock: what opens a camera by its number, by default OpenCV, and what tells the time in seconds.

        Raises:
            UserError: it cannot be opened, or gives no picture.
        """
        super().__init__(camera_name(number), clock, say, patience)
        self._number, self._factory = number, factory or quiet_camera
        self._capture, self._sample = open_capture(number, self._factory, clock)
        self.size = self._sample.shape[1], self._sample.shape[0]
        self._began: float | None = None
        self._shown = self.size

    def sample(self) -> np.ndarray:
        """See `Feed.sample`; the one that came at opening."""
        return cv2.cvtColor(self._sample, cv2.COLOR_BGR2RGB)

    def close(self) -> None:
        """See `Feed.close`."""
        super().close()
        if self._thread.ident is None:
            self._capture.release()

    def _shots(self) -> Iterator[Shot]:
        seconds = -_TICK
        try:
            while not self._stop.is_set():
                image = next_picture(self._capture, self._clock, self._stop, self._patience)
                if image is None:
                    self._reopen()
                    continue
                captured = self._clock()
                self._began = captured if self._began is None else self._began
                seconds = max(captured - self._began, seconds + _TICK)
                yield Shot(seconds, captured, self._fitted(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)))
        finally:
            self._capture.release()

    def _reopen(self) -> None:
        """Try once to open the camera anew; wait a little where that fails."""
        if self._stop.is_set():
            return
        self._capture.release()
        self._capture = self._factory(self._number)
        if not self._capture.isOpened():
            self._stop.wait(RETRY)

    def _fitted(self, image: np.ndarray) -> np.ndarray:
        size = image.shape[1], image.shape[0]
        if size != self._shown:
            self._shown = size
            self._say(f"{self.title}: its picture is {size[0]}x{size[1]} now; it is made to fit {self._fits()}")
        return fitted(image, self.size)

    def _fits(self) -> str:
        return f"{self.size[0]}x{self.size[1]}"


class PacedFile(NewestFrame):
    """A file at its own speed, as a camera would show it."""

    def __init__(
        self, source: FrameSource, patience: float = 2.0, say: Say = print, clock: Clock = time.monotonic
    ) -> None:
        super().__init__(source.info.name, clock, say, patience)
        self._source = source

    @property
    def title(self) -> str:
        """See `Feed.title`."""
        return self._source.title

    def sample(self) -> np.ndarray | None:
        """See `Feed.sample`; the first one."""
        frame = next(self._source.glimpses({0}), None)
        return frame.image if frame else None

    def close(self) -> None:
        """See `Feed.close`."""
        super().close()
        self._source.close()

    def _shots(self) -> Iterator[Shot]:
        began: float | None = None
        for frame in self._source.frames():
            began = self._clock() - frame.time if began is None else began
            due = began + frame.time
            while (left := due - self._clock()) > 0 and not self._stop.is_set():
                self._stop.wait(left)
            if self._stop.is_set():
                return
            yield Shot(frame.time, due, frame.image)
        # what is shown last stays long enough to be taken
        while self._newest is not None and not self._stop.is_set():
            self._stop.wait(_POLL)


def quiet_camera(number: int) -> Capture:
    """Open a camera with OpenCV, which then reports nothing of its own: a camera that is gone is tried each second."""
    before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return cv2.VideoCapture(number)
    finally:
        cv2.utils.logging.setLogLevel(before)


def fitted(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture (H,W,3) as large as it goes in the middle of one of `size` (W, H); the same where it has that size."""
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    scale = min(size[0] / width, size[1] / height)
    inside = max(1, round(width * scale)), max(1, round(height * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return bordered(cv2.resize(image, inside, interpolation=method), size)
