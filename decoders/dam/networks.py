"""The networks of a deep appearance model: an encoder of mesh and texture, a decoder of the texture."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from selftrack.errors import UserError

CHANNELS = (16, 32, 32, 64, 64, 128, 128, 256)  # of textures halved 1, 2, ... times
_SLOPE = 0.2


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
    """Numbers into which the view direction is encoded, beside z."""

    def __post_init__(self) -> None:
        if self.texture not in (32, 64, 128, 256, 512, 1024):
            raise UserError(f"texture must be 32, 64, 128, 256, 512 or 1024 texels; got {self.texture}")

    @property
    def channels(self) -> tuple[int, ...]:
        """Of the textures of half, a quarter, ... of the side, down to 4x4."""
        return CHANNELS[: self.texture.bit_length() - 3]


def linear(inside: int, outside: int) -> nn.Sequential:
    """Make a fully connected layer with its activation."""
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
        self.texture = nn.Sequential(*layers, nn.Flatten(), *linear(16 * before, config.hidden))
        self.mesh = nn.Sequential(nn.Flatten(), *linear(3 * vertices, config.hidden))
        self.joint = linear(2 * config.hidden, config.hidden)
        self.mean = nn.Linear(config.hidden, config.code)
        self.deviation = nn.Linear(config.hidden, config.code)

    def forward(self, mesh: Tensor, texture: Tensor) -> tuple[Tensor, Tensor]:
        joint = self.joint(torch.cat([self.mesh(mesh), self.texture(texture)], 1))
        return self.mean(joint), self.deviation(joint)


class Upsample(nn.Module):
    """Twice the side, with a bias of its own for each texel: the texels of a face differ."""

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
        self.view = linear(3, config.view)
        self.joint = nn.Sequential(
            *linear(config.code + config.view, config.hidden), *linear(config.hidden, 16 * channels[0])
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


def initialise(layer: nn.Module) -> None:
    """Initialise a layer so that it keeps the variance; torch's own lets it fade."""
    if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        fan = layer.weight[0].numel()
        if isinstance(layer, nn.ConvTranspose2d):
            fan = layer.weight.numel() // layer.weight.shape[1] // 4  # of 16 taps, 4 meet a texel
        nn.init.normal_(layer.weight, std=(2 / (1 + _SLOPE**2) / fan) ** 0.5)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
