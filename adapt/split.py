"""Which frames adaptation may learn from: blocks held out to select, others to report."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from selftrack.errors import UserError

BLOCK = 16
EVERY = 5


class Split(NamedTuple):
    """Disjoint row numbers of a clip."""

    train: np.ndarray
    select: np.ndarray
    report: np.ndarray


def split_rows(count: int) -> Split:
    """Every fifth block of 16 of `count` frames is held out; these go to `select` and `report` in turn.

    A clip too short for two held-out blocks selects and reports on the same one; one too short for any holds out its
    last fifth.
    """
    if count < 1:
        raise UserError(f"a clip needs at least one frame, got {count}")
    rows = np.arange(count)
    block = rows // BLOCK
    if count < EVERY * BLOCK:
        held = rows >= count - max(count // EVERY, 1)
        return Split(rows[~held], rows[held], rows[held])
    held = block % EVERY == EVERY - 1
    half = block // EVERY % 2
    select, report = rows[held & (half == 0)], rows[held & (half == 1)]
    return Split(rows[~held], select, report if len(report) else select)
