"""Supervised training of I2ZNet on captures (Yoon et al. 2019, Eq. 1-4).

The frozen streams' maps are computed once and cached, so that a step costs only the heads. Under torchrun every
process takes its share of the captures and gradients are averaged (DistributedDataParallel).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from selftrack.adapt.schedule import warmup_cosine
from selftrack.decoders.base import Decoder, SurfacePoints
from selftrack.decoders.head.model import Head, load_head
from selftrack.decoders.landmarks import IBUG_68, OPENINGS
from selftrack.errors import UserError
from selftrack.synthetic.captures import load_shard
from selftrack.tracker.geometry.pose import angles_of, project
from selftrack.tracker.network.i2znet import Codes, I2ZConfig, I2ZNet, load_model, to_tensor
from selftrack.training.landmark_noise import IOD_PIXELS, LandmarkNoise, NoiseConfig

EXPRESSION = Head.expression

_LEVELS = ("perceptual", "landmarks", "coordinates", "vector", "points")  # settings that shape the levels


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run."""

    network: I2ZConfig = field(default_factory=I2ZConfig)
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    steps: int = 5000
    people: int = 6  # per step and process; each brings all of its moments and views
    rate: float = 5e-4
    weight_decay: float = 1e-4
    weight_z: float = 4.0  # lambda_z of Eq. 1
    weight_pose: float = 0.3  # lambda_H
    weight_view: float = 0.2  # lambda_view
    weight_opening: float = 1.5  # lids, lips, irises: the same error as in L_H, of differences
    weight_curve: float = 300.0  # squared error of the 52 curves in their own units
    together: float = 0.3  # share in L_H of the whole face, beside that of its parts
    appearance_mm: float = 0.3  # what a unit of appearance counts, in millimetres
    perceptual_dropout: float = 0.15  # share of shots that lose their perceptual maps
    average: float = 0.998  # decay of the running average of the weights, which is what is saved
    seed: int = 0
    checkpoint_every: int = 500


@torch.no_grad()
def code_millimetres(decoder: Decoder, appearance: float) -> Tensor:
    """(Z,) RMS millimetres by which one unit of each code moves the skin, eyes and tongue where it moves them; of
    those that move nothing, `appearance`."""
    inner = torch.tensor([name.startswith(("eye", "tongue")) for name in decoder.part_names])[decoder.face_parts]
    seen = decoder.faces[decoder.skin_faces | inner].unique()
    rest = torch.zeros(1, decoder.size, device=decoder.mean.device)
    units = torch.eye(decoder.size, device=rest.device)
    moved = (decoder.geometry(units) - decoder.geometry(rest))[:, seen].norm(dim=2) * 1000  # (Z,V)
    live = moved > 0.1 * moved.amax(1, keepdim=True)
    rms = ((moved**2 * live).sum(1) / live.sum(1).clamp(min=1)).sqrt()
    return rms.where(rms > 0, torch.full_like(rms, appearance))


class Objective(nn.Module):
    """Eq. 1 on a batch of people; holds the network, so that DistributedDataParallel can wrap it."""

    def __init__(self, network: I2ZNet, config: TrainConfig, decoder: Decoder | None = None) -> None:
        super().__init__()
        decoder = decoder or load_head()
        self.network, self.config = network, config
        self.identity, self.expression = decoder.identity, decoder.expression
        self.landmarks = SurfacePoints.landmarks(decoder)
        self.noise = LandmarkNoise(decoder, config.noise)
        self.register_buffer("millimetres", code_millimetres(decoder, config.appearance_mm))
        self.register_buffer("pairs", torch.tensor(OPENINGS))

    def forward(self, maps: list[Tensor], points: Tensor, code: Tensor) -> dict[str, Tensor]:
        """maps: per level (P*S,C,s,s); points (P,S,478,2) true landmarks; code (P,S,128) -> the losses by name.

        A network that trains its trunk, too, is given the pictures (P*S,S,S,3) instead of the maps.
        The network speaks twice, with each shot's own identity and with a given person, and both count.
        """
        if self.network.trains_trunk:
            maps = self.network.perceive(to_tensor(maps[0]))
        people, shots = points.shape[:2]
        truth, target = points.flatten(0, 1), code.flatten(0, 1)
        resting = at_rest(self.landmarks, truth, target, self.expression).view_as(points)
        seen = choose_points(self.noise(points, resting).flatten(0, 1), self.config.network.points)
        keep = torch.rand(len(seen), 1, 1, 1, device=seen.device) >= self.config.perceptual_dropout
        perceived = [m.float() * keep for m in maps]
        heads = self.network.heads
        for_z, for_pose = heads.vectors(self.network.compressed(None, seen, perceived), seen)
        own = heads.regress(for_z, for_pose, seen)
        pooled = heads.pool(for_z, own.person, self._pools(people, shots))
        given = heads.regress(for_z, for_pose, seen, self._given_person(own.z, target, pooled))
        # a told identity is judged as the pool that it may come from
        judged = torch.cat([pooled[:, self.identity], given.z[:, self.identity.stop :]], 1)
        losses = [self._supervised(codes, z, truth, target) for codes, z in ((own, own.z), (given, judged))]
        by_view = (own.z * self.millimetres).reshape(people, -1, 2, len(self.millimetres))
        return {name: (losses[0][name] + losses[1][name]) / 2 for name in losses[0]} | {
            "view": (by_view[:, :, 0] - by_view[:, :, 1]).square().mean()  # Eq. 4
        }

    def _supervised(self, codes: Codes, z: Tensor, truth: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Losses against the truth: of codes, whose z is judged as `z` (B,128).

        The projected landmarks (Eq. 3) judge the pose with the true face, the expression with the true identity, and
        all that was said together; the last counts little, or the expression learns to make up for the identity.
        """
        expressed = torch.cat([target[:, self.identity], codes.z[:, self.identity.stop :]], 1)
        placed = [project(self.landmarks(face), codes.pose)[..., :2] for face in (codes.z, expressed, target)]
        shares = (self.config.together, 1.0, 1.0)
        unit = 100 / IOD_PIXELS
        a, b = self.pairs.unbind(1)
        opening = (placed[0][:, a] - placed[0][:, b]) - (truth[:, a] - truth[:, b])
        return {
            "z": ((z - target) * self.millimetres).square().mean(),  # Eq. 2
            "curve": (z - target)[:, self.expression].square().mean(),
            "pose": sum(w * ((p - truth) * unit).square().mean() for w, p in zip(shares, placed, strict=True)),
            "opening": (opening * unit).square().mean(),
        }

    def _pools(self, people: int, shots: int) -> Tensor:
        """(P,S,S) for each shot the shots that its person is pooled from, some 70 % of them."""
        chosen = (torch.rand(people, 1, shots, device=self.millimetres.device) < 0.7).float()
        chosen[..., 0] += (chosen.sum(-1) == 0).float()
        return chosen.expand(people, shots, shots)

    def _given_person(self, own: Tensor, true: Tensor, pooled: Tensor) -> Tensor:
        """The person (B,112) that expression and pose are told: mostly pooled, as in tracking; or the shot's own
        identity without a habit, as for a single frame; or the true identity. `own`, `true` are codes (B,128)."""
        pick = torch.rand(len(own), 1, device=own.device)
        single, told = (pick >= 0.75) & (pick < 0.9), pick >= 0.9
        identity, habit = pooled[:, self.identity], pooled[:, self.identity.stop :]
        identity = identity.where(~single, own[:, self.identity]).where(~told, true[:, self.identity])
        return torch.cat([identity, habit.where(~single, torch.zeros_like(habit))], 1)


class Data(Protocol):
    """What training draws from: P people, or moments of one, S shots each, an even number of them: pairs of views."""

    points: Tensor  # (P,S,478,2) true landmarks, crop frame
    codes: Tensor  # (P,S,Z)

    def batch(self, people: Tensor, device: torch.device) -> tuple[list[Tensor], Tensor, Tensor]:
        """(maps, points, codes) of people (P,)."""


class Dataset:
    """Captures in memory with the frozen perceptual maps in half precision, or with the pictures if none is frozen."""

    def __init__(self, paths: list[Path], network: I2ZNet, progress: Callable[[int, int], None] | None = None) -> None:
        maps: list[list[Tensor]] = []
        points, codes = [], []
        for done, path in enumerate(paths, 1):
            shard = load_shard(path, pictures=False)
            people, moments, views = shard.points.shape[:3]
            maps.append(self._perceive(path, network))
            points.append(torch.from_numpy(shard.points).reshape(people, moments * views, -1, 2))
            per_person = torch.from_numpy(np.repeat(shard.identity[:, None], moments, 1))
            look = torch.from_numpy(np.repeat(shard.appearance[:, None], moments, 1))
            code = torch.cat([per_person, torch.from_numpy(shard.expression), look], -1)
            codes.append(code.repeat_interleave(views, 1))
            if progress:
                progress(done, len(paths))
        self.points, self.codes = torch.cat(points), torch.cat(codes).float()
        self.maps = [torch.cat([m[i] for m in maps]) for i in range(len(maps[0]))] if maps else []

    @staticmethod
    def _perceive(path: Path, network: I2ZNet) -> list[Tensor]:
        """Maps of a shard's pictures, kept beside the shard."""
        if network.perceptual is None:
            return []
        if network.trains_trunk:
            return [torch.from_numpy(load_shard(path).pictures).flatten(0, 2)]
        cache = path.with_suffix(f".{network.config.perceptual}.pt")
        if cache.exists():
            return torch.load(cache, weights_only=True)
        device = next(network.parameters()).device
        pictures = torch.from_numpy(load_shard(path).pictures).flatten(0, 2)
        chunks = [network.perceive(to_tensor(some).to(device)) for some in pictures.split(32)]
        maps = [torch.cat([c[level] for c in chunks]).half().cpu().contiguous() for level in range(len(chunks[0]))]
        torch.save(maps, cache)
        return maps

    def batch(self, people: Tensor, device: torch.device) -> tuple[list[Tensor], Tensor, Tensor]:
        """(maps, points, codes) of people (P,)."""
        shots = self.points.shape[1]
        rows = (people[:, None] * shots + torch.arange(shots)).flatten()
        return (
            [m[rows].to(device) for m in self.maps],
            self.points[people].to(device),
            self.codes[people].to(device),
        )


def save_heads(path: Path, network: I2ZNet, state: dict[str, Tensor], settings: dict) -> None:
    """The heads' weights in half precision with their configuration, written under a temporary name first."""
    temporary = path.with_suffix(".part")
    metadata = {"config": yaml.safe_dump(asdict(network.config)), "training": json.dumps(settings)}
    save_file({k: v.half().cpu().contiguous() for k, v in state.items()}, temporary, metadata)
    os.replace(temporary, path)


def train(
    captures: list[Path] | Callable[[I2ZNet, int, int], Data],
    out: Path,
    config: TrainConfig,
    progress: Callable[[int, int, dict[str, float]], None] | None = None,
    loading: Callable[[int, int], None] | None = None,
    device: str = "cpu",
    decoder: Decoder | None = None,
    base: Path | None = None,
) -> Path:
    """Train on shards `captures` and write the heads to `out`; an interrupted run goes on from `<out>.checkpoint`.

    `captures` may be a function (network, rank, world) -> data instead. `progress(step, steps, losses)` is called every
    20 steps, `loading(done, shards)` while captures are read. `decoder` is that of the codes, by default the head;
    the levels begin as those of the weights file `base`, if one is given.
    """
    world, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    if world > 1 and not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    if world > 1 and device.startswith("cuda"):
        device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    torch.manual_seed(config.seed)
    network = I2ZNet(config.network).to(device).train()
    if callable(captures):
        data = captures(network, rank, world)
    else:
        data = Dataset(captures[rank::world], network, loading)
    if base is None:
        standardise(network, data)
    else:
        begin_as(network, base)
    objective: nn.Module = Objective(network, config, decoder).to(device)
    checkpoint, start = out.with_suffix(".checkpoint"), 0
    if network.heads.linear is not None and not checkpoint.exists():
        solve_linear(objective, data)
    settings = {**asdict(config), "people_seen": len(data.points), "world": world}
    step_once = DistributedDataParallel(objective) if world > 1 else objective
    parameters = list(network.heads.parameters())
    optimizer = torch.optim.AdamW(parameters, config.rate, weight_decay=config.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_cosine(step, config.steps))
    average = {k: v.detach().clone() for k, v in network.heads.state_dict().items()}
    if checkpoint.exists():
        start = _resume(checkpoint, network, optimizer, schedule, average)
    torch.manual_seed(config.seed + 1000 * rank + start)
    order = torch.Generator().manual_seed(config.seed + rank + start)
    weights = {n: getattr(config, f"weight_{n}") for n in ("z", "pose", "view", "opening", "curve")}
    for step in range(start + 1, config.steps + 1):
        people = torch.randint(len(data.points), (config.people,), generator=order)
        losses = step_once(*data.batch(people, torch.device(device)))
        optimizer.zero_grad()
        sum(weights[n] * loss for n, loss in losses.items()).backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        schedule.step()
        current = list(network.heads.state_dict().values())
        torch._foreach_lerp_(list(average.values()), current, step_of_average(step, config))
        if progress and step % 20 == 0:
            progress(step, config.steps, {n: loss.item() for n, loss in losses.items()})
        if rank == 0 and step % config.checkpoint_every == 0:
            _save_checkpoint(checkpoint, step, network, optimizer, schedule, average)
    if rank == 0:
        save_heads(out, network, average, settings)
        checkpoint.unlink(missing_ok=True)
    return out


def begin_as(network: I2ZNet, base: Path) -> None:
    """Give the levels, which see faces and speak of no code yet, the weights of a trained network's.

    Raises ValueError when that is of another architecture.
    """
    trained = load_model(base)
    if [getattr(trained.config, name) for name in _LEVELS] != [getattr(network.config, name) for name in _LEVELS]:
        raise UserError(f"{base}: its levels are others than those to be trained")
    for name in ("levels", "coordinates", "norm_z", "norm_pose"):
        if getattr(trained.heads, name) is not None:
            getattr(network.heads, name).load_state_dict(getattr(trained.heads, name).state_dict())


def ridge(x: Tensor, y: Tensor, strength: float = 30.0) -> tuple[Tensor, Tensor]:
    """Weight (M,K) and bias (M,) that minimise |x w^T + b - y|^2 + strength |w|^2 for x (N,K), y (N,M)."""
    x_mean, y_mean = x.mean(0), y.mean(0)
    a, b = (x - x_mean).double(), (y - y_mean).double()
    weight = torch.linalg.solve(a.T @ a + strength * torch.eye(a.shape[1], dtype=a.dtype, device=a.device), a.T @ b).T
    weight = weight.to(x.dtype)
    return weight, y_mean - weight @ x_mean


def weak_perspective(points: Tensor, image: Tensor) -> Tensor:
    """Poses (B,6) that best take head-frame points (B,L,3) to image points (B,L,2): least squares for an affine
    camera, then the nearest rotation."""
    x, y = points - points.mean(1, keepdim=True), image - image.mean(1, keepdim=True)
    affine = torch.linalg.solve(x.mT @ x, x.mT @ y).mT  # (B,2,3)
    u, s, vt = torch.linalg.svd(affine, full_matrices=False)
    rows = u @ vt
    turn = torch.cat([rows, torch.linalg.cross(rows[:, :1], rows[:, 1:])], 1)
    scale = s.mean(1)
    shift = image.mean(1) - scale[:, None] * (rows @ points.mean(1)[..., None])[..., 0]
    return torch.cat([scale.log()[:, None], angles_of(turn), shift], 1)


@torch.no_grad()
def at_rest(landmarks: SurfacePoints, points: Tensor, code: Tensor, expression: slice = EXPRESSION) -> Tensor:
    """Where the points (B,L,2) of faces with codes (B,128) would be in the picture if these had no expression."""
    shown = landmarks(code)
    pose = weak_perspective(shown, points)
    neutral = code.clone()
    neutral[:, expression] = 0
    return points + project(landmarks(neutral), pose)[..., :2] - project(shown, pose)[..., :2]


@torch.no_grad()
def solve_linear(objective: Objective, data: Dataset) -> None:
    """Set the heads' linear part to the ridge regression on the captures with noise; the person that expression and
    pose are told is the mean of what that says of a person's shots."""
    heads, device = objective.network.heads, objective.millimetres.device
    people, shots = data.points.shape[:2]
    truth, code = data.points.flatten(0, 1).to(device), data.codes.flatten(0, 1).to(device)
    resting = at_rest(objective.landmarks, truth, code, objective.expression).unflatten(0, (people, shots))
    seen = objective.noise(data.points.to(device), resting).flatten(0, 1)
    x = heads.coordinates.standardise(choose_points(seen, objective.config.network.points))

    def fit(layer: nn.Linear, inputs: Tensor, targets: Tensor) -> None:
        weight, bias = ridge(inputs, targets)
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)

    person = x.new_zeros(len(x), 0)
    if heads.linear.first is not None:
        fit(heads.linear.first, x, code)
        own = heads.linear.first(x)[:, : heads.person_size].reshape(people, shots, -1)
        person = own.mean(1, keepdim=True).expand_as(own).flatten(0, 1)
    fit(heads.linear.expression, torch.cat([x, person], 1), code[:, objective.expression])
    pose = weak_perspective(objective.landmarks(code), truth)
    given = torch.cat([x, person[:, objective.identity]], 1)
    fit(heads.linear.pose, given, (pose - heads.pose_mean) / heads.pose_spread)


def choose_points(points: Tensor, count: int) -> Tensor:
    """Of dense points (B,478,2), those (B,count,2) of the detector that a network is made for: 478, or FAN's 68."""
    return points[:, list(IBUG_68)] if count == len(IBUG_68) else points


def step_of_average(step: int, config: TrainConfig) -> float:
    """How far the running average of the weights moves; an average of all steps at first, a decaying one later."""
    return max(1 - config.average, 50 / (step + 50))


def standardise(network: I2ZNet, data: Dataset) -> None:
    """Centre and spread of the coordinates' level, from the captures."""
    level = network.heads.coordinates
    if level is not None:
        flat = choose_points(data.points.flatten(0, 1), network.config.points)
        level.centre.copy_(flat.mean(0))
        level.spread.copy_(flat.std(0).clamp(min=1))


def _save_checkpoint(
    path: Path,
    step: int,
    network: I2ZNet,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    average: dict[str, Tensor],
) -> None:
    state = {
        "step": step,
        "heads": network.heads.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "average": average,
    }
    temporary = path.with_suffix(".checkpoint.part")
    torch.save(state, temporary)
    os.replace(temporary, path)


def _resume(
    path: Path,
    network: I2ZNet,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    average: dict[str, Tensor],
) -> int:
    state = torch.load(path, weights_only=True)
    network.heads.load_state_dict(state["heads"])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    for name, value in state["average"].items():
        average[name].copy_(value)
    return int(state["step"])
