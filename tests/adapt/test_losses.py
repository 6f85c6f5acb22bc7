"""Losses against numpy twins and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from selftrack.adapt import losses


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_cftc_twin() -> None:
    """Eq. 6 written out."""
    now, before, a, b = random(4, 3, 7), random(4, 3, 7, seed=1), random(4, 7, seed=2), random(4, 7, seed=3)
    expected = np.zeros((4, 7))
    for i in range(4):
        for n in range(7):
            for c in range(3):
                expected[i, n] += float(a[i, n] * b[i, n] * (now[i, c, n] - before[i, c, n])) ** 2 / 3
    assert np.allclose(losses.cftc(now, before, a * b), expected, atol=1e-6)


def test_cftc_of_a_texture_that_moves_with_the_mesh_is_zero() -> None:
    texture = random(2, 3, 50)
    assert not losses.cftc(texture, texture.clone(), random(2, 50)).any()


def test_cftc_of_a_known_shift() -> None:
    """A ramp of slope g per pixel seen d pixels off changes by g d everywhere."""
    x = torch.arange(50.0)
    ramp = (0.01 * x).expand(1, 3, 50)
    off = (0.01 * (x + 1.5)).expand(1, 3, 50)
    weight = torch.full((1, 50), 0.8)
    assert torch.allclose(losses.cftc(off, ramp, weight), torch.full((1, 50), (0.8 * 0.015) ** 2), rtol=1e-4)


def test_motc_twin() -> None:
    observed, model, weight = random(4, 3, 7), random(1, 3, 7, seed=1), random(4, 7, seed=2)
    w, o, m = weight.numpy(), observed.numpy(), model.numpy()
    expected = ((w[:, None] * (o - m)) ** 2).mean(1)
    assert np.allclose(losses.motc(observed, model, weight), expected, atol=1e-6)


def test_flrc_in_percent_of_the_iod() -> None:
    """3 and 4 pixels off at an IOD of 100 and 200 pixels: 5 and 2.5 percent."""
    detected = random(2, 5, 2) * 100
    got = losses.flrc(detected + torch.tensor([3.0, 4.0]), detected, torch.tensor([100.0, 200.0]))
    assert torch.allclose(got, torch.tensor([25.0, 6.25])[:, None].expand(2, 5), rtol=1e-3)


def test_weighted_mean_has_a_floor() -> None:
    values, weight = torch.tensor([4.0, 0, 0, 0, 0, 0, 0, 0]), torch.tensor([1.0, 0, 0, 0, 0, 0, 0, 0])
    assert losses.weighted_mean(values, weight) == 4
    assert losses.weighted_mean(values, weight, floor=0.5) == 1
    assert losses.weighted_mean(values * 0, weight * 0) == 0


def test_match_exposure_undoes_gain_and_bias_without_gradient() -> None:
    target = random(3, 3, 200)
    gain, bias = torch.tensor([0.7, 1.0, 1.5])[:, None, None], torch.tensor([0.1, 0.0, -0.05])[:, None, None]
    texture = ((target - bias) / gain).requires_grad_()
    weight = (random(3, 200, seed=1) > 0.3).float()
    matched = losses.match_exposure(texture, target, weight)
    assert torch.allclose(matched, target, atol=5e-3)
    matched.sum().backward()
    assert torch.allclose(texture.grad, gain.expand_as(texture), rtol=2e-2)  # the gain is a constant


def test_match_exposure_does_not_look_where_nothing_counts() -> None:
    target = random(1, 3, 100)
    texture, weight = target * 0.8, torch.ones(1, 100)
    texture[..., :50], weight[:, :50] = 5.0, 0
    assert torch.allclose(losses.match_exposure(texture, target, weight)[..., 50:], target[..., 50:], atol=1e-2)


def test_robust_halves_where_expected() -> None:
    residual = torch.zeros(1, 3, 3)
    residual[..., 1], residual[..., 2] = 0.1, 1.0
    assert torch.allclose(losses.robust(residual, 0.1), torch.tensor([[1.0, 0.25, 1 / 101**2]]), rtol=1e-4)


def test_resting_sees_only_what_rests() -> None:
    curves = torch.tensor([[0.1, 0.1], [0.5, 0.5]])
    assert torch.allclose(losses.resting(curves, torch.tensor([0.2, 0.0])), torch.tensor([[0.01, 0.0], [0, 0]]))


def test_calm_frames_are_the_least_active() -> None:
    curves = torch.zeros(20, 3)
    curves[:, 0] = torch.arange(20.0).flip(0)
    curves[:, 1] = -100 * torch.rand(20)  # below 0 is no activity
    assert losses.calm(curves, 0.1).nonzero().flatten().tolist() == [18, 19]


def test_antagonism_is_the_lesser_of_two() -> None:
    pairs = torch.tensor([[0, 1], [1, 2]])
    assert torch.allclose(losses.antagonism(torch.tensor([[0.6, 0.2, -0.3]]), pairs), torch.tensor([[0.2, 0.0]]))


def test_out_of_range() -> None:
    got = losses.out_of_range(torch.tensor([[-0.2, 0.0, 0.5, 1.0, 1.3]]))
    assert torch.allclose(got, torch.tensor([[0.04, 0, 0, 0, 0.09]]), atol=1e-6)


@pytest.mark.parametrize("loss", [losses.cftc, losses.motc])
def test_texture_losses_have_exact_gradients(loss: object) -> None:
    a, b, w = (random(2, 3, 4, seed=s).double() for s in (0, 1, 2))
    assert torch.autograd.gradcheck(lambda x: loss(x, b, w[:, 0]), a.requires_grad_())


def test_flrc_has_exact_gradients() -> None:
    a, b = (random(2, 3, 2, seed=s).double() for s in (0, 1))
    iod = torch.tensor([90.0, 110.0], dtype=torch.double)
    assert torch.autograd.gradcheck(lambda x: losses.flrc(x, b, iod), a.requires_grad_())


def test_jitter_of_constant_motion_is_zero_and_a_jump_costs_no_more_than_its_scale() -> None:
    start, velocity = random(2, 1, 5, 2) * 100, random(2, 1, 5, 2, seed=1)
    steady = start + torch.arange(3.0)[None, :, None, None] * velocity
    iod = torch.tensor([100.0, 200.0])
    assert torch.allclose(losses.jitter(steady, iod, 0.5), torch.zeros(2, 5), atol=1e-6)
    trembling, jumping = steady.clone(), steady.clone()
    trembling[:, 1, :, 0] += 0.01
    jumping[:, 2] += 50
    assert torch.allclose(losses.jitter(trembling, iod, 0.5)[0], torch.tensor(0.02**2), rtol=0.02)
    assert (losses.jitter(jumping, iod, 0.5) < 0.25).all() and (losses.jitter(jumping, iod, 0.5) > 0.24).all()


def test_contact_falls_to_a_third_at_the_touching_distance() -> None:
    gap = torch.tensor([[[0.0, 0.0], [0.9, 1.2], [30.0, 0.0]]])  # 0, 1.5 and 30 pixels
    assert losses.contact(gap, torch.tensor([100.0]), 1.5)[0].tolist() == pytest.approx([1, np.exp(-1), 0], abs=1e-6)


def test_damping_is_the_share_of_a_course_that_was_lost_and_nothing_else() -> None:
    """A curve at 0.7 of its course costs 0.09; a louder one, a shifted one and one that trembles less cost nothing."""
    course = torch.sin(torch.linspace(0, 20, 400))[:, None]
    tremble = torch.tensor([1.0, -1.0]).repeat(200)[:, None]
    tremble -= (tremble * course).mean() / course.square().mean() * course  # nothing of it in the course

    def cost(after: torch.Tensor, before: torch.Tensor = course) -> float:
        return losses.damping(after, before, 1e-3).item()

    assert cost(0.7 * course) == pytest.approx(0.09, rel=1e-2)
    assert cost(1.5 * course) == 0 and cost(course + 3) == pytest.approx(0, abs=1e-6)
    assert cost(course, course + 0.1 * tremble) < 1e-3


def test_damping_of_a_curve_that_hardly_moved_costs_little() -> None:
    """At a deviation as large as `still`, half."""
    course = torch.tensor([1.0, -1.0]).repeat(100)[:, None]
    assert losses.damping(0 * course, 0.03 * course, 0.03).item() == pytest.approx(0.5, rel=1e-3)
    assert losses.damping(0 * course, 0.003 * course, 0.03).item() < 0.02


def test_a_course_begins_at_the_level_of_the_calm_frames() -> None:
    curves, calm = torch.tensor([[0.2, 0.0], [0.0, 0.0], [0.5, 0.3]]), torch.tensor([1.0, 1.0, 0.0])
    assert torch.allclose(losses.course(curves, calm, 0.0), torch.tensor([[0.1, 0.0], [0.0, 0.0], [0.4, 0.3]]))
    assert torch.equal(losses.course(curves, calm, 0.2), curves)


def test_level_counts_what_rises_where_a_curve_is_quiet_and_nothing_else() -> None:
    """Of three curves one rises by 0.2 at rest, one falls, one only acts louder in its frames that are not quiet."""
    before = torch.tensor([[0.1, 0.3, 0.0], [0.1, 0.3, 0.0], [0.1, 0.3, 0.6]])
    after = before + torch.tensor([[0.1, -0.2, 0.0], [0.3, -0.2, 0.0], [0.2, -0.2, 0.3]])
    quiet = torch.tensor([[1.0, 1, 1], [1, 1, 1], [0, 1, 0]])
    assert torch.allclose(losses.level(after, before, quiet), torch.tensor([0.04, 0.0, 0.0]))
    assert losses.level(after, before, 0 * quiet).eq(0).all()


def test_facing_of_tilted_triangles() -> None:
    """Seen from the front, tilted by 60 degrees, and from behind."""
    front = torch.tensor([[0.0, 0, 0], [0, 1, 0], [1, 0, 0]])
    tilted = torch.tensor([[0.0, 0, 0], [0, 0.5, 0.75**0.5], [1, 0, 0]])
    got = losses.facing(torch.stack([front, tilted, front.flip(0)])[None])
    assert torch.allclose(got, torch.tensor([[1.0, 0.5, -1.0]]), atol=1e-6)
