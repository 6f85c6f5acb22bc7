"""What a tracker says of one frame."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from selftrack.decoders.base import Decoder
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.results.regions import REGIONS, held


@dataclass(frozen=True)
class FrameResult:
    """One tracked frame. Where no face was found (ok False), the values are those of the last frame with one.

    Image frame: pixels of the frame as displayed, x right, y down, the centre of the top-left pixel is (0, 0).
    """

    index: int
    """Number of the frame, counted from 0."""
    time: float
    """Seconds."""
    ok: bool
    """Whether a face was found."""
    confidence: float
    """Probability of a skin-point error under 1 % of the inter-ocular distance; 0 where lost."""
    presence: float
    """The detector's probability that there is a face; 0 where lost."""
    sharpness: float
    """Of the crop; 0 where lost."""
    z: np.ndarray
    """(Z,) float32, the decoder's code."""
    H: np.ndarray
    """(6,) float32, pose f, rx, ry, rz, tx, ty in the 256x256 crop."""
    H_image: np.ndarray
    """(6,) float32, the same parameters in the image."""
    crop: np.ndarray
    """(2,3) float32, similarity from image pixels to crop pixels."""
    landmarks: np.ndarray
    """(L,2) float32, detected points, image pixels; NaN where lost."""
    curves: dict[str, float]
    """The animation curves by name, 0..1: ARKit's 52 where the decoder has them."""
    visible: np.ndarray
    """(6,) float32, how much is seen of `regions.PARTS`, 0..1; 0 where lost."""
    regions: dict[str, float]
    """The probability that eyes, brows, mouth and pose are where they should be, to 5 % of the IOD."""
    decoder: Decoder = field(repr=False)
    inverse_distance: float = 0.0
    """Of the camera, 1/metres."""

    @property
    def held(self) -> tuple[str, ...]:
        """Which of eyes, brows and mouth are hidden, so that their curves hold the last sure values."""
        return tuple(name for name, is_held in zip(REGIONS, held(self.visible), strict=False) if self.ok and is_held)

    @torch.no_grad()
    def vertices(self) -> np.ndarray:
        """Vertices (V,3) float32 in the image frame: x, y and depth z in pixels, larger z = farther."""
        place = self.decoder.mean.device
        z, pose = (torch.from_numpy(values[None]).to(place) for values in (self.z, self.H_image))
        return project(self.decoder.geometry(z), pose, self.inverse_distance)[0].cpu().numpy()
