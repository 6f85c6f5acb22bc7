"""A synthetic capture studio: pictures of random people by random cameras in random light, with codes and landmarks.

It stands in for the multi-view capture of Yoon et al. 2019: several cameras film every moment at once, so that
the view-consistency loss (Eq. 4) has its pairs. Cameras are true perspective ones; the tracker's weak perspective is
learned from them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch

from selftrack.decoders.head.model import Head
from selftrack.decoders.landmarks import EYE_CORNERS
from selftrack.decoders.mesh.rasterizer import rasterize_numba
from selftrack.synthetic import studio_render as draw
from selftrack.synthetic.cameras import CameraConfig, CropConfig, sample_camera, sample_crop
from selftrack.synthetic.people import Person, Population
from selftrack.synthetic.rigs.population import RigPopulation
from selftrack.tracker.geometry.crop import CROP_SIZE, apply


@dataclass(frozen=True)
class StudioConfig:
    """What the studio draws."""

    picture: int = 192
    """Side of the pictures in pixels; they show the tracker's crop."""
    moments: int = 6
    """Expressions per person."""
    views: int = 2
    """Synchronous cameras per moment."""
    camera: CameraConfig = CameraConfig()
    crop: CropConfig = CropConfig()
    occluder: float = 0.08
    """Share of pictures with something before the face."""


@dataclass(frozen=True)
class Shot:
    """One picture of one moment by one camera."""

    picture: np.ndarray
    """(S,S,3) uint8 RGB, the crop drawn at the studio's size."""
    points: np.ndarray
    """(478,2) float32, true landmarks in pixels of the 256 crop."""


class Studio:
    """Draws pictures; all randomness comes from the generators that are passed in."""

    def __init__(
        self, head: Head, config: StudioConfig | None = None, people: Population | RigPopulation | None = None
    ) -> None:
        """`people` are by default those of `head`."""
        self.config = config or StudioConfig()
        self.people: Any = people or Population(head)
        """What `shoot` takes are its people."""

    def sample_camera(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw a camera of this studio, see `cameras.sample_camera`."""
        return sample_camera(rng, self.config.camera)

    def sample_crop(self, rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
        """Draw the crop (2,3) of this studio's pictures around points (478,2)."""
        return sample_crop(rng, points, self.config.crop)

    def shoot(self, rng: np.random.Generator, person: Person, expression: np.ndarray, picture: bool = True) -> Shot:
        """Take a picture of a moment by one camera; without `picture` only the landmarks (an empty picture)."""
        rotation, position = self.sample_camera(rng)
        vertices = self.people.geometry(person, expression)
        placed = vertices @ rotation.T + position
        points = self.people.landmarks(placed[:, :2] / placed[:, 2:]) * 1000.0
        crop = self.sample_crop(rng, points)
        points = apply(crop, points).astype(np.float32)
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
        size, people = self.config.picture, self.people
        normals = draw.mesh_normals(vertices, people.faces)
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
        fragments = rasterize_numba(torch.from_numpy(projected[None]), torch.from_numpy(people.faces), (size, size))
        gloss = rng.uniform(0, 0.35) if rng.random() < 0.6 else 0.0
        draw.shade(
            image,
            fragments.face_index[0].numpy(),
            fragments.barycentric[0].numpy(),
            people.faces,
            people.uv_faces,
            people.uvs,
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
        """Draw long hair: an ellipsoid behind the head, as a filled hull."""
        width, colour = mane
        angle = np.linspace(0, 2 * np.pi, 24)
        ring = np.stack([width * np.cos(angle), 0.16 * np.sin(angle) + 0.04, np.full(24, 0.06)], 1)
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
        """Draw two rings and a bridge, 1.5 cm before the eyes."""
        radius, colour = glasses
        eyes = self.people.landmarks(vertices)[list(EYE_CORNERS)]
        centres = np.stack([eyes[:2].mean(0), eyes[2:].mean(0)]) + [0, 0.003, -0.015]
        angle = np.linspace(0, 2 * np.pi, 28)
        ring = np.stack([1.15 * np.cos(angle), np.sin(angle), 0 * angle], 1) * radius
        lines = [c + ring for c in centres]
        lines.append(np.stack([centres[0] + [radius, 0, 0], centres[1] - [radius, 0, 0]]))
        for line in lines:
            xy = to_picture(line @ rotation.T + position)
            cv2.polylines(image, [np.round(xy * 8).astype(np.int32)], False, colour.tolist(), 2, cv2.LINE_AA, 3)
