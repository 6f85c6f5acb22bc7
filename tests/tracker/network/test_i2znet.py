"""I2ZNet: the paper's shapes, what each part may depend on, and its files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from selftrack.decoders.landmarks import IBUG_68
from selftrack.errors import UserError
from selftrack.tracker.network.i2znet import Features, I2ZConfig, I2ZNet, pointwise, to_tensor
from selftrack.tracker.network.streams import PointHeatmaps, gaussian_heatmaps
from selftrack.tracker.network.weights import load_network, save_heads


@pytest.fixture(scope="module")
def small() -> I2ZNet:
    torch.manual_seed(0)
    return I2ZNet(I2ZConfig.load("i2znet_small")).eval()


def example(count: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, 256, 256, generator=g), 60 + 130 * torch.rand(count, 478, 2, generator=g)


def test_the_papers_configuration() -> None:
    """Channels 256+68, 512+68, 512+68, 512+68, one sixteenth after compression, 512-d vectors, z 128, H 6."""
    with torch.device("meta"):  # shapes alone: 300 MB of weights take long to draw
        network = I2ZNet(I2ZConfig.load("i2znet_paper"), pretrained=False)
    levels = network.heads.levels
    assert [level.compress[0].in_channels for level in levels] == [324, 580, 580, 580]
    assert [level.compress[2].out_channels for level in levels] == [20, 36, 36, 36]
    assert [level.to_z.in_features for level in levels] == [20 * 64**2, 36 * 32**2, 36 * 16**2, 36 * 8**2]
    assert all(level.to_z.out_features == level.to_pose.out_features == 512 for level in levels)
    with torch.no_grad():
        codes = network(example(1)[0].to("meta"))
    assert codes.z.shape == (1, 128) and codes.pose.shape == (1, 6)


def test_vgg_taps_are_the_named_layers() -> None:
    """relu3_3, relu4_3, relu5_3 and pool5, against torchvision run layer by layer."""
    network = I2ZNet(I2ZConfig(perceptual="vgg16", landmarks=None, coordinates=False), pretrained=False)
    x = example(1)[0]
    maps = network.perceive(x)
    stream = network.perceptual
    relus = pools = 0
    expected, y = [], (x - stream.mean) / stream.std
    with torch.no_grad():
        for layer in stream.features:
            y = layer(y)
            relus += isinstance(layer, torch.nn.ReLU)
            is_pool = isinstance(layer, torch.nn.MaxPool2d)
            pools += is_pool
            if (isinstance(layer, torch.nn.ReLU) and relus in (7, 10, 13)) or (is_pool and pools == 5):
                expected.append(y.clone())
    assert all(torch.equal(a, b) for a, b in zip(maps, expected, strict=True))


def test_a_pointwise_convolution_is_a_convolution() -> None:
    conv, maps = torch.nn.Conv2d(12, 5, 1), torch.rand(3, 12, 7, 6)
    torch.testing.assert_close(pointwise(conv, maps), conv(maps))


def test_streams_are_frozen_and_heads_learn(small: I2ZNet) -> None:
    crops, points = example()
    codes = small.train()(crops, points)
    (codes.z.sum() + codes.pose.sum()).backward()
    assert all(p.grad is None for p in small.perceptual.parameters())
    # every parameter takes part, but for the attention, which pools identities over a clip
    assert {n for n, p in small.heads.named_parameters() if p.grad is None} == {"attention.weight", "attention.bias"}
    assert not small.perceptual.training
    small.zero_grad()
    small.eval()


@torch.no_grad()
def test_identity_is_the_subjects_or_the_frames_own(small: I2ZNet) -> None:
    crops, points = example()
    subject = torch.randn(112)
    z = small(crops, points, subject).z
    assert torch.equal(z[:, :60], subject[:60].expand(2, 60))
    own = small(crops, points)
    assert torch.equal(own.subject[:, :60], own.z[:, :60])
    untrained = own.subject.mean(0)  # all have the same weight
    pooled = small.heads.pool(small.features(crops, points), own.subject)[0]
    assert torch.allclose(pooled, untrained, atol=1e-5)


@torch.no_grad()
def test_pool_is_a_weighted_mean_over_the_chosen(small: I2ZNet, monkeypatch: pytest.MonkeyPatch) -> None:
    own, logits = torch.randn(6, 112), torch.randn(6, 112)  # two people, three frames each
    monkeypatch.setattr(small.heads.attention, "forward", lambda v: logits)
    among = torch.tensor([[[1.0, 0, 1]], [[0, 1, 0]]])
    pooled = small.heads.pool(Features(torch.zeros(6, 1), torch.zeros(6, 1), None), own, among)
    weights = logits[[0, 2]].exp() / logits[[0, 2]].exp().sum(0)
    assert torch.allclose(pooled[0], (weights * own[[0, 2]]).sum(0), atol=1e-5)
    assert torch.allclose(pooled[1], own[4])


@torch.no_grad()
def test_one_by_one_is_the_batch(small: I2ZNet) -> None:
    crops, points = example(3)
    together = small(crops, points)
    alone = [small(crops[i : i + 1], points[i : i + 1]) for i in range(3)]
    assert torch.allclose(together.z, torch.cat([a.z for a in alone]), atol=1e-4)
    cached = small.features(crops, points, small.perceive(crops))
    assert torch.equal(small.heads.regress(cached).z, together.z)


@torch.no_grad()
@pytest.mark.parametrize("landmarks", [None, "points"])
def test_a_network_that_does_not_look_needs_no_pictures(landmarks: str | None) -> None:
    """It says the same of points without them, be they read as coordinates alone or drawn as heatmaps, too."""
    torch.manual_seed(0)
    network = I2ZNet(I2ZConfig(perceptual=None, landmarks=landmarks, vector=8, hidden=8)).eval()
    assert not network.looks
    (crops, points), subject = example(3), torch.randn(112)
    for known in ((), (subject,)):
        for one, other in zip(network(None, points, *known), network(crops, points, *known), strict=True):
            assert len(one) == 3 and torch.equal(one, other)
    assert network.perceive(None) == []


def test_who_looks(small: I2ZNet) -> None:
    assert small.looks and I2ZNet(I2ZConfig(perceptual=None, landmarks="fan"), pretrained=False).looks


def test_heatmaps_peak_at_the_points() -> None:
    points = torch.tensor([[[10.0, 200.0], [127.5, 127.5]]])
    maps = gaussian_heatmaps(points, 64)
    y, x = divmod(maps[0, 0].argmax().item(), 64)
    assert abs(x - (10.5 / 4 - 0.5)) <= 0.5 and abs(y - (200.5 / 4 - 0.5)) <= 0.5
    # centroid of a Gaussian that lies inside is its centre, half a pixel included
    grid = torch.arange(64.0)
    mass = maps[0, 1].sum()
    assert torch.isclose((maps[0, 1].sum(0) * grid).sum() / mass, torch.tensor(31.5), atol=1e-3)


def test_point_heatmaps_pick_the_68() -> None:
    points = example(1)[1]
    full = PointHeatmaps()(None, points, [24])[0]
    assert torch.equal(full, PointHeatmaps()(None, points[:, list(IBUG_68)], [24])[0])


def test_weights_round_trip(small: I2ZNet, tmp_path: Path) -> None:
    path = tmp_path / "heads.safetensors"
    save_heads(path, small, small.heads.state_dict(), {})
    again = load_network(path)
    assert again.config == small.config
    crops, points = example()
    with torch.no_grad():
        assert torch.allclose(again(crops, points).z, small(crops, points).z, atol=2e-3)


def test_not_weights(tmp_path: Path) -> None:
    path = tmp_path / "nonsense.safetensors"
    path.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="not a file of I2ZNet weights"):
        load_network(path)


def test_to_tensor() -> None:
    crops = torch.randint(0, 256, (2, 5, 7, 3), dtype=torch.uint8)
    out = to_tensor(crops)
    assert out.shape == (2, 3, 5, 7) and out[1, 2, 3, 4] == crops[1, 3, 4, 2] / 255


@pytest.mark.parametrize("package", ["torchvision", "face_alignment"])
def test_the_papers_streams_are_an_extra(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"{package}.*pip install 'selftrack\[paper\]'"):
        I2ZNet(I2ZConfig.load("i2znet_paper"), pretrained=False)
