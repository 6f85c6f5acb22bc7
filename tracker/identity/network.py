"""The network of the face descriptor: dlib's face recognition model (King 2017), a ResNet of 29 convolutions.

It was trained to put pictures of one person within a distance of 0.6, and those of others farther apart. The weights
are those of @vladmandic/face-api, in its eight bits; `scripts/build_descriptor.py` converts them.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

ASSET = Path(__file__).parents[1] / "assets" / "face_descriptor.safetensors"
SIDE = 150
"""Pixels along a side of the picture that it reads."""
LENGTH = 128
"""Numbers of a descriptor."""
BLOCKS = {
    "conv32_1": (32, 32),
    "conv32_2": (32, 32),
    "conv32_3": (32, 32),
    "conv64_down": (32, 64),
    "conv64_1": (64, 64),
    "conv64_2": (64, 64),
    "conv64_3": (64, 64),
    "conv128_down": (64, 128),
    "conv128_1": (128, 128),
    "conv128_2": (128, 128),
    "conv256_down": (128, 256),
    "conv256_1": (256, 256),
    "conv256_2": (256, 256),
    "conv256_down_out": (256, 256),
}
"""Channels into and out of each residual block; those with "down" in their names halve the picture."""
_MEAN = (122.782, 117.001, 104.298)
"""Of red, green and blue in the pictures that it was trained on, grey levels."""


class Residual(nn.Module):
    """Two convolutions of 3x3 beside a shortcut."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        # dlib pads the picture in convolutions that keep its size only
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1 if stride == 1 else 0)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """x (B,C,h,w) -> (B,D,h',w'), with h' = h or h // 2."""
        out = self.conv2(functional.relu(self.conv1(x)))
        if self.stride > 1:  # the shortcut is averaged; what one of the two lacks in size or channels is zero
            x = functional.avg_pool2d(x, 2, 2)
            x = functional.pad(x, (0, 0, 0, 0, 0, out.shape[1] - x.shape[1]))
            out = functional.pad(out, (0, x.shape[3] - out.shape[3], 0, x.shape[2] - out.shape[2]))
        return functional.relu(x + out)


class DescriptorNet(nn.Module):
    """Aligned pictures of faces -> descriptors."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv32_down = nn.Conv2d(3, 32, 7, 2)
        self.blocks = nn.ModuleDict({k: Residual(*sizes, 2 if "down" in k else 1) for k, sizes in BLOCKS.items()})
        self.fc = nn.Linear(256, LENGTH, bias=False)
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)

    @classmethod
    def load(cls, path: Path = ASSET) -> DescriptorNet:
        """Read the bundled weights: filters in eight bits with their range, and what each channel is scaled by."""
        stored = load_file(path)
        weights = {name: _filters(stored, name) for name in stored if name.endswith(".weight")}
        weights |= {name: value for name, value in stored.items() if name.endswith(".bias")}
        net = cls()
        net.load_state_dict(weights)
        return net.requires_grad_(False).eval()

    def forward(self, pictures: Tensor) -> Tensor:
        """pictures (B,3,150,150) RGB, 0..255 -> (B,128)."""
        x = (pictures - self.mean) / 255
        x = functional.max_pool2d(functional.relu(self.conv32_down(x)), 3, 2)
        for block in self.blocks.values():
            x = block(x)
        return self.fc(x.mean((2, 3)))


def _filters(stored: dict[str, Tensor], name: str) -> Tensor:
    """The weights of a layer, its channels scaled."""
    filters, scale = stored[name].float(), stored.get(f"{name}.gain")
    if f"{name}.range" in stored:
        step, least = stored[f"{name}.range"]
        filters = filters * step + least
    return filters if scale is None else filters * scale[:, None, None, None]
