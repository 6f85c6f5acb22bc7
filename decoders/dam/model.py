"""The deep appearance model: a conditional variational autoencoder of one person (Lombardi et al. 2018).

Encoder: mesh and average texture -> z in R^128. Decoder: z and view direction -> vertices and view-dependent texture.
Both work on what is standardised by the mean mesh and texture and one deviation each. Any topology, any texture of 32
to 1024 texels (a power of two). The last layer of the geometry is linear: its columns are the `shapes` of
`selftrack.decoders.base.Decoder`, what comes before them the coefficients.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from selftrack.decoders.base import TOPOLOGY, Decoded, Embedding, Topology
from selftrack.decoders.head.model import EXPRESSION_NAMES, IBUG_68, Head, load_head
from selftrack.errors import UserError

CHANNELS = (16, 32, 32, 64, 64, 128, 128, 256)  # of textures halved 1, 2, ... times
_SLOPE = 0.2
_FRONT = (0.0, 0.0, -1.0)


@dataclass(frozen=True)
class DamConfig:
    """Architecture."""

    texture: int = 256
    """Side of the texture in texels, a power of two: 256 and 512 for the CPU, 1024 in the paper."""
    code: int = 128
    """Length of z."""
    hidden: int = 256
    """Width of the fully connected layers, and number of the geometry's shapes."""
    view: int = 8
    """Numbers that tell the view direction beside z."""

    def __post_init__(self) -> None:
        if self.texture not in (32, 64, 128, 256, 512, 1024):
            raise UserError(f"texture must be 32, 64, 128, 256, 512 or 1024 texels; got {self.texture}")

    @property
    def channels(self) -> tuple[int, ...]:
        """Of the textures of half, a quarter, ... of the side, down to 4x4."""
        return CHANNELS[: self.texture.bit_length() - 3]


def _linear(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inside, outside), nn.LeakyReLU(_SLOPE))


class Encoder(nn.Module):
    """Standardised mesh (B,V,3) and average texture (B,3,T,T) -> mean and log deviation of z, (B,Z) each."""

    def __init__(self, vertices: int, config: DamConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for channels in config.channels:
            layers += [nn.Conv2d(before, channels, 4, 2, 1), nn.LeakyReLU(_SLOPE)]
            before = channels
        self.texture = nn.Sequential(*layers, nn.Flatten(), *_linear(16 * before, config.hidden))
        self.mesh = nn.Sequential(nn.Flatten(), *_linear(3 * vertices, config.hidden))
        self.joint = _linear(2 * config.hidden, config.hidden)
        self.mean = nn.Linear(config.hidden, config.code)
        self.deviation = nn.Linear(config.hidden, config.code)

    def forward(self, mesh: Tensor, texture: Tensor) -> tuple[Tensor, Tensor]:
        joint = self.joint(torch.cat([self.mesh(mesh), self.texture(texture)], 1))
        return self.mean(joint), self.deviation(joint)


class Upsample(nn.Module):
    """Twice the side, with a bias of its own for each texel: each place of a face looks its own way."""

    def __init__(self, inside: int, outside: int, side: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(inside, outside, 4, 2, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(outside, side, side))

    def forward(self, x: Tensor) -> Tensor:
        return self.up(x) + self.bias


class TextureDecoder(nn.Module):
    """z (B,Z) and view (B,3) -> standardised texture (B,3,T,T)."""

    def __init__(self, config: DamConfig) -> None:
        super().__init__()
        channels = config.channels[::-1]
        self.view = _linear(3, config.view)
        self.joint = nn.Sequential(
            *_linear(config.code + config.view, config.hidden), *_linear(config.hidden, 16 * channels[0])
        )
        layers: list[nn.Module] = []
        side = 4
        for before, after in zip(channels, (*channels[1:], 3), strict=True):
            side *= 2
            layers += [Upsample(before, after, side), nn.LeakyReLU(_SLOPE)]
        self.up = nn.Sequential(*layers[:-1])

    def forward(self, z: Tensor, view: Tensor) -> Tensor:
        joint = self.joint(torch.cat([z, self.view(view)], 1))
        return self.up(joint.unflatten(1, (-1, 4, 4)))


def _initialise(layer: nn.Module) -> None:
    """Keeps the variance from layer to layer; torch's own lets it fade."""
    if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        fan = layer.weight[0].numel()
        if isinstance(layer, nn.ConvTranspose2d):
            fan = layer.weight.numel() // layer.weight.shape[1] // 4  # of 16 taps, 4 meet a texel
        nn.init.normal_(layer.weight, std=(2 / (1 + _SLOPE**2) / fan) ** 0.5)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


class Dam(nn.Module):
    """A person's face; a `selftrack.decoders.base.Decoder`. See the module."""

    name = "dam"
    hash = ""  # of its file, if it is from one

    def __init__(self, topology: Topology, mean: Tensor, texture: Tensor, config: DamConfig | None = None) -> None:
        """`mean` (V,3) metres and `texture` (3,T,T), RGB in 0..1, are the person's mean mesh and texture."""
        super().__init__()
        self.config = config = config or DamConfig()
        self.topology = topology
        self.size, self.part_names = config.code, topology.part_names
        self.identity, self.expression = slice(0, 0), slice(0, config.code)
        self.appearance = slice(config.code, config.code)
        if texture.shape != (3, config.texture, config.texture):
            raise ValueError(f"expected a mean texture (3,{config.texture},{config.texture}), got {texture.shape}")
        for name in TOPOLOGY:
            self.register_buffer(name, getattr(topology, name).clone(), persistent=False)
        if topology.landmarks is not None:
            self.register_buffer("_landmark_triangles", topology.landmarks.triangles.clone(), persistent=False)
            self.register_buffer("_landmark_weights", topology.landmarks.weights.clone(), persistent=False)
        self.register_buffer("mean_mesh", mean.float())
        self.register_buffer("mean_texture", texture.float())
        self.register_buffer("mesh_deviation", torch.tensor(0.002))  # metres
        self.register_buffer("texture_deviation", torch.tensor(0.1))
        self.register_buffer("arkit", torch.zeros(len(EXPRESSION_NAMES), config.code + 1))  # of `curves`; 0: none
        self.encoder = Encoder(len(mean), config)
        self.hidden = nn.Sequential(*_linear(config.code, config.hidden), *_linear(config.hidden, config.hidden))
        self.vertices = nn.Linear(config.hidden, 3 * len(mean))
        self.texture = TextureDecoder(config)
        self.apply(_initialise)
        for layer in (self.encoder.deviation, self.vertices):
            nn.init.normal_(layer.weight, std=1e-3)
        nn.init.constant_(self.encoder.deviation.bias, -2.0)

    @property
    def expression_names(self) -> tuple[str, ...]:
        """Names of z, which mean nothing by themselves."""
        return tuple(f"z{i:03d}" for i in range(self.size))

    @property
    def landmarks478(self) -> Embedding:
        """The detector's points. Raises ValueError where nobody has placed them."""
        if self.topology.landmarks is None:
            raise UserError("this model does not know where the detector's points lie on it; train it again")
        return Embedding(self._landmark_triangles, self._landmark_weights)

    @property
    def landmarks68(self) -> Embedding:
        """The 68 points of 300-W."""
        dense, index = self.landmarks478, list(IBUG_68)
        return Embedding(dense.triangles[index], dense.weights[index])

    @property
    def mean(self) -> Tensor:
        """(V,3) vertices at coefficients 0, metres."""
        return self.mean_mesh + self.mesh_deviation * self.vertices.bias.view(-1, 3)

    @property
    def shapes(self) -> Tensor:
        """(K,V,3) metres."""
        return self.mesh_deviation * self.vertices.weight.T.unflatten(1, (-1, 3))

    def encode(self, mesh: Tensor, texture: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log deviation (B,Z) of z, from meshes (B,V,3) in metres and average textures (B,3,T,T), RGB in
        0..1; black texels are holes."""
        standard = (texture - self.mean_texture) / self.texture_deviation
        standard = standard * (texture > 0).any(1, keepdim=True)
        return self.encoder((mesh - self.mean_mesh) / self.mesh_deviation, standard)

    @property
    def curve_names(self) -> tuple[str, ...]:
        """ARKit's where the topology is the head's, else those of z."""
        return EXPRESSION_NAMES if self.arkit.any() else self.expression_names

    def curves(self, z: Tensor) -> Tensor:
        """(B,52) ARKit values in 0..1 by the linear map that training has fitted, or z itself."""
        if not self.arkit.any():
            return z
        return (z @ self.arkit[:, :-1].T + self.arkit[:, -1]).clamp(0, 1)

    def coefficients(self, z: Tensor) -> Tensor:
        """(B,K) of the shapes."""
        return self.hidden(z)

    def geometry(self, z: Tensor) -> Tensor:
        """Vertices (B,V,3), metres, head frame, of codes z (B,Z)."""
        standard = self.vertices(self.coefficients(z)).unflatten(1, (-1, 3))
        return self.mean_mesh + self.mesh_deviation * standard

    def colour(self, z: Tensor, view: Tensor | None = None) -> Tensor:
        """Texture (B,3,T,T), RGB in 0..1, of codes z (B,Z) seen from view (B,3), by default from the front."""
        view = z.new_tensor(_FRONT).expand(len(z), 3) if view is None else view
        return (self.mean_texture + self.texture_deviation * self.texture(z, view)).clamp(0, 1)

    def forward(self, z: Tensor, view: Tensor | None = None) -> Decoded:
        """Decode z (B,Z) seen from view (B,3), unit vectors from the head to the camera in the head frame."""
        return Decoded(self.geometry(z), self.colour(z, view))


def save_dam(path: Path, model: Dam, training: dict | None = None) -> Path:
    """Write a model with its topology as safetensors, its settings as JSON in the header; temporary name first."""
    topology, tensors = model.topology, {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    for name in TOPOLOGY:
        tensors[f"topology.{name}"] = getattr(topology, name).cpu().contiguous()
    if topology.landmarks is not None:
        tensors["topology.landmark_triangles"] = topology.landmarks.triangles.cpu().contiguous()
        tensors["topology.landmark_weights"] = topology.landmarks.weights.cpu().contiguous()
    header = {"config": asdict(model.config), "part_names": topology.part_names, "head": topology.head}
    part = path.with_name("." + path.name)
    save_file(tensors, part, {"decoder": "dam", "dam": json.dumps(header | {"training": training or {}})})
    os.replace(part, path)
    return path


def load_dam(path: Path) -> Dam:
    """Read a model. Raises ValueError when the file is none."""
    path = Path(path)
    try:
        with safe_open(path, "pt") as file:
            header = json.loads(file.metadata()["dam"])
            tensors = {k: file.get_tensor(k) for k in file.keys()}
        own = {k.removeprefix("topology."): tensors.pop(k) for k in list(tensors) if k.startswith("topology.")}
        triangles, weights = own.pop("landmark_triangles", None), own.pop("landmark_weights", None)
        landmarks = None if triangles is None else Embedding(triangles, weights)
        topology = Topology(**own, part_names=tuple(header["part_names"]), landmarks=landmarks, head=header["head"])
        model = Dam(topology, tensors["mean_mesh"], tensors["mean_texture"], DamConfig(**header["config"]))
        model.load_state_dict(tensors)
    except Exception as error:
        raise UserError(f"{path}: not a deep appearance model ({error}); make one with track-train dam") from error
    model.hash = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return model.requires_grad_(False).eval()


def load_decoder(path: str | None) -> Head | Dam:
    """The model in a file, or the bundled head; read once. Raises ValueError when the file is none."""
    if path is None:
        return load_head()
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file; make a person's own model with track-train dam")
    return _load_once(path, Path(path).stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _load_once(path: str, changed: int) -> Dam:
    return load_dam(Path(path))


def masked_error(made: Tensor, seen: Tensor) -> Tensor:
    """Mean squared difference () of textures (B,3,T,T), over texels of `seen` that are no holes."""
    mask = (seen > 0).any(1, keepdim=True)
    return ((made - seen).square() * mask).sum() / (3 * mask.sum()).clamp(min=1)


def divergence(mean: Tensor, deviation: Tensor) -> Tensor:
    """Kullback-Leibler divergence () of N(mean, exp(deviation)^2) (B,Z) from N(0, 1), mean of the batch and of z."""
    return 0.5 * (mean.square() + (2 * deviation).exp() - 1 - 2 * deviation).mean()


def psnr(square: float) -> float:
    """Decibels of a mean squared error of values in 0..1."""
    return -10 * float(torch.tensor(max(square, 1e-12)).log10())

