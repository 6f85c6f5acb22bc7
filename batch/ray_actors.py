"""A batch on Ray: actors hold the model and get clip after clip, wherever in the cluster they are.

Where there are GPUs and clips are adapted to, actors with cores alone read the clips (decoding and detection) and track
them, and actors with a part of a GPU adapt in between. All write into one folder, which every machine must have.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from selftrack.adapt.run import Reading
from selftrack.batch.clips import Clip
from selftrack.batch.pool import default_jobs
from selftrack.batch.worker import Outcome, Worker
from selftrack.errors import UserError, of_extra

GPU_SHARE = 0.25
"""Part of a GPU that an actor takes: the networks are small, and four adaptations keep one busy."""
Stage = Literal["start", "read", "adapt", "track"]
_AHEAD = 2
"""Clips, for each actor that adapts, that are read before it is their turn: each takes some 300 MB."""


class Actor:
    """A process of Ray's with a worker, which loads its model once."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def start(self) -> None:
        """Return when it has been placed."""

    def read(self, clip: Clip) -> Reading | None:
        """See `Worker.read`."""
        return self._worker.read(clip)

    def adapt(self, clip: Clip, reading: Reading | None) -> None:
        """See `Worker.adapt`."""
        self._worker.adapt(clip, reading)

    def track(self, clip: Clip) -> Outcome:
        """See `Worker`."""
        return self._worker(clip)


def run_ray(
    worker: Worker, clips: Sequence[Clip], address: str = "local", jobs: int | None = None, adapters: int | None = None
) -> Iterator[Outcome]:
    """Track clips by actors of Ray; yields the outcome of each, as they come.

    A clip whose actor dies is tried once more by Ray, in another process; then it has failed.

    Args:
        worker: what each actor has a copy of.
        clips: all are tracked.
        address: of a cluster; "auto" for the one that this machine is in, "local" for one of its own. Where this
            process is connected already, it stays so.
        jobs: actors that read and track; by default one for each core of the cluster.
        adapters: actors that only adapt; by default as many as GPUs have parts, and none where nothing is adapted to.

    Raises:
        UserError: no Ray, or no cluster of that address.
    """
    with _connected(address, jobs, worker.out) as ray:
        cpus, gpus = (int(ray.cluster_resources().get(name, 0)) for name in ("CPU", "GPU"))
        job = worker.job
        if adapters is None:
            adapters = int(gpus / GPU_SHARE) if job.adapt and job.track.device == "auto" else 0
        device = "cpu" if adapters else job.track.device
        share = GPU_SHARE if device == "cuda" else 0.0
        many = min(jobs or max(1, cpus - adapters), len(clips))
        trackers = _actors(ray, replace(worker, job=job.on(device)), many, share)
        on_gpu = replace(worker, job=job.on("cuda" if gpus else "cpu"))
        dispatch = _Dispatch(ray, trackers, _actors(ray, on_gpu, min(adapters, len(clips)), GPU_SHARE if gpus else 0.0))
        for clip, outcome in dispatch.run(clips):
            yield outcome or worker.lost(clip, "its actor died, twice")


@contextmanager
def _connected(address: str, jobs: int | None, out: Path) -> Iterator[Any]:
    """The package `ray`, connected to a cluster; disconnected afterwards where it was not before.

    Ray's processes import from the folder that it was connected in before any other: `out` has no code, and a clone of
    this project would hide the package that is installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    with of_extra("cluster"):
        import ray
    if ray.is_initialized():
        yield ray
        return
    own: dict[str, Any] = {"num_cpus": jobs or default_jobs(), "include_dashboard": False} if address == "local" else {}
    try:
        with chdir(out):
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(f"--ray {address}: no cluster there ({error}); start one with ray start --head") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _actors(ray: Any, worker: Worker, count: int, gpus: float) -> list[Any]:
    """Start actors; those for which there is no place yet wait for one."""
    options = {"num_cpus": 1, "num_gpus": gpus, "max_restarts": -1, "max_task_retries": 1}
    return [ray.remote(Actor).options(**options).remote(worker) for _ in range(count)]


class _Task(NamedTuple):
    """What an actor is doing."""

    actor: Any
    stage: Stage
    clip: Clip | None = None


class _Dispatch:
    """Gives each free actor what is next for it."""

    def __init__(self, ray: Any, trackers: Sequence[Any], adapters: Sequence[Any]) -> None:
        self._ray, self._adapters = ray, set(adapters)
        self._running = {actor.start.remote(): _Task(actor, "start") for actor in (*trackers, *adapters)}
        self._free: list[Any] = []
        self._waiting: deque[Clip] = deque()
        self._read: deque[tuple[Clip, Any]] = deque()  # with a reference to what was read
        self._adapted: deque[Clip] = deque()

    def run(self, clips: Sequence[Clip]) -> Iterator[tuple[Clip, Outcome | None]]:
        """Yield the outcome of each clip as they come, None where its actor has died, twice."""
        self._waiting.extend(clips)
        for _ in clips:
            clip, reference = self._tracked()
            try:
                outcome = self._ray.get(reference)
            except self._ray.exceptions.RayTaskError:  # an error of the worker's own
                raise
            except self._ray.exceptions.RayError:
                outcome = None
            yield clip, outcome

    def _tracked(self) -> tuple[Clip, Any]:
        """Wait for the next clip that was tracked, and keep all actors busy meanwhile."""
        while True:
            self._free = [actor for actor in self._free if not self._give(actor)]
            (reference,), _ = self._ray.wait(list(self._running), num_returns=1)
            task = self._running.pop(reference)
            self._free.append(task.actor)
            if task.clip is None:
                self._started(reference)
                continue
            if task.stage == "track":
                return task.clip, reference
            if task.stage == "read":
                self._read.append((task.clip, reference))
            else:
                self._adapted.append(task.clip)

    def _started(self, reference: Any) -> None:
        """Make sure that an actor has started. Raises UserError where it cannot."""
        try:
            self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            why = str(error).strip().splitlines()[-1]
            raise UserError(
                f"Ray cannot start a process ({why}); install the same selftrack on every machine"
            ) from error

    def _give(self, actor: Any) -> bool:
        """Give an actor something to do; whether there was anything."""
        if actor in self._adapters:
            if self._read:
                clip, reading = self._read.popleft()
                self._running[actor.adapt.remote(clip, reading)] = _Task(actor, "adapt", clip)
                return True
        elif self._adapted:
            clip = self._adapted.popleft()
            self._running[actor.track.remote(clip)] = _Task(actor, "track", clip)
            return True
        elif self._waiting and not self._adapters:
            clip = self._waiting.popleft()
            self._running[actor.track.remote(clip)] = _Task(actor, "track", clip)
            return True
        elif self._waiting and self._being_read() < _AHEAD * len(self._adapters):
            clip = self._waiting.popleft()
            self._running[actor.read.remote(clip)] = _Task(actor, "read", clip)
            return True
        return False

    def _being_read(self) -> int:
        """Clips that are read, or were and are not adapted to yet."""
        return len(self._read) + sum(task.stage == "read" for task in self._running.values())
