"""Which frames adaptation may learn from: blocks held out to select, others to report."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from selftrack.errors import UserError

BLOCK = 16 / 30
"""Seconds, enough for a window of skin points."""
EVERY = 5


class Split(NamedTuple):
    """Disjoint row numbers of a clip."""

    train: np.ndarray
    select: np.ndarray
    report: np.ndarray

    @property
    def held(self) -> np.ndarray:
        """All that are held out, in order."""
        return np.union1d(self.select, self.report)


def block_length(step: float) -> int:
    """Frames of a block, in a clip of frames `step` seconds apart: 16 at 30 frames/s."""
    return max(round(BLOCK / step), 1)


def split_rows(count: int, step: float) -> Split:
    """Every fifth block of `count` frames `step` seconds apart is held out; these go to `select` and `report` in turn.

    A clip too short for two held-out blocks selects and reports on the same one; one too short for any holds out its
    last fifth.
    """
    if count < 1:
        raise UserError(f"a clip needs at least one frame, got {count}")
    rows, length = np.arange(count), block_length(step)
    block = rows // length
    if count < EVERY * length:
        held = rows >= count - max(count // EVERY, 1)
        return Split(rows[~held], rows[held], rows[held])
    held = block % EVERY == EVERY - 1
    half = block // EVERY % 2
    select, report = rows[held & (half == 0)], rows[held & (half == 1)]
    return Split(rows[~held], select, report if len(report) else select)
