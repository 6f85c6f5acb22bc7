"""What I2ZNet is trained on, in memory; the frozen perceptual stream's maps are computed once and cached on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from selftrack.io import atomic_path
from selftrack.synthetic.captures import load_shard, shard_hash
from selftrack.tracker.network.i2znet import I2ZNet, to_tensor
from selftrack.training.loop import World

Loading = Callable[[int, int], None]
"""Called with what is done and the number of all."""
_CHUNK = 32  # pictures that go through the stream at a time


class Data(Protocol):
    """What a process draws from: P people, or moments of one, S shots each, an even number: pairs of views."""

    points: Tensor
    """(P,S,478,2) true landmarks, crop frame."""
    codes: Tensor
    """(P,S,Z) true codes."""
    detected: Tensor
    """(P,S,478,2) what the detector finds, crop frame; NaN where that is not known."""

    def batch(self, people: Tensor, device: torch.device) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
        """Take people (P,) by their numbers: maps, points, codes and detected points, see
        `objective.Objective.forward`."""


class Source(Protocol):
    """Where the data of a training comes from."""

    def settings(self) -> dict[str, Any]:
        """Describe the data: what is the same gives the same training."""

    def load(self, network: I2ZNet, world: World, progress: Loading | None) -> Data:
        """Read this process's share of the data for a network."""


@dataclass(frozen=True)
class Shards:
    """Synthetic captures on disk, see `selftrack.synthetic.captures`."""

    paths: Sequence[Path]

    def settings(self) -> dict[str, Any]:
        """Give a hash of the shards' contents."""
        return {"captures": hashlib.sha256("".join(map(shard_hash, self.paths)).encode()).hexdigest()[:16]}

    def load(self, network: I2ZNet, world: World, progress: Loading | None) -> Dataset:
        """Read this process's share of the shards."""
        return Dataset(world.share(self.paths), network, progress)


class Dataset:
    """Shards in memory, with the frozen perceptual maps in half precision, or with the pictures where the network reads
    these (`I2ZNet.reads_pictures`)."""

    def __init__(self, paths: Sequence[Path], network: I2ZNet, progress: Loading | None = None) -> None:
        maps: list[list[Tensor]] = []
        points, codes, detected = [], [], []
        stream = stream_hash(network.perceptual) if network.perceptual is not None else ""
        for done, path in enumerate(paths, 1):
            shard = load_shard(path, pictures=False)
            people, moments, views = shard.points.shape[:3]
            maps.append(_maps(path, network, stream))
            points.append(torch.from_numpy(shard.points).reshape(people, moments * views, -1, 2))
            detected.append(torch.from_numpy(shard.detected).reshape(people, moments * views, -1, 2))
            identity = torch.from_numpy(np.repeat(shard.identity[:, None], moments, 1))
            appearance = torch.from_numpy(np.repeat(shard.appearance[:, None], moments, 1))
            code = torch.cat([identity, torch.from_numpy(shard.expression), appearance], -1)
            codes.append(code.repeat_interleave(views, 1))
            if progress:
                progress(done, len(paths))
        self.points, self.codes = torch.cat(points), torch.cat(codes).float()
        self.detected = torch.cat(detected)
        self.maps = [torch.cat([m[i] for m in maps]) for i in range(len(maps[0]))] if maps else []

    def batch(self, people: Tensor, device: torch.device) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
        """See `Data`."""
        shots = self.points.shape[1]
        rows = (people[:, None] * shots + torch.arange(shots)).flatten()
        maps = [m[rows].to(device) for m in self.maps]
        points, codes, detected = (values[people].to(device) for values in (self.points, self.codes, self.detected))
        return maps, points, codes, detected


def stream_hash(stream: nn.Module) -> str:
    """Hash a frozen stream: its kind, and all its tensors, whether a state dict has them or not."""
    digest = hashlib.sha256(type(stream).__qualname__.encode())
    for name, tensor in (*stream.named_parameters(), *stream.named_buffers()):
        value = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def _maps(path: Path, network: I2ZNet, stream: str) -> list[Tensor]:
    """Compute the maps of a shard's pictures, or read them from the cache beside it."""
    if network.reads_pictures:
        return [torch.from_numpy(load_shard(path).pictures).flatten(0, 2)]
    if network.perceptual is None:
        return []
    cache, key = path.with_suffix(f".{network.config.perceptual}.safetensors"), f"{stream} {shard_hash(path)}"
    maps = _read_maps(cache, key)
    if maps is None:
        device = next(network.parameters()).device
        pictures = torch.from_numpy(load_shard(path).pictures).flatten(0, 2).split(_CHUNK)
        chunks = [network.perceive(to_tensor(some).to(device)) for some in pictures]
        maps = [torch.cat(depth).half().cpu().contiguous() for depth in zip(*chunks, strict=True)]
        with atomic_path(cache) as part:
            save_file({f"maps{i}": depth for i, depth in enumerate(maps)}, part, {"key": key})
    return maps


def _read_maps(cache: Path, key: str) -> list[Tensor] | None:
    """Read cached maps; None where there are none, or damaged ones, or those of another stream or shard."""
    try:
        with safe_open(cache, "pt") as file:
            if (file.metadata() or {}).get("key") != key:
                return None
            return [file.get_tensor(f"maps{i}") for i in range(len(file.keys()))]
    except (OSError, SafetensorError):
        return None
