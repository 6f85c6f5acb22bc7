"""The deep appearance model: a conditional variational autoencoder of one person (Lombardi et al. 2018).

Encoder: mesh and average texture -> z in R^128. Decoder: z and view direction -> vertices and view-dependent texture.
Both work on what is standardised by the mean mesh and texture and one deviation each. Any topology, any texture of 32
to 1024 texels (a power of two). The last layer of the geometry is linear: its columns are the `shapes` of
`selftrack.decoders.base.Decoder`, what comes before them the coefficients.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.base import TOPOLOGY, Decoder, Embedding, Topology
from selftrack.decoders.dam.networks import DamConfig, Encoder, TextureDecoder, initialise, linear
from selftrack.decoders.registry import register_decoder
from selftrack.errors import UserError
from selftrack.io import atomic_path, sort_metadata

_FRONT = (0.0, 0.0, -1.0)


@register_decoder
class Dam(Decoder):
    """The face of one person; see the module."""

    name = "dam"
    paints_view = True

    mean_mesh: Tensor  # (V,3) metres
    mesh_deviation: Tensor  # () metres
    texture_deviation: Tensor  # ()
    arkit: Tensor
    """(52,Z+1) the linear map from z, and a bias, to ARKit's curves; 0: not known."""

    def __init__(self, topology: Topology, mean: Tensor, texture: Tensor, config: DamConfig | None = None) -> None:
        """Start an untrained model; `mean` (V,3) metres and `texture` (3,T,T), RGB in 0..1, are the person's means."""
        super().__init__(topology)
        self.config = config = config or DamConfig()
        self.size = config.code
        self.identity, self.expression = slice(0, 0), slice(0, config.code)
        self.appearance = slice(config.code, config.code)
        if texture.shape != (3, config.texture, config.texture):
            raise ValueError(f"expected a mean texture (3,{config.texture},{config.texture}), got {texture.shape}")
        self.register_buffer("mean_mesh", mean.float())
        self.register_buffer("mean_texture", texture.float())
        self.register_buffer("mesh_deviation", torch.tensor(0.002))
        self.register_buffer("texture_deviation", torch.tensor(0.1))
        self.register_buffer("arkit", torch.zeros(len(ARKIT_NAMES), config.code + 1))
        self.encoder = Encoder(len(mean), config)
        self.hidden = nn.Sequential(*linear(config.code, config.hidden), *linear(config.hidden, config.hidden))
        self.vertices = nn.Linear(config.hidden, 3 * len(mean))
        self.texture = TextureDecoder(config)
        self.apply(initialise)
        for layer in (self.encoder.deviation, self.vertices):
            nn.init.normal_(layer.weight, std=1e-3)
        nn.init.constant_(self.encoder.deviation.bias, -2.0)

    def save(self, path: Path, training: dict | None = None) -> Path:
        """Write the model with its topology as safetensors; the settings, and those of the training, are in the header.

        Raises:
            UserError: the file cannot be written.
        """
        topology, tensors = self.topology, dict(self.state_dict())
        tensors |= {f"topology.{name}": getattr(topology, name) for name in TOPOLOGY}
        if topology.landmarks is not None:
            tensors["topology.landmark_triangles"] = topology.landmarks.triangles
            tensors["topology.landmark_weights"] = topology.landmarks.weights
        header = {"config": asdict(self.config), "part_names": topology.part_names, "head": topology.head}
        plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        with atomic_path(path) as part:
            save_file(plain, part, {"decoder": self.name, "dam": json.dumps(header | {"training": training or {}})})
            sort_metadata(part)
        return Path(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a model, its parameters frozen.

        Raises:
            UserError: the file is none.
        """
        path = Path(path)
        try:
            with safe_open(path, "pt") as file:
                header = json.loads(file.metadata()["dam"])
                tensors = {k: file.get_tensor(k) for k in file.keys()}
            own = {k.removeprefix("topology."): tensors.pop(k) for k in list(tensors) if k.startswith("topology.")}
            triangles, weights = own.pop("landmark_triangles", None), own.pop("landmark_weights", None)
            landmarks = None if triangles is None else Embedding(triangles, weights)
            topology = Topology(**own, part_names=tuple(header["part_names"]), landmarks=landmarks, head=header["head"])
            model = cls(topology, tensors["mean_mesh"], tensors["mean_texture"], DamConfig(**header["config"]))
            model.load_state_dict(tensors)
            model.hash = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"{path}: not a deep appearance model ({error}); make one with track-train dam") from error
        return model.requires_grad_(False).eval()

    @property
    def expression_names(self) -> tuple[str, ...]:
        """Names of z, which mean nothing by themselves."""
        return tuple(f"z{i:03d}" for i in range(self.size))

    @property
    def mean(self) -> Tensor:
        """(V,3) vertices at coefficients 0, metres."""
        return self.mean_mesh + self.mesh_deviation * self.vertices.bias.view(-1, 3)

    @property
    def shapes(self) -> Tensor:
        """(K,V,3) metres."""
        return self.mesh_deviation * self.vertices.weight.T.unflatten(1, (-1, 3))

    @property
    def curve_names(self) -> tuple[str, ...]:
        """ARKit's where the topology is the head's, else those of z."""
        return ARKIT_NAMES if self.arkit.any() else self.expression_names

    def curves(self, z: Tensor) -> Tensor:
        """Compute ARKit values (B,52) in 0..1 by the linear map that training has fitted, or z itself."""
        if not self.arkit.any():
            return super().curves(z)
        self.check(z)
        return (z @ self.arkit[:, :-1].T + self.arkit[:, -1]).clamp(0, 1)

    def encode(self, mesh: Tensor, texture: Tensor) -> tuple[Tensor, Tensor]:
        """Compute mean and log deviation (B,Z) of z, from meshes (B,V,3) in metres and average textures (B,3,T,T), RGB
        in 0..1; black texels are holes."""
        standard = (texture - self.mean_texture) / self.texture_deviation
        standard = standard * (texture > 0).any(1, keepdim=True)
        return self.encoder((mesh - self.mean_mesh) / self.mesh_deviation, standard)

    def coefficients(self, z: Tensor) -> Tensor:
        """Compute the coefficients (B,K) of the shapes, of codes z (B,Z)."""
        self.check(z)
        return self.hidden(z)

    def geometry(self, z: Tensor) -> Tensor:
        """Compute the vertices (B,V,3), metres, head frame, of codes z (B,Z)."""
        standard = self.vertices(self.coefficients(z)).unflatten(1, (-1, 3))
        return self.mean_mesh + self.mesh_deviation * standard

    def colour(self, z: Tensor, view: Tensor | None = None) -> Tensor:
        """Compute the texture (B,3,T,T), RGB in 0..1, of codes z (B,Z) from view (B,3), by default from the front."""
        self.check(z, view)
        view = z.new_tensor(_FRONT).expand(len(z), 3) if view is None else view
        return (self.mean_texture + self.texture_deviation * self.texture(z, view)).clamp(0, 1)
