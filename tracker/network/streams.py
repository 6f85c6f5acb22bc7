"""The frozen streams of I2ZNet, interchangeable: perceptual feature maps and 68 landmark heatmaps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from selftrack.decoders.landmarks import IBUG_68
from selftrack.errors import of_extra
from selftrack.tracker.geometry.crop import CROP_SIZE
from selftrack.tracker.landmarks.attention_mesh import SIZE as MESH_SIZE
from selftrack.tracker.landmarks.attention_mesh import LandmarkNet


class PerceptualStream(nn.Module):
    """Feature maps at several depths."""

    sizes: tuple[int, ...]
    """Sides of the maps, from the shallowest depth to the deepest."""
    channels: tuple[int, ...]
    """Their channels."""


class MeshTrunk(PerceptualStream):
    """The trunk of the attention mesh, which was trained on millions of real faces. Nothing is downloaded."""

    sizes = (24, 12, 6)

    def __init__(self, pretrained: bool = True) -> None:
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

    def __init__(self, pretrained: bool = True) -> None:
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

    def __init__(self, pretrained: bool = True) -> None:
        super().__init__()
        with of_extra("paper"):
            from torchvision.models import VGG16_Weights, vgg16

        self.features = vgg16(weights=VGG16_Weights.IMAGENET1K_V1 if pretrained else None).features
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None])
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None])

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


class PointHeatmaps(nn.Module):
    """The detector's points, drawn as the 68 heatmaps of 300-W."""

    index: Tensor

    def __init__(self, pretrained: bool = True) -> None:
        super().__init__()
        self.register_buffer("index", torch.tensor(IBUG_68), persistent=False)

    def forward(self, crops: Tensor | None, points: Tensor, sizes: list[int]) -> list[Tensor]:
        """points (B,L,2), crop frame -> heatmaps (B,68,s,s) for s in sizes."""
        chosen = points if points.shape[1] == len(IBUG_68) else points[:, self.index]
        return [gaussian_heatmaps(chosen, size) for size in sizes]


class Fan(nn.Module):
    """The paper's landmark stream: face-alignment's hourglass network, 68 heatmaps at 64x64, max-pooled."""

    def __init__(self, pretrained: bool = True) -> None:
        super().__init__()
        with of_extra("paper"):
            import face_alignment
            from face_alignment.models.fan import FAN
        if pretrained:
            aligner = face_alignment.FaceAlignment(face_alignment.LandmarksType.TWO_D, device="cpu")
            self.network = aligner.face_alignment_net
        else:
            self.network = FAN(4)

    @torch.no_grad()
    def forward(self, crops: Tensor, points: Tensor | None, sizes: list[int]) -> list[Tensor]:
        """crops (B,3,S,S), RGB in 0..1 -> heatmaps (B,68,s,s) for s in sizes, at most 64."""
        if crops.shape[-1] != CROP_SIZE:
            crops = functional.interpolate(crops, (CROP_SIZE, CROP_SIZE), mode="bilinear", antialias=True)
        out = self.network(crops)
        heat = out[-1] if isinstance(out, list | tuple) else out
        return [functional.adaptive_max_pool2d(heat, size) for size in sizes]


PERCEPTUAL_STREAMS: dict[str, Callable[[bool], PerceptualStream]] = {
    "mesh": MeshTrunk,
    "scratch": ScratchTrunk,
    "vgg16": Vgg16,
}
LANDMARK_STREAMS: dict[str, Callable[[bool], nn.Module]] = {"points": PointHeatmaps, "fan": Fan}
