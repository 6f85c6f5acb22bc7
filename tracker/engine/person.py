"""Who is seen in a stream, in torch: what `SubjectPool` pools for the network and `PersonFit` finds for the mesh, with
all memory in one vector.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from selftrack.tracker.engine.linear import inverse, spread, unit_matrix
from selftrack.tracker.engine.refine import POSE, Guess, N, RefineStep, beside
from selftrack.tracker.refinement import controls
from selftrack.tracker.refinement.refiner import LEAST_SECONDS, Refiner
from selftrack.tracker.refinement.subject import EVERY, INDEPENDENT, PEOPLE, SEALED, TURN

_AT_BOUND = 1e-6


class PersonState(NamedTuple):
    """What is known of the person from the frames so far, all 0 at the start. K numbers are the identity, S the
    subject."""

    largest: Tensor
    """(S,) of the logits."""
    weight: Tensor
    """(S,) sum of the frames' weights."""
    total: Tensor
    """(S,) weighted sum of their estimates."""
    frames: Tensor
    """(1,) frames that the identity was read from."""
    age: Tensor
    """(1,) seconds since the last of them."""
    normal: Tensor
    """(K,K) mean of their normal equations."""
    right: Tensor
    """(K,)"""

    @classmethod
    def sizes(cls, identity: int, subject: int) -> tuple[int, ...]:
        """How many numbers each field has."""
        return 3 * (subject,) + (1, 1, identity**2, identity)

    @classmethod
    def unpack(cls, state: Tensor, identity: int, subject: int) -> PersonState:
        """Read the vector."""
        largest, weight, total, frames, age, normal, right = state.split(cls.sizes(identity, subject))
        return cls(largest, weight, total, frames, age, normal.reshape(identity, identity), right)

    def pack(self) -> Tensor:
        """Write the vector."""
        return torch.cat([field.reshape(-1) for field in self])


def pooled(state: PersonState, own: Tensor, logits: Tensor) -> tuple[Tensor, PersonState]:
    """The subject (S,) of all frames so far, with one more that has an estimate and logits (S,); see `SubjectPool`."""
    both = torch.maximum(state.largest, logits)
    fade, share = (state.largest - both).exp(), (logits - both).exp()
    weight, total = state.weight * fade + share, state.total * fade + share * own
    return total / weight, state._replace(largest=both, weight=weight, total=total)


class PersonStep(nn.Module):
    """The identity by the frames so far, near what the network says; see `PersonFit`."""

    shapes: Tensor
    ahead: Tensor
    parts: Tensor

    def __init__(self, refiner: Refiner) -> None:
        """Of the refiner of a network that has not been adapted."""
        super().__init__()
        self.refine = RefineStep(refiner.turned_within(TURN))
        self.size = len(refiner.people[0])
        ahead = np.zeros(N + POSE)
        ahead[controls.UP] = refiner.config.ahead**-2.0
        self.gap, parts = refiner.parted()
        shapes = refiner.personal[:, : self.size].reshape(3, -1)
        for name, value in {"shapes": shapes, "ahead": ahead, "parts": parts[: self.size]}.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(value)).float(), persistent=False)

    def solve(self, state: PersonState, network: Tensor) -> Tensor:
        """The identity (K,) near what the network says of it (K,)."""
        one, count = unit_matrix(self.size, network), state.frames.clamp(max=INDEPENDENT)
        spread_out = inverse(count * state.normal + PEOPLE * one)
        free = spread_out @ (count * state.right + PEOPLE * network)
        # lips that touch are one more row, so stiff that it is added to the answer (Sherman and Morrison 1950)
        moves = spread_out @ self.parts
        return free - moves * ((self.parts * free).sum() + self.gap) / (SEALED**2 + (self.parts * moves).sum())

    def add(
        self,
        state: PersonState,
        points: Tensor,
        network: Guess,
        found: Guess,
        face: Tensor,
        identity: Tensor,
        lens: Tensor,
        seconds: Tensor,
    ) -> PersonState:
        """Add a frame, as it was fitted with an identity (K,), if the last one is long enough ago."""
        refine = self.refine
        matrix, right = refine.equations(points, found, face, lens, self.shapes)
        own = slice(N + POSE)
        anchor = refine.anchor_of(network)
        prior = refine.precision + spread(self.ahead + anchor)
        pulled = refine.precision @ beside(0, refine.expected(network) - found.controls, POSE) - refine.cost
        pulled = (
            pulled + anchor * beside(N, network.pose - found.pose, 0) - self.ahead * beside(0, found.controls, POSE)
        )
        inside = (found.controls > refine.lower[:N] + _AT_BOUND) & (found.controls < refine.upper[:N] - _AT_BOUND)
        free = beside(0, inside.to(points), POSE, fill=1.0)
        inner = (matrix[own, own] + prior) * (free[:, None] * free) + spread(1 - free)
        across = matrix[N + POSE :, own] * free
        share = across @ inverse(inner)
        normal = matrix[N + POSE :, N + POSE :] - share @ across.T
        right = right[N + POSE :] - share @ (free * (right[own] + pulled)) + normal @ identity
        age = state.age + seconds.clamp(min=0)
        first = (state.frames == 0) | (seconds <= 0)
        added = (first | (age >= EVERY - LEAST_SECONDS)).to(points)
        frames = state.frames + added
        part = added / frames.clamp(min=1)
        return state._replace(
            frames=frames,
            age=age * (1 - added),
            normal=state.normal + part * (normal - state.normal),
            right=state.right + part * (right - state.right),
        )
