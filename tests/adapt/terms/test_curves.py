"""Priors of the curves against closed forms."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from selftrack.adapt.terms.curves import (
    Neutral,
    baseline_rise,
    least_active,
    lost_range,
    reference_trajectory,
)
from selftrack.decoders.arkit import ARKIT_NAMES


def test_least_active_frames() -> None:
    curves = torch.zeros(20, 3)
    curves[:, 0] = torch.arange(20.0).flip(0)
    curves[:, 1] = -100 * torch.rand(20)  # below 0 is no activity
    assert least_active(curves, 0.1).nonzero().flatten().tolist() == [18, 19]


def test_a_face_that_mostly_smiles_keeps_its_neutral() -> None:
    """The pull is on all curves but the eyes', in the least active frame to learn from and in no other."""
    curves = torch.full((12, 52), 0.9)
    curves[4] = 0
    curves[4, ARKIT_NAMES.index("mouthPucker")] = 0.5
    curves[4, ARKIT_NAMES.index("eyeBlinkLeft")] = 1.0
    curves[11] = 0  # held out, as all from 9 on
    clip = SimpleNamespace(
        clip=range(12),
        unadapted=SimpleNamespace(z=curves),
        expression=slice(0, 52),
        train_rows=torch.arange(9),
        face=SimpleNamespace(decoder=SimpleNamespace(expression_names=ARKIT_NAMES)),
    )
    neutral = Neutral(clip)
    assert neutral.frames.nonzero().flatten().tolist() == [4]
    assert neutral(SimpleNamespace(expression=curves, rows=torch.arange(12))).item() == pytest.approx(0.25)
    assert neutral(SimpleNamespace(expression=curves[:4], rows=torch.arange(4))) == 0


def test_lost_range_is_the_share_of_a_trajectory_and_nothing_else() -> None:
    """A curve at 0.7 of it costs 0.09; a louder one, a shifted one and one that trembles less cost nothing."""
    trajectory = torch.sin(torch.linspace(0, 20, 400))[:, None]
    tremble = torch.tensor([1.0, -1.0]).repeat(200)[:, None]
    tremble -= (tremble * trajectory).mean() / trajectory.square().mean() * trajectory  # nothing of it in the other

    def cost(after: torch.Tensor, before: torch.Tensor = trajectory) -> float:
        return lost_range(after, before, 1e-3).item()

    assert cost(0.7 * trajectory) == pytest.approx(0.09, rel=1e-2)
    assert cost(1.5 * trajectory) == 0 and cost(trajectory + 3) == pytest.approx(0, abs=1e-6)
    assert cost(trajectory, trajectory + 0.1 * tremble) < 1e-3


def test_a_curve_that_hardly_moved_may_lose_its_range() -> None:
    """At a deviation as large as `least`, it costs half."""
    trajectory = torch.tensor([1.0, -1.0]).repeat(100)[:, None]
    assert lost_range(0 * trajectory, 0.03 * trajectory, 0.03).item() == pytest.approx(0.5, rel=1e-3)
    assert lost_range(0 * trajectory, 0.003 * trajectory, 0.03).item() < 0.02


def test_a_reference_trajectory_begins_at_the_mean_of_the_neutral_frames() -> None:
    curves, neutral = torch.tensor([[0.2, 0.0], [0.0, 0.0], [0.5, 0.3]]), torch.tensor([1.0, 1.0, 0.0])
    expected = torch.tensor([[0.1, 0.0], [0.0, 0.0], [0.4, 0.3]])
    assert torch.allclose(reference_trajectory(curves, neutral, 0.0), expected)
    assert torch.equal(reference_trajectory(curves, neutral, 0.2), curves)


def test_a_baseline_rises_where_a_curve_is_inactive() -> None:
    """Of three curves one rises by 0.2 there, one falls, one only acts louder in its active frames."""
    before = torch.tensor([[0.1, 0.3, 0.0], [0.1, 0.3, 0.0], [0.1, 0.3, 0.6]])
    after = before + torch.tensor([[0.1, -0.2, 0.0], [0.3, -0.2, 0.0], [0.2, -0.2, 0.3]])
    inactive = torch.tensor([[1.0, 1, 1], [1, 1, 1], [0, 1, 0]])
    assert torch.allclose(baseline_rise(after, before, inactive), torch.tensor([0.04, 0.0, 0.0]))
    assert baseline_rise(after, before, 0 * inactive).eq(0).all()
