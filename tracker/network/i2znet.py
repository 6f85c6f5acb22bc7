"""I2ZNet: from the stabilised crop to the face code z and the head pose H (Yoon et al. 2019, Sec. 3.1 and Sec. A).

Two frozen streams feed small trained heads. The perceptual stream gives feature maps at several depths; the landmark
stream gives 68 heatmaps, brought to the size of each depth. Per depth both are normalised, concatenated, compressed to
one sixteenth of their channels by two convolutions, flattened and mapped to one vector for z and one for H; the
vectors of all depths are concatenated and regressed.

Where this differs from the paper, with the reason:
- The bundled configuration adds a level that reads the coordinates of the dense points: a heatmap of 24 pixels blurs
  the opening of a lid away.
- With the coordinates comes a linear path from them to z and H, solved in closed form before training.
- z is regressed in two steps: a first guess, then expression and pose given the person, who is pooled from the first
  guesses of many frames: one identity for all of a clip's frames, and the habit, its average expression, which tells
  high brows from raised ones. Given its own frame's identity and no habit, it is the paper's form; so it is for the
  code of a person's own model, which has no identity in it: then there is one step, and a person has no numbers.

Crop frame: pixels of the 256x256 crop, centre of the first pixel (0, 0).
"""

from __future__ import annotations

import copy
import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import yaml
from einops import rearrange
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import N_APPEARANCE, N_IDENTITY
from selftrack.decoders.landmarks import IBUG_68
from selftrack.errors import UserError
from selftrack.tracker.geometry.crop import CROP_SIZE
from selftrack.tracker.network.streams import LANDMARK_STREAMS, PERCEPTUAL_STREAMS, ScratchTrunk
from selftrack.tracker.results.skin_points import Window

WEIGHTS = Path(__file__).parents[1] / "assets" / "i2znet_small.safetensors"
CONFIGS = Path(__file__).parents[2] / "configs"
# Centre and spread of H over faces in a crop; the heads regress in these units.
POSE_MEAN = (6.9, 0.0, 0.0, 0.0, (CROP_SIZE - 1) / 2, (CROP_SIZE - 1) / 2)
POSE_SPREAD = (0.2, 0.3, 0.5, 0.15, 12.0, 12.0)


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
    identity: int = N_IDENTITY  # numbers of the code that tell the person; 0 for a person's own model
    expression: int = len(ARKIT_NAMES)
    appearance: int = N_APPEARANCE
    decoder: str = ""  # hash of the decoder that the code speaks to; empty: the default head

    @staticmethod
    def load(name: str) -> I2ZConfig:
        """The preset `configs/<name>.yaml`. Raises ValueError when there is none."""
        known = sorted(p.stem for p in CONFIGS.glob("*.yaml"))
        if name not in known:
            raise UserError(f"no preset {name!r}; there are {', '.join(known)}")
        return I2ZConfig(**yaml.safe_load((CONFIGS / f"{name}.yaml").read_text()))


class Codes(NamedTuple):
    """What the network says of a batch: z (B,128), H (B,6) in the crop frame, and each frame's first guess of the
    person (B,112): identity and expression, to be pooled; (B,0) for a person's own model."""

    z: Tensor
    pose: Tensor
    person: Tensor


def pointwise(conv: nn.Conv2d, maps: Tensor) -> Tensor:
    """A 1x1 convolution of maps (B,C,H,W) as a matrix product, on the CPU in half the time."""
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
        return self.compress[1:](pointwise(self.compress[0], maps)).flatten(1)

    def forward(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        """Compressed maps (B,N) -> two vectors (B,vector)."""
        return functional.gelu(self.to_z(flat)), functional.gelu(self.to_pose(flat))


class Coordinates(nn.Module):
    """The level of the dense points' coordinates."""

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

    def __init__(self, config: I2ZConfig, person: int) -> None:
        super().__init__()
        numbers = config.points * 2
        self.first = nn.Linear(numbers, person + config.appearance) if person + config.appearance else None
        self.expression = nn.Linear(numbers + person, config.expression)
        self.pose = nn.Linear(numbers + config.identity, 6)


class Regressor(nn.Sequential):
    """Fully connected layers from the levels' vectors to numbers."""

    def __init__(self, width: int, hidden: int, out: int) -> None:
        super().__init__(
            nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, out)
        )
        nn.init.normal_(self[-1].weight, std=1e-3)
        nn.init.zeros_(self[-1].bias)


class Heads(nn.Module):
    """The trained part of I2ZNet: from the streams' maps to (z, H)."""

    def __init__(self, config: I2ZConfig, channels: list[int], sizes: list[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(Level(c, s, config.vector) for c, s in zip(channels, sizes, strict=True))
        self.coordinates = Coordinates(config.points, 2 * config.vector) if config.coordinates else None
        width = config.vector * len(self.levels) + 2 * config.vector * config.coordinates
        self.norm_z, self.norm_pose = nn.LayerNorm(width), nn.LayerNorm(width)
        self.identity_size, self.appearance_size = config.identity, config.appearance
        self.person_size = config.identity + config.expression if config.identity else 0
        guessed = self.person_size + config.appearance
        self.first = Regressor(width, config.hidden, guessed) if guessed else None
        self.expression = Regressor(width + self.person_size, config.hidden, config.expression)
        self.pose = Regressor(width + config.identity, config.hidden, 6)
        self.linear = Linear(config, self.person_size) if config.coordinates else None
        self.trust = nn.Linear(width, self.person_size) if self.person_size else None
        if self.trust is not None:
            nn.init.zeros_(self.trust.weight)
            nn.init.zeros_(self.trust.bias)
        self.register_buffer("pose_mean", torch.tensor(POSE_MEAN))
        self.register_buffer("pose_spread", torch.tensor(POSE_SPREAD))

    def compress(self, maps: list[Tensor]) -> list[Tensor]:
        """maps, per level (B,C,s,s) -> (B,N) each."""
        return [level.flat(m) for level, m in zip(self.levels, maps, strict=True)]

    def vectors(self, compressed: list[Tensor], points: Tensor | None) -> tuple[Tensor, Tensor]:
        """Compressed maps, per level (B,N), and points (B,L,2) -> the concatenated vectors for z and for H, (B,W)
        each."""
        pairs = [level(flat) for level, flat in zip(self.levels, compressed, strict=True)]
        if self.coordinates is not None:
            pairs.append(self.coordinates(points))
        return self.norm_z(torch.cat([p[0] for p in pairs], 1)), self.norm_pose(torch.cat([p[1] for p in pairs], 1))

    def regress(self, for_z: Tensor, for_pose: Tensor, points: Tensor | None, person: Tensor | None = None) -> Codes:
        """z and H from the vectors (B,W) and points (B,L,2); expression and pose given a person (B,112), else each
        frame's own identity and no habit."""
        x = None if self.linear is None else self.coordinates.standardise(points)
        first = for_z.new_zeros(len(for_z), 0)
        if self.first is not None:
            first = self.first(for_z) + (0 if x is None else self.linear.first(x))
        own, look = first.split([self.person_size, self.appearance_size], 1)
        if person is None:
            person = torch.cat([own[:, : self.identity_size], torch.zeros_like(own[:, self.identity_size :])], 1)
        identity = person[:, : self.identity_size]
        expression = self.expression(torch.cat([for_z, person], 1))
        pose = self.pose(torch.cat([for_pose, identity], 1))
        if x is not None:
            expression = expression + self.linear.expression(torch.cat([x, person], 1))
            pose = pose + self.linear.pose(torch.cat([x, identity], 1))
        z = torch.cat([identity, expression, look], 1)
        return Codes(z, pose * self.pose_spread + self.pose_mean, own)

    def pool(self, for_z: Tensor, own: Tensor, among: Tensor | None = None) -> Tensor:
        """Persons (P,112) pooled from the first guesses (P*S,112) of S frames of P people, and their vectors (P*S,W).

        Every frame says by itself how much it is to be trusted in each component: a profile knows the nose's length,
        closed lips the chin's. `among` (P,Q,S) names the frames that count, Q pools per person -> (P*Q,112).
        """
        people = 1 if among is None else len(among)
        if self.trust is None:
            return own.new_zeros(people if among is None else among.shape[:2].numel(), 0)
        logits = self.trust(for_z).unflatten(0, (people, 1, -1))  # (P,1,S,112)
        if among is not None:
            logits = logits.masked_fill(among[..., None] == 0, -torch.inf)
        return (logits.softmax(2) * own.unflatten(0, (people, 1, -1))).sum(2).flatten(0, 1)


class I2ZNet(nn.Module):
    """Frozen streams and trained heads; see the module's docstring."""

    def __init__(self, config: I2ZConfig, pretrained: bool = True) -> None:
        """`pretrained` False leaves the streams that would download weights random, for tests of shape."""
        super().__init__()
        self.config = config
        self.fit: ClipFit | None = None
        self.base: Heads | None = None  # of an adapted network, the heads that it was adapted from
        self.perceptual = PERCEPTUAL_STREAMS[config.perceptual](pretrained) if config.perceptual else None
        self.landmarks = LANDMARK_STREAMS[config.landmarks](pretrained) if config.landmarks else None
        sizes = self.perceptual.sizes if self.perceptual else (24, 12, 6) if self.landmarks else ()
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
        for stream in (self.perceptual, self.landmarks):
            if stream is not None and not (stream is self.perceptual and self.trains_trunk):
                stream.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> I2ZNet:
        """Train mode of the heads; the streams stay in evaluation mode."""
        self.heads.train(mode)
        return self

    def perceive(self, crops: Tensor) -> list[Tensor]:
        """The perceptual maps of crops (B,3,S,S), RGB in 0..1; may be cached, as those of a frozen stream never
        change."""
        with torch.set_grad_enabled(self.trains_trunk and torch.is_grad_enabled()):
            return self.perceptual(crops) if self.perceptual else []

    def compressed(self, crops: Tensor | None, points: Tensor | None, perceived: list[Tensor]) -> list[Tensor]:
        """Per level (B,N): the perceptual maps, which may be cached, and those of the landmark stream, each normalised,
        as their scales differ (Sec. A.2), concatenated and compressed."""
        maps: list[list[Tensor]] = [[m] for m in perceived[self.used]] if perceived else [[] for _ in self.sizes]
        if self.landmarks is not None:
            for level, heat in zip(maps, self.landmarks(crops, points, self.sizes), strict=True):
                level.append(heat)
        return self.heads.compress([torch.cat([functional.group_norm(m, 1) for m in level], 1) for level in maps])

    def forward(
        self,
        crops: Tensor,
        points: Tensor | None = None,
        person: Tensor | None = None,
        perceived: list[Tensor] | None = None,
    ) -> Codes:
        """Codes of crops (B,3,256,256), RGB in 0..1, with their dense points (B,L,2) in the crop frame.

        `person` (112,) or (B,112) is what `person()` gives; without it each frame has its own identity.
        """
        perceived = self.perceive(crops) if perceived is None else perceived
        for_z, for_pose = self.heads.vectors(self.compressed(crops, points, perceived), points)
        if person is not None:
            person = person.expand(len(for_z), -1)
        return self.heads.regress(for_z, for_pose, points, person)

    def unadapted(self) -> I2ZNet:
        """The network as it was before its adaptation, with the same streams; itself where there was none."""
        if self.base is None:
            return self
        before = copy.copy(self)
        before._modules = self._modules | {"heads": self.base}
        before.fit = before.base = None
        return before

    @torch.no_grad()
    def person(self, crops: Tensor, points: Tensor | None) -> Tensor:
        """The person (112,), identity and habit, pooled over N frames; see `Heads.pool`."""
        for_z, for_pose = self.heads.vectors(self.compressed(crops, points, self.perceive(crops)), points)
        return self.heads.pool(for_z, self.heads.regress(for_z, for_pose, points).person)[0]


def to_tensor(crops: Tensor) -> Tensor:
    """uint8 crops (B,S,S,3) -> float (B,3,S,S) in 0..1."""
    return rearrange(crops, "b h w c -> b c h w").float() / 255


@dataclass(frozen=True)
class ClipFit:
    """What an adaptation found out about a face of the clip it was made on. Of another, the person is estimated
    anew, by the un-adapted network, and the camera taken to be far."""

    clip_hash: str
    face: int  # which of the clip's: 0 the largest
    person: Tensor  # (112,)
    inverse_distance: float  # of the camera, 1/metres
    windows: tuple[Window, ...] = ()  # skin points of frames that it did not learn from; not in the file
    log_odds: float = 0.0  # of the confidence, on top of what its model says, see `confidence.clip_shift`


def network_beside(decoder: Path) -> Path:
    """Where the network for a person's own model lies: X.i2znet.safetensors beside X.safetensors."""
    return decoder.with_suffix(".i2znet.safetensors")


def load_model(weights: Path | None = None, device: str = "cpu") -> I2ZNet:
    """The bundled network, or one whose heads were saved by `track-train` or by an adaptation in `weights`.

    Raises ValueError when the file is no such file, or an adaptation of other weights than are there now.
    """
    path = weights or WEIGHTS
    try:
        metadata, state = _read(path)
        config = I2ZConfig(**yaml.safe_load(metadata["config"]))
    except Exception as error:
        raise UserError(f"{path}: not a file of I2ZNet weights ({error}); make one with track-train i2znet") from error
    model = I2ZNet(config)
    if "base" in metadata:
        model.fit = ClipFit(
            metadata["clip_hash"],
            int(metadata["face"]),
            state.pop("person"),
            float(state.pop("inverse_distance")),
            log_odds=float(state.pop("log_odds", 0.0)),
        )
        base = _base_of(path, metadata)
        model.base = copy.deepcopy(model.heads)
        model.base.load_state_dict(base)
        state = base | state
    model.heads.load_state_dict(state)
    return model.to(device).eval()


def save_adapted(path: Path, heads: Heads, base: Path, fit: ClipFit, config: I2ZConfig) -> None:
    """What an adaptation changed of the weights file `base`, under a temporary name first."""
    _, before = _read(base)
    state = {k: v.cpu() for k, v in heads.state_dict().items()}
    changed = {k: v.half().contiguous() for k, v in state.items() if not torch.equal(v, before[k])}
    changed |= {"person": fit.person.cpu(), "inverse_distance": torch.tensor(fit.inverse_distance)}
    changed["log_odds"] = torch.tensor(fit.log_odds)
    metadata = {"base": _hash(base), "base_file": base.name if base.parent == WEIGHTS.parent else str(base.resolve())}
    metadata |= {"config": yaml.safe_dump(asdict(config)), "clip_hash": fit.clip_hash, "face": str(fit.face)}
    temporary = path.with_suffix(".part")
    save_file(changed, temporary, metadata)
    temporary.replace(path)


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a safetensors file."""
    with safe_open(path, "pt") as file:
        return file.metadata() or {}, {k: file.get_tensor(k).float() for k in file.keys()}


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _base_of(path: Path, metadata: dict[str, str]) -> dict[str, Tensor]:
    base = WEIGHTS.parent / metadata["base_file"]  # a path of its own stays what it is
    if not base.exists() or _hash(base) != metadata["base"]:
        raise UserError(f"{path}: adapted from weights {metadata['base']}, but {base} is not those; adapt again")
    return _read(base)[1]
