"""The verdict on an adaptation: whether it helped, on frames that it did not learn from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from selftrack.adapt.learning.held_out import HeldOut, held_out_error
from selftrack.adapt.learning.loop import Adaptation
from selftrack.adapt.learning.trainer import AdaptConfig, Tracked


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
    against: str = ""
    """Why it is not kept; empty where it is."""

    def __str__(self) -> str:
        """One line for the user."""

        def change(name: str, unit: str, scale: float = 1.0) -> str:
            a, b = scale * getattr(self.before, name), scale * getattr(self.after, name)
            return f"{name} {a:.2f} -> {b:.2f} {unit}"

        parts = [change("landmarks", "% IOD"), change("texture", "grey levels", 255)]
        if np.isfinite(self.before.skin):
            parts.insert(0, change("skin", "% IOD"))
        end = "" if self.trained else "; the skin is followed from key frames, the network stays as it was"
        end = end if self.kept else f"; {self.against}, so the un-adapted tracker is kept"
        return f"held-out frames: {', '.join(parts)}{end}"

    def report(self) -> dict[str, Any]:
        """The content of `adaptation.json`."""
        errors = {"before": vars(self.before), "after": vars(self.after)}
        return {
            "kept": self.kept,
            "trained": self.trained,
            "against": self.against,
            **errors,
            "history": self.history,
            "settings": self.settings,
        }


def judge(run: Adaptation, tracked: Tracked) -> Verdict:
    """Compare on held-out blocks, see `what_is_against`.

    The selecting blocks tell whether the network that was trained, by which all frames are `tracked`, is used beside
    the key frames: where it is better than these alone by more than a tie, and its landmarks are not much worse. Then
    the reporting blocks give the verdict. Key frames alone, from which nothing was learned, are judged on all frames,
    each by those far from it: a block or two of a short clip are too few to tell.
    """
    trainer = run.trainer
    if _network_helps(run, tracked):
        verdict = _verdict(run, trainer.report_rows, tracked, trained=True)
        if verdict.kept or tracked.keys is None:
            return verdict
    return _verdict(run, trainer.all_rows, trainer.keyed_from_afar(), trained=False)


def _verdict(run: Adaptation, rows: Tensor, tracked: Tracked, trained: bool) -> Verdict:
    """Compare with the un-adapted tracker on frames `rows`."""
    before, after = (held_out_error(run.trainer, rows, run.windows, one) for one in (run.trainer.unadapted, tracked))
    against = what_is_against(before, after, run.config)
    return Verdict(not against, before, after, run.step, trained, against=against)


def what_is_against(before: HeldOut, after: HeldOut, config: AdaptConfig) -> str:
    """Say why the errors `after` an adaptation are no better than `before`; empty where they are.

    They are better if skin and texture are on average and neither is much worse, and the landmarks have not gone far:
    the un-adapted tracker follows these with their noise, so that a little farther is often better. A gain that is no
    more than a tie is not worth landmarks that are worse.
    """
    ratios = after.relative_to(before)
    if not np.nanmean(ratios) < 1:
        return "skin and texture are no better on average"
    shares = {"skin": config.worse, "texture": config.worse, "landmarks": config.away}
    for (name, share), ratio in zip(shares.items(), [*ratios, after.landmarks / before.landmarks], strict=True):
        if ratio >= 1 + share:
            return f"{name} {'are' if name.endswith('s') else 'is'} worse by {100 * (ratio - 1):.0f} %"
    gain, farther = 1 - np.nanmean(ratios), after.landmarks / before.landmarks - 1
    if gain < config.tie and farther >= config.worse:
        return f"skin and texture gain {100 * gain:.0f} %, and landmarks are worse by {100 * farther:.0f} %"
    return ""


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
