"""A batch from its clips to the page that shows them: what is left to do goes to processes, here or elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from selftrack.batch.clips import Clip
from selftrack.batch.summary import write_summary
from selftrack.batch.worker import End, Launch, Outcome, Worker

WELL: tuple[End, ...] = ("tracked", "there", "elsewhere")
"""Ends of a clip after which there is nothing to mend."""


@dataclass(frozen=True)
class Tally:
    """How the clips of a run have ended."""

    ends: Counter[End]

    @property
    def well(self) -> bool:
        """Whether there is nothing to mend."""
        return not any(count for end, count in self.ends.items() if end not in WELL)

    def __str__(self) -> str:
        """One line for the user."""
        words = {"there": "done before", "failed before": "failed before (--retry-failed tries these again)"}
        return f"{self.ends.total()}: " + ", ".join(
            f"{count} {words.get(end, end)}" for end, count in self.ends.most_common()
        )


def run_batch(
    clips: Sequence[Clip],
    worker: Worker,
    launch: Launch,
    show: Callable[[Outcome, int, int], None] = lambda outcome, done, total: None,
) -> Tally:
    """Track those clips whose results are not there, and write the page of all, also where it is interrupted.

    Args:
        clips: of this machine or shard.
        worker: tracks them.
        launch: runs the worker over clips, such as `pool.run_pool`; it is not called where nothing is to be done.
        show: called with the outcome of a clip, and how many of how many have one.

    Raises:
        UserError: the folder of the batch cannot be written, or a status file in it is damaged.
    """
    worker.status.create()
    ends, left = Counter[End](), list[Clip]()

    def note(outcome: Outcome) -> None:
        ends[outcome.end] += 1
        show(outcome, ends.total(), len(clips))

    for clip in clips:
        outcome = worker.left(clip)
        if outcome is None:
            left.append(clip)
        else:
            note(outcome)
    try:
        if left:
            for outcome in launch(worker, left):
                note(outcome)
    finally:
        write_summary(worker.out)
    return Tally(ends)
