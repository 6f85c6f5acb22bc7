"""A batch on one machine: processes of its own, of which one that dies takes nothing but its clip with it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING

from selftrack.batch.process import Process, cores, environment

if TYPE_CHECKING:
    from selftrack.batch.clips import Clip
    from selftrack.batch.worker import Outcome, Worker

_MEMORY = 2e9
"""Bytes of memory that a process needs."""


def default_jobs() -> int:
    """As many processes as there are cores, and memory, for."""
    return max(1, min(cores(), int(_memory() // _MEMORY)))


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
    with environment(max(1, cores() // jobs)):
        busy = [Process(worker) for _ in range(jobs)]
        try:
            for process in busy:
                process.give(waiting.popleft())
            while busy:
                ready = wait([process.connection for process in busy])
                for process in [one for one in busy if one.connection in ready]:
                    clip, outcome = process.item, process.take()
                    if outcome is None:
                        deaths[clip] += 1
                        if deaths[clip] == 1:
                            process.give(clip)
                            continue
                        outcome = worker.lost(clip, f"{process.died}, twice")
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
