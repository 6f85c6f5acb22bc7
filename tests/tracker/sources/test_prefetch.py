"""Work ahead in a background thread: bounded, ended with its consumer, errors in order."""

import threading
import time
from collections.abc import Iterator

import pytest

from selftrack.tracker.sources.prefetch import prefetch


def test_prefetch_is_bounded_and_stops() -> None:
    made: list[int] = []

    def source() -> Iterator[int]:
        for i in range(1000):
            made.append(i)
            yield i

    items = prefetch(source(), depth=3)
    assert [next(items), next(items)] == [0, 1]
    time.sleep(0.2)
    assert len(made) <= 2 + 3 + 1
    before = threading.active_count()
    items.close()
    assert threading.active_count() == before - 1 and len(made) < 10


def test_prefetch_raises_the_threads_error_after_its_items() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise OSError("disk gone")

    items = prefetch(source())
    assert next(items) == 1
    with pytest.raises(OSError, match="disk gone"):
        next(items)
