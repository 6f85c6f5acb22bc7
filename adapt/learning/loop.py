"""The loop that adapts I2ZNet to one clip. Every fifth block of frames is held out of all that it learns from."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from selftrack.adapt import checkpoint
from selftrack.adapt.learning.held_out import HeldOut, held_out_error
from selftrack.adapt.learning.schedule import warmup_cosine
from selftrack.adapt.learning.trainer import State, Trainer
from selftrack.io import uninterrupted
from selftrack.tracker.results.skin_points import Window

_PART = "steps"
"""Of a checkpoint: the state of the loop."""
_COUNTS = ("step", "best_step", "least", "history", "ended")
"""What is kept of it beside tensors."""


class Adaptation:
    """The loop: minimises Eq. 5, evaluates on the held-out frames now and then, and keeps the best state."""

    def __init__(self, trainer: Trainer, windows: list[Window]) -> None:
        """`windows` are the skin points of the clip's frames, by their rows in it."""
        self.trainer, self.windows, self.config = trainer, windows, trainer.config
        model, config = trainer.model, trainer.config
        heads = [p for p in model.heads.parameters() if p.requires_grad]
        # where there is a refiner, the points of all frames have told the identity: trained on, it would turn the gaze
        own = [model.identity] if trainer.refiner is None and model.identity.numel() else []
        free = [*own, model.colour, model.inverse_distance]
        groups = [{"params": heads, "lr": config.rate}, {"params": free, "lr": config.rate_clip}]
        self.optimizer = torch.optim.Adam(groups, fused=True)
        rate = partial(warmup_cosine, steps=config.steps)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, rate)
        self.best, self.least, self.best_step, self.step = copy.deepcopy(model.state_dict()), np.inf, 0, 0
        self.unadapted = held_out_error(trainer, trainer.select_rows, windows, trainer.unadapted)
        self.history: list[dict[str, float]] = [{"step": 0, **vars(self.unadapted)}]
        self.ended = False
        """Whether no step is to follow."""
        self.interrupted = False
        """Whether Ctrl-C has ended this run."""
        self._learned = {name for name, parameter in model.named_parameters() if parameter.requires_grad}

    def __call__(
        self,
        progress: Callable[[int, int, dict[str, float]], None],
        place: Path | None,
        settings: dict[str, object],
    ) -> None:
        """Run to the end and leave the best state in the model. Ctrl-C is an early end; what has ended stays so, also
        where the next run resumes from the same checkpoint."""
        if not self.ended:
            try:
                self._run(progress, place, settings)
            except KeyboardInterrupt:
                self.interrupted = True
            with uninterrupted():  # pressed again, Ctrl-C ends the run, but loses nothing
                self.ended = True
                if place:
                    self.save(place, settings)
        self.trainer.model.load_state_dict(self.best)

    def _run(
        self,
        progress: Callable[[int, int, dict[str, float]], None],
        place: Path | None,
        settings: dict[str, object],
    ) -> None:
        config, trainer = self.config, self.trainer
        state = None
        while self.step < config.steps:
            if state is None or self.step % config.refresh == 0:
                state = trainer.renew()
            self.step += 1
            losses = self._improve(state)
            if self.step % config.evaluate == 0 or self.step == config.steps:
                error = self._evaluate(losses)
                # what `renew` makes is not in the checkpoint, but made there anew
                if place and self.step % config.refresh == 0:
                    self.save(place, settings)
                progress(self.step, config.steps, {"skin": error.skin, "texture": 255 * error.texture})
                if self.step - self.best_step >= config.patience * config.evaluate:
                    break
            else:
                progress(self.step, config.steps, {})

    def _improve(self, state: State) -> dict[str, Tensor]:
        """Take one step; returns the terms, without their weights."""
        trainer = self.trainer
        losses = trainer.losses(state, trainer.draw())
        self.optimizer.zero_grad(set_to_none=True)
        trainer.total(losses).backward()
        # norms are of thousands, so this makes all steps count alike: no outlier rules Adam's moments
        nn.utils.clip_grad_norm_(list(trainer.model.parameters()), 100.0)
        self.optimizer.step()
        self.schedule.step()
        return losses

    def _evaluate(self, losses: dict[str, Tensor]) -> HeldOut:
        """Judge the present state on the selecting blocks by its errors relative to the un-adapted tracker's.

        Of states as good within the noise of so few frames the latest: the rate decays, so it is the steadiest.
        """
        error = held_out_error(self.trainer, self.trainer.select_rows, self.windows)
        self.history.append({"step": self.step, **vars(error), **{k: v.item() for k, v in losses.items()}})
        score = float(np.nanmean(error.relative_to(self.unadapted)))
        if score < (1 + self.config.tie) * self.least:
            self.best, self.best_step = copy.deepcopy(self.trainer.model.state_dict()), self.step
            self.least = min(self.least, score)
        return error

    def save(self, path: Path, settings: dict[str, object]) -> None:
        """Write what `resume` needs and cannot make again: of a run that has ended the best state alone."""
        state: dict[str, object] = {name: getattr(self, name) for name in _COUNTS}
        if self.ended:
            state["best"] = self._trained(self.best)
        else:
            state["best"] = None if self.best_step == self.step else self._trained(self.best)
            state |= {"model": self._trained(self.trainer.model.state_dict()), "optimizer": self.optimizer.state_dict()}
            state |= {"schedule": self.schedule.state_dict(), "generator": self.trainer.sampler.generator.get_state()}
        checkpoint.save(path, settings, _PART, state)

    def _trained(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """What is trained of a state of the model."""
        return {name: value for name, value in state.items() if name in self._learned}

    def resume(self, path: Path, settings: dict[str, object]) -> bool:
        """Go on where a run with the same settings stopped; whether there was one.

        Raises:
            UserError: the file is damaged.
        """
        state = checkpoint.load(path, settings, _PART)
        if state is None:
            return False
        for name in _COUNTS:
            setattr(self, name, state[name])
        self.best = self.best | (state["model"] if state["best"] is None else state["best"])
        if not self.ended:
            self.trainer.model.load_state_dict(self.best | state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            self.trainer.sampler.generator.set_state(state["generator"])
        return True
