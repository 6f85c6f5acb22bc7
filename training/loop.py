"""The loop that trains: processes, steps, running average, checkpoints.

Under torchrun every process takes its share of the data and gradients are averaged (DistributedDataParallel). A run
that was interrupted goes on from its checkpoint and ends with the weights of an uninterrupted one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from selftrack.errors import UserError
from selftrack.io import atomic_path, settings_changed

CLIP = 5.0
"""Largest norm of the gradient."""
REPORT_EVERY = 20
"""Steps from one call of `progress` to the next."""
FREE = frozenset({"checkpoint_every", "workers"})
"""Settings that do not change what a run gives; it may go on under others."""

Losses = dict[str, Tensor]
Progress = Callable[[int, int, dict[str, float]], None]
"""Called with the step, the number of steps and the losses."""
T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """The processes that train together, and which of them this one is."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @staticmethod
    def join(device: str) -> World:
        """Join the processes that torchrun has started; without it there is this one alone, on `device`.

        On GPUs each process has its own.
        """
        size, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
        if size == 1:
            return World(torch.device(device))
        on_gpus = device.startswith("cuda")
        if on_gpus:
            device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
            torch.cuda.set_device(device)
        if not torch.distributed.is_initialized():
            torch.distributed.init_process_group("nccl" if on_gpus else "gloo")
        return World(torch.device(device), rank, size)

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Take this process's share of `items`."""
        return items[self.rank :: self.size]

    def gather(self, value: T) -> list[T]:
        """Collect the values of all processes, in their order; all of them have to call it."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(values, value)
        return values


@dataclass(frozen=True)
class Checkpoint:
    """The file from which an interrupted run goes on."""

    path: Path
    settings: dict[str, Any]
    """All that decides what the run gives, the data's fingerprint among them."""
    every: int
    """Steps from one to the next."""

    @staticmethod
    def beside(out: Path, settings: dict[str, Any], every: int) -> Checkpoint:
        """Name the checkpoint of a run that writes `out`."""
        binding = {name: value for name, value in settings.items() if name not in FREE}
        return Checkpoint(out.with_suffix(".checkpoint"), binding, every)

    def load(self) -> dict[str, Any] | None:
        """Read the state that `save` wrote; None where there is none.

        Raises:
            UserError: it is that of a run with other settings or other data, or it is damaged.
        """
        if not self.path.exists():
            return None
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            before = state["settings"]
        except Exception as error:  # torch.load raises whatever unpickling does
            raise UserError(f"{self.path}: is damaged ({error}); delete it to begin anew") from error
        changed = settings_changed(before, self.settings)
        if changed:
            raise UserError(
                f"{self.path}: of a run with other settings ({changed}); go on with those, or delete it to begin anew"
            )
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Write the state with the settings; it gets its name only when it is complete."""
        with atomic_path(self.path) as part:
            torch.save(state | {"settings": self.settings}, part)

    def remove(self) -> None:
        """Delete the file when the run has ended."""
        self.path.unlink(missing_ok=True)


class RunningAverage:
    """Average of a module's weights over the steps: of all of them at first, a decaying one later."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module, self.decay = module, decay
        self.values = {name: value.detach().clone() for name, value in module.state_dict().items()}

    def update(self, step: int) -> None:
        """Take the weights after `step`, which counts from 1."""
        weight = max(1 - self.decay, 50 / (step + 50))
        torch._foreach_lerp_(list(self.values.values()), list(self.module.state_dict().values()), weight)

    def load(self, values: dict[str, Tensor]) -> None:
        """Take up the average of a checkpoint."""
        for name, value in values.items():
            self.values[name].copy_(value)


class Loop:
    """Minimise a weighted sum of losses.

    Args:
        objective: gives the losses of a batch by their names.
        trained: the part of it whose weights are trained and kept in the checkpoint.
        weights: of the losses.
        optimizer: of the parameters of `trained`.
        schedule: of its learning rate, which moves with every step.
        world: the processes.
        average: of the weights of `trained`, if one is wanted.
        bfloat16: whether the objective is computed in mixed precision on a GPU.
    """

    def __init__(
        self,
        objective: nn.Module,
        trained: nn.Module,
        weights: dict[str, float],
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
        world: World,
        average: RunningAverage | None = None,
        bfloat16: bool = False,
    ) -> None:
        self.objective = DistributedDataParallel(objective) if world.size > 1 else objective
        self.trained, self.weights, self.world, self.average = trained, weights, world, average
        self.optimizer, self.schedule = optimizer, schedule
        self.autocast = torch.autocast("cuda", torch.bfloat16, enabled=bfloat16 and world.device.type == "cuda")
        self.step = 0
        self._random: dict[str, Tensor] | None = None

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from the state of a checkpoint."""
        self.step = state["step"]
        self.trained.load_state_dict(state["trained"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.average is not None:
            self.average.load(state["average"])
        self._random = state["random"][self.world.rank]

    def run(
        self,
        batches: Callable[[int], Iterable[tuple]],
        steps: int,
        seed: int,
        checkpoint: Checkpoint,
        progress: Progress | None = None,
    ) -> None:
        """Take all steps, or those that are left after `resume`.

        Args:
            batches: gives, for the number of steps that are done, the arguments of the objective of each further one.
            steps: of the whole run.
            seed: of what is drawn at random in the steps.
            checkpoint: written every so many steps and after the last one.
            progress: called in the first process every twenty steps and after the last one.
        """
        torch.manual_seed(seed + 1000 * self.world.rank)
        stream = iter(batches(self.step))
        if self._random is not None:
            _set_random_state(self._random, self.world.device)
        while self.step < steps:
            losses = self._improve(next(stream))
            last = self.step == steps
            if progress and self.world.rank == 0 and (last or self.step % REPORT_EVERY == 0):
                progress(self.step, steps, {name: loss.item() for name, loss in losses.items()})
            if last or self.step % checkpoint.every == 0:
                self._save(checkpoint)

    def _improve(self, batch: tuple) -> Losses:
        """Take one step."""
        with self.autocast:
            losses = self.objective(*batch)
        self.optimizer.zero_grad()
        total = sum(self.weights[name] * loss for name, loss in losses.items())
        total.backward()
        nn.utils.clip_grad_norm_(self.trained.parameters(), CLIP)
        self.optimizer.step()
        self.schedule.step()
        self.step += 1
        if self.average is not None:
            self.average.update(self.step)
        return losses

    def _save(self, checkpoint: Checkpoint) -> None:
        random = self.world.gather(_random_state(self.world.device))
        if self.world.rank == 0:
            state = {"step": self.step, "trained": self.trained.state_dict(), "random": random}
            state |= {"optimizer": self.optimizer.state_dict(), "schedule": self.schedule.state_dict()}
            checkpoint.save(state | {"average": self.average.values if self.average else {}})


def _random_state(device: torch.device) -> dict[str, Tensor]:
    """Read the state of the default generators that a step draws from."""
    state = {"cpu": torch.get_rng_state()}
    return state | {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else state


def _set_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
