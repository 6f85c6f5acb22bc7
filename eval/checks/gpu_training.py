"""Whether trainings agree on the CPU and on a GPU, how fast they are there and how much memory they take."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from selftrack.decoders.capture import open_capture
from selftrack.eval.checks.agreement import Check, Figure, gradient_check, loss_checks
from selftrack.synthetic.captures import make_captures
from selftrack.synthetic.lab import LabConfig, make_studio
from selftrack.tracker.network.i2znet import I2ZConfig, I2ZNet
from selftrack.training import dam
from selftrack.training.dataset import Dataset
from selftrack.training.i2znet import TrainConfig
from selftrack.training.linear_start import standardise
from selftrack.training.loop import Loop, World
from selftrack.training.objective import Objective, ObjectiveConfig, choose_points

ROUNDED = 0.05
"""Tolerance of a gradient in mixed precision, relative to it."""
PRESETS = ("i2znet_small", "i2znet_paper")
TEXTURE = 1024
GIGABYTE = 1e9


class Steps:
    """Steps of a training on one batch, again and again."""

    def __init__(
        self,
        objective: torch.nn.Module,
        trained: torch.nn.Module,
        weights: dict[str, float],
        batch: tuple,
        bfloat16: bool = False,
    ) -> None:
        device = next(trained.parameters()).device
        optimizer = torch.optim.AdamW(trained.parameters(), 1e-5)
        schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
        self.loop = Loop(objective, trained, weights, optimizer, schedule, World(device), bfloat16=bfloat16)
        self.batch, self.device = batch, device

    def first(self) -> tuple[dict[str, float], np.ndarray]:
        """Take one step; returns the losses and the gradient (N,)."""
        losses = self.loop._improve(self.batch)
        gradients = [p.grad.flatten() for p in self.loop.trained.parameters() if p.grad is not None]
        return {name: loss.item() for name, loss in losses.items()}, torch.cat(gradients).cpu().numpy()

    def seconds(self, count: int) -> float:
        """Time one of so many steps."""
        self._wait()
        began = time.perf_counter()
        for _ in range(count):
            self.loop._improve(self.batch)
        self._wait()
        return (time.perf_counter() - began) / count

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def network_steps(preset: str, shards: Sequence[Path], device: str) -> Steps:
    """Prepare the training of an architecture on captures; streams that are not bundled are random, all noise is 0."""
    torch.manual_seed(0)
    place = torch.device(device)
    network = I2ZNet(I2ZConfig.load(preset), pretrained=False).to(place).train()
    data = Dataset(shards, network)
    standardise(network, data)
    quiet = replace(ObjectiveConfig(), detected=1.0, perceptual_dropout=0.0)
    objective = Undrawn(network, quiet, bfloat16=place.type == "cuda").to(place)
    people = torch.arange(min(len(data.points), TrainConfig.people))
    return Steps(objective, network.heads, quiet.weights, data.batch(people, place))


class Undrawn(Objective):
    """Without what is drawn at random, which is other numbers on another device."""

    def detect(self, points: Tensor, code: Tensor, detected: Tensor) -> Tensor:
        """The true points."""
        return choose_points(points.flatten(0, 1), self.network.config.points)

    def _pools(self, people: int, shots: int) -> Tensor:
        return torch.ones(people, shots, shots, device=self.millimetres.device)

    def _condition(self, single: Tensor, true: Tensor, pooled: Tensor) -> Tensor:
        return pooled


def dam_steps(folder: Path, texture: int, device: str) -> Steps:
    """Prepare the training of a deep appearance model on a virtual actor."""
    capture = open_capture(folder)
    config = dam.DamTraining(model=replace(dam.DamTraining().model, texture=texture))
    torch.manual_seed(0)
    objective = dam.Objective(dam.prepare(capture, config), len(capture.cameras)).to(device)
    learn, _ = dam.split_frames(len(capture.frames))
    moments = dam.Moments(capture, learn, texture, config.batch, 0)
    items = [moments[i] for i in range(config.batch)]
    batch = {name: torch.stack([item[name] for item in items]).to(device) for name in items[0]}
    return Steps(objective, objective, config.weights, (batch,), bfloat16=True)


def compare_training(
    folder: Path,
    devices: tuple[str, str] = ("cpu", "cuda"),
    presets: Sequence[str] = PRESETS,
    people: int = TrainConfig.people,
    texture: int = TEXTURE,
    steps: int = 20,
) -> tuple[list[Check], list[Figure]]:
    """Train networks on a few drawn people, and a model of a virtual actor, on two devices; the data goes into
    `folder`."""
    checks, figures = [], []
    shards = make_captures(folder / "captures", people)
    for preset in presets:
        runs = [network_steps(preset, shards, device) for device in devices]
        (losses, gradient), (other, rounded) = (run.first() for run in runs)
        checks += loss_checks(f"training of {preset}", losses, other)
        checks.append(gradient_check(f"training of {preset}, gradient", gradient, rounded, ROUNDED))
        minutes = [TrainConfig.steps * run.seconds(count) / 60 for run, count in zip(runs, (1, steps), strict=True)]
        name = f"training of {preset}, {TrainConfig.steps} steps, min"
        figures.append(Figure(name, minutes[0], minutes[1], goal="30"))
    make_studio(folder / "studio", 0, LabConfig(frames=5))
    step = dam_steps(folder / "studio", texture, devices[1])
    step.first()  # warms up
    figures.append(Figure(f"a step of a model with a texture of {texture}, s", np.nan, step.seconds(steps), goal="2"))
    if devices[1] == "cuda":
        taken = torch.cuda.max_memory_allocated() / GIGABYTE
        figures.append(Figure("most memory of all these, GB", np.nan, taken, goal="16"))
    return checks, figures
