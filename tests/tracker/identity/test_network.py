"""The descriptor's network: against another implementation of all of it, by its stored weights, and by closed forms."""

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from selftrack.tracker.identity.network import ASSET, BLOCKS, DescriptorNet, Residual

STORED = load_file(ASSET)


def windows(x: np.ndarray, size: int, stride: int) -> np.ndarray:
    """Patches (h,w,C,size,size) of a picture (H,W,C)."""
    return np.lib.stride_tricks.sliding_window_view(x, (size, size), (0, 1))[::stride, ::stride]


def convolved(x: np.ndarray, name: str, stride: int = 1, pad: int = 0) -> np.ndarray:
    """A picture (H,W,C) through a stored convolution: filters of eight bits, then a scale and a shift a channel."""
    filters = STORED[f"{name}.weight"].astype(float)
    if f"{name}.weight.range" in STORED:
        step, least = STORED[f"{name}.weight.range"].astype(float)
        filters = step * filters + least
    x = np.pad(x, ((pad, pad), (pad, pad), (0, 0)))
    out = np.tensordot(windows(x, filters.shape[-1], stride), filters, ([2, 3, 4], [1, 2, 3]))
    return out * STORED[f"{name}.weight.gain"] + STORED[f"{name}.bias"]


def described(picture: np.ndarray) -> np.ndarray:
    """The descriptor of a picture (150,150,3), in NumPy and double precision."""
    x = (picture - np.array([122.782, 117.001, 104.298])) / 255
    x = np.maximum(convolved(x, "conv32_down", 2), 0)
    x = windows(x, 3, 2).max((3, 4))
    for block in BLOCKS:
        down = "down" in block
        inner = np.maximum(convolved(x, f"blocks.{block}.conv1", *((2, 0) if down else (1, 1))), 0)
        inner = convolved(inner, f"blocks.{block}.conv2", 1, 1)
        if down:
            mean = windows(x, 2, 2).mean((3, 4))
            x = np.zeros((*(max(a, b) for a, b in zip(mean.shape[:2], inner.shape[:2], strict=True)), inner.shape[2]))
            x[: mean.shape[0], : mean.shape[1], : mean.shape[2]] = mean
            x[: inner.shape[0], : inner.shape[1]] += inner
        else:
            x = x + inner
        x = np.maximum(x, 0)
    step, least = STORED["fc.weight.range"].astype(float)
    return (step * STORED["fc.weight"] + least) @ x.mean((0, 1))


def test_the_network_equals_its_slow_twin() -> None:
    pictures = np.random.default_rng(1).integers(0, 256, (2, 150, 150, 3)).astype(np.float32)
    pictures[1] = pictures[1].mean() + 0.2 * (pictures[1] - pictures[1].mean())
    said = DescriptorNet.load()(torch.from_numpy(pictures).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(said, [described(picture.astype(float)) for picture in pictures], atol=1e-5)


def test_blocks_that_add_nothing() -> None:
    """A block is then its shortcut: the picture itself, or its mean over 2x2 with channels and a border of zeros."""
    x = torch.rand(1, 4, 8, 8) - 0.3
    same, half = (Residual(4, width, stride).requires_grad_(False) for width, stride in ((4, 1), (6, 2)))
    for parameter in (*same.parameters(), *half.parameters()):
        parameter.zero_()
    torch.testing.assert_close(same(x), x.clamp(min=0))
    out = half(x)
    assert out.shape == (1, 6, 4, 4)
    means = x.reshape(1, 4, 4, 2, 4, 2).mean((3, 5)).clamp(min=0)
    torch.testing.assert_close(out[:, :4], means)
    assert not out[:, 4:].any()
    half.conv2.bias.fill_(1.0)  # the convolutions give 3x3 here
    assert (half(x)[:, 4:] == torch.nn.functional.pad(torch.ones(3, 3), (0, 1, 0, 1))).all()


def test_the_asset_is_small() -> None:
    assert ASSET.stat().st_size < 6.5e6
    assert sum(value.size for name, value in STORED.items() if name.endswith("weight")) == pytest.approx(
        5.5e6, rel=0.05
    )
