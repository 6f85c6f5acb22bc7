"""Training of a deep appearance model on a capture (Lombardi et al. 2018, Sec. 4).

Losses: vertices, texels that are no holes, Kullback-Leibler. Cameras differ in colour: each learns a gain and a bias,
which the model itself does not keep. Every fifth block of frames is held out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from selftrack.decoders.capture import Capture
from selftrack.decoders.dam.losses import divergence, masked_error, psnr
from selftrack.decoders.dam.model import Dam
from selftrack.decoders.dam.networks import DamConfig
from selftrack.decoders.head.model import load_head
from selftrack.errors import UserError
from selftrack.training.loop import Checkpoint, Loop, Progress, World

HELD = 5
"""Every so many-th block of frames is held out."""
BLOCK = 8
"""Frames."""


@dataclass(frozen=True)
class DamTraining:
    """Settings of a training run."""

    model: DamConfig = field(default_factory=DamConfig)
    steps: int = 6000
    batch: int = 4
    """Frames per step and process, each from two cameras."""
    rate: float = 5e-4
    """Peak learning rate; it decays to 0."""
    vertices: float = 1.0
    """Weight of the squared vertex error, in deviations of the capture."""
    texture: float = 1.0
    """Weight of the squared texture error, in deviations of the capture."""
    kl: float = 0.01
    """Weight of the Kullback-Leibler divergence, mean over z."""
    workers: int = 0
    """Processes that read the capture."""
    seed: int = 0
    checkpoint_every: int = 500
    """Steps."""

    @property
    def weights(self) -> dict[str, float]:
        """Weights of the losses by name."""
        return {name: getattr(self, name) for name in ("vertices", "texture", "kl")}


@dataclass(frozen=True)
class Reconstruction:
    """Errors on held-out frames, and those of the training frames' mean."""

    vertices: float
    """Mean distance, millimetres."""
    mean_vertices: float
    """The same of the mean mesh."""
    texture: float
    """PSNR in decibels, of visible texels, with the cameras' colours."""
    mean_texture: float
    """The same of the mean texture."""
    camera_mean_texture: float
    """The same of the mean of each camera's own textures."""
    frames: int

    def doubt(self) -> str:
        """One line where the model is no better than the training frames' mean; empty where it is."""
        worse = []
        if self.vertices >= self.mean_vertices:
            worse.append(f"vertices {self.vertices:.2f} mm, the mean's {self.mean_vertices:.2f}")
        if self.texture <= self.mean_texture:
            worse.append(f"texture {self.texture:.1f} dB, the mean's {self.mean_texture:.1f}")
        if not worse:
            return ""
        return (
            f"on held-out frames this model is no better than the mean of those that it learned from "
            f"({'; '.join(worse)}); it was written all the same; train it longer with --steps, or on more frames"
        )

    def __str__(self) -> str:
        return (
            f"{self.frames} held-out frames: vertices {self.vertices:.2f} mm (mean face {self.mean_vertices:.2f}), "
            f"texture {self.texture:.1f} dB (mean texture {self.mean_texture:.1f}, "
            f"each camera's mean {self.camera_mean_texture:.1f})"
        )


class CameraColours(nn.Module):
    """A gain and a bias per camera and channel."""

    def __init__(self, cameras: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(cameras, 3))
        self.bias = nn.Parameter(torch.zeros(cameras, 3))

    def forward(self, texture: Tensor, camera: Tensor) -> Tensor:
        """Colour textures (B,3,T,T) as cameras (B,) do; the mean over all cameras is the texture itself."""
        gain, bias = self.gain / self.gain.mean(0), self.bias - self.bias.mean(0)
        return texture * gain[camera][..., None, None] + bias[camera][..., None, None]


class Moments(Dataset):
    """Random frames of a capture; each brings its mesh, its average texture and the textures of two random cameras."""

    def __init__(self, capture: Capture, frames: np.ndarray, size: int, draws: int, seed: int) -> None:
        self.capture, self.size = capture, size
        self.frames = [int(f) for f in frames if capture.views(int(f))]
        self.draws, self.seed = draws, seed

    def __len__(self) -> int:
        return self.draws

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.seed, index])
        frame = self.frames[rng.integers(len(self.frames))]
        views = self.capture.views(frame)
        return observe(self.capture, frame, rng.choice(views, 2, replace=len(views) < 2), self.size)


def observe(capture: Capture, frame: int, cameras: Sequence[int] | np.ndarray, size: int) -> dict[str, Tensor]:
    """Read one frame: mesh (V,3), average (3,T,T); of C cameras textures (C,3,T,T), views (C,3) and numbers (C,)."""

    def tensor(texture: np.ndarray) -> Tensor:
        return torch.from_numpy(texture).movedim(-1, -3).float() / 255

    return {
        "mesh": torch.from_numpy(capture.vertices(frame)),
        "average": tensor(capture.average(frame, size)),
        "texture": tensor(np.stack([capture.texture(frame, int(c), size) for c in cameras])),
        "view": torch.from_numpy(np.stack([capture.view(frame, int(c)) for c in cameras])),
        "camera": torch.as_tensor(np.asarray(cameras), dtype=torch.long),
    }


class Objective(nn.Module):
    """The losses of a batch by name; it holds the model, so that DistributedDataParallel can wrap it."""

    def __init__(self, model: Dam, cameras: int) -> None:
        super().__init__()
        self.model, self.colours = model, CameraColours(cameras)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Compute the losses of a batch of `Moments`."""
        model = self.model
        mean, deviation = model.encode(batch["mesh"], batch["average"])
        z = mean + deviation.exp() * torch.randn_like(mean)
        vertices = (model.geometry(z) - batch["mesh"]) / model.mesh_deviation
        observed, view, camera = (batch[name].flatten(0, 1) for name in ("texture", "view", "camera"))
        painted = model.mean_texture + model.texture_deviation * model.texture(z.repeat_interleave(2, 0), view)
        texture = masked_error(self.colours(painted, camera), observed) / model.texture_deviation**2
        return {"vertices": vertices.square().mean(), "texture": texture, "kl": divergence(mean, deviation)}


def split_frames(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Split frames into those to learn from and held-out ones: every fifth block of 8, of shorter captures every fifth
    block of a fifth."""
    rows = np.arange(count)
    held = rows // max(min(BLOCK, count // HELD), 1) % HELD == HELD - 1
    return rows[~held], rows[held]


def prepare(capture: Capture, config: DamTraining) -> Dam:
    """Make an untrained model with the capture's means and deviations."""
    size = config.model.texture
    mean = torch.from_numpy(capture.mean_vertices())
    texture = torch.from_numpy(capture.mean_texture(size)).permute(2, 0, 1).float() / 255
    model = Dam(capture.topology, mean, texture, config.model)
    frames = split_frames(len(capture.frames))[0]
    some = [int(f) for f in frames[np.unique(np.linspace(0, len(frames) - 1, 32).astype(int))] if capture.views(int(f))]
    meshes = torch.stack([torch.from_numpy(capture.vertices(f)) for f in some])
    errors = [masked_error(texture[None], observe(capture, f, capture.views(f)[:1], size)["texture"]) for f in some]
    model.mesh_deviation.copy_((meshes - mean).square().mean().sqrt().clamp(min=1e-5))
    model.texture_deviation.copy_(torch.stack(errors).mean().sqrt().clamp(min=1e-3))
    return model


def train_dam(
    capture: Capture, out: Path, config: DamTraining, progress: Progress | None = None, device: str = "cpu"
) -> Reconstruction:
    """Train on a capture and write the model to `out`; an interrupted run goes on from `<out>.checkpoint`.

    In bfloat16 on a GPU.

    Args:
        capture: of one person.
        out: the file of the model.
        config: the settings.
        progress: called every twenty steps.
        device: "cpu" or "cuda".

    Raises:
        UserError: the capture has too few frames, or the checkpoint is of a run with other settings or other data.
    """
    learn, held = split_frames(len(capture.frames))
    if not len(learn) or not len(held):
        raise UserError(f"a capture of {len(capture.frames)} frames is too short to train on; it takes 5 at least")
    world = World.join(device)
    settings = {**asdict(config), "capture": capture_hash(capture), "processes": world.size}
    checkpoint = Checkpoint.beside(out, settings, config.checkpoint_every)
    saved = checkpoint.load()
    torch.manual_seed(config.seed)
    objective = Objective(prepare(capture, config), len(capture.cameras)).to(world.device)
    optimizer = torch.optim.Adam(objective.parameters(), config.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.rate, config.steps + 1, pct_start=0.05)
    loop = Loop(objective, objective, config.weights, optimizer, schedule, world, bfloat16=True)
    if saved is not None:
        loop.resume(saved)
    seed = config.seed + 1000 * world.rank
    moments = Moments(capture, learn, config.model.texture, config.steps * config.batch, seed)
    loop.run(partial(_batches, moments, config, world), config.steps, config.seed, checkpoint, progress)
    model = objective.model.eval()
    if world.rank == 0:
        fit_curves(model, capture, learn)
    errors = reconstruct(objective, capture, learn, held)
    if world.rank == 0:
        model.save(out, {"settings": asdict(config), "reconstruction": asdict(errors)})
        checkpoint.remove()
    return errors


def _batches(moments: Moments, config: DamTraining, world: World, done: int) -> Iterator[tuple]:
    """Draw the batches of the steps after the first `done`."""
    rows = range(done * config.batch, len(moments))
    loader = iter(DataLoader(moments, config.batch, sampler=rows, num_workers=config.workers))
    return (({name: value.to(world.device) for name, value in batch.items()},) for batch in loader)


def capture_hash(capture: Capture) -> str:
    """Hash what a capture is of: names of frames, cameras, mean mesh, the meshes of the first and the last frame."""
    digest = hashlib.sha256(json.dumps([capture.frames, [c.name for c in capture.cameras]]).encode())
    for camera in capture.cameras:
        digest.update(np.ascontiguousarray(camera.intrinsics, float).tobytes())
        digest.update(np.ascontiguousarray(camera.extrinsics, float).tobytes())
    for mesh in (capture.mean_vertices(), capture.vertices(0), capture.vertices(len(capture.frames) - 1)):
        digest.update(np.ascontiguousarray(mesh, np.float32).tobytes())
    return digest.hexdigest()[:16]


@torch.no_grad()
def codes(model: Dam, capture: Capture, frames: np.ndarray) -> Tensor:
    """Encode frames of a capture, without noise: (N,Z)."""
    device, size, found = model.mean_mesh.device, model.config.texture, []
    for frame in frames:
        texture = torch.from_numpy(capture.average(int(frame), size)).permute(2, 0, 1)[None].float() / 255
        mesh = torch.from_numpy(capture.vertices(int(frame)))[None]
        found.append(model.encode(mesh.to(device), texture.to(device))[0])
    return torch.cat(found)


def head_curves(mesh: Tensor) -> Tensor:
    """Compute ARKit values (N,52) of meshes (N,V,3) of one person in the head's topology.

    A ridge regression on the head's expressions; what the meshes have in common is the person's own.
    """
    head = load_head()
    skin, shapes = head.skin_vertices, head.shapes[head.expression].to(mesh.device)
    own = shapes[:, skin].flatten(1).T  # (3S,52)
    change = (mesh - mesh.mean(0))[:, skin].flatten(1).T
    weight = 1e-3 * own.square().sum() / own.shape[1] * torch.eye(own.shape[1], device=mesh.device)
    values = torch.linalg.solve(own.T @ own + weight, own.T @ change).T
    return values - values.quantile(0.05, 0)  # each curve is 0 in some frames


@torch.no_grad()
def fit_curves(model: Dam, capture: Capture, frames: np.ndarray) -> None:
    """Set the model's linear map from z to ARKit's curves, if its topology is the head's."""
    if model.topology.head != load_head().hash:
        return
    some = [int(f) for f in frames if capture.views(int(f))]
    z = codes(model, capture, np.array(some))
    mesh = torch.stack([torch.from_numpy(capture.vertices(f)) for f in some]).to(z.device)
    inputs = torch.cat([z, torch.ones_like(z[:, :1])], 1)
    penalty = 1e-2 * len(z) * torch.eye(inputs.shape[1], device=z.device)
    penalty[-1, -1] = 0
    model.arkit.copy_(torch.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ head_curves(mesh)).T)


@torch.no_grad()
def reconstruct(objective: Objective, capture: Capture, learn: np.ndarray, held: np.ndarray) -> Reconstruction:
    """Compute the errors on held-out frames, all cameras; the baselines are means of the frames `learn`."""
    model, size = objective.model, objective.model.config.texture
    device = model.mean_mesh.device
    frames = [int(f) for f in held if capture.views(int(f))]
    mean_mesh = torch.from_numpy(np.mean([capture.vertices(int(f)) for f in learn], 0)).to(device)
    means = dict(enumerate(_camera_means(capture, learn, size)))
    every = torch.stack(list(means.values()))
    shown = (every > 0).any(1, keepdim=True)
    mean_texture = (every.sum(0) / shown.sum(0).clamp(min=1)).to(device)
    sums = np.zeros(6)
    for frame in frames:
        observed = {k: v.to(device) for k, v in observe(capture, frame, np.array(capture.views(frame)), size).items()}
        z, _ = model.encode(observed["mesh"][None], observed["average"][None])
        error = (model.geometry(z)[0] - observed["mesh"]).norm(dim=1).mean()
        error_mean = (mean_mesh - observed["mesh"]).norm(dim=1).mean()
        mask = (observed["texture"] > 0).any(1, keepdim=True)
        count = int(3 * mask.sum())
        painted = model.colour(z.expand(len(mask), -1), observed["view"])
        own = torch.stack([means[int(c)] for c in observed["camera"]]).to(device)
        guesses = (objective.colours(painted, observed["camera"]), mean_texture[None], own)
        squares = [float(masked_error(guess, observed["texture"])) * count for guess in guesses]
        sums += np.array([1000 * float(error), 1000 * float(error_mean), *squares, count])
    mesh, mean_of_meshes = sums[:2] / len(frames)
    texture, mean_of_textures, camera_means = (psnr(s / sums[5]) for s in sums[2:5])
    return Reconstruction(float(mesh), float(mean_of_meshes), texture, mean_of_textures, camera_means, len(frames))


def _camera_means(capture: Capture, frames: np.ndarray, size: int, most: int = 40) -> Iterator[Tensor]:
    """Compute the mean texture (3,T,T), 0..1, of each camera over at most so many frames; black where never visible."""
    some = frames[np.unique(np.linspace(0, len(frames) - 1, most).astype(int))]
    for camera in range(len(capture.cameras)):
        total, count = np.zeros((size, size, 3)), np.zeros((size, size, 1))
        for frame in some:
            if camera in capture.views(int(frame)):
                texture = capture.texture(int(frame), camera, size)
                total += texture
                count += texture.any(2, keepdims=True)
        yield torch.from_numpy(total / np.maximum(count, 1) / 255).permute(2, 0, 1).float()
