"""The subject of a stream, pooled over its frames as they come."""

from __future__ import annotations

import torch
from torch import Tensor

from selftrack.tracker.network.i2znet import Features, I2ZNet


class SubjectPool:
    """What the network says of a stream's subject: `Heads.pool` over all frames so far, in constant memory."""

    def __init__(self, network: I2ZNet) -> None:
        self._network = network
        self._largest: Tensor | None = None  # of the logits, by which the exponentials are kept in range
        self._weight: Tensor
        self._sum: Tensor

    def __call__(self, features: Features) -> Tensor:
        """Add the features of B frames; returns the subject (112,) of all frames so far."""
        heads = self._network.heads
        own, logits = heads.regress(features).subject.double(), heads.logits(features).double()
        largest = logits.amax(0)
        if self._largest is None:
            self._largest, self._weight, self._sum = largest, torch.zeros_like(largest), torch.zeros_like(largest)
        both = torch.maximum(self._largest, largest)
        fade, share = (self._largest - both).exp(), (logits - both).exp()
        self._largest = both
        self._weight = self._weight * fade + share.sum(0)
        self._sum = self._sum * fade + (share * own).sum(0)
        return (self._sum / self._weight).float()
