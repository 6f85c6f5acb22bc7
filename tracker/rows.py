"""The results of a stream, kept for its track: in memory, in files, or not at all."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from selftrack.tracker.frame_result import FrameResult

NAMES = (
    *("time", "ok", "confidence", "presence", "sharpness"),
    *("z", "H", "crop", "H_image", "landmarks", "visible"),
)
"""The fields of a result that a track is made from; `time` is float64, all others are kept as float32."""


def values_of(result: FrameResult, name: str) -> np.ndarray:
    """One field of a result as it is kept."""
    return np.asarray(getattr(result, name), np.float64 if name == "time" else np.float32)


class Rows(Protocol):
    """What a tracker gives its results to."""

    def __len__(self) -> int:
        """How many can be given back."""

    def append(self, result: FrameResult) -> None:
        """Keep one more result."""

    def columns(self) -> dict[str, np.ndarray]:
        """The fields `NAMES` of all T results, (T,...) each. There has been one at least."""


class MemoryRows:
    """All results, in memory: about 5 kB a frame with 478 points."""

    def __init__(self) -> None:
        self._count = 0
        self._arrays: dict[str, np.ndarray] = {}
        self._given: set[str] = set()  # arrays of which somebody has a view

    def __len__(self) -> int:
        return self._count

    def append(self, result: FrameResult) -> None:
        """See `Rows`."""
        for name in NAMES:
            values = values_of(result, name)
            array = self._arrays.setdefault(name, np.empty((0, *values.shape), values.dtype))
            if self._count == len(array):
                if name in self._given:
                    array = self._arrays[name] = array.copy()
                    self._given.remove(name)
                array.resize((self._count + max(self._count // 8, 64), *values.shape), refcheck=False)  # no copy
            array[self._count] = values
        self._count += 1

    def columns(self) -> dict[str, np.ndarray]:
        """See `Rows`; views of what later results do not change."""
        self._given.update(self._arrays)
        return {name: array[: self._count] for name, array in self._arrays.items()}


class FileRows:
    """The results as arrays in a folder, a file a field: 4.5 kB a frame with 478 points, 0.5 GB an hour at 30 frames/s.

    Use it as a context manager; what `columns` returns is read from these files as it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0
        self._shapes: dict[str, tuple[np.dtype, tuple[int, ...]]] = {}
        self._files: dict[str, BinaryIO] = {}
        self._stack = ExitStack()

    def __enter__(self) -> FileRows:
        for name in NAMES:
            self._files[name] = self._stack.enter_context(open(self._folder / name, "wb"))
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def __len__(self) -> int:
        return self._count

    def append(self, result: FrameResult) -> None:
        """See `Rows`. Raises OSError where the disk is full."""
        for name, file in self._files.items():
            values = values_of(result, name)
            self._shapes[name] = values.dtype, values.shape
            file.write(values.tobytes())
        self._count += 1

    def columns(self) -> dict[str, np.ndarray]:
        """See `Rows`; (T,...) each, not to be changed."""
        columns: dict[str, np.ndarray] = {}
        for name, file in self._files.items():
            file.flush()
            kind, shape = self._shapes[name]
            columns[name] = np.memmap(self._folder / name, kind, "r", shape=(self._count, *shape))
        return columns


class NoRows:
    """None of the results: for streams without an end, of which no track is made."""

    def __len__(self) -> int:
        return 0

    def append(self, result: FrameResult) -> None:
        """See `Rows`."""

    def columns(self) -> dict[str, np.ndarray]:
        """See `Rows`."""
        return {}
