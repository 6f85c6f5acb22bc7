"""Steadiness against closed forms."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from selftrack.adapt.terms.steadiness import JitterConfig, robust_acceleration, shape_jitter


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_constant_motion_is_free_and_a_jump_costs_no_more_than_its_scale() -> None:
    start, velocity = random(2, 1, 5, 2) * 100, random(2, 1, 5, 2, seed=1)
    steady = start + torch.arange(3.0)[None, :, None, None] * velocity
    iod = torch.tensor([100.0, 200.0])
    assert torch.allclose(robust_acceleration(steady, iod, 0.5), torch.zeros(2, 5), atol=1e-6)
    trembling, jumping = steady.clone(), steady.clone()
    trembling[:, 1, :, 0] += 0.01
    jumping[:, 2] += 50
    assert torch.allclose(robust_acceleration(trembling, iod, 0.5)[0], torch.tensor(0.02**2), rtol=0.02)
    cost = robust_acceleration(jumping, iod, 0.5)
    assert (cost < 0.25).all() and (cost > 0.24).all()


def test_only_neighbours_are_compared() -> None:
    """Of four frames the last three are neighbours: the jump of the first costs nothing, and without triples all is
    free."""
    vertices = torch.zeros(4, 2, 3)
    vertices[0] = 1.0
    vertices[2, :, 0] = 1e-5
    step = SimpleNamespace(
        vertices=vertices,
        prediction=SimpleNamespace(pose_image=torch.full((4, 6), 6.9)),
        iod=torch.full((4,), 90.0),
        triples=torch.tensor([[1, 2, 3]]),
        zero=lambda: torch.zeros(()),
    )
    acceleration = 2e-5 * torch.tensor(6.9).exp() * 100 / 90  # metres -> pixels -> % IOD
    assert torch.allclose(shape_jitter(step, JitterConfig(scale=1e3)), acceleration.square(), rtol=1e-3)
    step.triples = torch.zeros(0, 3, dtype=torch.long)
    assert shape_jitter(step, JitterConfig()) == 0
