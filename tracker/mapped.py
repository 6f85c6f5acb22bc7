"""Arrays that lie in files: read as they are needed, so that a long clip takes no more memory than a short one."""

from __future__ import annotations

import mmap
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from selftrack.io import zip_member

_ROWS = 1024  # that are read before their memory is given back
_HEADER = 30  # bytes of a member's header before its name and what else there is


def pieces(values: np.ndarray, rows: int = _ROWS) -> Iterator[slice]:
    """Slices of the rows of an array, one after the other; the memory of each is given back after its use, where the
    array lies in a file."""
    for first in range(0, len(values), rows):
        yield slice(first, min(first + rows, len(values)))
        give_back(values)


def give_back(values: np.ndarray) -> None:
    """Give back the memory of what has been read of an array that lies in a file; it can be read again."""
    base: object = values
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def write_member(archive: zipfile.ZipFile, name: str, values: np.ndarray, compressed: bool = True) -> None:
    """Write an array into an .npz archive as numpy does. One that is not compressed can be read by `map_member`."""
    parts = (values[rows] for rows in pieces(values)) if values.ndim else [values]
    write_parts(archive, name, values.shape, values.dtype, parts, compressed)


def write_parts(
    archive: zipfile.ZipFile,
    name: str,
    shape: tuple[int, ...],
    kind: np.dtype,
    parts: Iterable[np.ndarray],
    compressed: bool = True,
) -> None:
    """Write an array into an .npz archive whose rows come in parts, so that it is never there as a whole.

    Args:
        archive: open for writing.
        name: of the array.
        shape: of all of it.
        kind: type of its numbers, which the parts have.
        parts: its rows, in order.
        compressed: else `map_member` can read it.
    """
    member = zip_member(f"{name}.npy", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED)
    with archive.open(member, "w", force_zip64=True) as file:
        header = {"descr": npy.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(file, header)
        for part in parts:
            file.write(part.tobytes())


def map_member(path: Path, archive: zipfile.ZipFile, name: str) -> np.ndarray | None:
    """An array of an .npz archive at `path` that stays in the file, not to be changed; None where it is compressed, or
    empty.

    Raises:
        ValueError: the member is no array.
    """
    member = archive.getinfo(f"{name}.npy")
    if member.compress_type != zipfile.ZIP_STORED:
        return None
    with open(path, "rb") as file:
        file.seek(member.header_offset)
        header = file.read(_HEADER)
        file.seek(sum(int.from_bytes(header[at : at + 2], "little") for at in (26, 28)), 1)
        shape, in_columns, kind = _read_header(file)
        if in_columns or kind.hasobject or 0 in shape:
            return None
        return np.asarray(np.memmap(file, kind, "r", file.tell(), shape))


def _read_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order and type of an array, whose values come next."""
    version = npy.read_magic(file)
    return npy.read_array_header_1_0(file) if version == (1, 0) else npy.read_array_header_2_0(file)
