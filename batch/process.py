"""A process that does what it is given, one thing after the other, and is started again when it has died."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Generic, TypeVar

import cv2

from selftrack.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
_GRACE = 10.0
"""Seconds that a process has to tidy up."""
_SPAWN = get_context("spawn")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def environment(threads: int) -> Iterator[None]:
    """Let processes that are started in here have so many threads a library."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(threads)
    try:
        yield
    finally:
        os.environ.pop("OMP_NUM_THREADS")
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before


class Process(Generic[Item, Result]):
    """A process with a worker. It starts with the first thing that it is given, within `environment`, and again with
    the next one when it has died."""

    item: Item
    """What it has, or had last."""
    connection: Connection
    """Ready when there is something to `take`."""

    def __init__(self, worker: Callable[[Item], Result]) -> None:
        self._worker = worker
        self._process: SpawnProcess | None = None
        self.died = ""
        """How it died last, in one line."""

    def _start(self) -> None:
        self.connection, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_serve, args=(theirs, self._worker), daemon=True)
        self._process.start()
        theirs.close()

    def give(self, item: Item) -> None:
        """Let the worker have something to do."""
        self.item = item
        if self._process is None:
            self._start()
        with suppress(OSError):  # it has died: `take` will say so
            self.connection.send(item)

    def take(self) -> Result | None:
        """Wait for what the worker makes of its item; None where the process has died.

        Raises:
            UserError: the worker raised it.
        """
        try:
            result: Result | UserError = self.connection.recv()
        except (EOFError, OSError):
            self.died = _ending(self.end())
            return None
        if isinstance(result, UserError):
            raise result
        return result

    def stop(self) -> None:
        """Tell it to end; any thread may."""
        process = self._process
        if process is not None:
            process.terminate()

    def end(self) -> int | None:
        """End it: at once where it has nothing to do, else when it has tidied up, or is killed. Returns its status."""
        process = self._process
        if process is None:
            return None
        self.connection.close()
        process.join(0.2)
        process.terminate()
        process.join(_GRACE)
        if process.is_alive():
            process.kill()
            process.join()
        self._process = None
        return process.exitcode


def _ending(code: int | None) -> str:
    """How a process has ended, in one line."""
    if code is None or code >= 0:
        return f"its process ended with status {code}"
    name = signal.Signals(-code).name
    more = " (killed: perhaps there was too little memory; use fewer processes)" if name == "SIGKILL" else ""
    return f"its process ended by {name}{more}"


def _serve(connection: Connection, worker: Callable[[Item], Result]) -> None:
    """Do what comes through a connection until nothing more does; the main function of a process."""
    with suppress(OSError):
        os.setsid()  # Ctrl-C is for the command, which ends its processes
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # what is half-written is removed
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(int(os.environ["OMP_NUM_THREADS"]))
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with suppress(EOFError, OSError):
        while True:
            connection.send(_result(worker, connection.recv()))


def _result(worker: Callable[[Item], Result], item: Item) -> Result | UserError:
    """What the worker makes of an item, or the line for the user with which it gives up."""
    try:
        return worker(item)
    except UserError as error:
        return error


def _end_with_parent() -> None:
    """End this process when the one that started it has ended, however that was."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
