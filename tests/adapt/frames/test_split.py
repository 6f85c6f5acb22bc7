"""Held-out blocks."""

from __future__ import annotations

import numpy as np
import pytest

from selftrack.adapt.frames.split import split_rows
from selftrack.tracker.results.skin_points import SkinPointConfig

STEP = 1 / 30


def test_every_fifth_block_of_sixteen_is_held_out_in_turn() -> None:
    train, select, report = split_rows(400, STEP)
    assert select.tolist() == [*range(64, 80), *range(224, 240), *range(384, 400)]
    assert report.tolist() == [*range(144, 160), *range(304, 320)]
    assert sorted([*train, *select, *report]) == list(range(400))


@pytest.mark.parametrize("count", [1, 7, 72, 79, 80, 100, 144])
def test_short_clips_select_and_report_on_one_block(count: int) -> None:
    train, select, report = split_rows(count, STEP)
    assert np.array_equal(select, report) and len(select) >= 1
    assert not set(train) & set(select) and len(train) + len(select) == count


@pytest.mark.parametrize("rate", [15, 24, 25, 30000 / 1001, 30, 50, 60, 120])
def test_blocks_last_as_long_at_any_rate_and_hold_a_window(rate: float) -> None:
    _, select, _ = split_rows(round(40 * rate), 1 / rate)
    length = len(np.split(select, np.flatnonzero(np.diff(select) > 1) + 1)[0])
    assert length / rate == pytest.approx(16 / 30, abs=0.5 / rate + 1e-9)
    assert length >= SkinPointConfig().length(1 / rate)


def test_no_frames() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        split_rows(0, STEP)
