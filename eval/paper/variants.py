"""The I2ZNets of the paper's ablation (Tables 2 and 3), trained alike on one set of captures, and their errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from selftrack.decoders.head.model import load_head
from selftrack.decoders.landmarks import MESH_POINTS
from selftrack.eval.metrics.stability import mesh_stability
from selftrack.eval.metrics.subject import median_iod
from selftrack.eval.paper.held_out_people import Shots
from selftrack.synthetic.people import face_vertices
from selftrack.tracker import load
from selftrack.tracker.clips.config import TrackConfig
from selftrack.tracker.clips.single import track_clip
from selftrack.tracker.geometry.crop import inter_ocular
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.model import Model
from selftrack.tracker.network.i2znet import Codes, I2ZConfig, I2ZNet, to_tensor
from selftrack.training.dataset import Shards
from selftrack.training.i2znet import TrainConfig, train

PAPER = I2ZConfig(coordinates=False)
VARIANTS = {
    "scratch": replace(PAPER, perceptual="scratch", landmarks=None, depths=1),
    "frozen": replace(PAPER, landmarks=None, depths=1),
    "skip": replace(PAPER, landmarks=None),
    "skip_key": PAPER,
    "imagenet_skip": replace(PAPER, perceptual="efficientnet", landmarks=None),
    "imagenet_skip_key": replace(PAPER, perceptual="efficientnet"),
    "vgg_skip": replace(PAPER, perceptual="vgg16", landmarks=None),
    "vgg_skip_key": replace(PAPER, perceptual="vgg16", landmarks="fan"),
}
LABELS = {
    "scratch": "scratch",
    "frozen": "frozen",
    "skip": "frozen + skip",
    "skip_key": "frozen + skip + key",
    "imagenet_skip": "ImageNet's EfficientNet-Lite0 + skip",
    "imagenet_skip_key": "ImageNet's EfficientNet-Lite0 + skip + key",
    "vgg_skip": "VGG-16 + skip",
    "vgg_skip_key": "VGG-16 + skip + FAN",
}
Row = dict[str, float]


def train_variant(
    name: str,
    captures: list[Path],
    weights: Path,
    config: TrainConfig,
    streams: Path | None = None,
    device: str = "cpu",
) -> Path:
    """Train a variant if its weights are not there; an interrupted training goes on.

    No shot loses its perceptual maps, without which the variants without landmarks have no input.

    Raises:
        UserError: weights of a frozen stream are not there.
    """
    if not weights.exists():
        weights.parent.mkdir(parents=True, exist_ok=True)
        objective = replace(config.objective, perceptual_dropout=0.0)
        settings = replace(config, network=VARIANTS[name], objective=objective, checkpoint_every=50)

        def progress(step: int, steps: int, losses: dict[str, float]) -> None:
            print(name, f"{step}/{steps}", *(f"{k} {v:.3g}" for k, v in losses.items()), flush=True)

        train(Shards(captures), weights, settings, progress, device=device, streams=streams)
    return weights


@torch.no_grad()
def read(network: I2ZNet, pictures: np.ndarray, points: np.ndarray) -> Codes:
    """Predict the codes of crops (N,256,256,3) and their points (N,478,2), each by itself, as in the paper."""
    images = torch.from_numpy(pictures).split(32)
    codes = [network(to_tensor(i), p) for i, p in zip(images, torch.from_numpy(points).split(32), strict=True)]
    return Codes(*(torch.cat(part) for part in zip(*codes, strict=True)))


def vertex_distance(a: Tensor, b: Tensor) -> float:
    """Average the distance on the face, millimetres, of the shapes of codes a and b (N,128), without their poses."""
    head = load_head()
    face = torch.from_numpy(face_vertices(head))
    return 1000 * float((head.geometry(a) - head.geometry(b))[:, face].norm(dim=2).mean())


def texture_distance(a: Tensor, b: Tensor) -> float:
    """Average the absolute difference over the skin, 0..1, of the textures of codes a and b (N,128)."""
    head = load_head()
    return float((head.colour(a) - head.colour(b))[..., head.skin_texels].abs().mean())


def landmark_error(codes: Codes, points: np.ndarray) -> float:
    """Average the distance of the projected landmarks from true ones (N,478,2), percent of the inter-ocular distance.

    The distance is that of a frontal face at the same scale: eyes of a profile are close together.
    """
    head = load_head()
    placed = project(head.landmarks478(head.geometry(codes.z)), codes.pose)[..., :2].numpy()
    extent = np.ptp(points[:, :MESH_POINTS], axis=1).max(1)  # of the upright face; the IOD is a share of it
    apart = np.linalg.norm(placed - points, axis=2).mean(1)
    return float((100 * apart / (frontal_share() * extent)).mean())


def frontal_share() -> float:
    """Divide the inter-ocular distance of the frontal mean head by the longer side of its landmarks' box."""
    points = load_head().landmarks478(load_head().mean[None])[..., :2].numpy()
    return float((inter_ocular(points) / np.ptp(points[:, :MESH_POINTS], axis=1).max(1))[0])


def accuracy(network: I2ZNet, shots: Shots) -> Row:
    """Measure errors against the truth, undisturbed (Table 2)."""
    codes, truth = read(network, shots.pictures, shots.detected), torch.from_numpy(shots.codes)
    return {
        "geometry": vertex_distance(codes.z, truth),
        "landmarks": landmark_error(codes, shots.points),
        "texture": texture_distance(codes.z, truth),
    }


def robustness(network: I2ZNet, shots: dict[str, Shots], undisturbed: str) -> dict[str, Row]:
    """Measure every perturbation (Table 3): distances of shape and texture from those of the undisturbed picture, and
    errors against the truth."""
    before = read(network, shots[undisturbed].pictures, shots[undisturbed].detected)
    rows = {}
    for name, disturbed in shots.items():
        if name != undisturbed:
            after, truth = read(network, disturbed.pictures, disturbed.detected), torch.from_numpy(disturbed.codes)
            rows[name] = {
                "change": vertex_distance(after.z, before.z),
                "texture": texture_distance(after.z, before.z),
                "geometry": vertex_distance(after.z, truth),
                "landmarks": landmark_error(after, disturbed.points),
            }
    return rows


def stability(weights: Path, clip: Path, folder: Path, streams: Path | None = None) -> float:
    """Measure Eq. 10 in the image, mean of ratios, of a clip tracked frame by frame."""
    model = Model.load(weights, streams=streams)  # of the variants some read none of them
    config = TrackConfig(weights=str(weights), overlay=False, identity="per-frame")
    track_clip(clip, folder, config, model=model, overwrite=True)
    track = load(folder)
    return mesh_stability(track.vertices, track.ok, median_iod(track.landmarks))[0].mean.value()
