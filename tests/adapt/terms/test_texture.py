"""Texture consistency against numpy twins and closed forms."""

from __future__ import annotations

import numpy as np
import torch

from selftrack.adapt.frames.clip import Clip
from selftrack.adapt.learning.trainer import AdaptConfig, Trainer
from selftrack.adapt.terms import StepContext
from selftrack.adapt.terms.texture import match_exposure, robust_weight, texture_difference, weighted_mean
from selftrack.tracker.network.i2znet import I2ZNet


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_difference_of_neighbours_twin() -> None:
    """Eq. 6 written out."""
    now, before, a, b = random(4, 3, 7), random(4, 3, 7, seed=1), random(4, 7, seed=2), random(4, 7, seed=3)
    expected = np.zeros((4, 7))
    for i in range(4):
        for n in range(7):
            for c in range(3):
                expected[i, n] += float(a[i, n] * b[i, n] * (now[i, c, n] - before[i, c, n])) ** 2 / 3
    assert np.allclose(texture_difference(now, before, a * b), expected, atol=1e-6)


def test_difference_from_one_model_twin() -> None:
    """Eq. 8 with one texture for all frames."""
    observed, model, weight = random(4, 3, 7), random(1, 3, 7, seed=1), random(4, 7, seed=2)
    w, o, m = weight.numpy(), observed.numpy(), model.numpy()
    expected = ((w[:, None] * (o - m)) ** 2).mean(1)
    assert np.allclose(texture_difference(observed, model, weight), expected, atol=1e-6)


def test_a_texture_that_moves_with_the_mesh_costs_nothing() -> None:
    texture = random(2, 3, 50)
    assert not texture_difference(texture, texture.clone(), random(2, 50)).any()


def test_difference_of_a_known_shift() -> None:
    """A ramp of slope g per pixel that is d pixels off changes by g d everywhere."""
    x = torch.arange(50.0)
    ramp = (0.01 * x).expand(1, 3, 50)
    off = (0.01 * (x + 1.5)).expand(1, 3, 50)
    weight = torch.full((1, 50), 0.8)
    assert torch.allclose(texture_difference(off, ramp, weight), torch.full((1, 50), (0.8 * 0.015) ** 2), rtol=1e-4)


def test_difference_has_exact_gradients() -> None:
    a, b, w = (random(2, 3, 4, seed=s).double() for s in (0, 1, 2))
    assert torch.autograd.gradcheck(lambda x: texture_difference(x, b, w[:, 0]), a.requires_grad_())


def test_weighted_mean_is_over_what_counts() -> None:
    values, weight = torch.tensor([4.0, 2.0, 0, 0]), torch.tensor([1.0, 0.1, 0, 0])
    assert weighted_mean(values, weight) == 3
    assert weighted_mean(values * 0, weight * 0) == 0


def test_match_exposure_undoes_gain_and_bias_without_gradient() -> None:
    target = random(3, 3, 200)
    gain, bias = torch.tensor([0.7, 1.0, 1.5])[:, None, None], torch.tensor([0.1, 0.0, -0.05])[:, None, None]
    texture = ((target - bias) / gain).requires_grad_()
    weight = (random(3, 200, seed=1) > 0.3).float()
    matched = match_exposure(texture, target, weight)
    assert torch.allclose(matched, target, atol=5e-3)
    matched.sum().backward()
    assert torch.allclose(texture.grad, gain.expand_as(texture), rtol=2e-2)  # the gain is a constant


def test_match_exposure_ignores_what_does_not_count() -> None:
    target = random(1, 3, 100)
    texture, weight = target * 0.8, torch.ones(1, 100)
    texture[..., :50], weight[:, :50] = 5.0, 0
    assert torch.allclose(match_exposure(texture, target, weight)[..., 50:], target[..., 50:], atol=1e-2)


def test_robust_weight_is_a_quarter_at_its_scale() -> None:
    residual = torch.zeros(1, 3, 3)
    residual[..., 1], residual[..., 2] = 0.1, 1.0
    assert torch.allclose(robust_weight(residual, 0.1), torch.tensor([[1.0, 0.25, 1 / 101**2]]), rtol=1e-4)


def test_confidence_is_constant_to_the_gradient(clip: Clip, network: I2ZNet, quick: AdaptConfig) -> None:
    """The losses cannot shrink it by hiding the surface; the texture does depend on the mesh."""
    trainer = Trainer(clip, network, quick)
    texture, confidence = StepContext(trainer.context, trainer.renew(), trainer.draw()).observed
    assert texture.requires_grad and not confidence.requires_grad and (confidence > 0.3).any()
