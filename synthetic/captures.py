"""Captures on disk: shards of synthetic moments that training reads; drawn once, gone on with, seeded."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selftrack.decoders.head.model import load_head
from selftrack.decoders.landmarks import POINTS
from selftrack.errors import UserError
from selftrack.io import atomic_path, file_hash, json_text, settings_changed, write_text
from selftrack.synthetic.expressions import sample_expression
from selftrack.synthetic.people import Population
from selftrack.synthetic.rigs.opening import read_rig
from selftrack.synthetic.rigs.points import place_points
from selftrack.synthetic.rigs.population import RigPopulation
from selftrack.synthetic.studio import Studio, StudioConfig
from selftrack.tracker.geometry.crop import CROP_SIZE, apply, face_similarity, invert, warp
from selftrack.tracker.landmarks.attention_mesh import SIZE, LandmarkNet

SHARD = 50
"""People per file."""
SETTINGS = "studio.json"
RIG_POINTS = "rig_points.npz"
"""Where the detector's points lie on a rig whose people are drawn."""
LEAST_PRESENCE = 0.5
"""Of a face, under which the detector's points do not count."""


@dataclass(frozen=True)
class Captures:
    """P people, M moments, V views. Pictures and points show the crop; see `selftrack.synthetic.studio`."""

    pictures: np.ndarray | None
    """(P,M,V,S,S,3) uint8 RGB."""
    points: np.ndarray
    """(P,M,V,478,2) float32, true landmarks, pixels of the 256 crop."""
    identity: np.ndarray
    """(P,60) float32."""
    detected: np.ndarray
    """(P,M,V,478,2) float32, what the landmark detector finds in the pictures; NaN where it sees no face."""
    appearance: np.ndarray
    """(P,16) float32."""
    expression: np.ndarray
    """(P,M,52) float32 ARKit values."""


def _draw_shard(path: Path, seed: int, shard: int, count: int, config: StudioConfig, rig: Path | None) -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng([seed, shard])
    studio, net = Studio(load_head(), config, _people(path.parent, rig)), LandmarkNet()
    people = [studio.people.sample(rng) for _ in range(count)]
    expressions = np.stack([[sample_expression(rng) for _ in range(config.moments)] for _ in people])
    shots = [
        [[studio.shoot(rng, p, e) for _ in range(config.views)] for e in es]
        for p, es in zip(people, expressions, strict=True)
    ]
    with atomic_path(path) as part, part.open("wb") as file:
        np.savez(
            file,
            pictures=np.array([[[s.picture for s in v] for v in m] for m in shots]),
            points=np.array([[[s.points for s in v] for v in m] for m in shots]),
            detected=np.array([[[detect(net, s.picture) for s in v] for v in m] for m in shots]),
            identity=np.stack([p.identity for p in people]),
            appearance=np.stack([p.appearance for p in people]),
            expression=expressions,
        )


@cache
def _people(folder: Path, rig: Path | None) -> Population | RigPopulation:
    """The people that are drawn into a folder: the bundled head's, or a rig's, whose points lie beside the shards."""
    head = load_head()
    if rig is None:
        return Population(head)
    with np.load(folder / RIG_POINTS, allow_pickle=False) as data:
        return RigPopulation(read_rig(rig, head), head, (data["corners"], data["weights"]))


def detect(net: LandmarkNet, picture: np.ndarray) -> np.ndarray:
    """Find the landmark network's points (478,2) float32, pixels of the 256 crop, in a picture (S,S,3) uint8 of it; all
    NaN where it sees no face. As in tracking, it reads the region around the points of a first look."""
    region = np.array([[1.0, 0, 0], [0, 1, 0]]) * (SIZE / len(picture))
    region[:, 2] = (region[0, 0] - 1) / 2  # the centre of the first pixel is (0, 0)
    for _ in range(2):
        image = torch.from_numpy(warp(picture, region, SIZE).astype(np.float32) / 255).permute(2, 0, 1)
        found, presence, _ = net(image[None])
        if presence[0] < LEAST_PRESENCE:
            return np.full((POINTS, 2), np.nan, np.float32)
        points = apply(invert(region), found[0, :, :2].numpy())
        region = face_similarity(points, SIZE)
    return ((points + 0.5) * (CROP_SIZE / len(picture)) - 0.5).astype(np.float32)


def make_captures(
    folder: Path,
    people: int,
    seed: int = 0,
    workers: int = 2,
    config: StudioConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
    rig: Path | None = None,
) -> list[Path]:
    """Draw `people` into `folder`, 50 to a shard: those of the bundled head, or of a `rig`, see `rigs.opening`.

    Shards that have enough people are kept; one that has too few is drawn again as a whole, for what is drawn of its
    people depends on how many they are.

    Returns:
        The shards with these people, in order.

    Raises:
        UserError: the folder holds captures of other settings or another seed.
    """
    config = config or StudioConfig()
    folder.mkdir(parents=True, exist_ok=True)
    _keep_settings(folder, {"seed": seed, **asdict(config), "rig": file_hash(rig) if rig else None})
    if rig is not None and not (folder / RIG_POINTS).exists():
        corners, weights = place_points(read_rig(rig, load_head()))
        with atomic_path(folder / RIG_POINTS) as part, part.open("wb") as file:
            np.savez(file, corners=corners, weights=weights)
    counts = [min(SHARD, people - first) for first in range(0, people, SHARD)]
    paths = [folder / f"shard{i:04d}.npz" for i in range(len(counts))]
    missing = [i for i, (path, count) in enumerate(zip(paths, counts, strict=True)) if people_in(path) < count]
    done = len(paths) - len(missing)
    # spawned: a forked child inherits the locks of its parent's OpenMP threads and can wait for them for ever
    with ProcessPoolExecutor(max(workers, 1), get_context("spawn")) as pool:
        jobs = [pool.submit(_draw_shard, paths[i], seed, i, counts[i], config, rig) for i in missing]
        for job in as_completed(jobs):
            job.result()
            done += 1
            if progress:
                progress(done, len(paths))
    return paths


def _keep_settings(folder: Path, settings: dict) -> None:
    note = folder / SETTINGS
    changed = settings_changed(json.loads(note.read_text()), settings) if note.exists() else ""
    if changed:
        raise UserError(f"{folder}: holds captures of other settings ({changed}); name another folder or delete it")
    write_text(note, json_text(settings))


def people_in(path: Path) -> int:
    """Count the people of a shard; 0 where there is none, or a damaged one."""
    try:
        with np.load(path, allow_pickle=False) as data:
            return len(data["identity"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return 0


def find_captures(folder: Path) -> list[Path]:
    """List the shards in `folder`, sorted. Raises UserError when there are none."""
    paths = sorted(folder.glob("shard????.npz"))
    if not paths:
        raise UserError(f"{folder}: no captures there; make them with: track-train captures {folder}")
    return paths


def load_shard(path: Path, pictures: bool = True) -> Captures:
    """Read one shard; without its `pictures` that is much faster. Raises UserError of one of an earlier version."""
    with np.load(path, allow_pickle=False) as data:
        arrays: dict[str, Any] = {name: data[name] for name in data.files if pictures or name != "pictures"}
    if "detected" not in arrays:
        raise UserError(f"{path}: captures of an earlier version; draw them again with: track-train captures")
    return Captures(**{"pictures": None} | arrays)


def map_pictures(path: Path) -> np.ndarray:
    """Map a shard's pictures (P,M,V,S,S,3) uint8 into memory: they are read from the disk when they are looked at."""
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("pictures.npy")
        with archive.open(entry) as member:
            np.lib.format.read_magic(member)
            shape, _, dtype = np.lib.format.read_array_header_1_0(member)
            header = member.tell()
    with path.open("rb") as file:  # the entry's name stands between its own header and the array, which is not packed
        file.seek(entry.header_offset + 26)
        between = sum(int.from_bytes(file.read(2), "little") for _ in ("name", "extra"))
    return np.memmap(path, dtype, "c", entry.header_offset + 30 + between + header, shape)


def shard_hash(path: Path) -> str:
    """SHA-256, in hex, of names, sizes and checksums of a shard's arrays, as its directory has them: the same for the
    same content, and found without reading the arrays."""
    with zipfile.ZipFile(path) as file:
        entries = [(entry.filename, entry.file_size, entry.CRC) for entry in file.infolist()]
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()
