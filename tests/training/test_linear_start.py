"""The closed form that training begins with."""

from __future__ import annotations

from pathlib import Path

import torch

from selftrack.tracker.network.i2znet import I2ZConfig, I2ZNet
from selftrack.training.dataset import Dataset
from selftrack.training.linear_start import ridge, solve_linear, standardise
from selftrack.training.objective import Objective, ObjectiveConfig


def test_ridge_of_a_known_map() -> None:
    x, weight, bias = torch.randn(500, 7), torch.randn(3, 7), torch.randn(3)
    got, offset = ridge(x, x @ weight.T + bias, strength=1e-6)
    assert torch.allclose(got, weight, atol=1e-4) and torch.allclose(offset, bias, atol=1e-4)


def test_the_linear_part_is_solved_on_the_captures(shards: list[Path]) -> None:
    """After it, and before any step, the captures' points are already fitted better than by the mean face."""
    network = I2ZNet(I2ZConfig())
    data = Dataset(shards, network)
    standardise(network, data)
    objective = Objective(network, ObjectiveConfig())
    batch = data.batch(torch.arange(3), torch.device("cpu"))
    torch.manual_seed(0)
    before = objective(*batch)["pose"]
    solve_linear(objective, data)
    assert objective(*batch)["pose"] < 0.3 * before
