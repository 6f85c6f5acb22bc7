"""Self-supervised adaptation of I2ZNet's heads to one clip (Yoon et al. 2019, Sec. 3.2).

Trained are the heads, one identity of the clip, its colour correction and one inverse camera distance; the streams stay
frozen and their maps are cached. Every fifth block of 16 frames is held out of all of it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from adapt import losses
from adapt.clip import Clip
from decoders.head import EXPRESSION_NAMES, N_IDENTITY, Head, LandmarkHead, load_head
from decoders.shading import vertex_normals
from decoders.unwrap import TexelMap, confidence, surface, texel_map
from tracker.i2znet import I2ZNet
from tracker.landmark_net import MESH_POINTS
from tracker.points import Window, skin_error
from tracker.pose import project, rotation, to_image
from tracker.studio import FACE_OVAL
from tracker.train import OPENINGS, rate_factor

_ANTAGONISTS = (
    *((f"eyeBlink{s}", f"eyeWide{s}") for s in ("Left", "Right")),
    *((f"eyeLookUp{s}", f"eyeLookDown{s}") for s in ("Left", "Right")),
    *((f"eyeLookIn{s}", f"eyeLookOut{s}") for s in ("Left", "Right")),
    *((f"mouthSmile{s}", f"mouthFrown{s}") for s in ("Left", "Right")),
    *((f"browDown{s}", f"browOuterUp{s}") for s in ("Left", "Right")),
    *(("jawLeft", "jawRight"), ("mouthLeft", "mouthRight"), ("mouthRollUpper", "mouthUpperUpLeft")),
    *(("mouthPucker", "mouthStretchLeft"), ("mouthPucker", "mouthStretchRight")),
)


@dataclass(frozen=True)
class AdaptConfig:
    """Settings of an adaptation."""

    steps: int = 700
    groups: int = 7
    """Groups of frames per step, all pairs of which are compared."""
    offsets: tuple[int, ...] = (0, 1, 2, 6, 12)
    """Frames by which those of a group lie back: a constant slide is invisible to neighbours."""
    texels: int = 1500
    """Random surface points per step."""
    texture: int = 192
    """Side of the texture in texels."""
    rate: float = 4e-4
    """Peak learning rate of the heads; it decays to 0."""
    rate_clip: float = 5e-3
    """Peak learning rate of identity and colour."""
    cftc: float = 80.0
    """Weight of consecutive-frame texture consistency, in units of what a shift by 1 % IOD changes."""
    motc: float = 20.0
    """Weight of model-to-observation consistency, in the same units."""
    jitter: float = 100.0
    """Weight of small accelerations of the skin, (% IOD)^2."""
    jitter_scale: float = 0.5
    """Acceleration in % IOD beyond which it is motion."""
    flrc: float = 2.0
    """Weight of landmark reprojection, (% IOD)^2."""
    irises: float = 10.0
    """What a point of an iris counts beside one of the mesh: the gaze has no skin."""
    opening: float = 2.0
    """Weight of landmark reprojection for differences that open lids and lips."""
    rest: float = 20.0
    """Pull of curves at rest towards 0."""
    antagonists: float = 2.0
    """Pull apart of curves that nobody makes at once."""
    range: float = 20.0
    """Push of curves into 0..1."""
    anchor: float = 10.0
    """Pull towards the un-adapted curves and head turns, squared: what the pixels do not say stays as it was."""
    offset: float = 0.5
    """Share of a landmark's constant residual that counts as the detector's bias."""
    contour_cosine: float = 0.5
    """Points of the face's contour count where the surface is seen at a cosine above this, 60 degrees."""
    frozen: float = 0.5
    """Pixels by which the head must have moved for texels whose pixels stayed the same not to count."""
    occlusion: float = 0.08
    """Change of a texel, 0..1, beyond which something covers it."""
    floor: float = 0.3
    """Share of texels that the texture losses divide by at least."""
    least_cosine: float = 0.3
    """Surface seen at a more grazing angle does not count."""
    exposure: bool = True
    """Let each pair differ by a gain and a bias per channel."""
    perspective: bool = True
    """Learn an inverse camera distance."""
    refresh: int = 100
    """Steps between updates of visibility and of the clip's texture."""
    evaluate: int = 50
    """Steps between looks at the held-out frames."""
    patience: int = 5
    """Looks without progress after which it ends."""
    seed: int = 0
    """Of all that is random."""


class Prediction(NamedTuple):
    """Of B frames."""

    z: Tensor  # (B,128)
    pose: Tensor  # (B,6) in the crop
    pose_image: Tensor  # (B,6) in the image


class Adapted(nn.Module):
    """What adaptation trains, on a copy of the network's heads."""

    def __init__(self, network: I2ZNet, person: Tensor) -> None:
        """`person` (112,) is the un-adapted network's, see `I2ZNet.person`."""
        super().__init__()
        self.network = [network]  # in a list: the frozen streams are not part of this module
        self.heads = copy.deepcopy(network.heads).requires_grad_(True)
        self.identity = nn.Parameter(person[:N_IDENTITY].clone())
        self.register_buffer("habit", person[N_IDENTITY:].clone())
        self.colour = nn.Parameter(torch.cat([torch.eye(3), torch.zeros(3, 1)], 1))  # C of Eq. 8, a 1x1 convolution
        self.inverse_distance = nn.Parameter(torch.zeros(()))

    def person(self) -> Tensor:
        """(112,) identity and habit."""
        return torch.cat([self.identity, self.habit])

    def forward(self, clip: Clip, rows: Tensor) -> Prediction:
        """Predict frames `rows` (B,) of the clip."""
        points = clip.crop_points[rows]
        maps = [level[rows].float() for level in clip.maps]
        for_z, for_pose = self.heads.vectors(self.network[0].join(None, points, maps), points)
        codes = self.heads.regress(for_z, for_pose, points, self.person().expand(len(rows), -1))
        return Prediction(codes.z, codes.pose, to_image(codes.pose, clip.transform[rows]))

    def correct(self, texture: Tensor) -> Tensor:
        """C(T): texture (...,3,N) corrected."""
        return self.colour[:, :3] @ texture + self.colour[:, 3:]


def face_texels(head: Head, size: int) -> TexelMap:
    """The skin's texels in front of the face's oval: hair, ears and neck move on their own."""
    texels = texel_map(head, size)
    at = surface(head.mean[None], texels)[0]
    oval = head.landmarks478(head.mean[None])[0][list(FACE_OVAL)]
    hull = cv2.convexHull(np.ascontiguousarray(oval[:, :2].cpu().numpy()))
    inside = [cv2.pointPolygonTest(hull, (float(x), float(y)), False) >= 0 for x, y in at[:, :2]]
    keep = torch.tensor(inside, device=at.device) & (at[:, 2] < oval[:, 2].max())
    return texels._replace(**{name: getattr(texels, name)[keep] for name in ("texel", "corners", "weights")})


class Face:
    """The decoder, reduced to what the losses look at."""

    def __init__(self, head: Head, config: AdaptConfig, points: int, device: str) -> None:
        self.head = copy.deepcopy(head).to(device)  # the loaded head is everybody's
        self.texels = face_texels(self.head, config.texture)
        with torch.no_grad():
            self.mean = surface(self.head.mean[None], self.texels)[0]  # (N,3)
            # (N,336), texel by texel in memory: a step gathers a few of them
            self.shapes = surface(self.head.shapes, self.texels).transpose(0, 1).flatten(1).contiguous()
        self.landmarks = LandmarkHead(self.head, points).to(device)
        self.contour = torch.zeros(points, dtype=torch.bool, device=device)
        self.contour[list(FACE_OVAL) if points > 68 else list(range(17))] = True
        self.weight = torch.ones(points, device=device)
        self.weight[MESH_POINTS:] = config.irises
        self.pairs = torch.tensor(OPENINGS if points > 68 else [], dtype=torch.long, device=device).reshape(-1, 2)

    def at(self, z: Tensor, index: Tensor) -> Tensor:
        """Points (B,n,3) of the texels `index` (n,) in the head frame."""
        shapes = self.shapes[index].unflatten(1, (-1, 3)).transpose(0, 1)  # (112,n,3)
        return self.mean[index] + (z[:, : len(shapes)] @ shapes.flatten(1)).unflatten(1, (-1, 3))


@dataclass
class State:
    """What is renewed every few steps, without gradient."""

    seen: Tensor  # (T,N) confidence
    texture: Tensor  # (3,N) the clip's median texture
    contrast: Tensor  # () mean square of what a shift by 1 % IOD changes in the observed textures
    offset: Tensor  # (L,2) the detector's bias, percent of the IOD, upright face
    landmarks: Tensor  # (T,L) their weights
    rest: Tensor  # (52,) tenth percentile of each curve


class Losses(NamedTuple):
    """The terms of Eq. 5 and what keeps them honest."""

    cftc: Tensor
    motc: Tensor
    jitter: Tensor
    flrc: Tensor
    opening: Tensor
    rest: Tensor
    antagonists: Tensor
    range: Tensor
    anchor: Tensor


class Trainer:
    """One clip's adaptation."""

    def __init__(self, clip: Clip, network: I2ZNet, config: AdaptConfig) -> None:
        """Raises ValueError when too few neighbouring frames show the face."""
        self.clip, self.config = clip, config
        self.device = clip.points.device
        self.train_rows, self.select_rows, self.report_rows = (self._have(part) for part in clip.split)
        self.groups = self._groups()
        if not len(self.groups) or len(self.select_rows) < 2 or len(self.report_rows) < 2:
            raise ValueError("too few neighbouring frames with a face to adapt to: track this clip without --adapt")
        self.face = Face(load_head(), config, clip.points.shape[1], str(self.device))
        self.model = Adapted(network, self._person(network)).to(self.device)
        with torch.no_grad():
            self.before = self.predict_all()
        self.generator = torch.Generator().manual_seed(config.seed)
        self.antagonists = torch.tensor(
            [[EXPRESSION_NAMES.index(name) for name in pair] for pair in _ANTAGONISTS], device=self.device
        )
        eyes = [name.startswith("eye") for name in EXPRESSION_NAMES]
        self.resting_curves = ~torch.tensor(eyes, device=self.device)

    def _have(self, rows: np.ndarray) -> Tensor:
        """Positions in the clip of those of the frames `rows` that show a face."""
        return torch.from_numpy(np.flatnonzero(np.isin(self.clip.rows, rows))).to(self.device)

    @torch.no_grad()
    def _person(self, network: I2ZNet) -> Tensor:
        some = self.train_rows[torch.linspace(0, len(self.train_rows) - 1, 24).round().long().unique()]
        points = self.clip.crop_points[some]
        maps = [level[some].float() for level in self.clip.maps]
        for_z, for_pose = network.heads.vectors(network.join(None, points, maps), points)
        return network.heads.pool(for_z, network.heads.regress(for_z, for_pose, points).person)[0]

    def _groups(self) -> Tensor:
        """(A,K) frames to learn from and, in `offsets` before them, others of the same shot; -1 where there is none."""
        place = np.full(int(self.clip.rows[-1]) + 1, -1)
        learn = self.train_rows.cpu().numpy()
        place[self.clip.rows[learn]] = learn
        back = self.clip.rows[learn][:, None] - np.array(self.config.offsets)
        member = np.where(back >= 0, place[back.clip(0)], -1)
        member[self.clip.shot[member] != self.clip.shot[learn][:, None]] = -1
        return torch.from_numpy(member[(member >= 0).sum(1) > 1]).to(self.device)

    @torch.no_grad()
    def predict_all(self) -> Prediction:
        """All frames of the clip."""
        chunks = torch.arange(len(self.clip), device=self.device).split(64)
        return Prediction(*(torch.cat(part) for part in zip(*(self.model(self.clip, c) for c in chunks), strict=True)))

    @torch.no_grad()
    def vertices(self, prediction: Prediction) -> Tensor:
        """(B,V,3) image frame."""
        geometry = self.face.head.geometry(prediction.z)
        return project(geometry, prediction.pose_image, self.model.inverse_distance)

    @torch.no_grad()
    def renew(self) -> State:
        """Visibility, texture, detector bias and rest of the present state of the model."""
        now, clip, config = self.predict_all(), self.clip, self.config
        seen, contour = [], []
        for rows in torch.arange(len(clip), device=self.device).split(16):
            vertices = self.vertices(Prediction(*(part[rows] for part in now)))
            seen.append(
                confidence(vertices, self.face.head.faces, self.face.texels, clip.size[::-1], config.least_cosine)
            )
            contour.append(self._landmark_weight(vertices))
        seen = torch.cat(seen)
        texture, contrast = self._median_texture(now, seen)
        residual = self._upright(clip.points - self.landmarks(now.z, now.pose_image), now.pose_image)
        residual = residual[self.train_rows] * (100 / clip.iod[self.train_rows])[:, None, None]
        offset = config.offset * residual.median(0).values
        rest = now.z[self.train_rows][:, self.face.head.expression].quantile(0.1, 0)
        return State(seen, texture, contrast, offset, torch.cat(contour), rest)

    def landmarks(self, z: Tensor, pose: Tensor) -> Tensor:
        """(B,L,2) of codes (B,128) under poses in the image (B,6), pixels."""
        return project(self.face.landmarks(z), pose, self.model.inverse_distance)[..., :2]

    @staticmethod
    def _upright(vectors: Tensor, pose: Tensor, back: bool = False) -> Tensor:
        """Image vectors (B,L,2) turned by the head's roll, so that they are those of an upright face; or back."""
        roll = torch.zeros_like(pose[:, 1:4])
        roll[:, 2] = pose[:, 3]
        turn = rotation(roll.detach())[:, :2, :2]
        return vectors @ (turn.mT if back else turn)

    def _landmark_weight(self, vertices: Tensor) -> Tensor:
        """(B,L) of the landmarks; 0 for points of the face's contour where the surface is seen at a grazing angle."""
        head = self.face.head
        normals = vertex_normals(vertices, head.faces)
        embedding = head.landmarks478 if len(self.face.contour) > 68 else head.landmarks68
        cosine = -nn.functional.normalize(embedding(normals), dim=2)[..., 2]
        hidden = self.face.contour & (cosine < self.config.contour_cosine)
        return self.face.weight.expand_as(cosine).masked_fill(hidden, 0.0)

    def _median_texture(self, now: Prediction, seen: Tensor, most: int = 48) -> tuple[Tensor, Tensor]:
        """(3,N) per-texel median of what confident frames show, brought to one exposure; and the contrast ()."""
        rows = self.train_rows[torch.linspace(0, len(self.train_rows) - 1, most).round().long().unique()]
        every = torch.arange(len(self.face.mean), device=self.device)
        points = project(self.face.at(now.z[rows], every), now.pose_image[rows], self.model.inverse_distance)
        texture, inside = self.clip.pixels.sample(rows, points[..., :2])
        weight = seen[rows] * inside
        middle = self._nanmedian(texture, weight)
        if self.config.exposure:
            middle = self._nanmedian(losses.match_exposure(texture, middle[None], weight), weight)
        step = clip_iod(self.clip, rows) / 100
        shifts = points.new_tensor([[1, 0], [0, 1]])
        shifted = [self.clip.pixels.sample(rows, points[..., :2] + step * shift)[0] for shift in shifts]
        change = sum((other - texture).square().mean(1) for other in shifted) / 2 * weight.square()
        return middle, (change.sum() / weight.square().sum().clamp(min=1)).clamp(min=1e-6)

    @staticmethod
    def _nanmedian(texture: Tensor, weight: Tensor) -> Tensor:
        hidden = (weight <= 0.5 * weight.amax(0).clamp(min=1e-6))[:, None]
        return texture.masked_fill(hidden, torch.nan).nanmedian(0).values.nan_to_num()

    def losses(self, state: State, rows: Tensor, pairs: Tensor, index: Tensor) -> Losses:
        """Terms for frames `rows` (B,), of which pairs (P,2) name the later and the earlier, on texels `index` (n,)."""
        clip, config = self.clip, self.config
        said = self.model(clip, rows)
        at = project(self.face.at(said.z, index), said.pose_image, self.model.inverse_distance)[..., :2]
        observed, inside = clip.pixels.sample(rows, at)
        weight = state.seen[rows][:, index] * inside
        late, early = pairs.unbind(1)
        # index_select adds its gradients up in one order, indexing does not
        now, before = observed.index_select(0, late), observed.index_select(0, early)
        weights = weight[late] * weight[early] * self._moving(rows[pairs], at.detach()[late], now)
        matched = losses.match_exposure(before, now, weights) if config.exposure else before
        weights = weights * losses.robust(now - matched, config.occlusion).sqrt()  # the loss squares it
        model = self.model.correct(state.texture[:, index])[None]
        painted = losses.match_exposure(observed, model, weight) if config.exposure else observed
        sure = weight * losses.robust(painted - model, config.occlusion).sqrt()
        expression = said.z[:, self.face.head.expression]
        return Losses(
            losses.weighted_mean(losses.cftc(now, matched, weights), weights, config.floor) / state.contrast,
            losses.weighted_mean(losses.motc(painted, model, sure), sure, config.floor) / state.contrast,
            self._jitter(rows, at),
            *self._landmark_losses(state, rows, said),
            (losses.resting(expression, state.rest) * self.resting_curves).sum(1).mean(),
            losses.antagonism(expression, self.antagonists).sum(1).mean(),
            losses.out_of_range(expression).sum(1).mean(),
            self._anchor(said, rows),
        )

    @torch.no_grad()
    def _moving(self, pairs: Tensor, at: Tensor, now: Tensor) -> Tensor:
        """(P,n) 0 where a pixel stayed the same to the last bit although the head moved: frozen by compression.

        `pairs` (P,2) are the later and the earlier frames; `at` (P,n,2) and `now` (P,3,n) are of the later.
        """
        path = (self.clip.points[pairs[:, 0]] - self.clip.points[pairs[:, 1]]).norm(dim=2).median(1).values
        then, _ = self.clip.pixels.sample(pairs[:, 1], at)
        frozen = ((now - then).abs().amax(1) < 1e-6) & (path > self.config.frozen)[:, None]
        return (~frozen).float()

    def _jitter(self, rows: Tensor, at: Tensor) -> Tensor:
        """Of the frames `rows` (B,), sorted, with points (B,n,2): those that are three neighbours of one shot."""
        last = torch.arange(2, len(rows), device=self.device)
        shot = torch.from_numpy(self.clip.shot).to(self.device)[rows]
        number = torch.from_numpy(self.clip.rows).to(self.device)[rows]
        last = last[(number[last] - number[last - 2] == 2) & (shot[last] == shot[last - 2])]
        if not len(last):
            return at.new_zeros(())
        three = torch.stack([at[last - 2], at[last - 1], at[last]], 1)
        return losses.jitter(three, self.clip.iod[rows[last]], self.config.jitter_scale).mean()

    def _landmark_losses(self, state: State, rows: Tensor, said: Prediction) -> tuple[Tensor, Tensor]:
        clip, scale = self.clip, clip_iod(self.clip, rows)
        bias = self._upright(state.offset.expand(len(rows), -1, -1), said.pose_image, back=True) * (scale / 100)
        placed = self.landmarks(said.z, said.pose_image) + bias
        detected, weight = clip.points[rows], state.landmarks[rows]
        flrc = (losses.flrc(placed, detected, clip.iod[rows]) * weight).sum() / weight.sum()
        if not len(self.face.pairs):
            return flrc, flrc.new_zeros(())
        a, b = self.face.pairs.unbind(1)
        opening = losses.flrc(placed[:, a] - placed[:, b], detected[:, a] - detected[:, b], clip.iod[rows])
        return flrc, opening.mean()

    def _anchor(self, said: Prediction, rows: Tensor) -> Tensor:
        """Squared difference from the un-adapted curves, in their units, and from the head's turn, 1 for 20 degrees.

        In millimetres, a curve that hardly moves the skin could go anywhere.
        """
        expression = self.face.head.expression
        curves = (said.z - self.before.z[rows])[:, expression].square().sum(1)
        turn = (said.pose[:, 1:3] - self.before.pose[rows][:, 1:3]).square().sum(1) / math.radians(20) ** 2
        return (curves + turn).mean()

    def draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """A step's frames (B,), pairs of them (P,2) and texels (n,), all random; see `losses`."""
        config = self.config
        chosen = self.groups[torch.randint(len(self.groups), (config.groups,), generator=self.generator)]
        a, b = torch.triu_indices(chosen.shape[1], chosen.shape[1], 1)
        pairs = torch.stack([chosen[:, a].flatten(), chosen[:, b].flatten()], 1)
        rows, pairs = pairs[(pairs >= 0).all(1)].unique(return_inverse=True)
        texels = torch.randint(len(self.face.mean), (config.texels,), generator=self.generator)
        return rows, pairs, texels.to(self.device)


def clip_iod(clip: Clip, rows: Tensor) -> Tensor:
    """(B,1,1) inter-ocular distances in pixels."""
    return clip.iod[rows][:, None, None]


@dataclass(frozen=True)
class HeldOut:
    """Errors on held-out frames."""

    skin: float  # skin points, percent of the IOD; NaN without any
    texture: float  # RMS change of the texture between neighbours, 0..1; NaN without any
    landmarks: float  # mean distance to the detected ones, percent of the IOD


@torch.no_grad()
def held_out_error(trainer: Trainer, rows: Tensor, windows: list[Window]) -> HeldOut:
    """Of the present model on the frames `rows` (positions in the clip)."""
    clip, face = trainer.clip, trainer.face
    said = trainer.model(clip, rows)
    vertices = trainer.vertices(said)
    where = {int(clip.rows[row]): i for i, row in enumerate(rows.tolist())}

    def of(window: slice) -> np.ndarray:
        return vertices[[where[i] for i in range(window.start, window.stop)]].cpu().numpy()

    ok = np.zeros(clip.total, bool)
    ok[list(where)] = True
    inside = [w for w in windows if ok[w.start : w.start + w.paths.shape[1]].all()]
    skin = skin_error(inside, of, face.head.faces.cpu(), clip.size[::-1], ok).mean if inside else float("nan")
    seen = torch.cat(
        [
            confidence(v, face.head.faces, face.texels, clip.size[::-1], trainer.config.least_cosine)
            for v in vertices.split(16)
        ]
    )
    index = torch.arange(0, len(face.mean), 8, device=trainer.device)
    at = project(face.at(said.z, index), said.pose_image, trainer.model.inverse_distance)[..., :2]
    texture, inner = clip.pixels.sample(rows, at)
    weight = seen[:, index] * inner
    held = rows.cpu().numpy()
    near = torch.from_numpy((np.diff(clip.rows[held]) == 1) & (np.diff(clip.shot[held]) == 0)).to(trainer.device)
    both = (weight[1:] * weight[:-1])[near]
    matched = losses.match_exposure(texture[:-1][near], texture[1:][near], both)
    change = losses.cftc(texture[1:][near], matched, both)
    distance = (trainer.landmarks(said.z, said.pose_image) - clip.points[rows]).norm(dim=2).mean(1) / clip.iod[rows]
    known = bool((both > 0).any())
    texture_error = losses.weighted_mean(change, both).sqrt().item() if known else float("nan")
    return HeldOut(float(skin), texture_error, float(100 * distance.mean()))


class Adaptation:
    """The loop: minimises Eq. 5, looks at the held-out frames now and then, and keeps the best state."""

    def __init__(self, trainer: Trainer, windows: list[Window]) -> None:
        """`windows` are the skin points of held-out frames, by their rows in the clip."""
        self.trainer, self.windows, self.config = trainer, windows, trainer.config
        model, config = trainer.model, trainer.config
        free = [model.identity, model.colour] + [model.inverse_distance] * config.perspective
        heads = [p for p in model.heads.parameters() if p.requires_grad]
        groups = [{"params": heads, "lr": config.rate}, {"params": free, "lr": config.rate_clip}]
        self.optimizer = torch.optim.Adam(groups, fused=True)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: rate_factor(step, config.steps))
        self.first = copy.deepcopy(model.state_dict())
        self.best, self.least, self.best_step, self.step = self.first, 1.0, 0, 0
        start = held_out_error(trainer, trainer.select_rows, windows)
        self.history: list[dict[str, float]] = [{"step": 0, **vars(start)}]

    def __call__(
        self, progress: Callable[[int, int, dict[str, float]], None], checkpoint: Path, settings: dict[str, object]
    ) -> None:
        """Run to the end and leave the best state in the model. Ctrl-C is an early end, from which the next call with
        the same checkpoint goes on."""
        try:
            self._run(progress, checkpoint, settings)
        except KeyboardInterrupt:
            progress(self.step, self.config.steps, {})
        self.trainer.model.load_state_dict(self.best)

    def _run(
        self, progress: Callable[[int, int, dict[str, float]], None], checkpoint: Path, settings: dict[str, object]
    ) -> None:
        config, trainer = self.config, self.trainer
        state = None
        while self.step < config.steps:
            if state is None or self.step % config.refresh == 0:
                state = trainer.renew()
            self.step += 1
            terms = self._improve(state)
            if self.step % config.evaluate == 0 or self.step == config.steps:
                error = self._look(terms)
                if self.step % config.refresh == 0:  # what `renew` makes is not in the checkpoint, but made there anew
                    self.save(checkpoint, settings)
                progress(self.step, config.steps, {"skin": error.skin, "texture": 255 * error.texture})
                if self.step - self.best_step >= config.patience * config.evaluate:
                    break
            else:
                progress(self.step, config.steps, {})

    def _improve(self, state: State) -> Losses:
        """One step."""
        terms = self.trainer.losses(state, *self.trainer.draw())
        self.optimizer.zero_grad(set_to_none=True)
        sum(getattr(self.config, name) * term for name, term in terms._asdict().items()).backward()
        nn.utils.clip_grad_norm_(list(self.trainer.model.parameters()), 100.0)
        self.optimizer.step()
        self.schedule.step()
        return terms

    def _look(self, terms: Losses) -> HeldOut:
        """Judge the present state on the selecting blocks by the mean of its errors relative to the beginning."""
        error = held_out_error(self.trainer, self.trainer.select_rows, self.windows)
        first = self.history[0]
        self.history.append({"step": self.step, **vars(error), **{k: v.item() for k, v in terms._asdict().items()}})
        ratios = [getattr(error, name) / max(first[name], 1e-9) for name in vars(error)]
        score = float(np.nanmean(ratios))
        if score < self.least:
            self.best, self.least, self.best_step = copy.deepcopy(self.trainer.model.state_dict()), score, self.step
        return error

    def save(self, path: Path, settings: dict[str, object]) -> None:
        """Everything that `resume` needs, under a temporary name first."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        state = {name: getattr(self, name) for name in ("best", "least", "best_step", "step", "history")}
        state |= {"settings": settings, "model": self.trainer.model.state_dict()}
        state |= {"optimizer": self.optimizer.state_dict(), "schedule": self.schedule.state_dict()}
        torch.save(state | {"generator": self.trainer.generator.get_state()}, part)
        part.replace(path)

    def resume(self, path: Path, settings: dict[str, object]) -> bool:
        """Go on where a run with the same settings stopped; whether there was one."""
        if not path.exists():
            return False
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["settings"] != settings:
            return False
        for name in ("best", "least", "best_step", "step", "history"):
            setattr(self, name, state[name])
        self.trainer.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.trainer.generator.set_state(state["generator"])
        return True
