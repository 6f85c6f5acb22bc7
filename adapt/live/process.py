"""What the process beside a stream does: it keeps the frames that it is given, then adapts to them.

What brings torch is loaded in functions: by then the process has taken the lowest priority and one thread.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from selftrack.errors import UserError

if TYPE_CHECKING:
    from selftrack.adapt.learning.trainer import AdaptConfig
    from selftrack.tracker.clips.config import TrackConfig
    from selftrack.tracker.refinement.subject import Person

READY = "ready"
"""What the process says when it can take frames: to load all it needs takes longer than many a frame lasts."""
_NICE = 19
_CRF = 8
"""Of the frames that are kept for the adaptation: skin is followed by its pixels, which compression must not move."""
_RATE = Fraction(30)
"""Frames per second that a stream's are taken for until their times are known."""


@dataclass(frozen=True)
class Job:
    """What is adapted, and how."""

    tracking: TrackConfig
    adapting: AdaptConfig


class Seen(NamedTuple):
    """One frame of the stream."""

    time: float
    """Seconds."""
    image: np.ndarray
    """(H,W,3) uint8 RGB."""


class Outcome(NamedTuple):
    """What came of it."""

    line: str
    """For the user."""
    weights: Path | None
    """File of the adapted weights, there until the connection is closed; None where they are no better."""


def serve(connection: Connection) -> None:
    """Take a `Job` through a connection, and say `READY`; take frames (`Seen`) and the `Person` that these show, and
    answer with an `Outcome`.

    The main function of the process. It ends when the other end of the connection is closed.
    """
    with suppress(OSError):
        os.nice(_NICE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the stream, which ends this process
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that the folder is removed
    os.environ["OMP_NUM_THREADS"] = "1"
    warnings.simplefilter("ignore")
    with suppress(EOFError, OSError), TemporaryDirectory(prefix="selftrack") as folder:
        try:
            outcome = _adapted(connection, Path(folder))
        except UserError as error:
            outcome = Outcome(str(error), None)
        connection.send(outcome)
        while True:  # until the other end is closed: by then the weights have been read
            connection.recv()


def _adapted(connection: Connection, folder: Path) -> Outcome:
    """Keep what comes, adapt to it and write the weights into a folder, if they are better. Raises UserError."""
    from selftrack.adapt.run import adapt, read
    from selftrack.tracker.clips.config import load_model, open_clip
    from selftrack.tracker.clips.files import ADAPTED
    from selftrack.tracker.clips.subjects import PersonConfig
    from selftrack.tracker.tracker import TrackerConfig

    job: Job = connection.recv()
    connection.send(READY)
    clip, tracking = folder / "stream.mp4", job.tracking
    person = _keep(connection, clip)
    config = TrackerConfig(tracking.identity, tracking.detect, tracking.crop)
    model = load_model(tracking)
    with open_clip(clip, type(tracking)()) as source:
        reading = read(model, source, job.adapting, config, PersonConfig(), known=person)
        adapted, verdict = adapt(model, source, job.adapting, config, _stop_alone, reading=reading)
    if not (verdict.kept and verdict.trained):  # key frames are of that clip alone
        return Outcome(str(verdict), None)
    return Outcome(f"{verdict}; used from now on", adapted.save(folder / ADAPTED))


def _keep(connection: Connection, clip: Path) -> Person:
    """Write the frames that come into a video, until the person comes; return that. Frames of another size than the
    first one's, which a camera may change to, are left out."""
    from selftrack.tracker.sources.base import SourceInfo
    from selftrack.tracker.sources.writer import VideoWriter

    seen = connection.recv()
    height, width = seen.image.shape[:2]
    info = SourceInfo("stream", None, width, height, _RATE, None, Fraction(1, 90_000))
    began = seen.time
    with VideoWriter(clip, (width, height), info, crf=_CRF) as writer:
        while isinstance(seen, Seen):
            if seen.image.shape[:2] == (height, width):
                writer.write(seen.image, seen.time - began)
            seen = connection.recv()
    person: Person = seen
    return person


def _stop_alone(*_: object) -> None:
    """End the process where the stream's has died."""
    parent = parent_process()
    if parent is not None and not parent.is_alive():
        sys.exit(1)
