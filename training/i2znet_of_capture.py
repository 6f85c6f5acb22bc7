"""Training of an I2ZNet for a person's own model on the capture that the model was made from (Yoon et al. 2019, Sec.
3.1): every moment is a code, every camera a picture of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from selftrack.decoders.capture import Capture
from selftrack.decoders.dam.model import Dam
from selftrack.errors import UserError
from selftrack.synthetic.cameras import CropConfig, sample_crop
from selftrack.synthetic.studio_render import lens_and_sensor
from selftrack.tracker.geometry import crop as crops
from selftrack.tracker.network.i2znet import WEIGHTS, I2ZConfig, I2ZNet, to_tensor
from selftrack.training.dam import codes, split_frames
from selftrack.training.i2znet import TrainConfig, train


@dataclass(frozen=True)
class CaptureConfig:
    """How pictures of the capture become training data."""

    views: int = 4
    """Pictures per frame, an even number, of random cameras; of one camera, crops with errors of their own."""
    facing: float = 0.4
    """Cosine between the face's front and a camera, below which that is not used."""
    crop: CropConfig = CropConfig()
    """Errors of the crops."""
    seed: int = 0


class CaptureData:
    """Crops of a capture's frames and cameras: points, codes and the frozen perceptual maps; a `i2znet.Data`."""

    def __init__(
        self,
        capture: Capture,
        decoder: Dam,
        network: I2ZNet,
        frames: np.ndarray,
        config: CaptureConfig | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Raises ValueError when no camera is before the face."""
        config = config or CaptureConfig()
        rng = np.random.default_rng([config.seed, len(frames)])
        device = next(network.parameters()).device
        maps, points, used = [], [], []
        for done, frame in enumerate(frames, 1):
            front = [v for v in capture.views(int(frame)) if -capture.view(int(frame), v)[2] > config.facing]
            if front:
                chosen = rng.choice(front, config.views, replace=len(front) < config.views)
                shots = [self._shoot(capture, decoder, int(frame), int(v), rng, config.crop) for v in chosen]
                maps.append([m.half().cpu() for m in network.perceive(self._pictures(shots).to(device))])
                points.append(np.stack([at for _, at in shots]))
                used.append(int(frame))
            if progress:
                progress(done, len(frames))
        if not used:
            raise UserError("no frame of the capture is seen by a camera before the face")
        self.maps = [torch.stack(level) for level in zip(*maps, strict=True)]  # (P,S,C,s,s)
        self.points = torch.from_numpy(np.stack(points))
        z = codes(decoder, capture, np.array(used)).cpu()
        self.codes = z[:, None].expand(-1, config.views, -1)

    @staticmethod
    def _shoot(
        capture: Capture, decoder: Dam, frame: int, camera: int, rng: np.random.Generator, config: CropConfig
    ) -> tuple[np.ndarray, np.ndarray]:
        """A crop (256,256,3) and the true landmarks (478,2) in it."""
        vertices = torch.from_numpy(capture.vertices(frame))[None]
        at = capture.project(frame, camera, decoder.landmarks478(vertices)[0].numpy())[:, :2]
        transform = sample_crop(rng, at, config)
        picture = crops.warp(capture.image(frame, camera), transform)
        seen = lens_and_sensor(rng, picture / 255)
        return seen, crops.apply(transform, at).astype(np.float32)

    @staticmethod
    def _pictures(shots: list[tuple[np.ndarray, np.ndarray]]) -> Tensor:
        return to_tensor(torch.from_numpy(np.stack([picture for picture, _ in shots])))

    def batch(self, people: Tensor, device: torch.device) -> tuple[list[Tensor], Tensor, Tensor]:
        """(maps, points, codes) of moments (P,); which cameras are a pair (Eq. 4) is random."""
        turn = torch.randperm(self.points.shape[1])
        maps = [m[people][:, turn].flatten(0, 1).to(device) for m in self.maps]
        return maps, self.points[people][:, turn].to(device), self.codes[people].to(device)


def network_config(decoder: Dam, config: I2ZConfig | None = None) -> I2ZConfig:
    """The architecture `config` for the codes of a decoder."""
    return replace(
        config or I2ZConfig(), identity=0, expression=decoder.size, appearance=0, decoder=decoder.hash
    )


def dam_training(network: I2ZConfig, steps: int = 2500, seed: int = 0) -> TrainConfig:
    """Settings for a person's own model: many moments a step, and z in its own unit (Eq. 2), as texture needs it."""
    return TrainConfig(network, steps=steps, people=16, seed=seed, weight_z=1.0, weight_curve=30.0, rate=3e-4)


def train_on_capture(
    capture: Capture,
    decoder: Dam,
    out: Path,
    config: TrainConfig,
    progress: Callable[[int, int, dict[str, float]], None] | None = None,
    loading: Callable[[int, int], None] | None = None,
    device: str = "cpu",
    data: CaptureConfig | None = None,
) -> Path:
    """Train a network for the decoder on the capture's frames that are not held out.

    The levels begin as the bundled network's where the architecture is the same; else from scratch, as in the paper.
    """
    learn, _ = split_frames(len(capture.frames))
    decoder = decoder.copy_to(device)

    def load(network: I2ZNet, rank: int, world: int) -> CaptureData:
        return CaptureData(capture, decoder, network, learn[rank::world], data, loading)

    bundled = network_config(decoder) == config.network
    decoder.landmarks478  # noqa: B018  raises where nobody has placed them, before anything is drawn
    return train(load, out, config, progress, loading, device, decoder, WEIGHTS if bundled else None)
