"""Captures and training, on a capture of a few people."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from selftrack.decoders.base import SurfacePoints
from selftrack.decoders.head.model import load_head
from selftrack.decoders.landmarks import BROWS
from selftrack.synthetic.captures import make_captures
from selftrack.synthetic.studio import StudioConfig
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.network.i2znet import I2ZNet, load_model
from selftrack.training import i2znet as training
from selftrack.training.i2znet import Dataset, Objective, TrainConfig, code_millimetres, train
from selftrack.training.landmark_noise import LandmarkNoise, NoiseConfig

QUIET = NoiseConfig(person=0, person_point=0, frame=0, point=0, brows=0, lips=0, blunders=0, still=0)


def errors(config: NoiseConfig, people: int, shots: int) -> torch.Tensor:
    """(P,S,478,2) pixels, of points at 0."""
    points = torch.zeros(people, shots, 478, 2)
    return LandmarkNoise(load_head(), config)(points, points)


STUDIO = StudioConfig(picture=192, moments=2, views=2)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_captures(tmp_path_factory.mktemp("captures"), people=3, seed=5, workers=1, config=STUDIO)


def test_landmark_head_is_the_head() -> None:
    head, z = load_head(), torch.randn(3, 128)
    assert torch.allclose(SurfacePoints.landmarks(head)(z), head.landmarks478(head.geometry(z)), atol=1e-5)


def test_code_millimetres_by_hand() -> None:
    """jawOpen moves the chin by centimetres, a blink a lid by several millimetres, nothing moves by zero."""
    head = load_head()
    mm = code_millimetres(head, 0.3)
    names = head.expression_names
    assert mm.shape == (128,) and (mm > 0).all() and (mm[112:] == 0.3).all()
    jaw, blink = mm[60 + names.index("jawOpen")], mm[60 + names.index("eyeBlinkLeft")]
    peak = head.shapes[60 + names.index("jawOpen")].norm(dim=1).max() * 1000
    assert 8 < jaw < peak and 1 < blink < 13


def test_noise_has_the_stated_size() -> None:
    """Independent errors alone: their spread per coordinate, averaged over the random strengths, E[u^2] = 1.6^2/3."""
    config = replace(QUIET, point=1.0, contour=1.0)
    torch.manual_seed(0)
    noise = errors(config, 20, 50)
    assert noise.square().mean().sqrt().item() == pytest.approx(0.8 * 1.6 / 3**0.5, rel=0.05)
    shared = errors(replace(QUIET, person=1, person_point=1, brows=1, lips=1), 2, 5)
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


def test_blunders_are_rare_large_and_local() -> None:
    torch.manual_seed(0)
    config = replace(QUIET, blunder=6.0, blunders=0.25, blunder_reach=0.01)
    noise = errors(config, 100, 10).norm(dim=-1)
    struck = noise.amax(-1) > 0
    assert struck.float().mean().item() == pytest.approx(0.25, abs=0.05)
    far = (noise[struck] < 0.05 * noise[struck].amax(-1, keepdim=True)).float().mean()
    assert far > 0.5 and noise[struck].amax(-1).mean() > 3


def test_cheeks_stay_behind_and_lips_do_not() -> None:
    """Between where the expression moves them and where they rest: by one share per person, up to the stated one."""
    torch.manual_seed(0)
    moved, resting = torch.ones(300, 2, 478, 2), torch.zeros(300, 2, 478, 2)
    seen = LandmarkNoise(load_head(), replace(QUIET, still=0.6))(moved, resting)
    cheeks, lips = [50, 280, 205, 425], [61, 291, 13, 14, 152, 159, 105, 468]
    assert (seen[:, :, lips] == 1).all()
    assert torch.allclose(seen[:, :, cheeks], seen[:, :1, cheeks[:1], :1].expand(-1, 2, 4, 2))
    share = 1 - seen[:, 0, cheeks[0], 0]
    assert share.min() >= 0 and share.max() <= 0.6 and share.mean().item() == pytest.approx(0.3, abs=0.04)


def test_at_rest_is_the_neutral_face_at_the_same_pose() -> None:
    torch.manual_seed(0)
    landmarks = SurfacePoints.landmarks(load_head())
    pose = torch.tensor([[6.3, 0.1, -0.3, 0.05, 120.0, 130.0]]).expand(3, 6)
    code = torch.randn(3, 128) * 0.5
    code[:, 60:112] = torch.rand(3, 52) * 0.5
    neutral = code.clone()
    neutral[:, 60:112] = 0
    shown, expected = (project(landmarks(z), pose)[..., :2] for z in (code, neutral))
    assert torch.allclose(training.at_rest(landmarks, shown, code), expected, atol=0.05)


def test_losses_vanish_for_the_truth(shards: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that says the true code and pose has no loss; a turned head has Eq. 3's."""
    config = TrainConfig(noise=QUIET, perceptual_dropout=0.0)
    objective = Objective(I2ZNet(config.network), config)
    code = torch.randn(2, 1, 128).expand(2, 4, 128) * 0.3
    pose = torch.tensor([[6.8, 0.1, -0.2, 0.0, 128.0, 120.0]]).expand(8, 6)
    points = project(objective.landmarks(code.flatten(0, 1)), pose)[..., :2].unflatten(0, (2, 4))
    heads = objective.network.heads
    monkeypatch.setattr(heads, "vectors", lambda maps, p: (torch.zeros(8, 1), torch.zeros(8, 1)))
    monkeypatch.setattr(heads.first, "forward", lambda v: code.flatten(0, 1))
    monkeypatch.setattr(heads.expression, "forward", lambda v: code[..., 60:112].flatten(0, 1))
    monkeypatch.setattr(heads, "linear", None)
    monkeypatch.setattr(heads, "pool", lambda for_z, own, among: own)
    unit = (pose - heads.pose_mean) / heads.pose_spread
    monkeypatch.setattr(heads.pose, "forward", lambda v: unit)
    maps = [torch.zeros(8, c, s, s) for c, s in zip((64, 128, 128), (24, 12, 6), strict=True)]
    losses = objective(maps, points, code)
    assert all(loss < 1e-5 for loss in losses.values())
    moved = objective(maps, points + torch.tensor([0.8, 0.0]), code)  # 0.8 px = 1 % of 80 px, in x alone
    assert moved["pose"].item() == pytest.approx(2.3 * 0.5, rel=1e-3)
    assert moved["opening"] < 1e-5


def test_two_steps_write_weights(shards: list[Path], tmp_path: Path) -> None:
    seen: list[int] = []
    config = TrainConfig(steps=20, people=2, checkpoint_every=10)
    out = train(shards, tmp_path / "w.safetensors", config, progress=lambda s, n, losses: seen.append(s))
    assert seen == [20] and not (tmp_path / "w.checkpoint").exists()
    assert isinstance(load_model(out), I2ZNet)


def test_interrupted_training_goes_on(shards: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrainConfig(steps=4, people=2, checkpoint_every=2)
    save = training._save_checkpoint

    def save_then_stop(path: Path, step: int, *rest: object) -> None:
        save(path, step, *rest)
        raise KeyboardInterrupt

    out = tmp_path / "w.safetensors"
    monkeypatch.setattr(training, "_save_checkpoint", save_then_stop)
    with pytest.raises(KeyboardInterrupt):
        train(shards, out, config)
    assert not out.exists()
    monkeypatch.setattr(training, "_save_checkpoint", save)
    starts: list[int] = []
    resume = training._resume
    monkeypatch.setattr(training, "_resume", lambda *a: starts.append(resume(*a)) or starts[-1])
    train(shards, out, config)
    assert starts == [2] and out.exists()


def test_training_learns(shards: list[Path]) -> None:
    """A few dozen steps on three people bring the loss down by far."""
    torch.manual_seed(0)
    config = TrainConfig()
    network = I2ZNet(config.network).train()
    data = Dataset(shards, network)
    training.standardise(network, data)
    objective = Objective(network, config)
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


def test_ridge_of_a_known_map() -> None:
    x, weight, bias = torch.randn(500, 7), torch.randn(3, 7), torch.randn(3)
    got, offset = training.ridge(x, x @ weight.T + bias, strength=1e-6)
    assert torch.allclose(got, weight, atol=1e-4) and torch.allclose(offset, bias, atol=1e-4)


def test_weak_perspective_recovers_the_pose() -> None:
    points = torch.randn(20, 60, 3) * 0.05
    pose = torch.rand(20, 6) * torch.tensor([0.5, 1, 1.5, 0.6, 60, 60]) + torch.tensor([6.5, -0.5, -0.7, -0.3, 90, 90])
    assert torch.allclose(training.weak_perspective(points, project(points, pose)[..., :2]), pose, atol=2e-3)


def test_the_linear_part_is_solved_on_the_captures(shards: list[Path]) -> None:
    """After it, and before any step, the points of the captures are already met better than by the mean face."""
    config = TrainConfig()
    network = I2ZNet(config.network)
    data = Dataset(shards, network)
    training.standardise(network, data)
    objective = Objective(network, config)
    batch = data.batch(torch.arange(3), torch.device("cpu"))
    torch.manual_seed(0)
    before = objective(*batch)["pose"]
    training.solve_linear(objective, data)
    assert objective(*batch)["pose"] < 0.3 * before
