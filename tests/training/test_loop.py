"""The loop that trains, on a linear map with known gradients."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, multiprocessing, nn

from selftrack.errors import UserError
from selftrack.synthetic.studio import StudioConfig
from selftrack.tracker.network.i2znet import I2ZConfig, I2ZNet
from selftrack.training.dataset import Dataset
from selftrack.training.landmark_noise import NoiseConfig
from selftrack.training.loop import Checkpoint, Loop, Progress, RunningAverage, World
from selftrack.training.objective import Objective, ObjectiveConfig

SETTINGS = {"rate": 0.1, "noise": {"point": 0.4}, "workers": 0}


class Regression(nn.Module):
    """Mean squared error of a linear map on noisy inputs; the map itself is what is trained."""

    def __init__(self, noise: float = 0.1) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.map, self.noise = nn.Linear(3, 2), noise

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        x = x + self.noise * torch.randn_like(x)
        return {"error": (self.map(x) - y).square().mean(), "size": self.map.weight.square().mean()}


def batches(done: int, steps: int = 30, share: slice = slice(None)) -> Iterator[tuple[Tensor, Tensor]]:
    order = torch.Generator().manual_seed(5)
    for step in range(steps):
        x, y = torch.randn(8, 3, generator=order), torch.randn(8, 2, generator=order)
        if step >= done:
            yield x[share], y[share]


def make_loop(world: World, noise: float = 0.1) -> Loop:
    objective = Regression(noise)
    optimizer = torch.optim.AdamW(objective.map.parameters(), 0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, 31)
    average = RunningAverage(objective.map, 0.9)
    return Loop(objective, objective.map, {"error": 1.0, "size": 0.01}, optimizer, schedule, world, average)


def train(out: Path, progress: Progress | None = None, settings: dict = SETTINGS) -> Loop:
    """Thirty steps, a checkpoint every ten; goes on from one that is there."""
    checkpoint = Checkpoint.beside(out, settings, every=10)
    loop, saved = make_loop(World(torch.device("cpu"))), checkpoint.load()
    if saved is not None:
        loop.resume(saved)
    loop.run(batches, 30, 7, checkpoint, progress)
    return loop


def stop(step: int, steps: int, losses: dict[str, float]) -> None:
    raise KeyboardInterrupt


def test_one_step_is_the_optimizers() -> None:
    """Against the gradients written out by hand, for plain gradient descent."""
    objective = Regression(noise=0)
    before = objective.map.weight.detach().clone()
    x, y = next(batches(0))
    error = objective.map(x) - y
    gradient = 2 * error.T @ x / error.numel() + 2 * 0.5 * before / before.numel()
    bias = 2 * error.sum(0) / error.numel()
    assert gradient.square().sum() + bias.square().sum() < 25  # below the clipping
    optimizer = torch.optim.SGD(objective.map.parameters(), 0.1)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
    weights = {"error": 1.0, "size": 0.5}
    loop = Loop(objective, objective.map, weights, optimizer, schedule, World(torch.device("cpu")))
    loop._improve((x, y))
    torch.testing.assert_close(objective.map.weight, before - 0.1 * gradient)


def test_large_gradients_are_clipped() -> None:
    objective = Regression(noise=0)
    before = [p.detach().clone() for p in objective.map.parameters()]
    optimizer = torch.optim.SGD(objective.map.parameters(), 1.0)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
    weights = {"error": 1e4, "size": 0.0}
    Loop(objective, objective.map, weights, optimizer, schedule, World(torch.device("cpu")))._improve(next(batches(0)))
    moved = sum((p - b).square().sum() for p, b in zip(objective.map.parameters(), before, strict=True))
    assert moved.sqrt().item() == pytest.approx(5.0, rel=1e-4)


def test_an_interrupted_run_ends_as_one_that_was_not(tmp_path: Path) -> None:
    """Weights, their average and every loss that is reported, to the last bit: random draws go on where they were."""
    reports: list[list] = [[], []]
    whole = train(tmp_path / "whole", lambda *report: reports[0].append(report))
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "resumed", stop)  # at step 20: the checkpoint is that of step 10
    assert torch.load(tmp_path / "resumed.checkpoint", weights_only=True)["step"] == 10
    torch.randn(100)
    resumed = train(tmp_path / "resumed", lambda *report: reports[1].append(report))
    assert [step for step, _, _ in reports[0]] == [20, 30] and reports[0] == reports[1]
    for name, value in whole.trained.state_dict().items():
        assert torch.equal(resumed.trained.state_dict()[name], value)
        assert torch.equal(resumed.average.values[name], whole.average.values[name])


def test_other_settings_are_refused_by_their_names(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "w", stop)
    changed = {"rate": 0.2, "noise": {"point": 0.5}, "workers": 0}
    with pytest.raises(UserError, match=r"w.checkpoint: .*\(rate was 0.1 and is 0.2; noise.point was 0.4 and is 0.5\)"):
        train(tmp_path / "w", settings=changed)
    assert train(tmp_path / "w", settings={**SETTINGS, "workers": 4}).step == 30  # changes no result


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "w", stop)
    path = tmp_path / "w.checkpoint"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match="w.checkpoint: is damaged"):
        train(tmp_path / "w")


def test_an_interrupted_writing_leaves_the_earlier_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = Checkpoint.beside(tmp_path / "w", SETTINGS, every=10)
    checkpoint.save({"step": 10})

    def half(state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save({"step": 20})
    assert checkpoint.load()["step"] == 10 and [p.name for p in tmp_path.iterdir()] == ["w.checkpoint"]


def test_the_average_is_that_of_all_weights_at_first_and_decays_later() -> None:
    module = nn.Linear(1, 1, bias=False)
    average = RunningAverage(module, 0.9)
    start = module.weight.item()
    expected = start
    for step in range(1, 600):
        with torch.no_grad():
            module.weight.fill_(float(step))
        average.update(step)
        weight = max(0.1, 50 / (step + 50))
        expected = (1 - weight) * expected + weight * step
        assert average.values["weight"].item() == pytest.approx(expected, rel=1e-4)
    # long after the beginning, a ramp's average with decay d is behind by d / (1 - d)
    assert average.values["weight"].item() == pytest.approx(599 - 9, abs=0.5)


def in_process(rank: int, port: int, out: Path, work: Callable[[World, Path], None]) -> None:
    """What torchrun sets, for one of two processes."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"WORLD_SIZE": 2, "RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items():
            patch.setenv(name, str(value))
        try:
            work(World.join("cpu"), out)
        finally:
            torch.distributed.destroy_process_group()


def in_another_process(rank: int, *arguments: Any) -> None:
    """The same there. It ends at once, for taking an interpreter with torch down takes seconds."""
    torch.set_num_threads(1)
    in_process(rank + 1, *arguments)
    os._exit(0)


def train_together(world: World, out: Path) -> None:
    """Each process its half of every batch, interrupted and gone on with; the noise is each one's own."""
    quiet = make_loop(world, noise=0)
    half = partial(batches, share=slice(world.rank, None, world.size))
    quiet.run(half, 30, 7, Checkpoint.beside(out / "quiet", SETTINGS, every=30))
    torch.save(quiet.trained.state_dict(), out / f"quiet{world.rank}.pt")
    for name, ends in (("whole", [30]), ("parts", [10, 30])):
        for end in ends:
            checkpoint = Checkpoint.beside(out / name, SETTINGS, every=10)
            loop, saved = make_loop(world), checkpoint.load()
            if saved is not None:
                loop.resume(saved)
            loop.run(half, end, 7, checkpoint)
            torch.distributed.barrier()
        torch.save(loop.trained.state_dict(), out / f"{name}{world.rank}.pt")


def in_two_processes(out: Path, work: Callable[[World, Path], None]) -> None:
    """This process and another one, since starting one costs more than what it does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    other = multiprocessing.spawn(in_another_process, (port, out, work), join=False)
    in_process(0, port, out, work)
    assert other.join(60)


def both_trainings(world: World, out: Path, shards: list[Path]) -> None:
    """All that two processes do together here, so that they are started once."""
    train_together(world, out)
    step_of_the_papers_network(world, out, shards)


@pytest.fixture(scope="module")
def together(draw_captures: Callable, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """The folder of what two processes have trained, and the shard that they read: two people, two shots each."""
    folder, config = tmp_path_factory.mktemp("together"), StudioConfig(picture=192, moments=1, views=2)
    shards = draw_captures(folder / "captures", people=2, seed=5, config=config)
    in_two_processes(folder, partial(both_trainings, shards=shards))
    return folder, shards


def test_two_processes_train_as_one(together: tuple[Path, list[Path]], tmp_path: Path) -> None:
    """Half of each batch for each gives the gradients of the whole, and so the same weights in both; an interrupted run
    ends as one that was not, for every process goes on with its own random draws."""
    folder, _ = together
    alone = make_loop(World(torch.device("cpu")), noise=0)
    alone.run(batches, 30, 7, Checkpoint.beside(tmp_path / "alone", SETTINGS, every=30))

    def weights(name: str) -> dict[str, Tensor]:
        return torch.load(folder / f"{name}.pt", weights_only=True)

    for name, value in alone.trained.state_dict().items():
        torch.testing.assert_close(weights("quiet0")[name], value)
        assert torch.equal(weights("quiet0")[name], weights("quiet1")[name])
        assert torch.equal(weights("parts0")[name], weights("whole0")[name])
        assert not torch.equal(weights("whole0")[name], weights("quiet0")[name])


class Undisturbed(Objective):
    """Without what is drawn at random: each shot is conditioned on the mean of the person's."""

    def _pools(self, people: int, shots: int) -> Tensor:
        return torch.ones(people, shots, shots)

    def _condition(self, single: Tensor, true: Tensor, pooled: Tensor) -> Tensor:
        return pooled


def step_of_the_papers_network(world: World, out: Path, shards: list[Path]) -> None:
    """Two steps from the same weights, each process with its own of two people."""
    torch.manual_seed(0)
    network = I2ZNet(replace(I2ZConfig.load("i2znet_paper"), vector=8, hidden=8), pretrained=False).train()
    network.landmarks.network.num_modules = 1  # of four hourglasses, to save time
    quiet = NoiseConfig(identity=0, identity_point=0, frame=0, point=0, brows=0, lips=0, outliers=0, missed=0)
    objective = Undisturbed(network, ObjectiveConfig(noise=quiet, detected=0.0, perceptual_dropout=0.0))
    optimizer = torch.optim.SGD(network.heads.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
    loop = Loop(objective, network.heads, ObjectiveConfig().weights, optimizer, schedule, world)
    data = Dataset(shards, network)
    people = torch.tensor(list(world.share(range(2))))
    for step in (1, 2):
        loop._improve(data.batch(people, world.device))
        gradients = {name: value.grad for name, value in network.heads.named_parameters() if value.grad is not None}
        torch.save(gradients, out / f"step{step}_{world.rank}_of_{world.size}.pt")


def test_two_processes_train_the_papers_network_as_one(together: tuple[Path, list[Path]]) -> None:
    """VGG-16 and FAN on pictures, with random weights: the gradients of two steps are those of one process that has
    both people."""
    folder, shards = together
    step_of_the_papers_network(World(torch.device("cpu")), folder, shards)
    for step in (1, 2):
        one, other, alone = (
            torch.load(folder / f"step{step}_{name}.pt", weights_only=True) for name in ("0_of_2", "1_of_2", "0_of_1")
        )
        assert one.keys() == alone.keys() and "levels.0.compress.0.weight" in one
        rounding = 1e-6 * max(value.abs().max().item() for value in alone.values())
        for name, value in alone.items():
            assert torch.equal(one[name], other[name])
            torch.testing.assert_close(one[name], value, rtol=2e-3, atol=rounding)
