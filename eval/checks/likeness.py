"""How much a person's own model, or the appearance code, looks like the clip.

PSNR and SSIM are those inside the face, in frames that the model's training did not have, beside the clip's median
texture on the same mesh.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from selftrack.decoders.dam.losses import psnr
from selftrack.errors import UserError
from selftrack.tracker.results.clip import open_clip
from selftrack.tracker.results.painter import MeshPainter, OverlayConfig
from selftrack.tracker.results.texture import TextureConfig, clip_texture, own_texture
from selftrack.tracker.results.track_file import Track
from selftrack.training.dam import split_frames


@dataclass(frozen=True)
class Likeness:
    """Of painted faces to the frames, over their pixels."""

    psnr: float
    """Decibels."""
    ssim: float
    median_psnr: float
    """Of the clip's median texture on the same mesh."""
    median_ssim: float
    frames: int


def ssim(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Compute structural similarity (H,W) of grey pictures (H,W), 0..1, Gaussian of 1.5 pixels (Wang et al. 2004)."""

    def blurred(picture: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(picture.astype(np.float64), (11, 11), 1.5)

    a, b = blurred(one), blurred(other)
    variance = blurred(one**2) - a**2, blurred(other**2) - b**2
    covariance = blurred(one * other) - a * b
    c1, c2 = 0.01**2, 0.03**2
    return (2 * a * b + c1) * (2 * covariance + c2) / ((a**2 + b**2 + c1) * (sum(variance) + c2))


def likeness(track: Track, painted: Callable[[int], Tensor] | None = None) -> Likeness:
    """Judge a track by a person's own model, on every fifth block of 8 frames.

    `painted` gives other textures (3,T,T) by row. Raises UserError when the track is the bundled head's.
    """
    median = clip_texture(track)
    texture_of = painted or own_texture(track, median)
    if texture_of is None:
        raise UserError("a track by the bundled head has no model of its own to judge")
    found = np.flatnonzero(track.ok)
    rows = found[split_frames(len(found))[1]]
    config = OverlayConfig(mode="texture")
    painter = MeshPainter(track.model(), config, median)
    sums = np.zeros(5)
    with open_clip(track) as source:
        for frame in source.frames(only=set(rows.tolist())):
            vertices = track.vertices(slice(frame.index, frame.index + 1))[0]
            # where the mesh covers fully: what black and white meshes leave of the frame is nothing
            drawn = [_painted(painter, frame.image, vertices, torch.full_like(median, value)) for value in (0.0, 1.0)]
            inside = (drawn[1] - drawn[0]).min(2) > 0.99
            for at, texture in ((0, texture_of(frame.index)), (2, median)):
                made = _painted(painter, frame.image, vertices, texture)
                pixels = frame.image / 255
                sums[at] += ((made - pixels)[inside] ** 2).mean(1).sum()
                grey = [p.mean(2) for p in (made, pixels)]
                sums[at + 1] += ssim(*grey)[inside].sum()
            sums[4] += inside.sum()
    means = sums[:4] / max(sums[4], 1)
    return Likeness(psnr(means[0]), float(means[1]), psnr(means[2]), float(means[3]), len(rows))


def colour_distance(one: Tensor, other: Tensor, mask: Tensor) -> float:
    """Measure between the mean colours of two textures (3,S,S), 0..1, over the mask (S,S): grey levels of 255."""
    return float(255 * (one - other)[:, mask].mean(1).norm())


def skin_colour(track: Track) -> float:
    """Measure how far the skin of the appearance code is from the one that the clip shows, grey levels."""
    head = track.model()
    code = torch.from_numpy(np.median(track.z[track.ok], axis=0))
    with torch.no_grad():
        predicted = head.colour(code[None])[0]
    return colour_distance(predicted, clip_texture(track, TextureConfig(size=predicted.shape[-1])), head.skin_texels)


def _painted(painter: MeshPainter, image: np.ndarray, vertices: np.ndarray, texture: Tensor) -> np.ndarray:
    """The picture (H,W,3) in 0..1 with the mesh in a texture (3,T,T)."""
    return painter.textured_with(texture)(image, vertices) / 255
