"""Jobs: what is asked for, what is kept of each in its folder, and the folder of all.

JOBS/0f3c.../job.json        a `JobRecord`
JOBS/0f3c.../clip.mp4        the clip, under this name whatever the user's was
JOBS/0f3c.../progress.json   while it runs
JOBS/0f3c.../results/        an ordinary folder of results
"""

from __future__ import annotations

import fcntl
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self, TextIO

from pydantic import BaseModel, Field, ValidationError, field_validator

from selftrack.batch.worker import now, sweep
from selftrack.errors import UserError
from selftrack.io import write_text
from selftrack.tracker.export import known

RECORD, PROGRESS, RESULTS, CLIP = "job.json", "progress.json", "results", "clip"
State = Literal["queued", "running", "done", "failed"]
_ID = re.compile(r"[0-9a-f]{32}")


class JobOptions(BaseModel, extra="forbid", frozen=True):
    """What a user asks for beside the clip: the fields of the form."""

    adapt: bool = Field(False, description="Fine-tune the tracker on this clip first.")
    exports: tuple[str, ...] = Field((), description="Formats that are written, too, with commas between them.")
    start: float = Field(0.0, ge=0, allow_inf_nan=False, description="Second of the clip at which to begin.")
    duration: float | None = Field(None, gt=0, allow_inf_nan=False, description="Seconds to track; none: to the end.")
    face: int = Field(0, ge=0, description="Number of the face to follow.")

    @field_validator("exports", mode="before")
    @classmethod
    def _listed(cls, value: object) -> tuple[str, ...]:
        return known([value] if isinstance(value, str) else [str(name) for name in value])  # type: ignore[attr-defined]

    @classmethod
    def of(cls, form: Mapping[str, str]) -> Self:
        """Read the fields of a form; an empty one is as good as none.

        Raises:
            UserError: there is no such field, or a value that it cannot have.
        """
        try:
            return cls.model_validate({name: text for name, text in form.items() if text.strip()})
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            if first["type"] == "extra_forbidden":
                raise UserError(f"there is no field {name!r}; there are clip, {', '.join(cls.model_fields)}") from error
            why = first.get("ctx", {}).get("error") or first["msg"]
            raise UserError(f"{name}: {why}; got {first['input']!r}") from error


class JobSummary(BaseModel, frozen=True):
    """What a job that is done has found."""

    frames: int
    lost: int
    trusted: float
    """Share of the frames, 0..1."""
    seconds: float
    """How long it took."""
    notes: tuple[str, ...] = ()
    """One line each of what the user should know."""


class JobRecord(BaseModel, frozen=True):
    """The content of job.json."""

    id: str
    number: int
    """Jobs run in the order of their numbers."""
    name: str
    """The clip's name as the user has it, to be shown; never a path."""
    clip: str
    """Name of the clip's file in the job's folder."""
    options: JobOptions
    state: State = "queued"
    created: str
    """Times as in ISO 8601, UTC."""
    began: str = ""
    ended: str = ""
    error: str = ""
    """Of a failed job: one line."""
    summary: JobSummary | None = None
    verdict: str = ""
    """Of the adaptation, where there was one."""
    results: tuple[str, ...] = ()
    """Names of the files in the folder of results."""


class Progress(BaseModel, frozen=True):
    """How far a running job is."""

    stage: str = "beginning"
    done: int = 0
    total: int = 0


class JobStore:
    """The folder of all jobs. One service at a time has it."""

    def __init__(self, path: Path) -> None:
        """Take a folder, which is made where there is none. Raises UserError where it is another service's, or cannot
        be written."""
        self.path = path.absolute()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock: TextIO = open(self.path / ".lock", "a", encoding="utf-8")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{path}: another track serve works there; name another folder with -o") from error
        except OSError as error:
            raise UserError(
                f"{path}: cannot write there ({error.strerror or error}); name another folder with -o"
            ) from error

    def close(self) -> None:
        """Leave the folder to another service."""
        self._lock.close()

    def load(self) -> list[JobRecord]:
        """All jobs, in their order. What a service that was killed has left half-done is removed, and a job that ran
        then is to be run again.

        Raises:
            UserError: a record is damaged.
        """
        found = []
        for folder in sorted(self.path.iterdir()):
            if not _ID.fullmatch(folder.name):
                continue
            try:
                record = JobRecord.model_validate_json((folder / RECORD).read_bytes())
            except FileNotFoundError:  # an upload that broke off, or a job that was being deleted
                shutil.rmtree(folder, ignore_errors=True)
                continue
            except (OSError, ValueError) as error:
                raise UserError(f"{folder / RECORD}: is no record of a job; delete its folder") from error
            if record.state == "running":
                sweep(folder / RESULTS)
                record = self.write(record.model_copy(update={"state": "queued", "began": ""}))
            found.append(record)
        return sorted(found, key=lambda record: record.number)

    def create(self) -> str:
        """Make a folder for a new job; returns its id, which nobody can guess."""
        name = secrets.token_hex(16)
        (self.path / name).mkdir()
        return name

    def folder(self, name: str) -> Path:
        """The folder of the job of that id."""
        assert _ID.fullmatch(name), f"expected an id, got {name!r}"
        return self.path / name

    def write(self, record: JobRecord) -> JobRecord:
        """Write a record, complete or not at all."""
        write_text(self.folder(record.id) / RECORD, record.model_dump_json(indent=1) + "\n")
        return record

    def progress(self, name: str) -> Progress:
        """How far a running job is."""
        try:
            return Progress.model_validate_json((self.folder(name) / PROGRESS).read_bytes())
        except (OSError, ValueError):  # it has just begun, or ended
            return Progress()

    def remove(self, name: str) -> None:
        """Delete a job and all that belongs to it; the record first, without which the rest is removed later, too."""
        (self.folder(name) / RECORD).unlink(missing_ok=True)
        shutil.rmtree(self.folder(name), ignore_errors=True)


def new_record(name: str, number: int, shown: str, clip: str, options: JobOptions) -> JobRecord:
    """The record of a job that came just now, the user calling its clip `shown`."""
    return JobRecord(id=name, number=number, name=shown, clip=clip, options=options, created=now())
