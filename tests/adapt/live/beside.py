"""What stands in for the process beside a stream, which imports this file by its name."""

import os
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from selftrack.adapt.live import process
from selftrack.adapt.live.process import READY, Outcome, Seen


def at_usual_priority(connection: Connection) -> None:
    """The process itself, which waits for no other process of a busy machine."""
    process._NICE = 0
    process.serve(connection)


def better(connection: Connection) -> None:
    """Answer with the weights that the settings name."""
    job, line = _taken(connection)
    _answer(connection, Outcome(line, Path(job.tracking.weights)))


def no_better(connection: Connection) -> None:
    """Answer that there are no better weights."""
    _, line = _taken(connection)
    _answer(connection, Outcome(line, None))


def dies(connection: Connection) -> None:
    """End after the first frame."""
    connection.recv()
    connection.send(READY)
    connection.recv()


def works_for_ever(connection: Connection) -> None:
    """Take nothing, and note which process this is."""
    note = Path(connection.recv().tracking.weights)
    connection.send(READY)
    note.write_text(str(os.getpid()))
    time.sleep(1000)


def _taken(connection: Connection) -> tuple:
    """The job, and what came after it in a line."""
    job, times = connection.recv(), []
    connection.send(READY)
    while isinstance(given := connection.recv(), Seen):
        times.append(given.time)
        shape = given.image.shape
    return job, f"{times[0]:.2f} to {times[-1]:.2f} s of {shape}, {given.identity.shape}, rest {given.rest.sum():.2f}"


def _answer(connection: Connection, outcome: Outcome) -> None:
    connection.send(outcome)
    with suppress(EOFError):
        connection.recv()
