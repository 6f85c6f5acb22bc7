"""What I2ZNet is trained to minimise on captures (Yoon et al. 2019, Eq. 1-4)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from selftrack.decoders.base import Decoder, SurfacePoints
from selftrack.decoders.head.model import load_head
from selftrack.decoders.landmarks import IBUG_68, OPENINGS
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.network.i2znet import Codes, I2ZNet, to_tensor
from selftrack.training.landmark_noise import IOD_PIXELS, LandmarkNoise, NoiseConfig, neutral_points


@dataclass(frozen=True)
class ObjectiveConfig:
    """The terms and what disturbs the input."""

    noise: NoiseConfig = field(default_factory=NoiseConfig)
    detected: float = 0.5
    """Share of people whose points are those that the detector found in their pictures, where these are known; the
    others' are the true ones, with noise."""
    z: float = 4.0
    """Weight of Eq. 2, lambda_z."""
    pose: float = 0.3
    """Weight of Eq. 3, lambda_H."""
    view: float = 0.2
    """Weight of Eq. 4, lambda_view."""
    opening: float = 1.5
    """Weight of lids, lips and irises: the same error as in Eq. 3, of differences of points."""
    curve: float = 300.0
    """Weight of the squared error of the curves in their own units."""
    joint: float = 0.3
    """Share in Eq. 3 of the whole predicted face, beside those of its parts."""
    appearance_mm: float = 0.3
    """What a unit of appearance counts, in millimetres."""
    perceptual_dropout: float = 0.15
    """Share of shots that lose their perceptual maps."""

    @property
    def weights(self) -> dict[str, float]:
        """Weights of the losses by name."""
        return {name: getattr(self, name) for name in ("z", "pose", "view", "opening", "curve")}


class Objective(nn.Module):
    """Eq. 1 on a batch of people; holds the network, so that DistributedDataParallel can wrap it."""

    millimetres: Tensor
    """(Z,) see `code_millimetres`."""
    pairs: Tensor
    """(P,2) points whose difference is an opening."""

    def __init__(
        self, network: I2ZNet, config: ObjectiveConfig, decoder: Decoder | None = None, bfloat16: bool = False
    ) -> None:
        """`decoder` is that of the codes, by default the head; `bfloat16` is whether what the network makes of maps is
        computed in mixed precision. Points, codes and losses are not: a bfloat16 is a third of a pixel."""
        super().__init__()
        decoder = decoder or load_head()
        self.network, self.config, self.mixed = network, config, bfloat16
        self.identity, self.expression = decoder.identity, decoder.expression
        self.landmarks = SurfacePoints.landmarks(decoder)
        self.noise = LandmarkNoise(decoder, config.noise)
        self.register_buffer("millimetres", code_millimetres(decoder, config.appearance_mm))
        self.register_buffer("pairs", torch.tensor(OPENINGS))

    def detect(self, points: Tensor, code: Tensor, detected: Tensor) -> Tensor:
        """Draw what a detector finds (P*S,L,2) of true landmarks (P,S,478,2) of faces with codes (P,S,Z), or take what
        it did find (P,S,478,2): the L points that the network reads."""
        neutral = neutral_points(self.landmarks, points.flatten(0, 1), code.flatten(0, 1), self.expression)
        drawn = self.noise(points, neutral.view_as(points))
        count = self.network.config.points
        if count == points.shape[2]:  # the points of another detector err otherwise
            real = torch.rand(len(points), 1, 1, 1, device=points.device) < self.config.detected
            drawn = detected.where(real & detected.isfinite(), drawn)
        return choose_points(drawn.flatten(0, 1), count)

    def forward(self, maps: list[Tensor], points: Tensor, code: Tensor, detected: Tensor) -> dict[str, Tensor]:
        """Compute the losses by name.

        The network predicts twice, conditioned on each shot's own identity and on a pooled one, and both count.

        Args:
            maps: per depth (P*S,C,s,s); or the pictures (P*S,S,S,3) uint8 of a network that reads these.
            points: (P,S,478,2) true landmarks, crop frame.
            code: (P,S,Z) true codes.
            detected: (P,S,478,2) what the detector finds, crop frame; NaN where that is not known.
        """
        people, shots = points.shape[:2]
        truth, target = points.flatten(0, 1), code.flatten(0, 1)
        seen, heads = self.detect(points, code, detected), self.network.heads
        features = heads.features(self._compressed(maps, seen), seen)
        single = heads.regress(features)
        pooled = heads.pool(features, single.subject, self._pools(people, shots))
        pooling = heads.regress(features, self._condition(single.z, target, pooled))
        # the identity that it is conditioned on is judged as the pool that it may come from
        judged = torch.cat([pooled[:, self.identity], pooling.z[:, self.identity.stop :]], 1)
        losses = [self._supervised(codes, z, truth, target) for codes, z in ((single, single.z), (pooling, judged))]
        by_view = (single.z * self.millimetres).reshape(people, -1, 2, len(self.millimetres))
        return {name: (losses[0][name] + losses[1][name]) / 2 for name in losses[0]} | {
            "view": (by_view[:, :, 0] - by_view[:, :, 1]).square().mean()  # Eq. 4
        }

    def _compressed(self, maps: list[Tensor], points: Tensor) -> list[Tensor]:
        """Per level (P*S,N): what the network makes of maps, or of pictures; a random share loses its perceptual
        maps."""
        with torch.autocast(points.device.type, torch.bfloat16, enabled=self.mixed):
            images = None
            if self.network.reads_pictures:
                images = to_tensor(maps[0])
                maps = self.network.perceive(images)
            keep = torch.rand(len(points), 1, 1, 1, device=points.device) >= self.config.perceptual_dropout
            flat = self.network.compressed(images, points, [m.float() * keep for m in maps])
        return [level.float() for level in flat]

    def _supervised(self, codes: Codes, z: Tensor, truth: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Compute the losses against the truth, of codes whose z is judged as `z` (B,Z).

        The projected landmarks (Eq. 3) judge the pose with the true face, the expression with the true identity, and
        the whole prediction; the last counts little, or the expression learns to make up for the identity.
        """
        expressed = torch.cat([target[:, self.identity], codes.z[:, self.identity.stop :]], 1)
        placed = [project(self.landmarks(face), codes.pose)[..., :2] for face in (codes.z, expressed, target)]
        shares = (self.config.joint, 1.0, 1.0)
        unit = 100 / IOD_PIXELS
        a, b = self.pairs.unbind(1)
        opening = (placed[0][:, a] - placed[0][:, b]) - (truth[:, a] - truth[:, b])
        errors = [((p - truth) * unit).square().mean() for p in placed]
        return {
            "z": ((z - target) * self.millimetres).square().mean(),  # Eq. 2
            "curve": (z - target)[:, self.expression].square().mean(),
            "pose": shares[0] * errors[0] + shares[1] * errors[1] + shares[2] * errors[2],
            "opening": (opening * unit).square().mean(),
        }

    def _pools(self, people: int, shots: int) -> Tensor:
        """Draw for each shot (P,S,S) the shots that its identity is pooled from, some 70 % of the person's."""
        chosen = (torch.rand(people, 1, shots, device=self.millimetres.device) < 0.7).float()
        chosen[..., 0] += (chosen.sum(-1) == 0).float()
        return chosen.expand(people, shots, shots)

    def _condition(self, single: Tensor, true: Tensor, pooled: Tensor) -> Tensor:
        """Draw the identity and mean expression (B,112) that expression and pose are conditioned on.

        Mostly the pooled ones, as in tracking; or the shot's own identity and a mean expression of 0, as for a single
        frame; or the true identity. `single` and `true` are codes (B,Z).
        """
        pick = torch.rand(len(single), 1, device=single.device)
        alone, known = (pick >= 0.75) & (pick < 0.9), pick >= 0.9
        identity, mean_expression = pooled[:, self.identity], pooled[:, self.identity.stop :]
        identity = identity.where(~alone, single[:, self.identity]).where(~known, true[:, self.identity])
        return torch.cat([identity, mean_expression.where(~alone, torch.zeros_like(mean_expression))], 1)


@torch.no_grad()
def code_millimetres(decoder: Decoder, appearance: float) -> Tensor:
    """Compute by how many millimetres (Z,), root mean square, one unit of each number of the code moves the skin, eyes
    and tongue where it moves them; `appearance` for those that move nothing."""
    inner = torch.tensor([name.startswith(("eye", "tongue")) for name in decoder.part_names])[decoder.face_parts]
    visible = decoder.faces[decoder.skin_faces | inner].unique()
    origin = torch.zeros(1, decoder.size, device=decoder.mean.device)
    units = torch.eye(decoder.size, device=origin.device)
    moved = (decoder.geometry(units) - decoder.geometry(origin))[:, visible].norm(dim=2) * 1000  # (Z,V)
    live = moved > 0.1 * moved.amax(1, keepdim=True)
    rms = ((moved**2 * live).sum(1) / live.sum(1).clamp(min=1)).sqrt()
    return rms.where(rms > 0, torch.full_like(rms, appearance))


def choose_points(points: Tensor, count: int) -> Tensor:
    """Choose from dense points (B,478,2) those (B,count,2) that a network reads: all 478, or FAN's 68."""
    return points[:, list(IBUG_68)] if count == len(IBUG_68) else points
