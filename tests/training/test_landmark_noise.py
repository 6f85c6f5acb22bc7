"""The detector's errors have the size and the shape that their settings say."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from selftrack.decoders.base import SurfacePoints
from selftrack.decoders.head.model import load_head
from selftrack.decoders.landmarks import BROWS
from selftrack.tracker.geometry.pose import project
from selftrack.training.landmark_noise import LandmarkNoise, NoiseConfig, neutral_points

QUIET = NoiseConfig(identity=0, identity_point=0, frame=0, point=0, brows=0, lips=0, outliers=0, missed=0)


def errors(config: NoiseConfig, people: int, shots: int) -> torch.Tensor:
    """(P,S,478,2) pixels, of points at 0."""
    points = torch.zeros(people, shots, 478, 2)
    return LandmarkNoise(load_head(), config)(points, points)


def test_noise_has_the_stated_size() -> None:
    """Independent errors alone: their spread per coordinate, averaged over the random strengths, E[u^2] = 1.6^2/3."""
    config = replace(QUIET, point=1.0, contour=1.0)
    torch.manual_seed(0)
    noise = errors(config, 20, 50)
    assert noise.square().mean().sqrt().item() == pytest.approx(0.8 * 1.6 / 3**0.5, rel=0.05)
    shared = errors(replace(QUIET, identity=1, identity_point=1, brows=1, lips=1), 2, 5)
    assert torch.allclose(shared, shared[:, :1].expand_as(shared))


def test_a_persons_brows_sit_higher_or_lower_as_a_whole() -> None:
    torch.manual_seed(0)
    noise = errors(replace(QUIET, brows=2.0), 4000, 3)
    left, right = list(BROWS[0]), list(BROWS[1])
    assert torch.equal(noise[:, :1].expand_as(noise), noise) and not noise[..., 0].any()
    assert torch.equal(noise[:, 0, left, 1], noise[:, 0, left[:1], 1].expand(-1, 10))
    # both together by 2 %, one against the other by 0.6 %, of 80 pixels
    assert noise[:, 0, left[0], 1].std().item() == pytest.approx(1.6 * (1 + 0.3**2) ** 0.5, rel=0.05)
    assert (noise[:, 0, left[0], 1] - noise[:, 0, right[0], 1]).std().item() == pytest.approx(0.96, rel=0.05)
    others = [i for i in range(478) if i not in left + right]
    assert not noise[:, :, others].any()


def test_outliers_are_rare_large_and_local() -> None:
    torch.manual_seed(0)
    config = replace(QUIET, outlier=6.0, outliers=0.25, outlier_reach=0.01)
    noise = errors(config, 100, 10).norm(dim=-1)
    struck = noise.amax(-1) > 0
    assert struck.float().mean().item() == pytest.approx(0.25, abs=0.05)
    far = (noise[struck] < 0.05 * noise[struck].amax(-1, keepdim=True)).float().mean()
    assert far > 0.5 and noise[struck].amax(-1).mean() > 3


def test_cheeks_stay_behind_and_lips_do_not() -> None:
    """Between where the expression moves them and where they rest: by one share per person, up to the stated one."""
    torch.manual_seed(0)
    moved, neutral = torch.ones(300, 2, 478, 2), torch.zeros(300, 2, 478, 2)
    found = LandmarkNoise(load_head(), replace(QUIET, missed=0.6))(moved, neutral)
    cheeks, lips = [50, 280, 205, 425], [61, 291, 13, 14, 152, 159, 105, 468]
    assert (found[:, :, lips] == 1).all()
    assert torch.allclose(found[:, :, cheeks], found[:, :1, cheeks[:1], :1].expand(-1, 2, 4, 2))
    share = 1 - found[:, 0, cheeks[0], 0]
    assert share.min() >= 0 and share.max() <= 0.6 and share.mean().item() == pytest.approx(0.3, abs=0.04)


def test_neutral_points_are_the_neutral_faces_at_the_same_pose() -> None:
    torch.manual_seed(0)
    landmarks = SurfacePoints.landmarks(load_head())
    pose = torch.tensor([[6.3, 0.1, -0.3, 0.05, 120.0, 130.0]]).expand(3, 6)
    code = torch.randn(3, 128) * 0.5
    code[:, 60:112] = torch.rand(3, 52) * 0.5
    neutral = code.clone()
    neutral[:, 60:112] = 0
    shown, expected = (project(landmarks(z), pose)[..., :2] for z in (code, neutral))
    assert torch.allclose(neutral_points(landmarks, shown, code, slice(60, 112)), expected, atol=0.05)
