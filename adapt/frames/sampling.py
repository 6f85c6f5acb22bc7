"""What a step of adaptation is computed on: random frames, pairs of them, texels and vertices."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from selftrack.adapt.frames.clip import Clip

if TYPE_CHECKING:
    from selftrack.adapt.learning.trainer import AdaptConfig


class Batch(NamedTuple):
    """What one step compares."""

    rows: Tensor
    """(B,) positions in the clip of the frames, ascending."""
    pairs: Tensor
    """(P,2) of them, the later and the earlier."""
    texels: Tensor
    """(n,) indices of texels of the skin."""
    vertices: Tensor
    """(m,) indices of vertices of the head."""


def lags(offsets: tuple[int, ...], step: float) -> tuple[int, ...]:
    """Find how many frames `step` seconds apart lie back as far as `offsets` say: up to 2 they are neighbours, by which
    trembling is seen; larger ones are thirtieths of a second."""
    return tuple(dict.fromkeys(k if k <= 2 else max(round(k / 30 / step), 2) for k in offsets))


def frame_groups(clip: Clip, rows: np.ndarray, offsets: tuple[int, ...]) -> np.ndarray:
    """List, for each frame of `rows` (T,), itself and those of `rows` that lie `offsets` (K,) frames back in its shot.

    Returns:
        (A,K) positions in the clip, -1 where there is none; frames without any partner are left out.
    """
    place = np.full(int(clip.rows[-1]) + 1, -1)
    place[clip.rows[rows]] = rows
    back = clip.rows[rows][:, None] - np.array(offsets)
    member = np.where(back >= 0, place[back.clip(0)], -1)
    member[clip.shot[member] != clip.shot[rows][:, None]] = -1
    kept: np.ndarray = member[(member >= 0).sum(1) > 1]
    return kept


class Sampler:
    """Draws batches, the same ones for the same seed."""

    def __init__(
        self, groups: np.ndarray, texels: int, vertices: int, config: AdaptConfig, device: torch.device
    ) -> None:
        """Draw from `groups` (A,K) of `frame_groups`, and from so many texels and vertices."""
        self.groups = torch.from_numpy(groups).to(device)
        self.generator = torch.Generator().manual_seed(config.seed)
        self._texels, self._vertices, self._config, self._device = texels, vertices, config, device

    def __call__(self) -> Batch:
        """Draw the next batch: all pairs of a few groups."""
        config = self._config
        chosen = self.groups[torch.randint(len(self.groups), (config.groups,), generator=self.generator)]
        a, b = torch.triu_indices(chosen.shape[1], chosen.shape[1], 1)
        pairs = torch.stack([chosen[:, a].flatten(), chosen[:, b].flatten()], 1)
        rows, pairs = pairs[(pairs >= 0).all(1)].unique(return_inverse=True)
        return Batch(rows, pairs, self._some(self._texels, config.texels), self._some(self._vertices, config.vertices))

    def _some(self, among: int, count: int) -> Tensor:
        return torch.randint(among, (count,), generator=self.generator).to(self._device)
