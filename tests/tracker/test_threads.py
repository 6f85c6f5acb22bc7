"""Frames that are worked on at the same time come in their order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from selftrack.tracker import threads
from selftrack.tracker.threads import in_order


def test_results_come_in_the_order_of_the_items() -> None:
    """Here each item but the last waits until the next one is done, so the work ends the other way round."""
    done = [threading.Event() for _ in range(3)]

    def work(item: int) -> int:
        if item < 2:
            assert done[item + 1].wait(10)
        done[item].set()
        return 10 * item

    assert list(in_order(work, range(3), 3)) == [0, 10, 20]


def test_few_items_are_taken_ahead() -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in range(20):
            taken.append(item)
            yield item

    results = in_order(lambda item: item, items(), 2)
    assert next(results) == 0 and taken == [0, 1, 2]
    assert next(results) == 1 and taken == [0, 1, 2, 3]


def test_what_waits_for_a_thread_is_cancelled_when_the_work_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by Ctrl-C while the first result is waited for: what has a thread is done, the next item is not begun."""
    begun, futures, cancelled = list[int](), list[Future](), threading.Event()

    def interrupted() -> None:
        raise KeyboardInterrupt

    class Pool(ThreadPoolExecutor):
        def submit(self, *work: object) -> Future:
            futures.append(super().submit(*work))
            if len(futures) == 1:
                futures[0].result = interrupted
            else:
                futures[-1].add_done_callback(lambda _: cancelled.set())
            return futures[-1]

    def work(item: int) -> None:
        begun.append(item)
        cancelled.wait(5)

    monkeypatch.setattr(threads, "ThreadPoolExecutor", Pool)
    with pytest.raises(KeyboardInterrupt):
        list(threads.in_order(work, range(4), 1))
    assert begun == [0] and len(futures) == 2 and futures[1].cancelled()


@pytest.mark.parametrize("broken", ["work", "items"])
def test_an_error_ends_the_work(broken: str) -> None:
    def work(item: int) -> int:
        if broken == "work" and item == 2:
            raise ValueError("no such frame")
        return item

    def items() -> Iterator[int]:
        yield from range(3)
        if broken == "items":
            raise ValueError("no such frame")
        yield 3

    found = []
    with pytest.raises(ValueError, match="no such frame"):
        for result in in_order(work, items(), 2):
            found.append(result)
    assert found == ([0, 1] if broken == "work" else [0])  # one of the items comes at once
