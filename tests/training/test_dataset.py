"""Captures in memory, and the cache of what the frozen stream makes of their pictures."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from selftrack.errors import UserError
from selftrack.synthetic.captures import load_shard
from selftrack.tracker.network.i2znet import I2ZConfig, I2ZNet, to_tensor
from selftrack.tracker.network.streams import stream_hash
from selftrack.training.dataset import Dataset, Shards
from selftrack.training.loop import World


@pytest.fixture
def shard(shards: list[Path], tmp_path: Path) -> Path:
    """A copy without a cache."""
    return Path(shutil.copy(shards[0], tmp_path))


@pytest.fixture
def network() -> I2ZNet:
    return I2ZNet(I2ZConfig(vector=8, hidden=8))


def maps_in(shards: list[Path], network: I2ZNet) -> list[Tensor]:
    data = Dataset(shards, network)
    return data.batch(torch.arange(len(data.points)), torch.device("cpu"))[0]


def maps_of(network: I2ZNet, shard: Path) -> list[Tensor]:
    pictures = torch.from_numpy(load_shard(shard).pictures).flatten(0, 2)
    return [m.half() for m in network.perceive(to_tensor(pictures))]


def assert_equal(a: list[Tensor], b: list[Tensor]) -> None:
    assert len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


class Convolution(nn.Module):
    """A stream of another kind, with weights that can be changed."""

    channels, sizes = (4,), (24,)

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, stride=8).requires_grad_(False)

    def forward(self, crops: Tensor) -> list[Tensor]:
        return [self.convolution(crops)]


def test_a_batch_has_all_shots_of_its_people_in_order(shard: Path, network: I2ZNet) -> None:
    data, captures = Dataset([shard], network), load_shard(shard)
    maps, points, codes, detected = data.batch(torch.tensor([2, 0]), torch.device("cpu"))
    assert [len(m) for m in maps] == [8, 8, 8] and points.shape == (2, 4, 478, 2) and codes.shape == (2, 4, 128)
    assert_equal(maps, [m[[8, 9, 10, 11, 0, 1, 2, 3]] for m in maps_of(network, shard)])
    torch.testing.assert_close(points[0, 2], torch.from_numpy(captures.points[2, 1, 0]))
    torch.testing.assert_close(detected[1, 3], torch.from_numpy(captures.detected[0, 1, 1]), equal_nan=True)
    expected = torch.from_numpy(captures.expression[2, 1])
    torch.testing.assert_close(codes[0, 2, 60:112], expected)
    torch.testing.assert_close(codes[0, 3, 60:112], expected)  # the moment's other view


def test_maps_are_read_from_the_cache(shard: Path, network: I2ZNet, monkeypatch: pytest.MonkeyPatch) -> None:
    first = maps_in([shard], network)
    monkeypatch.setattr(network, "perceive", lambda crops: pytest.fail("computed again"))
    assert_equal(maps_in([shard], network), first)


def test_people_of_several_shards_are_their_own(shard: Path, other_shards: list[Path], network: I2ZNet) -> None:
    """Three people in the one, two in the other; the fifth is the second of the other."""
    [other] = other_shards
    maps, points, _, _ = Dataset([shard, other], network).batch(torch.tensor([4, 1]), torch.device("cpu"))
    assert_equal([m[:4] for m in maps], [m[4:] for m in maps_of(network, other)])
    assert_equal([m[4:] for m in maps], [m[4:8] for m in maps_of(network, shard)])
    torch.testing.assert_close(points[0, 0], torch.from_numpy(load_shard(other).points[1, 0, 0]))


def test_a_network_that_reads_pictures_gets_them(shard: Path) -> None:
    network = I2ZNet(I2ZConfig(perceptual="scratch", vector=8, hidden=8))
    [pictures] = maps_in([shard], network)
    assert pictures.dtype == torch.uint8
    assert torch.equal(pictures, torch.from_numpy(load_shard(shard).pictures).flatten(0, 2))
    assert list(shard.parent.iterdir()) == [shard]  # nothing is kept beside it


def test_a_disk_without_room_is_refused(shard: Path, network: I2ZNet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The room that is asked for is what the maps take: 12 pictures of three depths."""
    taken = 12 * sum(2 * m[0].numel() for m in maps_of(network, shard))
    usage = type(shutil.disk_usage(shard.parent))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, taken - 1))
    with pytest.raises(UserError, match=r"maps of 1 files of captures take 0.00 GB, but .* make room"):
        Dataset([shard], network)
    assert list(shard.parent.iterdir()) == [shard]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, taken))
    Dataset([shard], network)


def test_a_damaged_cache_is_made_anew(shard: Path, network: I2ZNet) -> None:
    expected = maps_in([shard], network)
    [cache] = set(shard.parent.iterdir()) - {shard}
    whole = cache.read_bytes()
    for damaged in (b"", whole[:5], whole[:1000], b"nothing" * 100):
        cache.write_bytes(damaged)
        assert_equal(maps_in([shard], network), expected)
    assert cache.read_bytes() == whole


def test_an_interrupted_writing_leaves_nothing(shard: Path, network: I2ZNet, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("selftrack.training.dataset.save_file", half)
    with pytest.raises(KeyboardInterrupt):
        Dataset([shard], network)
    assert list(shard.parent.iterdir()) == [shard]


def test_another_stream_has_other_maps(shard: Path, network: I2ZNet) -> None:
    """One of another kind, and one with other weights; all are called the same."""
    before = maps_in([shard], network)
    network.perceptual = Convolution()
    kind = maps_in([shard], network)
    assert_equal(kind, maps_of(network, shard))
    assert len(kind) == 1 != len(before)
    network.perceptual.convolution.weight.mul_(2)
    weights = maps_in([shard], network)
    assert_equal(weights, maps_of(network, shard))
    assert not torch.equal(weights[0], kind[0])


def test_another_shard_of_the_same_name_has_other_maps(shard: Path, network: I2ZNet, other_shards: list[Path]) -> None:
    Dataset([shard], network)
    shutil.copy(other_shards[0], shard)
    assert_equal(maps_in([shard], network), maps_of(network, other_shards[0]))


def test_a_streams_hash_is_that_of_its_kind_and_weights(network: I2ZNet) -> None:
    own = stream_hash(network.perceptual)
    assert own == stream_hash(I2ZNet(I2ZConfig(vector=16)).perceptual)
    next(network.perceptual.buffers()).add_(1)
    assert own != stream_hash(network.perceptual)
    torch.manual_seed(0)
    stream = Convolution()
    torch.manual_seed(0)
    other = type("Other", (Convolution,), {})()
    assert stream_hash(stream) != stream_hash(other)


def test_every_process_has_its_share_and_all_know_the_whole(
    shard: Path, other_shards: list[Path], tmp_path: Path, network: I2ZNet
) -> None:
    [other] = other_shards
    both, alone = Shards([shard, other]), Shards([shard])
    people = [len(both.load(network, World(torch.device("cpu"), rank, 2), None).points) for rank in (0, 1)]
    assert people == [3, 2]
    copied = Path(shutil.copy(shard, tmp_path / "copy.npz"))
    assert Shards([copied]).settings() == alone.settings() != both.settings() != Shards([other]).settings()
