"""The verdict on an adaptation: whether it helped, on frames that it did not learn from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from selftrack.adapt.learning.held_out import HeldOut, held_out_error
from selftrack.adapt.learning.loop import Adaptation
from selftrack.adapt.learning.trainer import Tracked


@dataclass(frozen=True)
class Verdict:
    """Whether adaptation helped, on frames that it never learned from."""

    kept: bool
    before: HeldOut
    after: HeldOut
    steps: int
    trained: bool = True
    """Whether the network that was trained is used, beside the key frames."""
    history: list[dict[str, float]] = field(default_factory=list, repr=False)
    """Errors on the selecting blocks and the loss terms, by step."""
    settings: dict[str, Any] = field(default_factory=dict, repr=False)
    """All that the run depended on."""

    def __str__(self) -> str:
        """One line for the user."""

        def change(name: str, unit: str, scale: float = 1.0) -> str:
            a, b = scale * getattr(self.before, name), scale * getattr(self.after, name)
            return f"{name} {a:.2f} -> {b:.2f} {unit}"

        parts = [change("landmarks", "% IOD"), change("texture", "grey levels", 255)]
        if np.isfinite(self.before.skin):
            parts.insert(0, change("skin", "% IOD"))
        end = "" if self.trained else "; the skin is followed from key frames, the network stays as it was"
        end = end if self.kept else "; this is no better, so the un-adapted tracker is kept"
        return f"held-out frames: {', '.join(parts)}{end}"

    def report(self) -> dict[str, Any]:
        """The content of `adaptation.json`."""
        errors = {"before": vars(self.before), "after": vars(self.after)}
        return {
            "kept": self.kept,
            "trained": self.trained,
            **errors,
            "history": self.history,
            "settings": self.settings,
        }


def judge(run: Adaptation, tracked: Tracked) -> Verdict:
    """Compare on held-out blocks: adaptation helped if skin and texture are better on average and neither is much
    worse.

    The selecting blocks tell whether the network that was trained, by which all frames are `tracked`, is used beside
    the key frames: where it is better than these alone by more than a tie, and its landmarks are not much worse. Then
    the reporting blocks give the verdict. Key frames alone, by which nothing was chosen, are judged on all blocks.
    """
    trainer = run.trainer
    if _network_helps(run, tracked):
        verdict = _verdict(run, trainer.report_rows, tracked, trained=True)
        if verdict.kept or tracked.keys is None:
            return verdict
    return _verdict(run, trainer.held_rows, trainer.keyed, trained=False)


def _verdict(run: Adaptation, rows: Tensor, tracked: Tracked, trained: bool) -> Verdict:
    """Compare with the un-adapted tracker on frames `rows`."""
    before, after = (held_out_error(run.trainer, rows, run.windows, one) for one in (run.trainer.unadapted, tracked))
    ratios = after.relative_to(before)
    better = bool(np.nanmean(ratios) < 1 and np.nanmax(ratios) < 1 + run.config.worse)
    return Verdict(better, before, after, run.step, trained)


def _network_helps(run: Adaptation, tracked: Tracked) -> bool:
    """Whether the network that was trained is better than what there is without it."""
    if run.best_step == 0:
        return False
    if tracked.keys is None:  # a personal model: what there is without it is the un-adapted network
        return True
    rows = run.trainer.select_rows
    keyed, error = (held_out_error(run.trainer, rows, run.windows, one) for one in (run.trainer.keyed, tracked))
    gained = bool(np.nanmean(error.relative_to(keyed)) < 1 - run.config.tie)
    return gained and error.landmarks < (1 + run.config.worse) * keyed.landmarks
