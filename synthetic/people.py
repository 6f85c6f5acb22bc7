"""People drawn at random: of the head's basis with skin, hair and glasses, and actors whose shapes no code reaches."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from selftrack.decoders.base import Decoder
from selftrack.decoders.head.model import Head
from selftrack.decoders.landmarks import BEARD, BROWS, CHIN, EARS, FACE_OVAL, HAIRLINE, LIPS


@dataclass(frozen=True)
class Person:
    """One random person, as far as the head's codes and a texture describe one."""

    identity: np.ndarray
    """(60,) float32."""
    appearance: np.ndarray
    """(16,) float32."""
    texture: np.ndarray
    """(T,T,3) float32."""
    hair: np.ndarray
    """(V,) metres that hair or a cap adds along the normal."""
    mane: tuple[float, np.ndarray] | None
    """Half width in metres and colour of long hair behind the head."""
    glasses: tuple[float, np.ndarray] | None
    """Lens radius in metres and colour."""


class Population:
    """People of the default head; all randomness comes from the generators that are passed in."""

    def __init__(self, head: Head) -> None:
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
        """Make texel masks of brows, beard and scalp, and a weight per vertex for hair, all from landmarks."""
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

    def sample(self, rng: np.random.Generator) -> Person:
        """Draw a person."""
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
        """Compute the vertices (V,3) of a person with an expression (52,): metres, head frame."""
        code = np.concatenate([person.identity, expression])
        return self.mean + (code @ self.shapes).reshape(-1, 3)

    def landmarks(self, values: np.ndarray) -> np.ndarray:
        """Interpolate per-vertex values (V,C) at the 478 landmarks: (478,C)."""
        return (values[self.landmark_triangles] * self.landmark_weights[..., None]).sum(1)


@dataclass(frozen=True)
class Actor:
    """A person with a skin and a shape of their own."""

    person: Person
    texture: np.ndarray
    """(T,T,3) float32, linear albedo."""
    shape: np.ndarray
    """(V,3) metres, off the head's basis."""
    acting: np.ndarray
    """(52,V,3) metres, the same for each curve at 1."""


class OffBasis:
    """Displacements of the head's vertices that no code, rotation, shift or scale makes."""

    LENGTH = 0.02
    """Length scale, metres."""
    ELSEWHERE = 0.2
    """Weight of vertices outside the face in the projection."""

    def __init__(self, head: Head) -> None:
        self.mean, self.face = head.mean.numpy().astype(float), face_vertices(head)
        shapes = head.shapes.numpy().astype(float).reshape(len(head.shapes), -1)
        shifts = np.tile(np.eye(3), (1, len(self.mean)))
        rotations = [np.cross(axis, self.mean).ravel() for axis in np.eye(3)]
        self.basis = np.concatenate([shapes, shifts, rotations, [self.mean.ravel()]]).T  # (3V,119)
        self.weight = np.repeat(np.where(self.face, 1.0, self.ELSEWHERE), 3)
        self.q = np.linalg.qr(self.weight[:, None] * self.basis)[0]

    def __call__(self, rng: np.random.Generator, size: float) -> np.ndarray:
        """Draw displacements (V,3) in metres, `size` metres root mean square over the face."""
        field = self.weight * smooth_field(rng, self.mean, self.LENGTH).ravel()
        left = ((field - self.q @ (self.q.T @ field)) / self.weight).reshape(-1, 3)
        return left * size / np.sqrt((left[self.face] ** 2).sum(1).mean())


def smooth_field(rng: np.random.Generator, points: np.ndarray, length: float) -> np.ndarray:
    """Draw a smooth displacement (V,3) at points (V,3): a Gaussian process of that length scale and variance 1."""
    waves = rng.normal(0, 1 / length, (points.shape[1], 128))
    phase, weight = rng.uniform(0, 2 * np.pi, 128), rng.normal(0, 1, (128, 3))
    return np.cos(points @ waves + phase) @ weight * np.sqrt(2 / 128)


def face_vertices(head: Decoder) -> np.ndarray:
    """Find the vertices (V,) bool of the skin within the outline of the mean face from the front: no neck, no ears."""
    mean = head.mean.numpy()
    outline = head.landmarks478(head.mean[None])[0, list(FACE_OVAL)].numpy()
    hull = cv2.convexHull(np.round(1e5 * outline[:, :2]).astype(np.int32))
    inside = [cv2.pointPolygonTest(hull, tuple((1e5 * p).tolist()), False) >= 0 for p in mean[:, :2]]
    return np.array(inside) & head.skin_vertices.numpy() & (mean[:, 2] <= outline[:, 2].max())


def _polygon(texel_points: np.ndarray, index: tuple[int, ...], size: int, soften: float) -> np.ndarray:
    """Fill the polygon of some texel points (478,2), with soft edges: (size,size) float32, 0..1."""
    mask = np.zeros((size, size), np.float32)
    cv2.fillPoly(mask, [np.round(texel_points[list(index)] * 8).astype(np.int32)], 1.0, cv2.LINE_AA, 3)
    return cv2.GaussianBlur(mask, (0, 0), soften)
