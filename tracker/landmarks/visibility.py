"""What of a face is seen: a small head on the landmark detector's own features tells where hands, masks, glasses, hair
or the frame's edge hide it. It was trained on drawn occluders by `selftrack.training.visibility.train`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

ASSET = Path(__file__).parents[1] / "assets" / "visibility.safetensors"
CHANNELS = (64, 128, 128)
"""Of the detector's feature maps that it reads, which have 24, 12 and 6 pixels."""
SIDE = 24
"""Pixels along a side of what it says."""


class VisibilityHead(nn.Module):
    """Feature maps of the landmark detector's trunk -> how likely each place of its crop is hidden."""

    mean: Tensor
    spread: Tensor

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.reads = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in CHANNELS)
        self.mix = nn.Conv2d(width, width, 3, padding=1)
        self.tell = nn.Conv2d(width, 1, 1)
        self.register_buffer("mean", torch.zeros(sum(CHANNELS)))
        self.register_buffer("spread", torch.ones(sum(CHANNELS)))

    @classmethod
    def load(cls, path: Path = ASSET) -> VisibilityHead:
        """Read the bundled weights."""
        head = cls()
        head.load_state_dict({name: value.float() for name, value in load_file(path).items()})
        return head.requires_grad_(False).eval()

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """maps (B,C,s,s) with s = 24, 12, 6 -> logits (B,24,24) of what hides the face there; outside of it they mean
        nothing."""
        total: Tensor | None = None
        for read, x, mean, spread in zip(
            self.reads, maps, self.mean.split(CHANNELS), self.spread.split(CHANNELS), strict=True
        ):
            x = read((x - mean[:, None, None]) / spread[:, None, None])
            if x.shape[-1] != SIDE:
                x = functional.interpolate(x, (SIDE, SIDE), mode="bilinear")
            total = x if total is None else total + x
        assert total is not None
        return self.tell(functional.relu(self.mix(functional.relu(total))))[:, 0]


def visible_at(hidden: np.ndarray, points: np.ndarray, side: int) -> np.ndarray:
    """How visible points (L,2), pixels of a crop of a side, are by a map (24,24) of what is hidden: (L,) in 0..1."""
    scale = len(hidden) / side
    at = ((points + 0.5) * scale - 0.5).clip(0, len(hidden) - 1).astype(np.float32)
    return 1 - cv2.remap(hidden.astype(np.float32), at[:, :1], at[:, 1:], cv2.INTER_LINEAR)[:, 0]
