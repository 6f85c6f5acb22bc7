"""One status file a clip: what was done with what and how it ended, by which a batch goes on where it was.

They are in `.status` of the folder of a batch, each under the name of its clip, those of failed clips, too.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TextIO

from selftrack.batch.clips import Clip
from selftrack.errors import UserError
from selftrack.io import json_text, write_text
from selftrack.tracker.sources.opening import source_files, source_hash

FOLDER = ".status"
State = Literal["begun", "done", "failed"]
"""A clip that is `begun`, and that nobody claims, was interrupted."""


class Keys(NamedTuple):
    """What results depend on, hashed: they agree where these are the same."""

    clip: str
    """The source's fingerprint; empty where the clip cannot be read."""
    settings: str
    weights: str
    stamp: str
    """Names, sizes and times of the clip's files. Where it is unchanged, so is the clip: its bytes are not read."""

    def differing(self, other: Keys) -> list[str]:
        """Name what is not the same."""
        return [name for name in ("clip", "settings", "weights") if getattr(self, name) != getattr(other, name)]


@dataclass(frozen=True)
class Status:
    """The content of a status file."""

    name: str
    clip: str
    """Path of the clip."""
    state: State
    clip_hash: str
    clip_stamp: str
    settings_hash: str
    weights_hash: str
    version: str
    """Of selftrack."""
    host: str
    pid: int
    began: str
    """Time as in ISO 8601, UTC."""
    ended: str = ""
    seconds: float = 0.0
    """How long it took."""
    error: str = ""
    """Of a failed clip: one line."""
    traceback: str = ""
    """Where the error was a defect of the program."""
    frames: int = 0
    lost: int = 0
    trusted: float = 0.0
    """Share of the frames, 0..1."""
    adaptation: str = ""
    """The verdict of the adaptation, where there was one."""
    files: tuple[str, ...] = ()
    """Names of the results."""

    @property
    def keys(self) -> Keys:
        """What the results are of."""
        return Keys(self.clip_hash, self.settings_hash, self.weights_hash, self.clip_stamp)


def keys_of(clip: Clip, settings: str, weights: str, known: Keys | None) -> Keys:
    """The keys of a clip as it is now; `known` are those of its status, whose hash holds while the stamp does."""
    path = Path(clip.path)
    try:
        stats = [(file.name, file.stat()) for file in source_files(path)]
        stamp = json.dumps([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])
        value = known.clip if known and known.clip and known.stamp == stamp else source_hash(path)
    except (OSError, UserError):  # whoever tracks it will say why
        stamp = value = ""
    return Keys(value, settings, weights, stamp)


class StatusFolder:
    """The status files of a batch whose results are in the folder `out`."""

    def __init__(self, out: Path) -> None:
        self.path = out / FOLDER

    def create(self) -> None:
        """Make the folder, where there is none. Raises UserError where that cannot be."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{self.path.parent}: cannot write there ({error.strerror or error}); name another folder with -o"
            ) from error

    def _file(self, name: str) -> Path:
        return self.path / f"{name}.json"

    def read(self, name: str) -> Status | None:
        """The status of the clip of that name, None where there is none. Raises UserError of a damaged one."""
        try:
            return _load(self._file(name))
        except FileNotFoundError:
            return None

    def all(self) -> list[Status]:
        """Those of all clips, in the order of their names."""
        found = []
        for file in sorted(self.path.rglob("*.json")):
            if not file.name.endswith(".part.json"):  # one that is being written
                with suppress(FileNotFoundError):
                    found.append(_load(file))
        return found

    def write(self, status: Status) -> Status:
        """Write a clip's status, complete or not at all."""
        file = self._file(status.name)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json_text(asdict(status)))
        return status

    @contextmanager
    def claim(self, name: str, wait: bool = False) -> Iterator[bool]:
        """Hold a clip, so that no other process on any machine with this folder works on it; yields whether that is so.

        A claim is a lock of the file system (flock), which ends with the process, however that ends. A file system
        without locks gives every claim: there, machines must have shards of their own.

        Args:
            name: of the clip.
            wait: wait until nobody else holds it.
        """
        file = self._file(name).with_suffix(".lock")
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(file, "a", encoding="utf-8") as lock:
            if not _locked(lock, wait):
                yield False
                return
            if not _is_at(lock, file):  # whoever had it has just ended, and removed the file
                lock.close()
                with self.claim(name, wait) as held:
                    yield held
                return
            try:
                yield True
            finally:
                file.unlink(missing_ok=True)


def _load(file: Path) -> Status:
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
        return Status(**read | {"files": tuple(read["files"])})
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{file}: is no status file ({error}); delete it, and its clip is tracked again") from error


def _locked(file: TextIO, wait: bool) -> bool:
    """Lock an open file; whether that is held now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _is_at(file: TextIO, path: Path) -> bool:
    """Whether an open file is the one of that path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
