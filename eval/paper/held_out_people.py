"""Pictures of synthetic people whom no network was trained on, and what may happen to a picture on its way: another
view, colour, light, crop or background (Yoon et al. 2019, Sec. B), or a lower resolution (Fig. 10)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
import torch

from selftrack.decoders.head.model import load_head
from selftrack.decoders.landmarks import FACE_OVAL
from selftrack.synthetic.expressions import sample_expression
from selftrack.synthetic.studio import Studio, StudioConfig
from selftrack.tracker.geometry.crop import CROP_SIZE, apply, face_similarity, warp
from selftrack.tracker.landmarks.attention_mesh import SIZE, LandmarkNet

STREAM = 9_410_233  # third word of all seeds here: training captures are seeded with two, so nobody is in both
WIDE = 1.5  # side of a drawn picture over that of the crop: room for a crop that is off
NONE = "none"
Distort = Callable[[np.random.Generator, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


class Shots(NamedTuple):
    """N crops and what is true of them."""

    pictures: np.ndarray
    """(N,256,256,3) uint8."""
    points: np.ndarray
    """(N,478,2) float32, true landmarks in the crop."""
    detected: np.ndarray
    """(N,478,2) float32, what the landmark network finds in the crop."""
    codes: np.ndarray
    """(N,128) float32."""


class Booth(Studio):
    """A studio whose pictures show the crop's surroundings, too, and whose cameras have a generator of their own: the
    same generator for the rest draws the same light and background for all of them."""

    def __init__(self, cameras: np.random.Generator) -> None:
        super().__init__(load_head(), StudioConfig(picture=round(WIDE * CROP_SIZE), occluder=0))
        self.cameras = cameras

    def sample_camera(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """As `Studio.sample_camera`; `rng` stays untouched."""
        return super().sample_camera(self.cameras)

    def sample_crop(self, rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
        """The crop (2,3) around points (478,2) with its surroundings."""
        half = (CROP_SIZE - 1) / 2
        return face_similarity(points) / WIDE + np.array([[0, 0, half - half / WIDE]] * 2)


def similarity(scale: float, angle: float, shift: np.ndarray) -> np.ndarray:
    """Map a wide picture to the crop in its middle (2,3), scaled and rotated about its centre, then moved by `shift`
    (2,) crop pixels."""
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]])
    middle = np.full(2, (round(WIDE * CROP_SIZE) - 1) / 2)
    return np.concatenate([linear, ((CROP_SIZE - 1) / 2 + shift - linear @ middle)[:, None]], 1)


def _middle(picture: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    transform = similarity(1, 0, np.zeros(2))
    return warp(picture, transform), apply(transform, points)


def _colour(rng: np.random.Generator, picture: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A gain of 0.6 to 1.6 for each channel."""
    gains = np.exp(rng.uniform(-0.5, 0.5, 3))
    return _middle((picture * gains).clip(0, 255).astype(np.uint8), points)


def _light(rng: np.random.Generator, picture: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A gamma of 0.5 to 2."""
    bent = (picture / 255) ** np.exp(rng.uniform(-1, 1) * np.log(2))
    return _middle(np.round(255 * bent).astype(np.uint8), points)


def _jitter(rng: np.random.Generator, picture: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A crop that is off by up to 8 % of its side, 12 % of its size and 10 degrees."""
    move = rng.uniform(-1, 1, 4) * [np.log(1.12), np.radians(10), 0.08 * CROP_SIZE, 0.08 * CROP_SIZE]
    transform = similarity(np.exp(move[0]), move[1], move[2:])
    return warp(picture, transform), apply(transform, points)


def _background(rng: np.random.Generator, picture: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """White dots of 2 pixels on a tenth of what lies well outside the face's outline."""
    oval = points[list(FACE_OVAL)]
    hull = cv2.convexHull(np.round(oval.mean(0) + 1.3 * (oval - oval.mean(0))).astype(np.int32))
    face = cv2.fillConvexPoly(np.zeros(picture.shape[:2], np.uint8), hull, 1)
    half = rng.random((picture.shape[0] // 2, picture.shape[1] // 2)) < 0.1
    dots = np.kron(half, np.ones((2, 2), bool)) & (face == 0)
    return _middle(np.where(dots[..., None], 255, picture).astype(np.uint8), points)


DISTORTIONS: dict[str, Distort] = {
    "colour": _colour,
    "light": _light,
    "jitter": _jitter,
    "background": _background,
}
PERTURBATIONS = ("view", *DISTORTIONS)


def detect(net: LandmarkNet, pictures: np.ndarray) -> np.ndarray:
    """Find the landmark network's points (N,478,2) in crops (N,256,256,3) uint8."""
    small = np.stack([cv2.resize(p, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for p in pictures])
    images = torch.from_numpy(small.astype(np.float32) / 255).permute(0, 3, 1, 2)
    points = np.concatenate([net(image[None]).points[..., :2].numpy() for image in images])
    return ((points + 0.5) * (CROP_SIZE / SIZE) - 0.5).astype(np.float32)


def lowered(pictures: np.ndarray, side: int) -> np.ndarray:
    """Lower crops (N,256,256,3) to the content of `side` pixels: averaged over areas, then enlarged bilinearly."""
    if side >= CROP_SIZE:
        return pictures
    small = (cv2.resize(p, (side, side), interpolation=cv2.INTER_AREA) for p in pictures)
    return np.stack([cv2.resize(p, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_LINEAR) for p in small])


def held_out_shots(
    people: int, moments: int, seed: int, perturbations: tuple[str, ...] = PERTURBATIONS
) -> dict[str, Shots]:
    """Draw one shot per person and moment, undisturbed ("none") and under each perturbation, in the same order."""
    net = LandmarkNet()
    rows: dict[str, list[tuple[np.ndarray, ...]]] = {name: [] for name in (NONE, *perturbations)}
    for number in range(people):
        rng, cameras = (np.random.default_rng([seed, number, STREAM + k]) for k in range(2))
        booth = Booth(cameras)
        person = booth.people.sample(rng)
        for moment in range(moments):
            expression = sample_expression(rng)
            code = np.concatenate([person.identity, expression, person.appearance])
            drawn = [
                booth.shoot(np.random.default_rng([seed, number, STREAM + 2 + moment]), person, expression, needed)
                for needed in (True, "view" in perturbations)
            ]
            plain, view = ((shot.picture, (shot.points + 0.5) * WIDE - 0.5) for shot in drawn)
            made = {NONE: _middle(*plain)}
            for name in perturbations:
                made[name] = _middle(*view) if name == "view" else DISTORTIONS[name](rng, *plain)
            for name, (picture, points) in made.items():
                rows[name].append((picture, points, code))
    shots = {}
    for name, drawings in rows.items():
        pictures, points, codes = (np.stack(part) for part in zip(*drawings, strict=True))
        shots[name] = Shots(pictures, points.astype(np.float32), detect(net, pictures), codes.astype(np.float32))
    return shots
