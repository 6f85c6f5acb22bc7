"""Supervised training of I2ZNet on captures (Yoon et al. 2019, Eq. 1-4).

The frozen streams' maps are computed once and cached, so that a step costs only the heads. Under torchrun every
process takes its share of the captures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import torch

from selftrack.adapt.learning.schedule import warmup_cosine
from selftrack.decoders.base import Decoder
from selftrack.decoders.registry import load_decoder
from selftrack.tracker.network.i2znet import I2ZConfig, I2ZNet
from selftrack.tracker.network.weights import save_heads
from selftrack.training.dataset import Data, Loading, Source
from selftrack.training.linear_start import begin_as, solve_linear, standardise
from selftrack.training.loop import Checkpoint, Loop, Progress, RunningAverage, World
from selftrack.training.objective import Objective, ObjectiveConfig


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run."""

    network: I2ZConfig = field(default_factory=I2ZConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    steps: int = 5000
    people: int = 6
    """People per step and process; each brings all of its moments and views."""
    rate: float = 5e-4
    """Peak learning rate."""
    weight_decay: float = 1e-4
    """Of AdamW."""
    average: float = 0.998
    """Decay of the running average of the weights, which is what is saved."""
    seed: int = 0
    checkpoint_every: int = 500
    """Steps."""


def train(
    source: Source,
    out: Path,
    config: TrainConfig,
    progress: Progress | None = None,
    loading: Loading | None = None,
    device: str = "cpu",
    decoder: Decoder | None = None,
    base: Path | None = None,
    streams: Path | None = None,
) -> Path:
    """Train a network and write its heads to `out`; an interrupted run goes on from `<out>.checkpoint`.

    Args:
        source: of the data.
        out: the file of weights.
        config: the settings.
        progress: called every twenty steps.
        loading: called while the data is read.
        device: "cpu" or "cuda".
        decoder: of the codes, by default the head.
        base: a file of weights from which the part that does not depend on the decoder begins.
        streams: file of `track-train streams` with the frozen streams' weights, see `I2ZNet`.

    Raises:
        UserError: the checkpoint is of a run with other settings or other data; or a frozen stream's weights are not
            there.
    """
    world, decoder = World.join(device), decoder or load_decoder()
    config = replace(config, network=replace(config.network, decoder=decoder.hash))
    settings = {**asdict(config), **source.settings(), "processes": world.size}
    checkpoint = Checkpoint.beside(out, settings, config.checkpoint_every)
    saved = checkpoint.load()
    torch.manual_seed(config.seed)
    network = I2ZNet(config.network, streams).to(world.device).train()
    data = source.load(network, world, loading)
    if base is None:
        standardise(network, data)
    else:
        begin_as(network, base)
    objective = Objective(network, config.objective, decoder, bfloat16=world.device.type == "cuda").to(world.device)
    if network.heads.linear is not None and saved is None:
        solve_linear(objective, data)
    heads = network.heads
    optimizer = torch.optim.AdamW(heads.parameters(), config.rate, weight_decay=config.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(warmup_cosine, steps=config.steps))
    average = RunningAverage(heads, config.average)
    loop = Loop(objective, heads, config.objective.weights, optimizer, schedule, world, average)
    if saved is not None:
        loop.resume(saved)
    loop.run(partial(_batches, data, config, world), config.steps, config.seed, checkpoint, progress)
    if world.rank == 0:
        save_heads(out, network, average.values, settings)
        checkpoint.remove()
    return out


def _batches(data: Data, config: TrainConfig, world: World, done: int) -> Iterator[tuple]:
    """Draw the batches of the steps after the first `done`."""
    order = torch.Generator().manual_seed(config.seed + world.rank)
    for step in range(config.steps):
        people = torch.randint(len(data.points), (config.people,), generator=order)
        if step >= done:
            yield data.batch(people, world.device)
