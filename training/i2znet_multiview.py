"""Train an I2ZNet for a person's own model on the multi-view capture that the model was made from (Yoon et al. 2019,
Sec. 3.1): every moment is a code, every camera a picture of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selftrack.decoders.capture import Capture
from selftrack.decoders.dam.model import Dam
from selftrack.errors import UserError
from selftrack.synthetic.cameras import CropConfig, sample_crop
from selftrack.synthetic.studio_render import lens_and_sensor
from selftrack.tracker.geometry import crop as crops
from selftrack.tracker.network.i2znet import I2ZConfig, I2ZNet, to_tensor
from selftrack.tracker.network.weights import WITH_STREAMS
from selftrack.training.dam import capture_hash, codes, split_frames
from selftrack.training.dataset import Loading
from selftrack.training.i2znet import TrainConfig, train
from selftrack.training.loop import Progress, World
from selftrack.training.objective import ObjectiveConfig


@dataclass(frozen=True)
class CaptureConfig:
    """How pictures of the capture become training data."""

    views: int = 4
    """Pictures per frame, an even number, of random cameras; crops of the same camera have errors of their own."""
    facing: float = 0.4
    """Cosine between the face's front and a camera, below which that is not used."""
    crop: CropConfig = CropConfig()
    """Errors of the crops."""
    seed: int = 0


class CaptureData:
    """Crops of a capture's frames and cameras: points, codes and the frozen perceptual maps, or the pictures where the
    network reads these; a `dataset.Data`."""

    def __init__(
        self,
        capture: Capture,
        decoder: Dam,
        network: I2ZNet,
        frames: Sequence[int],
        config: CaptureConfig | None = None,
        progress: Loading | None = None,
    ) -> None:
        """Draw the crops.

        Raises:
            UserError: no camera is before the face.
        """
        config = config or CaptureConfig()
        rng = np.random.default_rng([config.seed, len(frames)])
        device = next(network.parameters()).device
        maps, points, used = [], [], []
        for done, frame in enumerate(frames, 1):
            front = [v for v in capture.views(int(frame)) if -capture.view(int(frame), v)[2] > config.facing]
            if front:
                chosen = rng.choice(front, config.views, replace=len(front) < config.views)
                shots = [self._shoot(capture, decoder, int(frame), int(v), rng, config.crop) for v in chosen]
                pictures = torch.from_numpy(np.stack([picture for picture, _ in shots]))
                if network.reads_pictures:
                    maps.append([pictures])
                else:
                    maps.append([m.half().cpu() for m in network.perceive(to_tensor(pictures).to(device))])
                points.append(np.stack([at for _, at in shots]))
                used.append(int(frame))
            if progress:
                progress(done, len(frames))
        if not used:
            raise UserError("no camera of the capture is before the face; take one that shows it from the front")
        self.maps = [torch.stack(depth) for depth in zip(*maps, strict=True)]  # (P,S,C,s,s)
        self.points = torch.from_numpy(np.stack(points))
        z = codes(decoder, capture, np.array(used)).cpu()
        self.codes = z[:, None].expand(-1, config.views, -1)
        self.detected = torch.full_like(self.points, torch.nan)

    @staticmethod
    def _shoot(
        capture: Capture, decoder: Dam, frame: int, camera: int, rng: np.random.Generator, config: CropConfig
    ) -> tuple[np.ndarray, np.ndarray]:
        """Take a crop (256,256,3); also returns the true landmarks (478,2) in it."""
        vertices = torch.from_numpy(capture.vertices(frame))[None]
        at = capture.project(frame, camera, decoder.landmarks478(vertices)[0].numpy())[:, :2]
        transform = sample_crop(rng, at, config)
        picture = crops.warp(capture.image(frame, camera), transform)
        return lens_and_sensor(rng, picture / 255), crops.apply(transform, at).astype(np.float32)

    def batch(self, people: Tensor, device: torch.device) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
        """See `dataset.Data`; which cameras are a pair (Eq. 4) is random."""
        order = torch.randperm(self.points.shape[1])
        maps = [m[people][:, order].flatten(0, 1).to(device) for m in self.maps]
        points, detected = (values[people][:, order].to(device) for values in (self.points, self.detected))
        return maps, points, self.codes[people].to(device), detected


def network_config(decoder: Dam, config: I2ZConfig | None = None) -> I2ZConfig:
    """Fit the architecture `config` to the codes of a decoder."""
    return replace(config or I2ZConfig(), identity=0, expression=decoder.size, appearance=0)


def dam_training(network: I2ZConfig, steps: int = 2500, seed: int = 0) -> TrainConfig:
    """Make the settings for a person's own model: many moments a step, and z in its own unit (Eq. 2), as texture needs
    it."""
    return TrainConfig(network, ObjectiveConfig(z=1.0, curve=30.0), steps=steps, people=16, seed=seed, rate=3e-4)


@dataclass(frozen=True)
class CaptureSource:
    """A capture as a `dataset.Source`: the frames that are not held out."""

    capture: Capture
    decoder: Dam
    config: CaptureConfig

    def settings(self) -> dict[str, Any]:
        """Give a hash of the capture, and how its pictures are taken."""
        return {"capture": capture_hash(self.capture), "data": asdict(self.config)}

    def load(self, network: I2ZNet, world: World, progress: Loading | None) -> CaptureData:
        """Take the pictures of this process's share of the frames."""
        learn, _ = split_frames(len(self.capture.frames))
        decoder = self.decoder.copy_to(str(world.device))
        return CaptureData(self.capture, decoder, network, world.share(learn.tolist()), self.config, progress)


def train_on_capture(
    capture: Capture,
    decoder: Dam,
    out: Path,
    config: TrainConfig,
    progress: Progress | None = None,
    loading: Loading | None = None,
    device: str = "cpu",
    data: CaptureConfig | None = None,
    streams: Path | None = None,
) -> Path:
    """Train a network for the decoder on the capture's frames that are not held out.

    The part that reads the streams begins as that of a network that was trained on many people where the architecture
    is the same; else from scratch, as in the paper.
    """
    decoder.landmarks478  # noqa: B018  raises where nobody has placed them, before anything is drawn
    base = WITH_STREAMS if network_config(decoder) == config.network else None
    source = CaptureSource(capture, decoder, data or CaptureConfig())
    return train(source, out, config, progress, loading, device, decoder.copy_to(device), base, streams)
