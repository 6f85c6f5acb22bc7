"""A synthetic capture studio: random people, expressions, cameras and light, with known codes and landmarks.

It stands in for the multi-view capture of Yoon et al. 2019: every moment is seen by several cameras at once, so that
the view-consistency loss (Eq. 4) has its pairs. Cameras are true perspective ones; the tracker's weak perspective is
learned from them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import Head
from selftrack.decoders.landmarks import BEARD, BROWS, CHIN, EARS, EYE_CORNERS, FACE_OVAL, HAIRLINE, LIPS
from selftrack.decoders.mesh.rasterizer import rasterize_numba
from selftrack.synthetic import studio_render as draw
from selftrack.tracker.geometry.crop import CROP_SIZE, apply, face_similarity
from selftrack.tracker.geometry.pose import rotation


@dataclass(frozen=True)
class StudioConfig:
    """What the studio draws."""

    picture: int = 192  # side of the pictures in pixels; they show the tracker's crop
    moments: int = 6  # expressions per person
    views: int = 2  # synchronous cameras per moment
    distance: tuple[float, float] = (0.25, 1.5)  # camera to head in metres
    yaw: float = 0.45  # standard deviation of the head's turn against the camera, radians
    pitch: float = 0.24
    roll: float = 0.30
    crop_shift: float = 0.05  # the crop's own errors: shift over side, log scale, turn in radians
    crop_scale: float = 0.06
    crop_turn: float = 0.06
    occluder: float = 0.08  # share of pictures with something before the face


@dataclass(frozen=True)
class Person:
    """One random actor."""

    identity: np.ndarray  # (60,)
    appearance: np.ndarray  # (16,)
    texture: np.ndarray  # (T,T,3) float32
    hair: np.ndarray  # (V,) metres that hair or a cap adds along the normal
    mane: tuple[float, np.ndarray] | None  # half width in metres and colour of long hair behind the head
    glasses: tuple[float, np.ndarray] | None  # lens radius in metres and colour


@dataclass(frozen=True)
class Shot:
    """One picture of one moment by one camera."""

    picture: np.ndarray  # (S,S,3) uint8 RGB, the crop drawn at the studio's size
    points: np.ndarray  # (478,2) float32, true landmarks in pixels of the 256 crop


def _polygon(texel_points: np.ndarray, index: tuple[int, ...], size: int, soften: float) -> np.ndarray:
    mask = np.zeros((size, size), np.float32)
    cv2.fillPoly(mask, [np.round(texel_points[list(index)] * 8).astype(np.int32)], 1.0, cv2.LINE_AA, 3)
    return cv2.GaussianBlur(mask, (0, 0), soften)


@dataclass(frozen=True)
class Act:
    """Muscles that move together: every name by a share low..high of one random drive, if its own chance comes up.

    `*` stands for both sides, about alike; `?` for one side by chance.
    """

    chance: float
    moves: tuple[tuple[str, float, float, float], ...]  # name, chance, low, high


# Of each group at most one act happens; groups are independent. What opens the lips is sometimes the jaw and sometimes
# the lips alone, and an open jaw may hide behind closed lips: the network must look at the chin to tell.
GROUPS: tuple[tuple[Act, ...], ...] = (
    (
        Act(0.22, (("eyeSquint*", 1, 0.2, 1),)),
        Act(0.14, (("eyeWide*", 1, 0.2, 1),)),
    ),
    (
        Act(0.16, (("browDown*", 1, 0.2, 1),)),
        Act(0.18, (("browInnerUp", 1, 0.7, 1), ("browOuterUp*", 1, 0.3, 1))),
        Act(0.06, (("browInnerUp", 1, 0.3, 1), ("browDown*", 1, 0, 0.6))),
        Act(0.05, (("browOuterUp?", 1, 0.3, 1),)),
    ),
    (
        Act(0.13, (("jawOpen", 1, 0, 0.3),)),
        Act(0.22, (("jawOpen", 1, 0.3, 1),)),
        Act(0.15, (("jawOpen", 1, 0.3, 1), ("mouthClose", 1, 0, 0.9))),
        Act(0.02, (("jawOpen", 1, 0.5, 1), ("tongueOut", 1, 0.5, 1.2))),
    ),
    (
        Act(0.06, (("jawLeft", 1, 0.2, 1),)),
        Act(0.06, (("jawRight", 1, 0.2, 1),)),
        Act(0.06, (("jawForward", 1, 0.2, 1),)),
    ),
    (
        Act(
            0.25,
            (
                ("mouthSmile*", 1, 0.8, 1),
                ("cheekSquint*", 0.6, 0, 0.7),
                ("mouthUpperUp*", 0.5, 0, 0.6),
                ("mouthLowerDown*", 0.5, 0, 0.7),
                ("mouthDimple*", 0.5, 0, 0.3),
            ),
        ),
        Act(0.10, (("mouthPucker", 1, 0.5, 1), ("mouthFunnel", 0.4, 0, 0.6))),
        Act(0.09, (("mouthFunnel", 1, 0.2, 1),)),
        Act(0.09, (("mouthFrown*", 1, 0.3, 1), ("mouthShrugLower", 1, 0, 0.8), ("mouthShrugUpper", 1, 0, 0.5))),
        Act(0.08, (("mouthStretch*", 1, 0.3, 1), ("mouthLowerDown*", 1, 0, 0.8))),
        Act(0.08, (("mouthPress*", 1, 0.2, 1), ("mouthRollLower", 1, 0, 0.8), ("mouthRollUpper", 1, 0, 0.8))),
        Act(0.05, (("mouthUpperUp*", 1, 0.3, 1), ("noseSneer*", 1, 0.2, 1))),
        Act(0.13, (("mouthLowerDown*", 1, 0.2, 1), ("mouthUpperUp*", 0.7, 0, 1))),
    ),
    (
        Act(0.06, (("mouthLeft", 1, 0.2, 1),)),
        Act(0.06, (("mouthRight", 1, 0.2, 1),)),
        Act(0.06, (("mouthSmile?", 1, 0.2, 1),)),
        Act(0.06, (("mouthUpperUp?", 1, 0.2, 1), ("noseSneer?", 0.5, 0, 1))),
        Act(0.05, (("noseSneer*", 1, 0.2, 1),)),
        Act(0.06, (("cheekPuff", 1, 0.2, 1),)),
    ),
)
BLINKS = (
    Act(0.12, (("eyeBlink*", 1, 0, 1),)),
    Act(0.12, (("eyeBlink*", 1, 0.7, 1),)),
    Act(0.05, (("eyeBlink?", 1, 0.4, 1),)),
)
STRENGTHS = ((0.0, 0.18), (0.45, 0.25), (0.8, 0.32), (1.0, 0.25))  # of acting, with its share; 0: a face at rest
STRAY = 0.7  # names on average that move a little on their own
_NOT_ALONE = ("eyeLook", "mouthClose", "tongueOut")


def sample_expression(rng: np.random.Generator) -> np.ndarray:
    """A plausible combination of the 52 ARKit values (52,), from neutral to strong."""
    values = dict.fromkeys(ARKIT_NAMES, 0.0)
    strength = rng.choice([s for s, _ in STRENGTHS], p=[p for _, p in STRENGTHS])
    _look(rng, values)
    _perform(rng, values, BLINKS, 1.0)  # faces at rest blink, too
    for group in GROUPS:
        _perform(rng, values, group, rng.uniform(0.2, 1) * strength)
    alone = [name for name in ARKIT_NAMES if not name.startswith(_NOT_ALONE)]
    for name in rng.choice(alone, rng.poisson(STRAY)):
        values[name] += rng.uniform(0, 0.35) * strength
    values["mouthClose"] = min(values["mouthClose"], values["jawOpen"])  # it closes the lips that the jaw has parted
    return np.array(list(values.values()), np.float32).clip(0, 1)


def _look(rng: np.random.Generator, values: dict[str, float]) -> None:
    """Turn both eyes; a positive x turns them to the subject's left."""
    x, y = rng.normal(0, 0.30), rng.normal(-0.05, 0.28)
    for side, inward in (("Left", -1), ("Right", 1)):
        values["eyeLookOut" + side] = max(-inward * x, 0)
        values["eyeLookIn" + side] = max(inward * x, 0)
        values["eyeLookUp" + side] = max(y, 0)
        values["eyeLookDown" + side] = max(-y, 0)


def _perform(rng: np.random.Generator, values: dict[str, float], group: tuple[Act, ...], drive: float) -> None:
    """Add one act of the group, or none."""
    chances = [act.chance for act in group]
    pick = rng.choice(len(group) + 1, p=[*chances, 1 - sum(chances)])
    for name, chance, low, high in group[pick].moves if pick < len(group) else ():
        value = drive * rng.uniform(low, high) * (rng.random() < chance)
        if name.endswith("?"):
            values[name[:-1] + str(rng.choice(["Left", "Right"]))] += value
        elif name.endswith("*"):
            lean = rng.normal(0, 0.12)
            values[name[:-1] + "Left"] += value * (1 + lean)
            values[name[:-1] + "Right"] += value * (1 - lean)
        else:
            values[name] += value


def sample_crop(rng: np.random.Generator, points: np.ndarray, config: StudioConfig) -> np.ndarray:
    """The crop (2,3) that a tracker might choose around points (478,2)."""
    half = (CROP_SIZE - 1) / 2
    m = face_similarity(points)
    scale = np.exp(rng.uniform(-1, 1) * config.crop_scale)
    turn = rng.uniform(-1, 1) * config.crop_turn
    shift = rng.uniform(-1, 1, 2) * config.crop_shift * CROP_SIZE
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    offset = half - linear @ np.full(2, half) + shift
    return np.concatenate([linear @ m[:, :2], (linear @ m[:, 2] + offset)[:, None]], 1)


class Studio:
    """Draws people; all randomness comes from the generators that are passed in."""

    def __init__(self, head: Head, config: StudioConfig | None = None) -> None:
        self.config = config or StudioConfig()
        self.head = head
        numpy = {k: getattr(head, k).numpy() for k in ("faces", "uv_faces", "uvs", "mean", "shapes")}
        self.faces = numpy["faces"]
        self.uv_faces = numpy["uv_faces"]
        self.uvs = numpy["uvs"].astype(np.float64)
        self.mean, self.shapes = numpy["mean"], numpy["shapes"].reshape(len(numpy["shapes"]), -1)
        self.texture = head.mean_texture.permute(1, 2, 0).numpy()
        self.texture_basis = head.texture_basis.permute(0, 2, 3, 1).numpy()
        embedding = head.landmarks478
        self.landmark_triangles = embedding.triangles.numpy()
        self.landmark_weights = embedding.weights.numpy()
        self._masks()

    def _masks(self) -> None:
        """Texel masks of brows, beard and scalp, and a weight per vertex for hair, all from landmarks."""
        head, size = self.head, self.texture.shape[0]
        triangle = (head.faces[:, None] == head.landmarks478.triangles[None]).all(-1).float().argmax(0)
        uv = (head.uvs[head.uv_faces[triangle]] * head.landmarks478.weights[..., None]).sum(1).numpy()
        texels = uv * size - 0.5
        self.brow_mask = np.maximum(*(_polygon(texels, b, size, 1.0) for b in BROWS))
        lips = _polygon(texels, LIPS, size, 1.5)
        self.beard_mask = _polygon(texels, BEARD, size, 4.0) * (1 - lips)
        grown = texels.copy()
        centre = texels[list(FACE_OVAL)].mean(0)
        grown[list(FACE_OVAL)] = centre + (texels[list(FACE_OVAL)] - centre) * 1.02
        outside = 1 - _polygon(grown, FACE_OVAL, size, 2.0)
        is_head = head.face_parts == head.part_names.index("head")
        vertices = head.faces[is_head].flatten()
        corners = head.uv_faces[is_head].flatten()
        at = np.zeros((len(self.mean), 2))
        at[vertices] = head.uvs[corners].numpy()
        inside = np.zeros(len(self.mean), bool)
        inside[vertices] = True
        xy = (at * size).astype(int).clip(0, size - 1)
        chin, brow = self.mean[self.landmark_triangles[CHIN, 0]], self.mean[self.landmark_triangles[HAIRLINE, 0]]
        height = ((self.mean[:, 1] - brow[1]) / (chin[1] - brow[1])).clip(-1, 2)
        low = 1 / (1 + np.exp((height - 0.55) / 0.06))
        self.hair_weight = outside[xy[:, 1], xy[:, 0]] * low * inside
        rows = np.arange(size)[:, None] / size
        self.hair_mask = outside * (1 / (1 + np.exp((rows - uv[EARS[0], 1] - 0.03) / 0.02)))

    def sample_person(self, rng: np.random.Generator) -> Person:
        """A random actor."""
        identity = rng.normal(0, 0.9, 60).clip(-2.5, 2.5).astype(np.float32)
        appearance = rng.normal(0, 0.8, 16).clip(-1.8, 1.8).astype(np.float32)
        texture = self.texture + np.tensordot(appearance, self.texture_basis, 1)
        texture = np.maximum(texture, 0.03) * rng.uniform(0.55, 1.35)
        size = len(texture)
        hair_colour = np.array([0.35, 0.24, 0.15]) * rng.uniform(0.1, 2.2) * (1 + rng.normal(0, 0.12, 3))
        hair_colour = hair_colour.clip(0.02, 0.85)
        grain = 1 + 0.3 * rng.normal(0, 1, (size, size, 1)).astype(np.float32)
        bald = rng.random() < 0.12
        for mask, chance, low, high in (
            (self.brow_mask, 0.97, 0.25, 0.95),
            (self.beard_mask, 0.3, 0.1, 0.9),
            (self.hair_mask, 0.0 if bald else 1.0, 0.75, 1.0),
        ):
            if rng.random() < chance:
                alpha = (mask * rng.uniform(low, high))[..., None]
                texture = texture * (1 - alpha) + alpha * hair_colour * grain
        if rng.random() < 0.3:
            lips = rng.uniform(0.6, 1.3) * np.array([1.1, 0.75, 0.75])
            x0, x1, y0, y1 = 100, 156, 116, 156
            texture[y0:y1, x0:x1] *= 1 + 0.3 * (lips - 1) * (self.beard_mask[y0:y1, x0:x1, None] < 0.05)
        thick = 0.0 if bald else rng.choice([0.004, 0.015, 0.035], p=[0.35, 0.4, 0.25]) * rng.uniform(0.6, 1.4)
        lobes = np.sin(self.mean @ rng.normal(0, 60, (3, 3)) + rng.uniform(0, 6, 3)).mean(1)
        hair = self.hair_weight * thick * (1 + 0.5 * lobes)
        mane = (rng.uniform(0.08, 0.14), hair_colour) if not bald and rng.random() < 0.4 else None
        frame = rng.uniform(0, 0.4) * np.ones(3) if rng.random() < 0.7 else rng.uniform(0, 0.9, 3)
        glasses = (rng.uniform(0.019, 0.027), frame) if rng.random() < 0.15 else None
        return Person(identity, appearance, texture.astype(np.float32), hair.astype(np.float32), mane, glasses)

    def geometry(self, person: Person, expression: np.ndarray) -> np.ndarray:
        """Vertices (V,3) in metres, head frame."""
        code = np.concatenate([person.identity, expression])
        return self.mean + (code @ self.shapes).reshape(-1, 3)

    def landmarks(self, values: np.ndarray) -> np.ndarray:
        """The 478 points (478,C) of per-vertex values (V,C)."""
        return (values[self.landmark_triangles] * self.landmark_weights[..., None]).sum(1)

    def sample_camera(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Rotation (3,3) and position (3,) in metres of the head in front of a camera that looks along +z."""
        config = self.config
        yaw = rng.normal(0, config.yaw) if rng.random() < 0.85 else rng.uniform(-1.35, 1.35)
        angles = [rng.normal(0, config.pitch), np.clip(yaw, -1.4, 1.4), rng.normal(0, config.roll)]
        near, far = np.log(config.distance)
        distance = np.exp(rng.uniform(near, far))
        sideways = rng.normal(0, 0.12, 2) * distance
        return rotation(torch.tensor(angles)).numpy(), np.array([*sideways, distance])

    def sample_crop(self, rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
        """The crop (2,3) of this studio's pictures around points (478,2)."""
        return sample_crop(rng, points, self.config)

    def shoot(self, rng: np.random.Generator, person: Person, expression: np.ndarray, picture: bool = True) -> Shot:
        """One camera's view of a moment; without `picture` only the landmarks (an empty picture)."""
        rotation, position = self.sample_camera(rng)
        vertices = self.geometry(person, expression)
        seen = vertices @ rotation.T + position
        flat = seen[:, :2] / seen[:, 2:]
        crop = self.sample_crop(rng, self.landmarks(flat) * 1000.0)
        points = apply(crop, self.landmarks(flat) * 1000.0).astype(np.float32)
        if not picture:
            return Shot(np.zeros((0, 0, 3), np.uint8), points)
        image = self._draw(rng, person, vertices, rotation, position, crop)
        return Shot(image, points)

    def _draw(
        self,
        rng: np.random.Generator,
        person: Person,
        vertices: np.ndarray,
        rotation: np.ndarray,
        position: np.ndarray,
        crop: np.ndarray,
    ) -> np.ndarray:
        size = self.config.picture
        normals = draw.mesh_normals(vertices, self.faces)
        # outward: the nose's normal must point to the front of the head (-z)
        outward = -np.sign(normals[vertices[:, 2].argmin(), 2])
        body = (vertices + outward * normals * person.hair[:, None]) @ rotation.T + position

        def to_picture(points: np.ndarray) -> np.ndarray:
            xy = apply(crop, points[:, :2] / points[:, 2:] * 1000.0)
            return (xy + 0.5) * (size / CROP_SIZE) - 0.5

        image = draw.noise_picture(rng, size).astype(np.float32)
        light, lamp = draw.random_light(rng)
        if person.mane is not None:
            self._draw_mane(image, person.mane, rotation, position, to_picture, light[0].mean())
        projected = np.concatenate([to_picture(body), body[:, 2:]], 1).astype(np.float32)
        fragments = rasterize_numba(torch.from_numpy(projected[None]), self.head.faces, (size, size))
        gloss = rng.uniform(0, 0.35) if rng.random() < 0.6 else 0.0
        draw.shade(
            image,
            fragments.face_index[0].numpy(),
            fragments.barycentric[0].numpy(),
            self.faces,
            self.uv_faces,
            self.uvs,
            outward * normals @ rotation.T,
            person.texture,
            light,
            lamp,
            gloss,
            rng.uniform(6, 40),
        )
        if person.glasses is not None:
            self._draw_glasses(image, person.glasses, vertices, rotation, position, to_picture)
        if rng.random() < self.config.occluder:
            mask, colour = draw.blob(rng, size)
            image = image * (1 - mask[..., None]) + colour * mask[..., None]
        return draw.lens_and_sensor(rng, image)

    def _draw_mane(
        self,
        image: np.ndarray,
        mane: tuple[float, np.ndarray],
        rotation: np.ndarray,
        position: np.ndarray,
        to_picture: Callable[[np.ndarray], np.ndarray],
        brightness: float,
    ) -> None:
        """Long hair: an ellipsoid behind the head, seen as a filled hull."""
        width, colour = mane
        turn = np.linspace(0, 2 * np.pi, 24)
        ring = np.stack([width * np.cos(turn), 0.16 * np.sin(turn) + 0.04, np.full(24, 0.06)], 1)
        ring = np.concatenate([ring, ring + [0, 0, 0.06]]) @ rotation.T + position
        hull = cv2.convexHull(np.round(to_picture(ring)).astype(np.int32))
        cv2.fillConvexPoly(image, hull, (colour * brightness).clip(0, 1).tolist(), cv2.LINE_AA)

    def _draw_glasses(
        self,
        image: np.ndarray,
        glasses: tuple[float, np.ndarray],
        vertices: np.ndarray,
        rotation: np.ndarray,
        position: np.ndarray,
        to_picture: Callable[[np.ndarray], np.ndarray],
    ) -> None:
        """Two rings and a bridge, 1.5 cm before the eyes."""
        radius, colour = glasses
        eyes = self.landmarks(vertices)[list(EYE_CORNERS)]
        centres = np.stack([eyes[:2].mean(0), eyes[2:].mean(0)]) + [0, 0.003, -0.015]
        turn = np.linspace(0, 2 * np.pi, 28)
        ring = np.stack([1.15 * np.cos(turn), np.sin(turn), 0 * turn], 1) * radius
        lines = [c + ring for c in centres]
        lines.append(np.stack([centres[0] + [radius, 0, 0], centres[1] - [radius, 0, 0]]))
        for line in lines:
            xy = to_picture(line @ rotation.T + position)
            cv2.polylines(image, [np.round(xy * 8).astype(np.int32)], False, colour.tolist(), 2, cv2.LINE_AA, 3)
