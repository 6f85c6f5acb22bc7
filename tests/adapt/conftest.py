"""A synthetic clip: a textured head that turns, nods and opens its jaw, with points without error."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from selftrack.adapt.frames.clip import Clip, ClipConfig, Pixels
from selftrack.adapt.frames.split import split_rows
from selftrack.adapt.learning.trainer import AdaptConfig
from selftrack.decoders.head.model import load_head
from selftrack.decoders.mesh.rasterizer import interpolate, rasterize
from selftrack.tracker.geometry.crop import apply, face_similarity, inter_ocular, warp
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.network.i2znet import I2ZConfig, I2ZNet, to_tensor
from selftrack.tracker.network.weights import load_network
from selftrack.tracker.refinement.flow import View

SIZE = (160, 160)
COUNT = 24


class Truth(NamedTuple):
    """Codes z (T,128) and poses (T,6) in the image."""

    z: Tensor
    pose: Tensor


@pytest.fixture(scope="session")
def quick() -> AdaptConfig:
    """Settings of an adaptation of six small steps."""
    return AdaptConfig(steps=6, groups=2, texels=200, texture=64, refresh=3, evaluate=3)


@pytest.fixture(scope="session")
def network() -> I2ZNet:
    """The bundled network; nobody may change it."""
    return load_network()


@pytest.fixture(scope="session")
def with_streams(network: I2ZNet) -> I2ZNet:
    """A network with streams. It says what the linear part of the bundled one says, for the rest is untrained."""
    torch.manual_seed(0)
    config = replace(I2ZConfig.load("i2znet_small"), decoder=network.config.decoder)
    other = I2ZNet(config).eval().requires_grad_(False)
    other.heads.linear.load_state_dict(network.heads.linear.state_dict())
    for name, value in network.heads.coordinates.named_buffers():
        setattr(other.heads.coordinates, name, value.clone())
    return other


@pytest.fixture(scope="session")
def truth() -> Truth:
    """24 frames of the mean head."""
    head = load_head()
    phase = torch.linspace(0, 2 * torch.pi, COUNT)
    z = torch.zeros(COUNT, 128)
    z[:, 60 + head.expression_names.index("jawOpen")] = 0.3 * (1 - phase.cos())
    pose = torch.tensor([6.1, 0, 0, 0, 80, 75]).repeat(COUNT, 1)
    pose[:, 1], pose[:, 2] = 0.1 * phase.sin(), 0.2 * phase.cos()
    return Truth(z, pose)


@pytest.fixture(scope="session")
def clip(network: I2ZNet, truth: Truth) -> Clip:
    """Those frames, drawn, and what adaptation keeps of them."""
    head = load_head()
    vertices = project(head.geometry(truth.z), truth.pose)
    points = head.landmarks478(vertices)[..., :2]
    pixels, pictures, transforms, placed = Pixels(), [], [], []
    for mesh, at in zip(vertices, points.numpy(), strict=True):
        frame = _render(mesh)
        pixels.add(frame, at, float(inter_ocular(at)), ClipConfig())
        transforms.append(face_similarity(at))
        pictures.append(warp(frame, transforms[-1]))
        placed.append(apply(transforms[-1], at))
    pixels.close()
    images = to_tensor(torch.from_numpy(np.stack(pictures)))
    with torch.no_grad():
        at = torch.from_numpy(np.stack(placed)).float()
        compressed = network.compressed(images, at, network.perceive(images))
    return Clip(
        rows=np.arange(COUNT),
        times=np.arange(COUNT) / 30,
        shot=np.zeros(COUNT, int),
        points=points,
        iod=torch.from_numpy(inter_ocular(points.numpy())),
        transform=torch.from_numpy(np.stack(transforms)).float(),
        views=[View.of(*seen) for seen in zip(pictures, transforms, points.numpy(), strict=True)],
        levels=compressed,
        pixels=pixels,
        size=SIZE[::-1],
        total=COUNT,
        split=split_rows(COUNT, 1 / 30),
    )


def _render(vertices: Tensor) -> np.ndarray:
    """(H,W,3) uint8 head in its mean texture on grey."""
    head = load_head()
    fragments = rasterize(vertices[None], head.faces, SIZE)
    uvs = interpolate(head.uvs, head.uv_faces, fragments)
    colour = torch.nn.functional.grid_sample(head.mean_texture[None], 2 * uvs - 1, align_corners=False)[0]
    covered = fragments.face_index[0] >= 0
    return (255 * torch.where(covered, colour, 0.5)).byte().permute(1, 2, 0).numpy()
