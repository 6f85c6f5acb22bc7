"""One process of a batch: clip after clip by one model, with the status of each."""

from __future__ import annotations

import glob
import os
import shutil
import socket
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from selftrack.adapt.run import Reading
from selftrack.batch.clips import Clip
from selftrack.batch.job import Job, Tracked
from selftrack.batch.status import Keys, Status, StatusFolder, keys_of
from selftrack.errors import UserError
from selftrack.tracker.model import Model

End = Literal["tracked", "there", "failed", "failed before", "differs", "elsewhere"]
"""How a clip of a batch ends: tracked now; or its results were there; failed now, or earlier and was not tried again;
results of something else are there; or another process is at it."""


@dataclass(frozen=True)
class Outcome:
    """What has become of a clip in this run."""

    clip: Clip
    end: End
    text: str = ""
    """One line for the user, where it is not well."""


Launch = Callable[["Worker", Sequence[Clip]], Iterator[Outcome]]
"""Runs a worker, or copies of it, over clips; yields the outcome of each, in any order."""


@dataclass
class Worker:
    """Tracks clips of a batch. Copies of it may work in other processes and on other machines."""

    job: Job
    out: Path
    """Folder of the batch; each clip has one of its own below it."""
    retry_failed: bool = False
    """Whether clips that failed are tried again."""
    overwrite: bool = False
    """Whether results of other settings, weights or contents of a clip are replaced."""
    _hashes: tuple[str, str] = field(init=False)

    def __post_init__(self) -> None:
        """Hash settings and weights. Raises UserError where there are no such weights."""
        self.out = Path(os.path.abspath(self.out))
        self._hashes = (self.job.settings_hash(), self.job.weights_hash())

    @cached_property
    def status(self) -> StatusFolder:
        """Where the status files are."""
        return StatusFolder(self.out)

    @cached_property
    def model(self) -> Model:
        """Loaded for the first clip, and used for all."""
        return self.job.load(self.job.track)

    def __call__(self, clip: Clip) -> Outcome:
        """Track a clip, where that is still to be done."""
        with self.status.claim(clip.name) as claimed:
            if not claimed:
                return Outcome(clip, "elsewhere", "another process is at it")
            before = self.status.read(clip.name)
            keys = keys_of(clip, *self._hashes, before.keys if before else None)
            left = self._left(clip, keys, before)
            if left is not None:
                return left
            replacing = self.overwrite or (before is not None and before.state != "done")
            return self._track(clip, keys, replacing)

    def left(self, clip: Clip) -> Outcome | None:
        """What has become of a clip that is not to be tracked, None of one that is."""
        before = self.status.read(clip.name)
        if before is None or before.state == "begun":  # its bytes need not be read
            return None
        return self._left(clip, keys_of(clip, *self._hashes, before.keys), before)

    def read(self, clip: Clip) -> Reading | None:
        """What an adaptation takes from a clip; None where there is nothing to do, or where the clip cannot be read:
        tracking it will say so."""
        try:
            return None if self.left(clip) else self.job.read(Path(clip.path), self.model)
        except Exception:
            return None

    def adapt(self, clip: Clip, reading: Reading | None) -> None:
        """Adapt to a clip that was read elsewhere; where that fails, tracking it adapts anew, or says why not."""
        if reading is not None:
            with suppress(Exception):
                self.job.adapt_only(Path(clip.path), self.out / clip.name, self.model, reading)

    def lost(self, clip: Clip, why: str) -> Outcome:
        """Note that the process that tracked a clip has died."""
        began = self.status.read(clip.name) or self._begun(clip, keys_of(clip, *self._hashes, None))
        return self._failed(replace(began, state="failed"), clip, why)

    def _left(self, clip: Clip, keys: Keys, before: Status | None) -> Outcome | None:
        """As `left`, of a clip with these keys and this status."""
        if before is None or before.state == "begun":
            return None
        differing = keys.differing(before.keys)
        if before.state == "failed":
            again = bool(differing) or self.retry_failed
            return None if again else Outcome(clip, "failed before", before.error)
        missing = [name for name in before.files if not (self.out / clip.name / name).exists()]
        if len(missing) == len(before.files):
            return None
        if not differing and not missing:
            return Outcome(clip, "there")
        if self.overwrite:
            return None
        why = f"another {' and other '.join(differing)}" if differing else f"lacks {', '.join(missing)}"
        return Outcome(clip, "differs", f"results of an earlier run are there: {why}; --overwrite replaces them")

    def _track(self, clip: Clip, keys: Keys, replacing: bool) -> Outcome:
        """Track a clip that is claimed, and note how that ends."""
        begun, clock = self.status.write(self._begun(clip, keys)), time.perf_counter()
        folder = self.out / clip.name
        folder.parent.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        try:
            tracked = self.job.run(Path(clip.path), folder, self.model, replacing)
        except Exception as error:
            seconds = time.perf_counter() - clock
            why, trace = said(error)
            return self._failed(replace(begun, state="failed", seconds=seconds, traceback=trace), clip, why)
        self.status.write(_done(begun, tracked, time.perf_counter() - clock))
        return Outcome(clip, "tracked")

    def _begun(self, clip: Clip, keys: Keys) -> Status:
        return Status(
            name=clip.name,
            clip=clip.path,
            state="begun",
            clip_hash=keys.clip,
            clip_stamp=keys.stamp,
            settings_hash=keys.settings,
            weights_hash=keys.weights,
            version=version("selftrack"),
            host=socket.gethostname(),
            pid=os.getpid(),
            began=now(),
        )

    def _failed(self, status: Status, clip: Clip, why: str) -> Outcome:
        why = why.removeprefix(f"{clip.path}: ")  # what shows the line names the clip
        self.status.write(replace(status, ended=now(), error=why))
        return Outcome(clip, "failed", why)


def _done(begun: Status, tracked: Tracked, seconds: float) -> Status:
    """The status of a clip that was tracked."""
    summary = tracked.summary
    return replace(
        begun,
        state="done",
        ended=now(),
        seconds=seconds,
        frames=summary.frames,
        lost=summary.lost,
        trusted=summary.trusted,
        adaptation=str(tracked.verdict or ""),
        files=tracked.files,
    )


def said(error: Exception) -> tuple[str, str]:
    """An error in one line, and the traceback of one that is no user's."""
    if isinstance(error, UserError):
        return " ".join(str(error).split()), ""
    line = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{line}; this is a defect, please report it", "".join(traceback.format_exception(error))


def now() -> str:
    """The time as in ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def sweep(folder: Path) -> None:
    """Remove what a killed process has left of a clip that is ours now; `OutputFolder.writing` names it so."""
    for left in folder.parent.glob(f".{glob.escape(folder.name)}-{'[a-z0-9_]' * 8}"):
        shutil.rmtree(left, ignore_errors=True)
