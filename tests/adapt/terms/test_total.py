"""The sum of all terms on a small clip against the same written out in numpy, from Eq. 5-9 and the pages."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from selftrack.adapt.frames.clip import Clip
from selftrack.adapt.frames.sampling import Batch
from selftrack.adapt.learning.state import State
from selftrack.adapt.learning.trainer import AdaptConfig, Trainer
from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import load_head
from selftrack.decoders.landmarks import BROW_HEIGHTS, FACE_OVAL, OPENINGS
from selftrack.tracker.network.i2znet import I2ZNet

WEIGHTS = {
    "cftc": 510.0,
    "motc": 128.0,
    "jitter": 180.0,
    "shape_jitter": 800.0,
    "flrc": 13.0,
    "opening": 9.0,
    "neutral": 55.0,
    "anchor": 1000.0,
    "rotation": 4.0,
    "damping": 22.0,
    "baseline": 400.0,
    "identity": 0.1,
}
HEAD = load_head()
EYES = np.array([name.startswith("eye") for name in ARKIT_NAMES])
Array = np.ndarray


def projected(points: Array, pose: Array, inverse_distance: float) -> Array:
    """One frame's points (N,3) in pixels (N,2): s P R X / (1 + d z) + t."""
    f, rx, ry, rz, tx, ty = pose
    turned = points @ Rotation.from_euler("xyz", [rx, ry, rz]).as_matrix().T
    return np.exp(f) * turned[:, :2] / (1 + inverse_distance * turned[:, 2:]) + [tx, ty]


def sampled(clip: Clip, row: int, points: Array) -> tuple[Array, Array]:
    """Bilinear RGB (3,N) of a frame at points (N,2), and whether they lie within what is kept (N,)."""
    x, y, scale_x, scale_y, width, height = (float(v) for v in clip.pixels.place[row])
    first, size = int(clip.pixels.start[row]), int(width * height)
    pixels = clip.pixels.values[first : first + size].numpy().view(np.uint8)
    values = pixels.reshape(int(height), int(width), 4)[..., :3]
    at = (points + 0.5 - [x, y]) * [scale_x, scale_y] - 0.5
    inside = ((at >= 0) & (at <= [width - 1, height - 1])).all(1)
    at = at.clip(0, [width - 1, height - 1])
    low = np.minimum(np.floor(at), [width - 2, height - 2]).astype(int)
    out = np.zeros((3, len(at)))
    for dx in (0, 1):
        for dy in (0, 1):
            share = np.prod(1 - abs(at - low - [dx, dy]), axis=1)
            out += share * values[low[:, 1] + dy, low[:, 0] + dx].T / 255
    return out, inside


def of_one_exposure(texture: Array, target: Array, weight: Array) -> Array:
    """`texture` (3,N) with the gain and bias per channel that least squares under `weight` (N,) find."""
    w = weight / weight.sum()
    mean, aim = texture @ w, target @ w
    variance = (w * (texture - mean[:, None]) ** 2).sum(1)
    covariance = (w * (texture - mean[:, None]) * (target - aim[:, None])).sum(1)
    gain = ((covariance + 1e-4) / (variance + 1e-4)).clip(0.5, 2)
    return gain[:, None] * (texture - mean[:, None]) + aim[:, None]


def texture_cost(a: list[Array], b: list[Array], weights: list[Array], occlusion: float) -> float:
    """|W (a - b)|^2 over the number of weights that are not 0; a change beyond `occlusion` hardly counts."""
    cost, count = 0.0, 0
    for x, y, w in zip(a, b, weights, strict=True):
        change = ((x - y) ** 2).mean(0)
        cost += (w**2 / (1 + change / occlusion**2) ** 2 * change).sum()
        count += (w > 0).sum()
    return float(cost / count)


def acceleration_cost(points: list[Array], iods: Array) -> float:
    """Mean of r^2 / (1 + (r/0.75)^2) of the last of three frames."""
    square = ((100 / iods[2] * (points[0] - 2 * points[1] + points[2])) ** 2).sum(1)
    return float((square / (1 + square / 0.75**2)).mean())


class Twin:
    """All terms of one step of the defaults, in float64."""

    def __init__(self, trainer: Trainer, state: State, batch: Batch) -> None:
        self.clip, self.trainer, self.state = trainer.clip, trainer, state
        self.rows, self.pairs = batch.rows.tolist(), batch.pairs.tolist()
        self.texels, self.vertices = batch.texels.numpy(), batch.vertices.numpy()
        with torch.no_grad():
            now = trainer.model(self.clip, batch.rows)
        self.z, self.crop_pose, self.pose = (part.numpy().astype(float) for part in now)
        self.before = [part.numpy().astype(float) for part in trainer.context.unadapted]
        self.distance = trainer.model.inverse_distance.item()
        self.iod = self.clip.iod.numpy().astype(float)
        shapes, mean = HEAD.shapes.numpy().astype(float), HEAD.mean.numpy().astype(float)
        self.mesh = [mean + np.einsum("k,kvc->vc", z[:112], shapes) for z in self.z]  # 60 of identity, 52 curves
        corners, weights = trainer.face.texels.corners.numpy(), trainer.face.texels.weights.numpy()
        self.skin = [(m[corners[self.texels]] * weights[self.texels][..., None]).sum(1) for m in self.mesh]
        self.curves = self.z[:, 60:112]
        self.observed = [
            sampled(self.clip, row, self.project(i, skin))
            for i, (row, skin) in enumerate(zip(self.rows, self.skin, strict=True))
        ]
        visible = state.visibility.numpy()[self.rows][:, self.texels]
        self.confidence = [v * inside for v, (_, inside) in zip(visible, self.observed, strict=True)]

    def project(self, frame: int, points: Array) -> Array:
        return projected(points, self.pose[frame], self.distance)

    def cftc(self) -> float:
        now = [self.observed[late][0] for late, _ in self.pairs]
        weights = [self.confidence[late] * self.confidence[early] for late, early in self.pairs]
        pairs = zip(self.pairs, now, weights, strict=True)
        before = [of_one_exposure(self.observed[early][0], n, w) for (_, early), n, w in pairs]
        return texture_cost(now, before, weights, 0.08) / float(self.state.contrast)

    def motc(self) -> float:
        colour, known = self.trainer.model.colour.detach().numpy(), self.state.known.numpy()[self.texels]
        model = colour[:, :3] @ self.state.texture.numpy()[:, self.texels] + colour[:, 3:]
        weights = [confidence * known for confidence in self.confidence]
        both = zip(self.observed, weights, strict=True)
        shown = [of_one_exposure(texture, model, w) for (texture, _), w in both]
        return texture_cost(shown, [model] * len(shown), weights, 0.08) / float(self.state.contrast)

    def _triples(self) -> list[int]:
        return [i for i in range(2, len(self.rows)) if self.rows[i] - self.rows[i - 2] == 2]

    def _head(self, place: Callable[[int, Array], Array]) -> float:
        """Vertices that no curve of the eyes moves by a millimetre."""
        eyes = HEAD.shapes[60:112].numpy()[EYES]
        kept = (np.linalg.norm(eyes, axis=2) < 1e-3).all(0).nonzero()[0][self.vertices]
        points = [place(i, mesh[kept]) for i, mesh in enumerate(self.mesh)]
        triples = self._triples()
        assert triples, "the step compares no neighbours"
        iod = self.iod[self.rows]
        return float(np.mean([acceleration_cost(points[i - 2 : i + 1], iod[i - 2 : i + 1]) for i in triples]))

    def jitter(self) -> float:
        return self._head(self.project)

    def shape_jitter(self) -> float:
        return self._head(lambda frame, points: points * np.exp(self.pose[frame, 0]))

    def _landmarks(self, frame: int) -> Array:
        """(478,2), with a tenth of the clip's constant residual on them."""
        embedding = HEAD.landmarks(478)
        on_mesh = self.mesh[frame][embedding.triangles.numpy()] * embedding.weights.numpy()[..., None]
        c, s = np.cos(self.pose[frame, 3]), np.sin(self.pose[frame, 3])
        residual = 0.1 * self.state.residual.numpy() @ np.array([[c, s], [-s, c]])
        return self.project(frame, on_mesh.sum(1)) + residual * self.iod[self.rows[frame]] / 100

    def flrc(self) -> float:
        weight = np.ones((len(self.rows), 478))
        weight[:, 468:] = 10
        contour = np.isin(np.arange(478), FACE_OVAL)
        weight[contour & (self.state.landmark_cosine.numpy()[self.rows] < 0.5)] = 0
        cost = 0.0
        for i, row in enumerate(self.rows):
            off = (self._landmarks(i) - self.clip.points[row].numpy()) * 100 / self.iod[row]
            cost += (weight[i] * (off**2).sum(1)).sum()
        return float(cost / weight.sum())

    def opening(self) -> float:
        costs = []
        for i, row in enumerate(self.rows):
            mesh, detected = self._landmarks(i), self.clip.points[row].numpy().astype(float)
            for a, b in (*OPENINGS, *BROW_HEIGHTS):
                gap = (detected[a] - detected[b]) * 100 / self.iod[row]
                off = (mesh[a] - mesh[b]) * 100 / self.iod[row] - gap
                costs.append((off**2).sum() * (1 + 12 * np.exp(-(gap**2).sum() / 2.5**2)))
        return float(np.mean(costs))

    def _neutral_rows(self) -> set[int]:
        train = self.trainer.train_rows.numpy()
        activity = self.before[0][train, 60:112][:, ~EYES].clip(0).sum(1)
        return set(train[activity <= np.quantile(activity, 0.1)].tolist())

    def neutral(self) -> float:
        there = [i for i, row in enumerate(self.rows) if row in self._neutral_rows()]
        assert there, "no neutral frame in the step"
        return float(np.mean([(self.curves[i, ~EYES] ** 2).sum() for i in there]))

    def anchor(self) -> float:
        return float(((self.curves - self.before[0][self.rows, 60:112]) ** 2).sum(1).mean())

    def rotation(self) -> float:
        degrees = np.degrees(self.crop_pose[:, 1:3] - self.before[1][self.rows, 1:3])
        return float(((degrees / 20) ** 2).sum(1).mean())

    def damping(self) -> float:
        shown = self.before[0][:, 60:112].clip(0)
        offset = shown[sorted(self._neutral_rows())].mean(0)
        reference = np.where(EYES | (offset <= 0.15), shown, (shown - offset).clip(0))[self.rows]
        now, cost = self.curves, 0.0
        for curve in range(52):
            r, c = reference[:, curve] - reference[:, curve].mean(), now[:, curve]
            variance = r.var()
            if variance > 1e-9:
                cost += max(0.0, 1 - np.polyfit(r, c, 1)[0]) ** 2 * variance / (variance + 0.03**2)
        return float(cost)

    def baseline(self) -> float:
        before = self.before[0][:, 60:112]
        middle = np.sort(before[self.trainer.train_rows.numpy()].clip(0), 0)[(len(self.trainer.train_rows) - 1) // 2]
        cost = 0.0
        for curve in range(52):
            quiet = [i for i, row in enumerate(self.rows) if max(before[row, curve], 0) <= middle[curve]]
            rise = np.mean([self.curves[i, curve] - before[self.rows[i], curve] for i in quiet]) if quiet else 0.0
            cost += max(rise, 0.0) ** 2
        return float(cost)

    def identity(self) -> float:
        return float(((self.z[0, :60] - self.before[0][0, :60]) ** 2).sum())


@pytest.mark.parametrize("seed", [0, 1])
def test_terms_and_total_are_those_written_out(clip: Clip, network: I2ZNet, quick: AdaptConfig, seed: int) -> None:
    config = AdaptConfig(steps=1, groups=5, texels=300, vertices=100, texture=64, seed=seed)
    trainer = Trainer(clip, network, config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():  # off the start, where anchors are 0
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter += 0.03 * parameter.abs().mean() * torch.randn(parameter.shape, generator=generator)
        trainer.model.inverse_distance.fill_(0.4)
        state, batch = trainer.renew(), trainer.draw()
        losses = trainer.losses(state, batch)
    twin = Twin(trainer, state, batch)
    expected = {name: getattr(twin, name)() for name in WEIGHTS}
    assert set(losses) == set(WEIGHTS) and config.weights == WEIGHTS
    for name, value in expected.items():
        assert value > 0 and losses[name].item() == pytest.approx(value, rel=2e-3), name
    total = sum(WEIGHTS[name] * value for name, value in expected.items())
    assert trainer.total(losses).item() == pytest.approx(total, rel=1e-3)
