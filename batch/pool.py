"""A batch on one machine: processes of its own, of which one that dies takes nothing but its clip with it."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from selftrack.errors import UserError

if TYPE_CHECKING:
    from selftrack.batch.clips import Clip
    from selftrack.batch.worker import Outcome, Worker

_MEMORY = 2e9
"""Bytes of memory that a process needs."""
_GRACE = 10.0
"""Seconds that a process has to tidy up."""
_SPAWN = get_context("spawn")


def default_jobs() -> int:
    """As many processes as there are cores, and memory, for."""
    return max(1, min(cores(), int(_memory() // _MEMORY)))


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> float:
    """Bytes of memory that are free, within the limit of a container; infinite where the system does not say."""
    free = float("inf")
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    with suppress(OSError, ValueError):  # "max" where there is no limit
        free = min(free, float(int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii"))))
    return free


def run_pool(worker: Worker, clips: Sequence[Clip], jobs: int) -> Iterator[Outcome]:
    """Track clips with several processes; yields the outcome of each, as they come.

    A clip whose process dies is tried once more; then it has failed. All processes end with the iterator.

    Args:
        worker: what each process has a copy of.
        clips: one at least; all are tracked.
        jobs: number of processes, if there are clips for so many.
    """
    waiting, jobs = deque(clips), min(jobs, len(clips))
    deaths: Counter[Clip] = Counter()
    with _environment(max(1, cores() // jobs)):
        busy = [_Process(worker) for _ in range(jobs)]
        try:
            for process in busy:
                process.give(waiting.popleft())
            while busy:
                ready = wait([process.connection for process in busy])
                for process in [one for one in busy if one.connection in ready]:
                    clip, outcome = process.clip, process.take()
                    if outcome is None:
                        deaths[clip] += 1
                        if deaths[clip] == 1:
                            process.give(clip)
                            continue
                        outcome = worker.lost(clip, process.died)
                    if waiting:
                        process.give(waiting.popleft())
                    else:
                        busy.remove(process)
                        process.end()
                    yield outcome
        finally:
            for process in busy:
                process.stop()
            for process in busy:
                process.end()


@contextmanager
def _environment(threads: int) -> Iterator[None]:
    """Let processes that are started in here have so many threads a library."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(threads)
    try:
        yield
    finally:
        os.environ.pop("OMP_NUM_THREADS")
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before


class _Process:
    """A process with a worker, which is started again when it has died."""

    clip: Clip
    """The one that it has, or had last."""
    connection: Connection

    def __init__(self, worker: Callable[[Clip], Outcome]) -> None:
        self._worker = worker
        self.died = ""
        """How it died last, in one line."""
        self._start()

    def _start(self) -> None:
        self.connection, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_serve, args=(theirs, self._worker), daemon=True)
        self._process.start()
        theirs.close()

    def give(self, clip: Clip) -> None:
        """Let it track a clip."""
        self.clip = clip
        with suppress(OSError):  # it has died: `take` will say so
            self.connection.send(clip)

    def take(self) -> Outcome | None:
        """What has become of its clip; None where the process has died, and is started again.

        Raises:
            UserError: the folder of the batch cannot be used.
        """
        try:
            outcome: Outcome | UserError = self.connection.recv()
        except (EOFError, OSError):
            self.end()
            self.died = _ending(self._process.exitcode)
            self._start()
            return None
        if isinstance(outcome, UserError):
            raise outcome
        return outcome

    def stop(self) -> None:
        """Tell it to end."""
        self._process.terminate()

    def end(self) -> None:
        """End it: at once where it has nothing to do, else when it has tidied up, or is killed."""
        self.connection.close()
        self._process.join(0.2)
        self.stop()
        self._process.join(_GRACE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _ending(code: int | None) -> str:
    """How a process has ended, in one line."""
    if code is None or code >= 0:
        return f"its process ended with status {code}, twice"
    name = signal.Signals(-code).name
    more = " (killed: perhaps there was too little memory; use fewer --jobs)" if name == "SIGKILL" else ""
    return f"its process ended by {name}{more}, twice"


def _serve(connection: Connection, worker: Callable[[Clip], Outcome]) -> None:
    """Track what comes through a connection until nothing more does; the main function of a process."""
    with suppress(OSError):
        os.setsid()  # Ctrl-C is for the command, which ends its processes
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # what is half-written is removed
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(int(os.environ["OMP_NUM_THREADS"]))
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with suppress(EOFError, OSError):
        while True:
            connection.send(_outcome(worker, connection.recv()))


def _outcome(worker: Callable[[Clip], Outcome], clip: Clip) -> Outcome | UserError:
    """What becomes of a clip, or why none can be tracked into this folder."""
    try:
        return worker(clip)
    except UserError as error:
        return error


def _end_with_parent() -> None:
    """End this process when the one that started it has ended, however that was."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
