"""Files that get their name only when they are complete, the folder of results, figures as JSON, tables as text."""

from __future__ import annotations

import csv
import errno
import glob
import hashlib
import io
import json
import math
import os
import re
import shutil
import signal
import socket
import stat
import tempfile
import threading
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from selftrack.errors import UserError, reason

PRIVATE = ".selftrack"
"""Of a folder of results, the sub-folder in which the tracker keeps what is for itself alone."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
_ELSEWHERE = "name another place, or make this one writable"


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside `path`; what is written there becomes `path` when the context ends without an error.

    After an error `path` is as it was. The temporary name keeps the suffix, by which some writers choose the format.
    The file gets the permissions of any new one: safetensors, for one, would hide it from all but its owner.

    Raises:
        UserError: the file cannot be written.
    """
    path = Path(path)
    part = path.with_name(f".{path.stem}.{_machine()}.{os.getpid()}.{threading.get_ident()}.part{path.suffix}")
    try:
        if path.is_dir():  # known only in the end otherwise
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        mode = _usual_mode(part)
        yield part
        part.chmod(mode)
        part.replace(path)
    except OSError as error:
        advice = "make room there, or name another place" if error.errno in _FULL else _ELSEWHERE
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); {advice}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _machine() -> str:
    """A short name of this machine in temporary names: process numbers are those of one machine alone."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]


def _usual_mode(path: Path) -> int:
    """Permissions that a new file at `path`, where there is none, gets by the umask; none is left there."""
    path.touch()
    mode = path.stat().st_mode
    path.unlink()
    return stat.S_IMODE(mode)


def write_text(path: Path, text: str) -> Path:
    """Write a text file through `atomic_path`; returns its path."""
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")
    return path


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sort_metadata(path: Path) -> None:
    """Put the metadata of a safetensors file in the order of its names, so that equal contents are equal bytes: the
    library writes it in an order by chance."""
    with open(path, "r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        assert len(text) <= length, f"{len(text)} bytes of header do not fit into {length}"
        file.seek(8)
        file.write(text.ljust(length))


class OutputFolder:
    """A folder of results that knows by a manifest which files are the tracker's, and touches no other.

    The manifest (`.selftrack/manifest.json`) has the SHA-256 of each file that was written here. A file that is not in
    it, or that somebody has changed since, is the user's: it is neither replaced nor deleted. Files are announced there
    before they come: where a run is killed meanwhile, the next one knows what it may replace. Results may have parts:
    sub-folders, such as one for each face, that are folders of results themselves, and whose names the manifest has.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @property
    def private(self) -> Path:
        """The sub-folder for what is not a result, such as checkpoints."""
        return self.path / PRIVATE

    def owned(self) -> dict[str, str]:
        """Hashes by name of the files of the manifest. Raises UserError when it is damaged."""
        return self._load().files

    def parts(self) -> list[OutputFolder]:
        """The parts of the results of the last run. Raises UserError when the manifest is damaged."""
        return [self.part(name) for name in self._load().parts]

    def part(self, name: str) -> OutputFolder:
        """The sub-folder of that name."""
        return OutputFolder(self.path / name)

    def _load(self) -> _Manifest:
        try:
            read = json.loads(self._manifest.read_text(encoding="utf-8"))
            parts = [str(name) for name in read.get("parts", []) if Path(name).name == name]
            return _Manifest(read["files"], read.get("coming", {}), parts)
        except (FileNotFoundError, NotADirectoryError):
            return _Manifest({}, {}, [])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{self._manifest}: cannot be read ({reason(error)}); delete it, after which all files in "
                f"{self.path} count as your own, or take another folder"
            ) from error

    def is_ours(self, name: str) -> bool:
        """Whether the file is there as the tracker wrote it."""
        file = self.path / name
        if not file.is_file() or file.is_symlink():
            return False
        noted = self._load()
        return file_hash(file) in [hashes[name] for hashes in (noted.files, noted.coming) if name in hashes]

    def check(self, names: Iterable[str], overwrite: bool) -> None:
        """Make sure that files of these names may be written, here and in the parts of an earlier run.

        Raises:
            UserError: one of them is there and is the user's; or is of an earlier run and `overwrite` is not set.
        """
        names = tuple(names)
        for folder in (self, *self.parts()):
            folder._check(names, overwrite)

    def _check(self, names: Iterable[str], overwrite: bool) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path}: is not a folder; name another one with -o")
        present = [name for name in dict.fromkeys(names) if os.path.lexists(self.path / name)]
        foreign = [name for name in present if not self.is_ours(name)]
        if foreign:
            raise UserError(
                f"{self.path}: has a file {foreign[0]} that this program did not write, or that was changed since; "
                "move it away, or name another folder with -o"
            )
        coming = self._load().coming
        if not overwrite and any(name not in coming for name in present):
            raise UserError(f"{self.path}: has the results of an earlier run; replace them with --overwrite")

    @contextmanager
    def writing(self, names: Sequence[str], overwrite: bool = False, keep: Path | None = None) -> Iterator[Path]:
        """Give a temporary folder to write results into; its files move here when the context ends without an error.

        After an error the folder is as it was. Files of an earlier run that are among `names` and were not written
        again are removed, for they would not belong to the new results; the file `keep` stays. A sub-folder made in
        the temporary folder becomes a part; in parts of an earlier run, the same goes for what is not written again.
        What runs that were killed have left in such temporary folders is removed, too.

        Args:
            names: all names that may be written, here and in parts. Files in the temporary folder of other names are a
                defect.
            overwrite: replace the results of an earlier run.
            keep: a file of an earlier run that is in use, such as the weights.

        Raises:
            UserError: as `check`; or the folder cannot be written.
        """
        folder = self.path.absolute()
        parent = next(p for p in (folder, *folder.parents) if p.exists())
        try:
            for place in {parent, folder.parent}:
                remove_abandoned(place, folder.name)
            _remove_parts(self.private)
            self.check(names, overwrite)
            with work_folder(parent, folder.name) as work:
                yield work
                self.check(names, overwrite)  # a long time has passed: what the user has put there since is the user's
                for part in _folders(work):
                    self.part(part)._check(names, overwrite)
                with uninterrupted():
                    self._take(work, names, keep)
        except OSError as error:
            raise UserError(self._unwritable(error)) from error

    def _unwritable(self, error: OSError) -> str:
        advice = "make room there, or name" if error.errno in _FULL else "name"
        return f"{self.path}: cannot write there ({error.strerror or error}); {advice} another folder with -o"

    def add(self, name: str, text: str) -> Path:
        """Write one more file, such as a report, in place of an earlier one of ours. Raises UserError as `check`."""
        self._check([name], overwrite=True)
        self._announce({name: hashlib.sha256(text.encode()).hexdigest()})
        write_text(self.path / name, text)
        self.own([name])
        return self.path / name

    def own(self, names: Iterable[str]) -> None:
        """Note in the manifest that these files, as they are now, are the tracker's."""
        now = self._load()
        fresh = {name: file_hash(self.path / name) for name in names}
        coming = {name: value for name, value in now.coming.items() if name not in fresh}
        self._save(_Manifest(now.files | fresh, coming, now.parts))

    @property
    def _manifest(self) -> Path:
        return self.private / "manifest.json"

    def _take(self, work: Path, names: Sequence[str], keep: Path | None) -> None:
        """Move what is in the folder `work`, which need not be there, to its places."""
        written = sorted(work.iterdir()) if work.exists() else []
        fresh = {file.name: file_hash(file) for file in written if not file.is_dir()}
        assert set(fresh) <= set(names), f"written, but not announced: {sorted(set(fresh) - set(names))}"
        kept = keep.resolve() if keep else None
        stale = [n for n in names if n not in fresh and self.is_ours(n) and (self.path / n).resolve() != kept]
        owned = {name: value for name, value in self.owned().items() if name not in stale} | fresh
        earlier = [part.path.name for part in self.parts() if part.path.exists()]
        parts = list(dict.fromkeys((*earlier, *_folders(work))))
        self._announce(fresh, parts)  # before the files: a file of ours must not look like the user's
        for name in stale:
            (self.path / name).unlink()
        for name in fresh:
            (work / name).replace(self.path / name)
        for name in parts:
            self.part(name)._take(work / name, names, keep)
        self._save(_Manifest(owned, {}, [name for name in parts if self.part(name).owned()]))
        if not owned and not self.parts():
            self._vanish()

    def _vanish(self) -> None:
        """Delete a manifest of nothing, and the folder where nothing else is in it."""
        self._manifest.unlink()
        for folder in (self.private, self.path):
            with suppress(OSError):  # it is not empty
                folder.rmdir()

    def _announce(self, fresh: dict[str, str], parts: list[str] | None = None) -> None:
        """Note in the manifest that files of these names and hashes are coming, and parts where they are given."""
        now = self._load()
        self._save(_Manifest(now.files, now.coming | fresh, now.parts if parts is None else parts))

    def _save(self, manifest: _Manifest) -> None:
        self.private.mkdir(parents=True, exist_ok=True)
        noted = {name: values for name, values in manifest._asdict().items() if values or name == "files"}
        write_text(self._manifest, json.dumps(noted, indent=1) + "\n")


class _Manifest(NamedTuple):
    """What a folder of results knows of itself."""

    files: dict[str, str]
    """Hashes by name of the files that are here."""
    coming: dict[str, str]
    """Those of files that are coming, or were when a run was killed."""
    parts: list[str]
    """Names of sub-folders that are folders of results."""


def _folders(folder: Path) -> list[str]:
    """Names of the sub-folders of a folder, which need not be there."""
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.exists() else []


@contextmanager
def work_folder(parent: Path, name: str) -> Iterator[Path]:
    """Give a temporary folder in `parent` for what becomes `name`; it is locked as long as this process lives, and goes
    when the context ends."""
    work = Path(tempfile.mkdtemp(prefix=f".{name}-", suffix=PRIVATE, dir=parent))
    handle = _locked(work)
    work.mkdir(exist_ok=True)  # another run may have taken it for abandoned before it was locked
    try:
        yield work
    finally:
        with uninterrupted():
            shutil.rmtree(work, ignore_errors=True)
            if handle is not None:
                os.close(handle)


def remove_abandoned(parent: Path, name: str) -> None:
    """Remove the folders of `work_folder` whose processes were killed: nobody has them locked."""
    for work in parent.glob(f".{glob.escape(name)}-*{PRIVATE}"):
        handle = _locked(work) if work.is_dir() and not work.is_symlink() else None
        if handle is not None:
            shutil.rmtree(work, ignore_errors=True)
            os.close(handle)


def remove_parts(path: Path) -> None:
    """Remove what `atomic_path` and a writer have left beside a file where their process was killed."""
    _remove_parts(path.parent, path.stem)


def _remove_parts(folder: Path, stem: str | None = None) -> None:
    """Remove temporary files of `atomic_path`, for files of a stem or for all, whose processes were killed: they were
    of this machine and are no more."""
    of_file = ".*" if stem is None else re.escape(stem)
    name = re.compile(rf"\.{of_file}\.{_machine()}\.(\d+)\.\d+\.part(\..*)?")
    for part in folder.glob(".*.part*"):
        process = name.fullmatch(part.name)
        if process and part.is_file() and not _lives(int(process[1])):
            with suppress(OSError):  # another user's folder
                part.unlink()


def _lives(process: int) -> bool:
    """Whether a process of that number runs on this machine; on systems where that cannot be asked, all do."""
    if os.name == "nt":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def _locked(folder: Path) -> int | None:
    """The handle by which this process has a folder locked; None where another one has, or it cannot be."""
    try:
        import fcntl
    except ImportError:
        return None
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # another user's
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back until the context ends: what is written there is written all or not at all."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


def zip_member(name: str, compression: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    """Describe a member of a ZIP archive: without the time of writing, so that equal contents are equal bytes, and
    readable by everyone when it is unpacked, where `zipfile` would let its owner alone read it."""
    member = zipfile.ZipInfo(name)
    member.compress_type = compression
    member.external_attr = (stat.S_IFREG | 0o644) << 16
    return member


def nested(values: dict[str, float]) -> dict:
    """{"a.b": 1} -> {"a": {"b": 1}}."""
    out: dict = {}
    for key, value in values.items():
        *path, name = key.split(".")
        place = out
        for part in path:
            place = place.setdefault(part, {})
        place[name] = value
    return out


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}: the inverse of `nested`."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        out |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return out


def settings_changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Name the settings that differ, as "rate was 0.1 and is 0.2; ..."; empty where all are the same.

    Settings are compared as JSON holds them; one that is only on one side is "nothing" on the other.
    """
    old, new = (flat(json.loads(json.dumps(values))) for values in (before, now))
    changed = [name for name in dict.fromkeys((*old, *new)) if old.get(name, "nothing") != new.get(name, "nothing")]
    return "; ".join(f"{n} was {old.get(n, 'nothing')} and is {new.get(n, 'nothing')}" for n in changed)


def json_text(value: object) -> str:
    """As JSON, which knows no NaN: null is what could not be measured."""
    return json.dumps(_plain(value), indent=1, allow_nan=False) + "\n"


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; cells are written with `str`, the first column to the left and the others to the right."""
    lines = ["| " + " | ".join(header) + " |", "|---" + "|---:" * (len(header) - 1) + "|"]
    for row in rows:
        assert len(row) == len(header), f"expected {len(header)} cells, got {row}"
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |")
    return "\n".join(lines) + "\n"


def csv_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV (RFC 4180, lines end with \\r\\n)."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
