"""Training of I2ZNet on captures of a few people."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from selftrack.decoders.registry import load_decoder
from selftrack.errors import UserError
from selftrack.tracker.network.i2znet import I2ZConfig, I2ZNet
from selftrack.tracker.network.weights import load_network
from selftrack.training.dataset import Dataset, Shards
from selftrack.training.i2znet import TrainConfig, train
from selftrack.training.linear_start import standardise
from selftrack.training.objective import Objective, ObjectiveConfig

SMALL = TrainConfig(network=I2ZConfig(vector=8, hidden=16), steps=40, people=2, checkpoint_every=20)


@pytest.fixture(scope="module")
def checkpoint(shards: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of step 20, of a run that was interrupted later."""
    out = tmp_path_factory.mktemp("run") / "w.safetensors"

    def stop_at_the_end(step: int, steps: int, losses: dict[str, float]) -> None:
        if step == steps:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(Shards(shards), out, SMALL, stop_at_the_end)
    assert not out.exists()
    return out.with_suffix(".checkpoint")


@pytest.fixture
def interrupted(checkpoint: Path, tmp_path: Path) -> Path:
    """The file that the interrupted run would have written."""
    return Path(shutil.copy(checkpoint, tmp_path)).with_suffix(".safetensors")


def test_training_writes_weights_and_reports(shards: list[Path], tmp_path: Path) -> None:
    reports: list[int] = []
    config = replace(SMALL, steps=25)
    out = train(Shards(shards), tmp_path / "w.safetensors", config, lambda step, steps, losses: reports.append(step))
    assert reports == [20, 25] and [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]
    assert load_network(out).config == replace(SMALL.network, decoder=load_decoder().hash)


def test_an_interrupted_run_ends_as_one_that_was_not(shards: list[Path], interrupted: Path, tmp_path: Path) -> None:
    reports: list[int] = []
    train(Shards(shards), interrupted, SMALL, lambda step, steps, losses: reports.append(step))
    assert reports == [40]
    whole = load_file(train(Shards(shards), tmp_path / "whole.safetensors", SMALL))
    for name, value in load_file(interrupted).items():
        assert torch.equal(value, whole[name]), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: replace(c, rate=1e-3), r"\(rate was 0.0005 and is 0.001\)"),
        (lambda c: replace(c, network=replace(c.network, hidden=32)), r"\(network.hidden was 16 and is 32\)"),
        (lambda c: replace(c, objective=replace(c.objective, z=1.0)), r"\(objective.z was 4.0 and is 1.0"),
    ],
)
def test_a_run_does_not_go_on_under_other_settings(
    shards: list[Path], interrupted: Path, change: Callable[[TrainConfig], TrainConfig], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        train(Shards(shards), interrupted, change(SMALL))


def test_a_run_does_not_go_on_with_other_captures(interrupted: Path, other_shards: list[Path]) -> None:
    with pytest.raises(UserError, match=r"\(captures was \w+ and is \w+\)"):
        train(Shards(other_shards), interrupted, SMALL)


def test_training_learns(shards: list[Path]) -> None:
    """A few dozen steps on three people bring the loss down by far."""
    torch.manual_seed(0)
    network = I2ZNet(I2ZConfig()).train()
    data = Dataset(shards, network)
    standardise(network, data)
    objective = Objective(network, ObjectiveConfig())
    optimizer = torch.optim.AdamW(network.heads.parameters(), 1e-3)
    batch = data.batch(torch.arange(3), torch.device("cpu"))
    history = []
    for _ in range(25):
        losses = objective(*batch)
        optimizer.zero_grad()
        (losses["z"] + losses["pose"]).backward()
        optimizer.step()
        history.append(losses["pose"].item())
    assert np.mean(history[-3:]) < 0.3 * history[0]
