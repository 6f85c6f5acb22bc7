"""Train the head that tells what of a face is hidden, on drawn people behind drawn occluders.

    python -m selftrack.training.visibility.train [-o FILE]

draws the people anew and takes about ten minutes on two cores. The head reads the frozen landmark detector, which was
trained on real faces, so that it carries over to these.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import torch
import typer
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from selftrack.command import run
from selftrack.decoders.head.model import load_head
from selftrack.decoders.landmarks import MESH_POINTS
from selftrack.io import atomic_path
from selftrack.synthetic.expressions import sample_expression
from selftrack.synthetic.studio import Studio, StudioConfig
from selftrack.tracker.geometry.crop import CROP_SIZE
from selftrack.tracker.landmarks.attention_mesh import SIZE, LandmarkNet
from selftrack.tracker.landmarks.visibility import ASSET, SIDE, VisibilityHead
from selftrack.training.visibility.occluders import occlude

_CHUNK = 25
"""People drawn by one process at a time."""


@dataclass(frozen=True)
class VisibilityConfig:
    """Settings of the training."""

    people: int = 400
    """Drawn people; every tenth judges."""
    rounds: int = 2
    """So often each picture is taken, each time behind other occluders."""
    epochs: int = 16
    """Passes over all of them."""
    batch: int = 64
    """Pictures a step."""
    rate: float = 4e-3
    """Largest learning rate of a cosine with warm-up."""
    turn: float = 0.1
    """Standard deviation of the crop's roll, radians."""
    zoom: float = 0.06
    """Of its size, as a logarithm."""
    shift: float = 5.0
    """Of its place, pixels of 192."""
    seed: int = 0
    """Random seed."""


@dataclass(frozen=True)
class Examples:
    """N pictures as the head sees them."""

    maps: list[Tensor]
    """(N,C,s,s) float16 features, s = 24, 12, 6."""
    hidden: Tensor
    """(N,24,24) share of each place that is hidden."""
    face: Tensor
    """(N,24,24) share of it that is face."""

    def __len__(self) -> int:
        return len(self.hidden)


def train(config: VisibilityConfig, workers: int = 2) -> tuple[VisibilityHead, float]:
    """Train a head; returns it and the intersection over union of what is hidden, of people that it has not seen."""
    torch.manual_seed(config.seed)
    counts = [min(_CHUNK, config.people - begin) for begin in range(0, config.people, _CHUNK)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(draw_examples, config, number, count) for number, count in enumerate(counts)]
        parts = [job.result() for job in jobs]
    held = max(len(parts) // 10, 1) if len(parts) > 1 else 0
    learnt, judging = _joined(parts[held:]), _joined(parts[:held] or parts)
    head = VisibilityHead()
    head.mean = torch.cat([x.float().mean((0, 2, 3)) for x in learnt.maps])
    head.spread = torch.cat([x.float().std((0, 2, 3)) for x in learnt.maps]) + 1e-3
    steps = config.epochs * -(-len(learnt) // config.batch)
    optimizer = torch.optim.AdamW(head.parameters(), config.rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.rate, total_steps=steps)
    for _ in range(config.epochs):
        for rows in torch.randperm(len(learnt)).split(config.batch):
            loss = hidden_loss(head([x[rows].float() for x in learnt.maps]), learnt.hidden[rows], learnt.face[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        logits = head([x.float() for x in judging.maps])
    return head, intersection_over_union(logits > 0, judging.hidden > 0.5, judging.face > 0.5)


def hidden_loss(logits: Tensor, hidden: Tensor, face: Tensor) -> Tensor:
    """Mean cross entropy of what is hidden, over the face alone; all (B,24,24)."""
    entropy = functional.binary_cross_entropy_with_logits(logits, hidden, reduction="none")
    return (entropy * face).sum() / face.sum().clamp_min(1e-6)


def intersection_over_union(found: Tensor, true: Tensor, where: Tensor) -> float:
    """Of two masks, of the places `where` alone; all bool of one shape. 1 where both are empty."""
    both, either = (found & true & where).sum(), ((found | true) & where).sum()
    return float(both / either) if either else 1.0


def draw_examples(config: VisibilityConfig, number: int, count: int) -> Examples:
    """Draw people behind occluders and look at them with the landmark detector; `number` seeds."""
    torch.set_num_threads(1)
    rng = np.random.default_rng([config.seed, number])
    studio, net = Studio(load_head(), StudioConfig(occluder=0.0)), LandmarkNet()
    maps: list[list[Tensor]] = [[], [], []]
    hidden, face = [], []
    for _ in range(count):
        person = studio.people.sample(rng)
        for _ in range(studio.config.moments):
            expression = sample_expression(rng)
            for _ in range(studio.config.views):
                shot = studio.shoot(rng, person, expression)
                points = (shot.points + 0.5) * (SIZE / CROP_SIZE) - 0.5
                for _ in range(config.rounds):
                    picture, mask, inside = _example(rng, config, shot.picture, points)
                    for kept, x in zip(maps, net.features(picture)[1:], strict=True):
                        kept.append(x.half())
                    hidden.append(mask)
                    face.append(inside)
    return Examples([torch.cat(x) for x in maps], torch.stack(hidden), torch.stack(face))


def _example(
    rng: np.random.Generator, config: VisibilityConfig, picture: np.ndarray, points: np.ndarray
) -> tuple[Tensor, Tensor, Tensor]:
    """A picture (1,3,192,192) with something before it, and its (24,24) hidden and face."""
    picture, points = _moved(rng, config, cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA), points)
    covered, hidden = occlude(rng, picture / np.float32(255), points)
    if rng.random() < 0.3:
        covered = covered * rng.uniform(0.5, 1.3)
    tensor = torch.from_numpy(np.ascontiguousarray(covered.clip(0, 1), np.float32)).permute(2, 0, 1)[None]
    hull = cv2.convexHull(np.round(points[:MESH_POINTS]).astype(np.int32))
    face = cv2.fillConvexPoly(np.zeros((SIZE, SIZE), np.float32), hull, 1.0)
    return tensor, _small(hidden), _small(face)


def _small(mask: np.ndarray) -> Tensor:
    return torch.from_numpy(cv2.resize(mask, (SIDE, SIDE), interpolation=cv2.INTER_AREA))


def _moved(
    rng: np.random.Generator, config: VisibilityConfig, picture: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A crop as little steady as the detector's own, perhaps mirrored."""
    turn, zoom = rng.normal(0, config.turn), np.exp(rng.normal(0, config.zoom))
    cos, sin = np.cos(turn) * zoom, np.sin(turn) * zoom
    linear, middle = np.array([[cos, -sin], [sin, cos]]), np.full(2, (SIZE - 1) / 2)
    offset = middle - linear @ middle + rng.normal(0, config.shift, 2)
    picture = cv2.warpAffine(picture, np.concatenate([linear, offset[:, None]], 1), (SIZE, SIZE))
    points = points @ linear.T + offset
    if rng.random() < 0.5:
        return np.ascontiguousarray(picture[:, ::-1]), np.stack([SIZE - 1 - points[:, 0], points[:, 1]], 1)
    return picture, points


def _joined(parts: list[Examples]) -> Examples:
    maps = [torch.cat(x) for x in zip(*(part.maps for part in parts), strict=True)]
    return Examples(maps, torch.cat([part.hidden for part in parts]), torch.cat([part.face for part in parts]))


def main(
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write (default: the bundled one).")] = ASSET,
    people: Annotated[int, typer.Option(help="Draw so many people (default 400).", min=1)] = 400,
    workers: Annotated[int, typer.Option(help="Draw in so many processes (default 2).", min=1)] = 2,
) -> None:
    """Train the head that tells what of a face is hidden."""
    head, union = train(VisibilityConfig(people=people), workers)
    with atomic_path(output) as part:
        save_file({name: value.half().contiguous() for name, value in head.state_dict().items()}, part)
    print(f"hidden places of unseen people: intersection over union {union:.3f}")


if __name__ == "__main__":
    run("python -m selftrack.training.visibility.train", train=main)
