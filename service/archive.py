"""Files as one zip that is sent while it is made: nothing is kept in memory, nothing written."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

_CHUNK = 1 << 20


class _Pipe(io.RawIOBase):
    """What is written, until it is taken; it cannot be rewound, so ZipFile writes sizes behind the files."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: object) -> int:
        """Keep bytes."""
        view = memoryview(data)  # type: ignore[arg-type]
        self._held += view
        return view.nbytes

    def take(self) -> bytes:
        """All that was written since."""
        taken = bytes(self._held)
        self._held.clear()
        return taken


def zipped(folder: Path, names: Sequence[str]) -> Iterator[bytes]:
    """The bytes of a zip of those files of a folder; they are stored as they are, for most are compressed already."""
    pipe = _Pipe()
    with ZipFile(pipe, "w", ZIP_STORED) as archive:
        for name in names:
            entry = ZipInfo.from_file(folder / name, name)
            with open(folder / name, "rb") as file, archive.open(entry, "w") as member:
                while chunk := file.read(_CHUNK):
                    member.write(chunk)
                    yield pipe.take()
    yield pipe.take()
