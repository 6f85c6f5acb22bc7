"""The results of a stream, kept for its track: in memory, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from selftrack.tracker.tracker import FrameResult

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
    """All results, in memory: about 9 kB a frame."""

    def __init__(self) -> None:
        self._results: list[FrameResult] = []

    def __len__(self) -> int:
        return len(self._results)

    def append(self, result: FrameResult) -> None:
        """See `Rows`."""
        self._results.append(result)

    def columns(self) -> dict[str, np.ndarray]:
        """See `Rows`."""
        return {name: np.stack([values_of(result, name) for result in self._results]) for name in NAMES}


class NoRows:
    """None of the results: for streams without an end, of which no track is made."""

    def __len__(self) -> int:
        return 0

    def append(self, result: FrameResult) -> None:
        """See `Rows`."""

    def columns(self) -> dict[str, np.ndarray]:
        """See `Rows`."""
        return {}
