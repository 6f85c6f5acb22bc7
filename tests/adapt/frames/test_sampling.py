"""Which frames are compared."""

from __future__ import annotations

import pytest

from selftrack.adapt.frames.sampling import lags
from selftrack.adapt.learning.trainer import AdaptConfig


@pytest.mark.parametrize(
    ("rate", "frames"), [(15, (0, 1, 2, 3, 6)), (25, (0, 1, 2, 5, 10)), (30, (0, 1, 2, 6, 12)), (60, (0, 1, 2, 12, 24))]
)
def test_pairs_lie_as_far_apart_in_time_at_any_rate(rate: int, frames: tuple[int, ...]) -> None:
    assert lags(AdaptConfig().offsets, 1 / rate) == frames


def test_frames_far_apart_in_time_are_compared_once() -> None:
    assert lags(AdaptConfig().offsets, 0.5) == (0, 1, 2)
