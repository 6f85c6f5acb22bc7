"""What runs in a process of its own: one job after the other, by one model."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from selftrack.adapt.run import load_preset
from selftrack.batch.job import Job
from selftrack.batch.worker import said
from selftrack.io import write_text
from selftrack.service.jobs import PROGRESS, RESULTS, JobOptions, JobRecord, JobSummary, Progress
from selftrack.tracker.export import require
from selftrack.tracker.model import Model

_EVERY = 0.3
"""Seconds between two notes of how far a job is."""


class Ended(NamedTuple):
    """How a job has ended."""

    error: str = ""
    """One line; empty where it is done."""
    trace: str = ""
    """Of a defect: the traceback, for the service's own log."""
    summary: JobSummary | None = None
    verdict: str = ""
    results: tuple[str, ...] = ()


class Task(NamedTuple):
    """A job that is to be run, and its folder."""

    folder: Path
    record: JobRecord


@dataclass
class Runner:
    """Runs jobs with the settings of a service; a copy of it is in each process."""

    base: Job
    """What all jobs have in common."""

    @cached_property
    def model(self) -> Model:
        """Loaded for the first job, and used for all."""
        return self.base.load(self.base.track)

    def __call__(self, task: Task) -> Ended:
        """Run a job; whatever goes wrong, is how it ended."""
        clip, began = task.folder / task.record.clip, time.perf_counter()
        try:
            job = with_options(self.base, task.record.options, self.model)
            tracked = job.run(clip, task.folder / RESULTS, self.model, True, _noting(task.folder / PROGRESS))
        except Exception as error:
            line, trace = said(error)
            return Ended(_shown(line, task), trace)
        finally:
            (task.folder / PROGRESS).unlink(missing_ok=True)
        found = tracked.summary
        summary = JobSummary(
            frames=found.frames,
            lost=found.lost,
            trusted=round(found.trusted, 4),
            seconds=round(time.perf_counter() - began, 2),
            notes=tuple(_shown(note, task) for note in found.notes),
        )
        return Ended("", "", summary, str(tracked.verdict or ""), tracked.files)


def with_options(base: Job, options: JobOptions, model: Model) -> Job:
    """What is done with the clip of a user. Raises UserError where the model cannot do it."""
    require(options.exports, model.decoder)
    detect = replace(base.track.detect, face=options.face)
    track = replace(base.track, start=options.start, duration=options.duration, detect=detect)
    adapt = load_preset(decoder=model.decoder) if options.adapt else None
    return replace(base, track=track, adapt=adapt, exports=options.exports)


def _shown(line: str, task: Task) -> str:
    """A line for the user, to whom the clip has the name that it had, and who need not know where it lies here."""
    for folder in (task.folder, task.folder.resolve()):
        line = line.replace(str(folder / task.record.clip), task.record.name).replace(f"{folder}/", "")
    return line


def _noting(file: Path) -> Callable[[str, int, int], None]:
    """Writes how far a job is into a file, not too often."""
    last = -_EVERY

    def note(stage: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _EVERY:
            last = time.monotonic()
            with suppress(OSError, ValueError):  # the job goes on without
                write_text(file, Progress(stage=stage, done=done, total=total).model_dump_json())

    return note
