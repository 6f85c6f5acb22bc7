"""Captures on disk: shards of synthetic moments that training reads; made once, resumable, seeded."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from selftrack.decoders.head.model import load_head
from selftrack.errors import UserError
from selftrack.synthetic.studio import Studio, StudioConfig, sample_expression

SHARD = 50  # people per file


@dataclass(frozen=True)
class Captures:
    """P people, M moments, V views. Pictures and points show the crop; see `selftrack.synthetic.studio`."""

    pictures: np.ndarray | None  # (P,M,V,S,S,3) uint8
    points: np.ndarray  # (P,M,V,478,2) float32, true landmarks, pixels of the 256 crop
    identity: np.ndarray  # (P,60)
    appearance: np.ndarray  # (P,16)
    expression: np.ndarray  # (P,M,52)


def _shoot_shard(path: Path, seed: int, shard: int, count: int, config: StudioConfig) -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng([seed, shard])
    studio = Studio(load_head(), config)
    people = [studio.sample_person(rng) for _ in range(count)]
    expressions = np.stack([[sample_expression(rng) for _ in range(config.moments)] for _ in people])
    shots = [
        [[studio.shoot(rng, p, e) for _ in range(config.views)] for e in es]
        for p, es in zip(people, expressions, strict=True)
    ]
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        np.savez(
            file,
            pictures=np.array([[[s.picture for s in v] for v in m] for m in shots]),
            points=np.array([[[s.points for s in v] for v in m] for m in shots]),
            identity=np.stack([p.identity for p in people]),
            appearance=np.stack([p.appearance for p in people]),
            expression=expressions,
        )
    os.replace(temporary, path)


def make_captures(
    folder: Path,
    people: int,
    seed: int = 0,
    workers: int = 2,
    config: StudioConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Draw `people` into `folder`, 50 to a shard; shards that are there already are kept.

    Raises ValueError when the folder holds captures of other settings or another seed.
    """
    config = config or StudioConfig()
    folder.mkdir(parents=True, exist_ok=True)
    settings = json.loads(json.dumps({"seed": seed, **asdict(config)}))
    note = folder / "studio.json"
    if note.exists() and json.loads(note.read_text()) != settings:
        raise UserError(
            f"{folder} holds captures made with other settings; name another folder or delete it"
        )
    note.write_text(json.dumps(settings, indent=1))
    paths = [folder / f"shard{i:04d}.npz" for i in range(-(-people // SHARD))]
    missing = [(i, p) for i, p in enumerate(paths) if not p.exists()]
    done = len(paths) - len(missing)
    # spawned: a forked child inherits the locks of its parent's OpenMP threads and can wait for them for ever
    with ProcessPoolExecutor(max(workers, 1), get_context("spawn")) as pool:
        jobs = [
            pool.submit(_shoot_shard, p, seed, i, min(SHARD, people - i * SHARD), config) for i, p in missing
        ]
        for job in as_completed(jobs):
            job.result()
            done += 1
            if progress:
                progress(done, len(paths))
    return paths


def find_captures(folder: Path) -> list[Path]:
    """The shards in `folder`, sorted. Raises ValueError when there are none."""
    paths = sorted(folder.glob("shard????.npz"))
    if not paths:
        raise UserError(f"{folder}: no captures there; make them with: track-train captures {folder}")
    return paths


def load_shard(path: Path, pictures: bool = True) -> Captures:
    """One shard; without its `pictures` it reads much faster."""
    with np.load(path, allow_pickle=False) as data:
        return Captures(**{k: data[k] if pictures or k != "pictures" else None for k in data.files})
