"""EXT_meshopt_compression, read by the text of its specification."""

from collections.abc import Callable

import numpy as np
import pytest

from selftrack.decoders.rigs.meshopt import encode_rows


@pytest.mark.parametrize("count", [1, 15, 16, 17, 255, 256, 257, 600])
@pytest.mark.parametrize("size", [4, 12, 16])
def test_rows_come_back(decode_meshopt: Callable, count: int, size: int) -> None:
    """Of every kind: at rest, with small steps of both signs, with large ones, and by chance."""
    rng = np.random.default_rng(count * size)
    rows = np.zeros((count, size), np.uint8)
    rows[:, 0] = rng.integers(0, 256, count)
    rows[:, 1] = rng.integers(-1, 2, count).cumsum()
    rows[:, 2] = rng.integers(-7, 8, count).cumsum()
    rows[::40, 3] = 200
    np.testing.assert_array_equal(decode_meshopt(encode_rows(rows), count, size), rows)


def test_a_group_takes_as_few_bits_as_it_needs() -> None:
    """In a header of one byte and a tail of 32: sixteen equal rows nothing, steps of 1 two bits each, of 7 four."""
    for step, expected in ((0, 0), (1, 4), (7, 8), (100, 16)):
        column = np.zeros((16, 4), np.uint8)
        column[:, 0] = step * (np.arange(16) % 2)
        assert len(encode_rows(column)) == 1 + 4 + expected + 32
