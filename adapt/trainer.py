"""The terms that adaptation minimises on one clip (Yoon et al. 2019, Sec. 3.2), and what they are measured with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from selftrack.adapt import losses
from selftrack.adapt.clip import Clip
from selftrack.adapt.face import Face
from selftrack.adapt.model import Adapted, Prediction
from selftrack.decoders.base import Decoder, SurfacePoints
from selftrack.decoders.mesh.normals import vertex_normals
from selftrack.decoders.mesh.unwrap import confidence
from selftrack.decoders.registry import load_decoder
from selftrack.errors import UserError
from selftrack.tracker.geometry.pose import project, rotation, view_of
from selftrack.tracker.network.i2znet import I2ZNet

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

    steps: int = 1200
    groups: int = 7
    """Groups of frames per step, all pairs of which are compared."""
    offsets: tuple[int, ...] = (0, 1, 2, 6, 12)
    """Frames by which those of a group lie back: a constant slide is invisible to neighbours."""
    texels: int = 1000
    """Random points of the skin per step, whose pixels are compared."""
    vertices: int = 600
    """Random vertices of the head per step, the trembling of which counts."""
    texture: int = 192
    """Side of the texture in texels."""
    rate: float = 4e-4
    """Peak learning rate of the heads; it decays to 0."""
    rate_clip: float = 1e-2
    """Peak learning rate of identity and colour."""
    cftc: float = 510.0
    """Weight of consecutive-frame texture consistency, in units of what a shift by 1 % IOD changes."""
    motc: float = 128.0
    """Weight of model-to-observation consistency, in the same units."""
    motc_frames: int = 8
    """Frames per step in which a person's own model paints its texture for it."""
    jitter: float = 180.0
    """Weight of small accelerations of the mesh in the picture, (% IOD)^2."""
    shape_jitter: float = 800.0
    """The same of the mesh in the head's frame, so without the pose."""
    jitter_scale: float = 0.75
    """Acceleration in % IOD beyond which it is motion."""
    flrc: float = 13.0
    """Weight of landmark reprojection, (% IOD)^2."""
    irises: float = 10.0
    """What a point of an iris counts beside one of the mesh: the gaze has no skin."""
    opening: float = 9.0
    """Weight of landmark reprojection for differences that open lids and lips and raise brows."""
    contact: float = 12.0
    """What such a difference counts in addition where lids or lips touch: a slit is worse than a gap too small."""
    touch: float = 2.5
    """Gap in % IOD at which that has fallen to a third."""
    rest: float = 20.0
    """Pull of curves at rest towards 0."""
    neutral: float = 55.0
    """Pull of all curves towards 0 in the calmest tenth of the frames."""
    antagonists: float = 2.0
    """Pull apart of curves that nobody makes at once."""
    range: float = 30.0
    """Push of curves into 0..1."""
    anchor: float = 4.0
    """Pull towards the un-adapted curves, squared: what the pixels do not say stays as it was."""
    turn: float = 4.0
    """Pull towards the un-adapted head turns, squared, 1 for 20 degrees: a jaw that opens is no nod."""
    damping: float = 22.0
    """Pull towards the un-adapted range of each curve, squared: less trembling is welcome, less acting is not."""
    tolerance: float = 0.15
    """What a curve may have in the calmest frames; one that has more there loses it as the person's."""
    level: float = 400.0
    """Pull back of curves that rose in the quieter half of their frames, squared: that is the person, not acting."""
    still: float = 0.03
    """Deviation of a curve that hardly moves."""
    person: float = 0.1
    """Pull towards the un-adapted identity, squared deviations of the population."""
    offset: float = 0.1
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
    detached: bool = True
    """Confidences are constants to the gradient, or the losses would shrink them instead of moving the mesh."""
    exposure: bool = True
    """Let each pair differ by a gain and a bias per channel."""
    perspective: bool = True
    """Learn an inverse camera distance."""
    refresh: int = 200
    """Steps between updates of visibility and of the clip's texture."""
    evaluate: int = 50
    """Steps between looks at the held-out frames."""
    patience: int = 14
    """Looks without progress after which it ends."""
    tie: float = 0.05
    """States whose held-out errors differ by less than this share are equally good."""
    seed: int = 0
    """Of all that is random."""


@dataclass
class State:
    """What is renewed every few steps, without gradient; of held-out frames nothing."""

    seen: Tensor  # (T,N) confidence
    texture: Tensor  # (3,N) the clip's median texture
    known: Tensor  # (N,) bool, texels of it that some frame has shown
    contrast: Tensor  # () mean square of what a shift by 1 % IOD changes in the observed textures
    offset: Tensor  # (L,2) the detector's bias, percent of the IOD, upright face
    landmarks: Tensor  # (T,L) their weights
    rest: Tensor  # (52,) tenth percentile of each curve


class Draw(NamedTuple):
    """What a step looks at."""

    rows: Tensor  # (B,) frames, ascending
    pairs: Tensor  # (P,2) of them, the later and the earlier
    texels: Tensor  # (n,) of the skin
    vertices: Tensor  # (m,) of the head


class Losses(NamedTuple):
    """The terms of Eq. 5 and what keeps them honest."""

    cftc: Tensor
    motc: Tensor
    jitter: Tensor
    shape_jitter: Tensor
    flrc: Tensor
    opening: Tensor
    rest: Tensor
    neutral: Tensor
    antagonists: Tensor
    range: Tensor
    anchor: Tensor
    turn: Tensor
    damping: Tensor
    level: Tensor
    person: Tensor


class Trainer:
    """One clip's adaptation."""

    def __init__(self, clip: Clip, network: I2ZNet, config: AdaptConfig, decoder: Decoder | None = None) -> None:
        """Raises ValueError when too few neighbouring frames show the face."""
        self.clip, self.config = clip, config
        self.device = clip.points.device
        self.train_rows, self.select_rows, self.report_rows = (self._have(part) for part in clip.split)
        self.groups = self._groups()
        if not len(self.groups) or len(self.select_rows) < 2 or len(self.report_rows) < 2:
            raise UserError("too few neighbouring frames with a face to adapt to: track this clip without --adapt")
        decoder = decoder or load_decoder()
        self.face = Face(decoder, clip.points.shape[1], config.texture, config.irises, str(self.device))
        self.model = Adapted(network, self._person(network)).to(self.device)
        self.first_identity = self.model.identity.detach().clone()
        with torch.no_grad():
            self.before = self.predict_all()
        self.generator = torch.Generator().manual_seed(config.seed)
        names = self.face.head.expression_names
        pairs = [[names.index(name) for name in pair] for pair in _ANTAGONISTS if set(pair) <= set(names)]
        self.antagonists = torch.tensor(pairs, dtype=torch.long, device=self.device).reshape(-1, 2)
        eyes = [name.startswith("eye") for name in names]
        self.resting_curves = ~torch.tensor(eyes, device=self.device)
        active = self.before.z[:, self.face.head.expression] * self.resting_curves
        self.calm = torch.zeros(len(clip), device=self.device)
        self.calm[self.train_rows] = losses.calm(active[self.train_rows]).float()
        shown = self.before.z[:, self.face.head.expression].clamp(min=0)
        self.quiet = (shown <= shown[self.train_rows].median(0).values).float()
        self.course = torch.where(self.resting_curves, losses.course(shown, self.calm, config.tolerance), shown)

    def _have(self, rows: np.ndarray) -> Tensor:
        """Positions in the clip of those of the frames `rows` that show a face."""
        return torch.from_numpy(np.flatnonzero(np.isin(self.clip.rows, rows))).to(self.device)

    @torch.no_grad()
    def _person(self, network: I2ZNet) -> Tensor:
        some = self.train_rows[torch.linspace(0, len(self.train_rows) - 1, 24).round().long().unique()]
        points = self.clip.crop_points[some]
        for_z, for_pose = network.heads.vectors([level[some] for level in self.clip.compressed], points)
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
        now, clip, config, face = self.predict_all(), self.clip, self.config, self.face
        seen = torch.zeros(len(clip), len(face.skin), device=self.device)
        landmarks = torch.zeros(clip.points.shape[:2], device=self.device)
        for rows in self.train_rows.split(16):
            vertices = self.vertices(Prediction(*(part[rows] for part in now)))
            seen[rows] = confidence(vertices, face.head.faces, face.texels, clip.size[::-1], config.least_cosine)
            landmarks[rows] = self._landmark_weight(vertices)
        texture, known, contrast = self._median_texture(now, seen)
        residual = self._upright(clip.points - self.landmarks(now.z, now.pose_image), now.pose_image)
        residual = residual[self.train_rows] * (100 / clip.iod[self.train_rows])[:, None, None]
        offset = config.offset * residual.median(0).values
        rest = now.z[self.train_rows][:, face.head.expression].quantile(0.1, 0)
        return State(seen, texture, known, contrast, offset, landmarks, rest)

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
        cosine = -nn.functional.normalize(head.landmarks(len(self.face.contour))(normals), dim=2)[..., 2]
        hidden = self.face.contour & (cosine < self.config.contour_cosine)
        return self.face.weight.expand_as(cosine).masked_fill(hidden, 0.0)

    def _median_texture(self, now: Prediction, seen: Tensor, most: int = 48) -> tuple[Tensor, Tensor, Tensor]:
        """(3,N) per-texel median of what confident frames show, brought to one exposure; where there is any (N,); and
        the contrast ()."""
        rows = self.train_rows[torch.linspace(0, len(self.train_rows) - 1, most).round().long().unique()]
        points = project(self.face.skin(now.z[rows]), now.pose_image[rows], self.model.inverse_distance)
        texture, inside = self.clip.pixels.sample(rows, points[..., :2])
        weight = seen[rows] * inside
        middle = self._nanmedian(texture, weight)
        if self.config.exposure:
            middle = self._nanmedian(losses.match_exposure(texture, middle[None], weight), weight)
        step = clip_iod(self.clip, rows) / 100
        shifts = points.new_tensor([[1, 0], [0, 1]])
        shifted = [self.clip.pixels.sample(rows, points[..., :2] + step * shift)[0] for shift in shifts]
        change = sum((other - texture).square().mean(1) for other in shifted) / 2 * weight.square()
        return middle, (weight > 0).any(0), (change.sum() / weight.square().sum().clamp(min=1)).clamp(min=1e-6)

    @staticmethod
    def _nanmedian(texture: Tensor, weight: Tensor) -> Tensor:
        hidden = (weight <= 0.5 * weight.amax(0).clamp(min=1e-6))[:, None]
        return texture.masked_fill(hidden, torch.nan).nanmedian(0).values.nan_to_num()

    def losses(self, state: State, drawn: Draw) -> Losses:
        """Terms for what was drawn."""
        clip, config = self.clip, self.config
        rows, pairs, index = drawn.rows, drawn.pairs, drawn.texels
        said = self.model(clip, rows)
        at = project(self.face.skin(said.z, index), said.pose_image, self.model.inverse_distance)[..., :2]
        observed, inside = clip.pixels.sample(rows, at)
        weight = state.seen[rows][:, index] * inside
        if not config.detached:
            weight = weight * self._pull(said, index)
        late, early = pairs.unbind(1)
        # index_select adds its gradients up in one order, indexing does not
        now, before = observed.index_select(0, late), observed.index_select(0, early)
        weights = weight[late] * weight[early] * self._moving(rows[pairs], at.detach()[late], now)
        matched = losses.match_exposure(before, now, weights) if config.exposure else before
        weights = weights * losses.robust(now - matched, config.occlusion).sqrt()  # the loss squares it
        some, model, known = self._model_texture(state, said, index)
        shown = weight[some] * known
        painted = losses.match_exposure(observed[some], model, shown) if config.exposure else observed[some]
        sure = shown * losses.robust(painted - model, config.occlusion).sqrt()
        expression = said.z[:, self.face.head.expression]
        return Losses(
            losses.weighted_mean(losses.cftc(now, matched, weights), weights, config.floor) / state.contrast,
            losses.weighted_mean(losses.motc(painted, model, sure), sure, config.floor) / state.contrast,
            *self._jitter(rows, said, drawn.vertices),
            *self._landmark_losses(state, rows, said),
            (losses.resting(expression, state.rest) * self.resting_curves).sum(1).mean(),
            self._neutral(expression, rows),
            losses.antagonism(expression, self.antagonists).sum(1).mean(),
            losses.out_of_range(expression).sum(1).mean(),
            *self._anchor(said, rows),
            self._damping(expression, rows),
            losses.level(expression, self.before.z[rows][:, self.face.head.expression], self.quiet[rows]).sum(),
            (self.model.identity - self.first_identity).square().sum(),
        )

    def _pull(self, said: Prediction, index: Tensor) -> Tensor:
        """(B,n) about 1, with the relative gradient of the cosine at which the texels `index` (n,) are seen."""
        head, corners = self.face.head, self.face.texels.corners[index].flatten()
        points = SurfacePoints(head, head.mean[corners], head.shapes[:, corners])
        placed = project(points(said.z), said.pose_image, self.model.inverse_distance)
        cosine = losses.facing(placed.unflatten(1, (-1, 3)))
        return cosine / cosine.detach().where(cosine.abs() > 0.1, torch.ones_like(cosine))

    def _model_texture(self, state: State, said: Prediction, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The frames (b,) that model-to-observation consistency compares, C(T) (b or 1,3,n) of Eq. 8 and which of its
        texels hold (n,).

        T is what a person's own model says of code and view, in a few frames, as it costs much; else the clip's median.
        """
        every = torch.arange(len(said.z), device=self.device)
        if not self.face.head.paints_view:
            return every, self.model.correct(state.texture[:, index])[None], state.known[index]
        some = every[torch.linspace(0, len(every) - 1, min(self.config.motc_frames, len(every))).round().long()]
        made = self.face.painted(said.z[some], view_of(said.pose[some]), index)
        return some, self.model.correct(made), torch.ones_like(state.known[index])

    @torch.no_grad()
    def _moving(self, pairs: Tensor, at: Tensor, now: Tensor) -> Tensor:
        """(P,n) 0 where a pixel stayed the same to the last bit although the head moved: frozen by compression.

        `pairs` (P,2) are the later and the earlier frames; `at` (P,n,2) and `now` (P,3,n) are of the later.
        """
        path = (self.clip.points[pairs[:, 0]] - self.clip.points[pairs[:, 1]]).norm(dim=2).median(1).values
        then, _ = self.clip.pixels.sample(pairs[:, 1], at)
        frozen = ((now - then).abs().amax(1) < 1e-6) & (path > self.config.frozen)[:, None]
        return (~frozen).float()

    def _jitter(self, rows: Tensor, said: Prediction, index: Tensor) -> tuple[Tensor, Tensor]:
        """Of the vertices `index` (m,) in the image and in the head's frame, over those of the frames `rows` (B,) that
        are three neighbours of one shot.

        All of the head counts, not just its skin: a turn trembles most where it is farthest from the face.
        """
        last = torch.arange(2, len(rows), device=self.device)
        shot = torch.from_numpy(self.clip.shot).to(self.device)[rows]
        number = torch.from_numpy(self.clip.rows).to(self.device)[rows]
        last = last[(number[last] - number[last - 2] == 2) & (shot[last] == shot[last - 2])]
        if not len(last):
            return rows.new_zeros((), dtype=torch.float32), rows.new_zeros((), dtype=torch.float32)

        def tremble(points: Tensor) -> Tensor:
            three = torch.stack([points[last - 2], points[last - 1], points[last]], 1)
            return losses.jitter(three, self.clip.iod[rows[last]], self.config.jitter_scale).mean()

        shape = self.face.vertices(said.z, index)
        in_image = project(shape, said.pose_image, self.model.inverse_distance)[..., :2]
        return tremble(in_image), tremble(shape * said.pose_image[:, 0].exp()[:, None, None].detach())

    def _landmark_losses(self, state: State, rows: Tensor, said: Prediction) -> tuple[Tensor, Tensor]:
        clip, scale = self.clip, clip_iod(self.clip, rows)
        bias = self._upright(state.offset.expand(len(rows), -1, -1), said.pose_image, back=True) * (scale / 100)
        placed = self.landmarks(said.z, said.pose_image) + bias
        detected, weight = clip.points[rows], state.landmarks[rows]
        flrc = (losses.flrc(placed, detected, clip.iod[rows]) * weight).sum() / weight.sum()
        if not len(self.face.pairs):
            return flrc, flrc.new_zeros(())
        a, b = self.face.pairs.unbind(1)
        gap = detected[:, a] - detected[:, b]
        opening = losses.flrc(placed[:, a] - placed[:, b], gap, clip.iod[rows])
        weight = 1 + self.config.contact * losses.contact(gap, clip.iod[rows], self.config.touch)
        return flrc, (opening * weight).mean()

    def _neutral(self, expression: Tensor, rows: Tensor) -> Tensor:
        """Squared curves (B,52), summed, mean over the calm ones of the frames `rows` (B,).

        The identity must be the neutral face's: a face that smiles for most of the clip would become it.
        """
        calm = self.calm[rows]
        square = ((expression * self.resting_curves).square().sum(1) * calm).sum()
        return square / calm.sum().clamp(min=1)

    def _anchor(self, said: Prediction, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Squared difference from the un-adapted curves, in their units, and from the head's turn, 1 for 20 degrees.

        In millimetres, a curve that hardly moves the skin could go anywhere.
        """
        expression = self.face.head.expression
        curves = (said.z - self.before.z[rows])[:, expression].square().sum(1)
        turn = (said.pose[:, 1:3] - self.before.pose[rows][:, 1:3]).square().sum(1) / math.radians(20) ** 2
        return curves.mean(), turn.mean()

    def _damping(self, expression: Tensor, rows: Tensor) -> Tensor:
        """Of the curves (B,52) as they are shown, so cut off at 0, over the frames `rows` (B,)."""
        shown = nn.functional.leaky_relu(expression, 0.1)  # a curve that is wholly cut off must find its way back
        return losses.damping(shown, self.course[rows], self.config.still).sum()

    def draw(self) -> Draw:
        """A step's frames, pairs of them, texels and vertices, all random."""
        config = self.config
        chosen = self.groups[torch.randint(len(self.groups), (config.groups,), generator=self.generator)]
        a, b = torch.triu_indices(chosen.shape[1], chosen.shape[1], 1)
        pairs = torch.stack([chosen[:, a].flatten(), chosen[:, b].flatten()], 1)
        rows, pairs = pairs[(pairs >= 0).all(1)].unique(return_inverse=True)
        return Draw(
            rows, pairs, self._some(self.face.skin, config.texels), self._some(self.face.vertices, config.vertices)
        )

    def _some(self, points: SurfacePoints, count: int) -> Tensor:
        return torch.randint(len(points), (count,), generator=self.generator).to(self.device)


def clip_iod(clip: Clip, rows: Tensor) -> Tensor:
    """(B,1,1) inter-ocular distances in pixels."""
    return clip.iod[rows][:, None, None]
