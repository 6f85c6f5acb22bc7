"""What I2ZNet is trained on.

The frozen perceptual stream's maps are computed once and kept on disk, beside the captures. Maps and pictures are
mapped into memory, so that a training takes hardly more of it for more people.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from selftrack.errors import UserError
from selftrack.io import atomic_path
from selftrack.synthetic.captures import load_shard, map_pictures, people_in, shard_hash
from selftrack.tracker.network.i2znet import I2ZNet, to_tensor
from selftrack.tracker.network.streams import stream_hash
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
    """Shards, with the frozen perceptual maps in half precision, or with the pictures where the network reads these
    (`I2ZNet.reads_pictures`)."""

    def __init__(self, paths: Sequence[Path], network: I2ZNet, progress: Loading | None = None) -> None:
        """Read the shards; compute the maps that are not there.

        Raises:
            UserError: the disk has no room for the maps.
        """
        self._maps: list[list[Tensor]] = []  # of each shard, per depth (N,...)
        self._places: list[tuple[int, int]] = []  # of each person: the shard, and the first of the pictures there
        points, codes, detected = [], [], []
        stream = stream_hash(network.perceptual) if network.perceptual is not None else ""
        for done, path in enumerate(paths, 1):
            shard = load_shard(path, pictures=False)
            people, moments, views = shard.points.shape[:3]
            self._places += [(len(self._maps), person * moments * views) for person in range(people)]
            self._maps.append(_maps(path, network, stream, paths[done - 1 :]))
            points.append(torch.from_numpy(shard.points).reshape(people, moments * views, -1, 2))
            detected.append(torch.from_numpy(shard.detected).reshape(people, moments * views, -1, 2))
            identity = torch.from_numpy(np.repeat(shard.identity[:, None], moments, 1))
            appearance = torch.from_numpy(np.repeat(shard.appearance[:, None], moments, 1))
            code = torch.cat([identity, torch.from_numpy(shard.expression), appearance], -1)
            codes.append(code.repeat_interleave(views, 1))
            if progress:
                progress(done, len(paths))
        self.points, self.codes, self.detected = torch.cat(points), torch.cat(codes).float(), torch.cat(detected)

    def batch(self, people: Tensor, device: torch.device) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
        """See `Data`."""
        places = [self._places[person] for person in people.tolist()]
        shots = self.points.shape[1]
        each = [[depth[first : first + shots] for depth in self._maps[shard]] for shard, first in places]
        maps = [torch.cat(depth).to(device) for depth in zip(*each, strict=True)]
        points, codes, detected = (values[people].to(device) for values in (self.points, self.codes, self.detected))
        return maps, points, codes, detected


def _maps(path: Path, network: I2ZNet, stream: str, further: Sequence[Path]) -> list[Tensor]:
    """Compute the maps of a shard's pictures, or read them from the cache beside it; `further` are it and all shards
    after it."""
    if network.reads_pictures:
        return [torch.from_numpy(map_pictures(path)).flatten(0, 2)]
    if network.perceptual is None:
        return []
    cache, key = _cache(path, network), f"{stream} {shard_hash(path)}"
    maps = _read_maps(cache, key)
    if maps is None:
        device = next(network.parameters()).device
        pictures = torch.from_numpy(map_pictures(path)).flatten(0, 2).split(_CHUNK)
        _check_room(further, network, sum(map(len, pictures)) / people_in(path))
        chunks = [network.perceive(to_tensor(some).to(device)) for some in pictures]
        maps = [torch.cat(depth).half().cpu().contiguous() for depth in zip(*chunks, strict=True)]
        with atomic_path(cache) as part:
            save_file({f"maps{i}": depth for i, depth in enumerate(maps)}, part, {"key": key})
        maps = _read_maps(cache, key)
    assert maps is not None, cache
    return maps


def _cache(path: Path, network: I2ZNet) -> Path:
    """Where the maps of a shard are kept."""
    return path.with_suffix(f".{network.config.perceptual}.safetensors")


def _check_room(paths: Sequence[Path], network: I2ZNet, pictures: float) -> None:
    """Refuse what the disk has no room for: the maps of shards, of which each person has so many pictures."""
    missing = [path for path in paths if path.parent == paths[0].parent and not _cache(path, network).exists()]
    needed = network.map_bytes * pictures * sum(map(people_in, missing))
    free = shutil.disk_usage(paths[0].parent).free
    if needed > free:
        raise UserError(
            f"{paths[0].parent}: the stream's maps of {len(missing)} files of captures take {needed / 1e9:.2f} GB, but "
            f"{free / 1e9:.2f} GB are free there; make room, or train on fewer people"
        )


def _read_maps(cache: Path, key: str) -> list[Tensor] | None:
    """Read cached maps; None where there are none, or damaged ones, or those of another stream or shard."""
    try:
        with safe_open(cache, "pt") as file:
            if (file.metadata() or {}).get("key") != key:
                return None
            return [file.get_tensor(f"maps{i}") for i in range(len(file.keys()))]
    except (OSError, SafetensorError):
        return None
