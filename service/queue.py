"""The queue of jobs: each worker process takes the oldest one that waits."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from selftrack.batch.process import Process, cores, environment
from selftrack.batch.worker import now
from selftrack.errors import UserError
from selftrack.service.jobs import JobOptions, JobRecord, JobStore, new_record
from selftrack.service.limits import Refusal, ServeConfig
from selftrack.service.runner import Ended, Runner, Task

_TRIES = 2
"""Times that a job is begun whose process dies."""
_log = logging.getLogger(__name__)
_Worker = Process[Task, Ended]


class JobQueue:
    """Jobs by their ids, and the threads that give them to processes. Use it as a context manager; all methods may be
    called from any thread."""

    def __init__(self, store: JobStore, runner: Runner, config: ServeConfig) -> None:
        """Take the jobs that are in the store. Raises UserError where one is damaged."""
        self._store, self._runner, self._config = store, runner, config
        self._jobs = {record.id: record for record in store.load()}
        self._waiting = deque(name for name, record in self._jobs.items() if record.state == "queued")
        self._number = max((record.number for record in self._jobs.values()), default=0)
        self._coming = 0  # uploads
        self._running: dict[str, _Worker] = {}
        self._changed = threading.Condition()
        self._over = False
        self._stack = ExitStack()

    def __enter__(self) -> JobQueue:
        self._stack.enter_context(environment(max(1, cores() // self._config.workers)))
        threads = [threading.Thread(target=self._work, name=f"jobs {i}") for i in range(self._config.workers)]
        for thread in threads:
            thread.start()
            self._stack.callback(thread.join)
        return self

    def __exit__(self, *exc: object) -> None:
        with self._changed:
            self._over = True
            self._changed.notify_all()
            for process in self._running.values():
                process.stop()
        self._stack.close()

    def all(self) -> list[JobRecord]:
        """All jobs, in their order."""
        with self._changed:
            return list(self._jobs.values())

    def get(self, name: str) -> JobRecord:
        """The job of that id. Raises Refusal where there is none."""
        with self._changed:
            if name not in self._jobs:
                raise Refusal(404, "there is no such job")
            return self._jobs[name]

    def ahead(self, name: str) -> int:
        """How many jobs wait before that one."""
        with self._changed:
            return self._waiting.index(name) if name in self._waiting else 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place for a job that is being uploaded. Raises Refusal where there is none."""
        with self._changed:
            if len(self._jobs) + self._coming >= self._config.kept:
                raise Refusal(503, f"{self._config.kept} jobs are kept here, which is all; delete one that is done")
            if len(self._waiting) + self._coming >= self._config.queued:
                raise Refusal(429, f"{self._config.queued} jobs wait, which is all that may; try again later")
            self._coming += 1
        try:
            yield
        finally:
            with self._changed:
                self._coming -= 1

    def add(self, name: str, shown: str, clip: str, options: JobOptions) -> JobRecord:
        """Queue a job whose clip is in its folder, see `new_record`."""
        with self._changed:
            self._number += 1
            record = self._store.write(new_record(name, self._number, shown, clip, options))
            self._jobs[name] = record
            self._waiting.append(name)
            self._changed.notify()
            return record

    def remove(self, name: str) -> None:
        """Delete a job, also one that runs. Raises Refusal where there is none."""
        self.get(name)
        with self._changed:
            self._jobs.pop(name, None)
            if name in self._waiting:
                self._waiting.remove(name)
            process = self._running.get(name)
            if process is not None:
                process.stop()  # its thread removes the rest when it has ended
        if process is None:
            self._store.remove(name)

    def _work(self) -> None:
        """Run jobs until the service ends; the main function of a thread."""
        process = _Worker(self._runner)
        try:
            while (name := self._next(process)) is not None:
                self._run(process, name)
        finally:
            process.stop()
            process.end()

    def _next(self, process: _Worker) -> str | None:
        """Wait for a job to run; None where the service ends."""
        with self._changed:
            while not self._waiting and not self._over:
                self._changed.wait()
            if self._over:
                return None
            name = self._waiting.popleft()
            self._running[name] = process
            self._set(name, state="running", began=now())
            return name

    def _run(self, process: _Worker, name: str) -> None:
        """Run a job, and note how it ends."""
        ended: Ended | None = None
        for _ in range(_TRIES):
            record = self._wanted(name)
            if ended is None and record is not None:
                process.give(Task(self._store.folder(name), record))
                if self._wanted(name) is None:  # whoever wanted it no more has come before the process had started
                    process.stop()
                ended = process.take()
        with self._changed:
            del self._running[name]
            gone = name not in self._jobs
            if not gone and not self._over:
                self._end(name, ended or Ended(f"{process.died}, twice"))
        if gone:
            self._store.remove(name)

    def _wanted(self, name: str) -> JobRecord | None:
        """A job that is to be run; None where it was deleted meanwhile, or the service ends."""
        with self._changed:
            return None if self._over else self._jobs.get(name)

    def _end(self, name: str, ended: Ended) -> None:
        if ended.trace:
            _log.error("job %s: %s\n%s", name, ended.error, ended.trace)
        self._set(
            name,
            state="failed" if ended.error else "done",
            ended=now(),
            error=ended.error,
            summary=ended.summary,
            verdict=ended.verdict,
            results=ended.results,
        )

    def _set(self, name: str, **changes: object) -> None:
        """Change a job's record, also on the disk."""
        self._jobs[name] = self._jobs[name].model_copy(update=changes)
        try:
            self._store.write(self._jobs[name])
        except UserError as error:  # a full disk: what is known is shown at least while the service runs
            _log.error("job %s: %s", name, error)
