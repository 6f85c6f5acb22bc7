"""I2ZNet: from the stabilised crop to the face code z and the head pose H (Yoon et al. 2019, Sec. 3.1 and Sec. A).

Two frozen streams feed small trained heads. The perceptual stream gives feature maps at several depths; the landmark
stream gives 68 heatmaps, brought to the size of each depth. Per depth both are normalised, concatenated, compressed to
one sixteenth of their channels by two convolutions, flattened and mapped to one vector for z and one for H; the
vectors of all depths are concatenated and regressed.

Where this differs from the paper, with the reason:
- The bundled configuration adds a level that reads the coordinates of the dense points: a heatmap of 24 pixels blurs
  the opening of a lid away.
- With the coordinates comes a linear path from them to z and H, solved in closed form before training.
- z is regressed in two steps: a first estimate, then expression and pose conditioned on the subject, which is pooled
  from the first estimates of many frames: one identity for all of a clip's frames, and the mean expression, which tells
  high brows from raised ones. Conditioned on the frame's own identity and no mean expression, it is the paper's form;
  so it is for the code of a personal model, which has no identity in it: then there is one step, and a subject has no
  numbers.

Crop frame: pixels of the 256x256 crop, centre of the first pixel (0, 0).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple, cast

import torch
import yaml
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import N_APPEARANCE, N_IDENTITY
from selftrack.decoders.landmarks import IBUG_68
from selftrack.errors import UserError
from selftrack.tracker.geometry.crop import CROP_SIZE
from selftrack.tracker.network.streams import (
    LANDMARK_STREAMS,
    PERCEPTUAL_STREAMS,
    Fan,
    ScratchTrunk,
    Stream,
    load_stream,
)

# Centre and spread of H over faces in a crop; the heads regress in these units.
POSE_MEAN = (6.9, 0.0, 0.0, 0.0, (CROP_SIZE - 1) / 2, (CROP_SIZE - 1) / 2)
POSE_SPREAD = (0.2, 0.3, 0.5, 0.15, 12.0, 12.0)
LARGEST_MAPS = 500_000
"""Bytes of a picture's perceptual maps in half precision that training keeps on disk: five times a picture's."""


@dataclass(frozen=True)
class I2ZConfig:
    """Architecture of an I2ZNet."""

    perceptual: str | None = "mesh"  # a key of PERCEPTUAL_STREAMS, or none
    landmarks: str | None = "points"  # a key of LANDMARK_STREAMS, or none
    coordinates: bool = True  # the level that reads the dense points' coordinates
    vector: int = 256  # length of a level's vector
    hidden: int = 512  # width of the regressing layers
    points: int = 478  # points of the detector: 478, or FAN's 68
    depths: int | None = None  # so many of the deepest levels; None for all (the paper's skip connections)
    identity: int = N_IDENTITY  # numbers of the code that are the identity; 0 for a personal model
    expression: int = len(ARKIT_NAMES)
    appearance: int = N_APPEARANCE
    decoder: str = ""  # hash of the decoder of the code

    @staticmethod
    def load(name: str) -> I2ZConfig:
        """The preset `configs/<name>.yaml`. Raises ValueError when there is none."""
        presets = {p.name.removesuffix(".yaml"): p for p in files("selftrack.configs").iterdir() if "i2znet" in p.name}
        if name not in presets:
            raise UserError(f"no preset {name!r}; there are {', '.join(sorted(presets))}")
        return I2ZConfig(**yaml.safe_load(presets[name].read_text(encoding="utf-8"))["network"])

    def check_streams(self, streams: Path | None) -> None:
        """Make sure that a file of `track-train streams` is of use. Raises UserError where no stream needs it."""
        used: list[type[Stream]] = [PERCEPTUAL_STREAMS[self.perceptual]] if self.perceptual else []
        used += [LANDMARK_STREAMS[self.landmarks]] if self.landmarks else []
        if streams is not None and all(stream.published is None for stream in used):
            raise UserError(f"{streams}: the network in use reads neither VGG-16 nor FAN; leave --streams out")


class Features(NamedTuple):
    """What the levels read from a batch of frames, before it is regressed."""

    for_z: Tensor
    """(B,W) for the code."""
    for_pose: Tensor
    """(B,W) for the pose."""
    points: Tensor | None
    """(B,L,2) landmarks in the crop frame."""


class Codes(NamedTuple):
    """The prediction for a batch."""

    z: Tensor
    """(B,Z) codes."""
    pose: Tensor
    """(B,6) poses H in the crop frame."""
    subject: Tensor
    """(B,112) each frame's first estimate of the subject, identity and expression, to be pooled; (B,0) for a personal
    model."""


def pointwise(conv: nn.Conv2d, maps: Tensor) -> Tensor:
    """A 1x1 convolution of maps (B,C,H,W) as a matrix product, on the CPU in half the time."""
    assert conv.bias is not None
    bias, weight = conv.bias[:, None], conv.weight.flatten(1)
    product = torch.baddbmm(bias.expand(len(maps), -1, -1), weight.expand(len(maps), -1, -1), maps.flatten(2))
    return product.unflatten(2, maps.shape[2:])


class Level(nn.Module):
    """One depth: compress the maps to one sixteenth, flatten, one vector for z and one for H."""

    def __init__(self, channels: int, size: int, vector: int) -> None:
        super().__init__()
        narrow = max(channels // 16, 1)
        self.compress = nn.Sequential(
            nn.Conv2d(channels, channels // 4, 1),
            nn.GELU(),
            nn.Conv2d(channels // 4, narrow, 3, padding=1),
            nn.GELU(),
        )
        self.to_z = nn.Linear(narrow * size * size, vector)
        self.to_pose = nn.Linear(narrow * size * size, vector)

    def flat(self, maps: Tensor) -> Tensor:
        """maps (B,C,S,S), compressed to (B,N)."""
        first = self.compress[0]
        assert isinstance(first, nn.Conv2d)
        return self.compress[1:](pointwise(first, maps)).flatten(1)

    def forward(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        """Compressed maps (B,N) -> two vectors (B,vector)."""
        return functional.gelu(self.to_z(flat)), functional.gelu(self.to_pose(flat))


class Coordinates(nn.Module):
    """The level of the dense points' coordinates."""

    centre: Tensor
    """(L,2) mean over the captures, crop frame."""
    spread: Tensor
    """(L,2) deviation over the captures."""

    def __init__(self, points: int, vector: int) -> None:
        super().__init__()
        self.to_z = nn.Sequential(
            nn.Linear(points * 2, 2 * vector), nn.GELU(), nn.Linear(2 * vector, vector), nn.GELU()
        )
        self.to_pose = nn.Sequential(nn.Linear(points * 2, vector), nn.GELU(), nn.Linear(vector, vector), nn.GELU())
        self.register_buffer("centre", torch.full((points, 2), (CROP_SIZE - 1) / 2))
        self.register_buffer("spread", torch.full((points, 2), 20.0))

    def standardise(self, points: Tensor) -> Tensor:
        """points (B,L,2), crop frame -> (B,2L) of zero mean and unit variance over the captures."""
        return ((points - self.centre) / self.spread).flatten(1)

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """points (B,L,2), crop frame -> two vectors (B,vector)."""
        x = self.standardise(points)
        return self.to_z(x), self.to_pose(x)


class Linear(nn.Module):
    """The linear part of the answer, from standardised coordinates; training solves it in closed form at the start."""

    def __init__(self, config: I2ZConfig, subject: int) -> None:
        super().__init__()
        numbers = config.points * 2
        estimated = subject + config.appearance
        self.first = nn.Linear(numbers, estimated) if estimated else None
        self.expression = nn.Linear(numbers + subject, config.expression)
        self.pose = nn.Linear(numbers + config.identity, 6)


class Regressor(nn.Sequential):
    """Fully connected layers from the levels' vectors to numbers."""

    def __init__(self, width: int, hidden: int, out: int) -> None:
        first, second, last = nn.Linear(width, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, out)
        super().__init__(first, nn.GELU(), second, nn.GELU(), last)
        nn.init.normal_(last.weight, std=1e-3)
        nn.init.zeros_(last.bias)


class Heads(nn.Module):
    """The trained part of I2ZNet: from the streams' maps to (z, H)."""

    def __init__(self, config: I2ZConfig, channels: list[int], sizes: list[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(Level(c, s, config.vector) for c, s in zip(channels, sizes, strict=True))
        self.coordinates = Coordinates(config.points, 2 * config.vector) if config.coordinates else None
        width = config.vector * len(self.levels) + 2 * config.vector * config.coordinates
        self.norm_z, self.norm_pose = nn.LayerNorm(width), nn.LayerNorm(width)
        self.identity_size, self.appearance_size = config.identity, config.appearance
        self.subject_size = config.identity + config.expression if config.identity else 0
        estimated = self.subject_size + config.appearance
        self.first = Regressor(width, config.hidden, estimated) if estimated else None
        self.expression = Regressor(width + self.subject_size, config.hidden, config.expression)
        self.pose = Regressor(width + config.identity, config.hidden, 6)
        self.linear = Linear(config, self.subject_size) if config.coordinates else None
        self.attention = nn.Linear(width, self.subject_size) if self.subject_size else None
        if self.attention is not None:
            nn.init.zeros_(self.attention.weight)
            nn.init.zeros_(self.attention.bias)
        self.trunk: nn.Module | None = None
        """A perceptual stream that is trained with the heads, and saved with them."""
        self.register_buffer("pose_mean", torch.tensor(POSE_MEAN))
        self.register_buffer("pose_spread", torch.tensor(POSE_SPREAD))

    def compress(self, maps: list[Tensor]) -> list[Tensor]:
        """maps, per level (B,C,s,s) -> (B,N) each."""
        levels = cast(Iterable[Level], self.levels)
        return [level.flat(m) for level, m in zip(levels, maps, strict=True)]

    def features(self, compressed: list[Tensor], points: Tensor | None) -> Features:
        """Compressed maps, per level (B,N), and points (B,L,2) -> the levels' concatenated vectors."""
        pairs = [level(flat) for level, flat in zip(self.levels, compressed, strict=True)]
        if self.coordinates is not None:
            pairs.append(self.coordinates(points))
        for_z, for_pose = (torch.cat(vectors, 1) for vectors in zip(*pairs, strict=True))
        return Features(self.norm_z(for_z), self.norm_pose(for_pose), points)

    def regress(self, features: Features, subject: Tensor | None = None) -> Codes:
        """z and H; expression and pose conditioned on a subject (B,112), else on each frame's own identity and no mean
        expression."""
        for_z, for_pose, points = features
        linear, x = self.linear, self._standardised(features)
        first = for_z[:, :0] if self.first is None else self.first(for_z)
        if linear is not None and linear.first is not None:
            first = first + linear.first(x)
        own, appearance = first.split([self.subject_size, self.appearance_size], 1)
        if subject is None:
            subject = torch.cat([own[:, : self.identity_size], torch.zeros_like(own[:, self.identity_size :])], 1)
        identity = subject[:, : self.identity_size]
        expression = self.expression(torch.cat([for_z, subject], 1))
        pose = self.pose(torch.cat([for_pose, identity], 1))
        if linear is not None:
            expression = expression + linear.expression(torch.cat([x, subject], 1))
            pose = pose + linear.pose(torch.cat([x, identity], 1))
        z = torch.cat([identity, expression, appearance], 1)
        return Codes(z, pose * self.pose_spread + self.pose_mean, own)

    def _standardised(self, features: Features) -> Tensor:
        """(B,2L) the landmarks as the linear part reads them; (B,0) where the network reads none."""
        if self.coordinates is None or features.points is None:
            return features.for_z[:, :0]
        return self.coordinates.standardise(features.points)

    def logits(self, features: Features) -> Tensor:
        """(B,112) the attention logit of each number of a frame's estimate of the subject: a profile knows the nose's
        length, closed lips the chin's. (B,0) for a personal model."""
        return features.for_z[:, :0] if self.attention is None else self.attention(features.for_z)

    def pool(self, features: Features, own: Tensor, among: Tensor | None = None) -> Tensor:
        """Subjects (P,112) pooled from the first estimates `own` (P*S,112) of S frames of P people: a mean weighted by
        the softmax of `logits`. `among` (P,Q,S) names the frames that count, Q pools per person -> (P*Q,112)."""
        people = 1 if among is None else len(among)
        if self.attention is None:
            return own.new_zeros(people if among is None else among.shape[:2].numel(), 0)
        logits = self.logits(features).unflatten(0, (people, 1, -1))  # (P,1,S,112)
        if among is not None:
            logits = logits.masked_fill(among[..., None] == 0, -torch.inf)
        return (logits.softmax(2) * own.unflatten(0, (people, 1, -1))).sum(2).flatten(0, 1)


class I2ZNet(nn.Module):
    """Frozen streams and trained heads; see the module's docstring."""

    def __init__(self, config: I2ZConfig, streams: Path | None = None, pretrained: bool = True) -> None:
        """Make a network with untrained heads.

        Args:
            config: the architecture.
            streams: file of `track-train streams` with the published weights of frozen streams; by default these are
                looked for where the libraries that they belong to keep them.
            pretrained: False leaves streams random whose weights are not bundled.

        Raises:
            UserError: weights of a stream are not there, or not those of it.
        """
        super().__init__()
        self.config = config
        self.perceptual = PERCEPTUAL_STREAMS[config.perceptual]() if config.perceptual else None
        self.landmarks = LANDMARK_STREAMS[config.landmarks]() if config.landmarks else None
        for stream in (self.perceptual, self.landmarks) if pretrained else ():
            if stream is not None:
                load_stream(stream, streams)
        sizes: tuple[int, ...] = (24, 12, 6) if self.landmarks else ()
        if self.perceptual:
            sizes = self.perceptual.sizes
        self.used = slice(-config.depths if config.depths else None, None)
        self.sizes = list(sizes)[self.used]
        channels = [0] * len(self.sizes)
        if self.perceptual:
            channels = [a + b for a, b in zip(channels, self.perceptual.channels[self.used], strict=True)]
        if self.landmarks:
            channels = [c + len(IBUG_68) for c in channels]
        self.heads = Heads(config, channels, self.sizes)
        self.trains_trunk = isinstance(self.perceptual, ScratchTrunk)
        if self.trains_trunk:
            self.heads.trunk = self.perceptual  # learned and saved with them
        for frozen in self._frozen():
            frozen.requires_grad_(False)
        self.train(self.training)

    @property
    def looks(self) -> bool:
        """Whether a stream looks at the crops; else the points alone are read, and None will do for crops."""
        return self.perceptual is not None or isinstance(self.landmarks, Fan)

    @property
    def reads_pictures(self) -> bool:
        """Whether training needs the pictures themselves, and not the perceptual maps alone, computed once: for a trunk
        that is trained, for FAN's heatmaps, or since the maps are too large to be kept."""
        return self.trains_trunk or isinstance(self.landmarks, Fan) or self.map_bytes > LARGEST_MAPS

    @property
    def map_bytes(self) -> int:
        """Bytes of one picture's perceptual maps in half precision."""
        stream = self.perceptual
        return 2 * sum(c * s**2 for c, s in zip(stream.channels, stream.sizes, strict=True)) if stream else 0

    def _frozen(self) -> list[nn.Module]:
        """The streams that are not trained."""
        streams = (None if self.trains_trunk else self.perceptual, self.landmarks)
        return [stream for stream in streams if stream is not None]

    def train(self, mode: bool = True) -> I2ZNet:
        """Train mode of the heads; the streams stay in evaluation mode."""
        super().train(mode)
        for stream in self._frozen():
            stream.eval()
        return self

    def perceive(self, crops: Tensor | None) -> list[Tensor]:
        """The perceptual maps of crops (B,3,S,S), RGB in 0..1; may be cached, as those of a frozen stream never
        change. None without such a stream."""
        with torch.set_grad_enabled(self.trains_trunk and torch.is_grad_enabled()):
            return self.perceptual(crops) if self.perceptual else []

    def levels(self, crops: Tensor | None, points: Tensor | None, perceived: list[Tensor]) -> list[Tensor]:
        """Per level (B,C,s,s): the perceptual maps, which may be cached, and those of the landmark stream, each
        normalised, as their scales differ (Sec. A.2), concatenated."""
        maps: list[list[Tensor]] = [[m] for m in perceived[self.used]] if perceived else [[] for _ in self.sizes]
        if self.landmarks is not None:
            for level, heat in zip(maps, self.landmarks(crops, points, self.sizes), strict=True):
                level.append(heat)
        return [torch.cat([functional.group_norm(m, 1) for m in level], 1) for level in maps]

    def compressed(self, crops: Tensor | None, points: Tensor | None, perceived: list[Tensor]) -> list[Tensor]:
        """Per level (B,N): the `levels`, compressed."""
        return self.heads.compress(self.levels(crops, points, perceived))

    def features(self, crops: Tensor | None, points: Tensor | None, perceived: list[Tensor] | None = None) -> Features:
        """What the levels read from crops (B,3,256,256), RGB in 0..1, with their landmarks (B,L,2) in the crop frame.

        `crops` may be None where no stream `looks`. `perceived` are the perceptual maps where they are known already.
        """
        perceived = self.perceive(crops) if perceived is None else perceived
        return self.heads.features(self.compressed(crops, points, perceived), points)

    def forward(self, crops: Tensor | None, points: Tensor | None = None, subject: Tensor | None = None) -> Codes:
        """Codes of crops (B,3,256,256), RGB in 0..1, with their landmarks (B,L,2) in the crop frame.

        `crops` may be None where no stream `looks`. `subject` (112,) or (B,112) is what `Heads.pool` gives; without it
        each frame has its own identity.
        """
        features = self.features(crops, points)
        if subject is not None:
            subject = subject.expand(len(features.for_z), -1)
        return self.heads.regress(features, subject)

    def with_heads(self, heads: Heads) -> I2ZNet:
        """The network with other heads and the same streams; this one stays as it is."""
        other = copy.copy(self)
        other._modules = self._modules | {"heads": heads}
        if self.trains_trunk:
            other._modules["perceptual"] = heads.trunk
        return other


def to_tensor(crops: Tensor) -> Tensor:
    """uint8 crops (B,S,S,3) -> float (B,3,S,S) in 0..1."""
    return rearrange(crops, "b h w c -> b c h w").float() / 255
