"""An adaptation to what a stream shows, while the stream goes on: frames go to a process, better weights come back."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import cv2

from selftrack.adapt.live.process import READY, Job, Outcome, Seen, serve
from selftrack.errors import UserError
from selftrack.tracker.clips.files import ADAPTED
from selftrack.tracker.frame_result import FrameResult
from selftrack.tracker.geometry.crop import inter_ocular
from selftrack.tracker.live.capture import Shot
from selftrack.tracker.live.session import LiveSession, Say
from selftrack.tracker.model import Model
from selftrack.tracker.network.weights import load_network
from selftrack.tracker.refinement.subject import Person

SECONDS = 20.0
"""Of the face that are learned from."""
_WAITING = 4
"""Frames that may wait to be given away; those that come meanwhile are left out."""
_GRACE = 2.0
"""Seconds that the process has to tidy up."""
_SPAWN = get_context("spawn")


class _Learned(NamedTuple):
    """Better weights."""

    model: Model
    file: bytes
    """What `Model.save` wrote of them."""


class BackgroundAdaptation:
    """Adapts to the first seconds in which a stream shows the face, once its rest is known.

    A process of the lowest priority, with one thread, keeps the frames on disk and learns from them; what tracks only
    hands on pictures that it has anyway, a few at a time. It is a context manager for the stream's thread; leaving it
    ends the process.
    """

    def __init__(
        self,
        job: Job,
        session: LiveSession,
        say: Say,
        seconds: float = SECONDS,
        work: Callable[[Connection], None] = serve,
    ) -> None:
        """Begin to learn.

        Args:
            job: what is adapted, and how.
            session: the stream, before its first frame.
            say: takes a line for the user.
            seconds: of the face that are learned from.
            work: the main function of the process.

        Raises:
            UserError: a face model that is not refined by the points, so that its person is not known.
        """
        if session.tracker.model.refiner is None:
            raise UserError("a personal model is adapted to a recorded clip, by track --adapt")
        self._session, self._say, self._seconds, self._job = session, say, seconds, job
        self._frames: queue.Queue[Seen | Person] = queue.Queue(_WAITING)
        self._seen = 0.0
        self._last: float | None = None
        self._scale: float | None = None
        self._person: Person | None = None
        self._outcome: tuple[str, _Learned | None] | None = None
        self._learned: _Learned | None = None
        self._ready, self._used, self._over = False, False, threading.Event()
        self._connection, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=work, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self._thread = threading.Thread(target=self._exchange, name="adaptation", daemon=True)
        self._thread.start()

    def __enter__(self) -> BackgroundAdaptation:
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._process.terminate()
        self._process.join(_GRACE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._thread.join()
        self._connection.close()
        if not self._used:
            self._say("adapting in the background: the stream ended before that was done")

    def watch(self, shot: Shot, result: FrameResult) -> None:
        """Take in the next frame; let the stream go on with better weights from then on when they are there."""
        if self._used:
            return
        if self._outcome is None:
            self._learn(shot, result)
        else:
            line, self._learned = self._outcome
            if self._learned is not None and self._person is not None:
                self._session.tracker.use(self._learned.model, self._person.rest)
            self._say(f"adapted in the background: {line}")
            self._used = True

    def save(self, folder: Path) -> None:
        """Write `adapted.safetensors`, for `--weights`, into a folder, if the stream goes on with better weights."""
        if self._learned is not None:
            (folder / ADAPTED).write_bytes(self._learned.file)

    def _learn(self, shot: Shot, result: FrameResult) -> None:
        """Hand a frame on, and after enough of them the person."""
        if self._person is not None or not self._ready:
            return
        if not result.ok or self._session.calibrating:
            self._last = None  # time without a face does not count
            return
        self._seen += 0.0 if self._last is None else shot.time - self._last
        self._last = shot.time
        if self._scale is None:
            self._scale = min(1.0, self._job.adapting.clip.max_iod / float(inter_ocular(result.landmarks)))
        with suppress(queue.Full):
            if self._seen < self._seconds:
                self._frames.put_nowait(Seen(shot.time, shot.image))
                return
            tracker = self._session.tracker
            identity = result.z[tracker.model.decoder.identity]
            person = Person(identity.astype(float), tracker.rest.astype(float), 0.0)
            self._frames.put_nowait(person)
            self._person = person

    def _exchange(self) -> None:
        """Give the process what there is, then wait for the outcome; runs in a thread."""
        try:
            self._connection.send(self._job)
            self._ready = self._connection.recv() == READY
            given: Seen | Person | None = None
            while not (self._over.is_set() or isinstance(given, Person)):
                with suppress(queue.Empty):
                    given = self._frames.get(timeout=0.1)
                    self._connection.send(self._shrunk(given) if isinstance(given, Seen) else given)
            outcome: Outcome = self._connection.recv()
            self._outcome = outcome.line, None if outcome.weights is None else self._read(outcome.weights)
        except (EOFError, OSError):
            self._outcome = "its process has died; the stream goes on as before", None

    def _read(self, weights: Path) -> _Learned:
        """The stream's model with other weights, as for any clip that they were not adapted to."""
        before = self._session.tracker.model.unadapted()
        model = replace(before, network=load_network(weights, before.device), base=before)
        return _Learned(model, weights.read_bytes())

    def _shrunk(self, seen: Seen) -> Seen:
        """A frame in which the face is no larger than an adaptation keeps it."""
        if self._scale is None or self._scale == 1:
            return seen
        return seen._replace(
            image=cv2.resize(seen.image, None, fx=self._scale, fy=self._scale, interpolation=cv2.INTER_AREA)
        )
