"""Where the training of I2ZNet begins: what of its heads is linear in the landmarks is solved in closed form."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from selftrack.errors import UserError
from selftrack.tracker.geometry.pose import fit_weak_perspective
from selftrack.tracker.network.i2znet import I2ZNet
from selftrack.tracker.network.weights import load_network
from selftrack.training.dataset import Data
from selftrack.training.objective import Objective, choose_points

_DEPTHS = ("perceptual", "landmarks", "coordinates", "vector", "points")
"""Settings that shape the part of a network that does not depend on the decoder."""


def standardise(network: I2ZNet, data: Data) -> None:
    """Set centre and spread of the coordinates that the network reads to those of the captures."""
    coordinates = network.heads.coordinates
    if coordinates is not None:
        flat = choose_points(data.points.flatten(0, 1), network.config.points)
        coordinates.get_buffer("centre").copy_(flat.mean(0))
        coordinates.get_buffer("spread").copy_(flat.std(0).clamp(min=1))


def begin_as(network: I2ZNet, base: Path) -> None:
    """Give what reads the streams, and depends on no decoder, the weights of a trained network.

    Raises:
        UserError: that is of another architecture.
    """
    trained = load_network(base)
    if [getattr(trained.config, name) for name in _DEPTHS] != [getattr(network.config, name) for name in _DEPTHS]:
        raise UserError(f"{base}: has another architecture than the network to be trained; name other weights")
    for name in ("levels", "coordinates", "norm_z", "norm_pose"):
        if getattr(trained.heads, name) is not None:
            getattr(network.heads, name).load_state_dict(getattr(trained.heads, name).state_dict())


@torch.no_grad()
def solve_linear(objective: Objective, data: Data) -> None:
    """Set the heads' linear part to the ridge regression on the captures with noise.

    Expression and pose are conditioned on the mean of what it predicts of the identity in a person's shots.
    """
    heads, device = objective.network.heads, objective.millimetres.device
    coordinates, linear = heads.coordinates, heads.linear
    assert coordinates is not None and linear is not None, "the network reads no coordinates"
    people, shots = data.points.shape[:2]
    points, codes, detected = (values.to(device) for values in (data.points, data.codes, data.detected))
    x = coordinates.standardise(objective.detect(points, codes, detected))
    truth, code = points.flatten(0, 1), codes.flatten(0, 1)

    def fit(layer: nn.Linear, inputs: Tensor, targets: Tensor) -> None:
        weight, bias = ridge(inputs, targets)
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)

    pooled = x.new_zeros(len(x), 0)
    if linear.first is not None:
        fit(linear.first, x, code)
        single = linear.first(x)[:, : heads.subject_size].reshape(people, shots, -1)
        pooled = single.mean(1, keepdim=True).expand_as(single).flatten(0, 1)
    fit(linear.expression, torch.cat([x, pooled], 1), code[:, objective.expression])
    pose = fit_weak_perspective(objective.landmarks(code), truth)
    inputs = torch.cat([x, pooled[:, objective.identity]], 1)
    fit(linear.pose, inputs, (pose - heads.get_buffer("pose_mean")) / heads.get_buffer("pose_spread"))


def ridge(x: Tensor, y: Tensor, strength: float = 30.0) -> tuple[Tensor, Tensor]:
    """Find the weight (M,K) and bias (M,) that minimise |x w^T + b - y|^2 + strength |w|^2 for x (N,K), y (N,M)."""
    x_mean, y_mean = x.mean(0), y.mean(0)
    a, b = (x - x_mean).double(), (y - y_mean).double()
    weight = torch.linalg.solve(a.T @ a + strength * torch.eye(a.shape[1], dtype=a.dtype, device=a.device), a.T @ b).T
    weight = weight.to(x.dtype)
    return weight, y_mean - weight @ x_mean
