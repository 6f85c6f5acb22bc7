"""Teeth of a head's mesh: where its rows are, when they meet, and what tells one tooth from the next.

The mesh has a row of teeth as one band without a tooth of its own, so that its looks come from places on the mean head.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from selftrack.decoders.base import Decoder
from selftrack.decoders.landmarks import INNER_LIPS

TEETH = ("teeth_upper", "teeth_lower")
"""The parts that are rows of teeth."""
OF_MOUTH = ("mouth", "tongue", *TEETH)
"""The parts that are seen between the lips alone."""
_MEET = {"teeth_upper": (0.0, 8.5, 15.1, 22.8, 29.9, 36.6), "teeth_lower": (0.0, 5.3, 11.2, 18.1, 25.2, 32.3)}
"""Millimetres along the row from its middle where teeth meet: usual widths (Nelson, Wheeler's Dental Anatomy)."""
_CROWN = {"teeth_upper": 0.0105, "teeth_lower": 0.009}
"""Metres of a front tooth's height."""
_GUM = (0.72, 0.40, 0.38)  # what gum beyond has of the teeth's colour
_GAP, _DARKER = 0.0005, 0.18  # metres of the line between two teeth, and how much darker it is
_BEHIND = {"teeth_upper": 1.0, "teeth_lower": 0.92}
"""Share of the light: lower teeth stand behind upper ones."""
_BETWEEN = 0.003  # metres by which gum goes farther between two teeth
_RIM = 0.2  # share of a row's height in which its edge lies
_DEEP = (0.017, 0.0121, 0.0106)
"""Metres behind the front teeth in which red, green and blue fall to 1/e: what gets there comes off red skin."""
_FRONT = 0.0025  # metres behind the foremost vertex of a row, in which its front teeth are
_SHUT, _APART = 0.0025, 0.007  # metres between the rows: so little is none, and from there on it is what it is
_SHOWN = 0.008  # metres of the lower teeth above the lip at most
_BITE = 0.0008  # metres by which shut teeth overlap at least


def has_teeth(head: Decoder) -> bool:
    """Tell whether a decoder has rows of teeth whose looks are not its own, as those of one person's model are."""
    return set(TEETH) <= set(head.part_names) and not head.paints_view


def row_of(head: Decoder, name: str) -> Tensor:
    """List the vertices of a row of teeth, of `TEETH`."""
    return head.faces[head.of_parts((name,))].unique()


def front_teeth(head: Decoder, name: str) -> tuple[Tensor, Tensor]:
    """List the vertices of the front teeth of a row: three of their edges, and three of where they end in the gum."""
    row = row_of(head, name)
    front = row[head.mean[row, 2] < head.mean[row, 2].min() + _FRONT]
    down = front[head.mean[front, 1].argsort()]
    return (down[-3:], down[:3]) if name == TEETH[0] else (down[:3], down[-3:])


class Teeth:
    """The rows of teeth of a head, in its faces and pictures: when they meet, and what they look like.

    What does not change from one face to the next is found once.
    """

    def __init__(self, head: Decoder) -> None:
        self._rows = {name: row_of(head, name) for name in TEETH}
        self._places = {name: head.mean[row] for name, row in self._rows.items()}
        self._edges, self._root = [front_teeth(head, name)[0] for name in TEETH], front_teeth(head, TEETH[0])[1]
        row = self._rows[TEETH[0]]
        self._last = row[head.mean[row, 2].topk(2).indices]
        self._lip = head.landmarks478.subset(INNER_LIPS[1:]) if head.has_landmarks else None
        rest = head.mean[None]
        self._length = self._ways(rest)[0].norm()
        self._behind = (self._between(rest) * self._axes(rest)[1]).sum()

    def closed(self, vertices: Tensor) -> Tensor:
        """Let the rows of heads (B,V,3), in any unit and turned in any way, meet where they nearly do.

        How far a jaw is open can be told to a few millimetres, and lips that are drawn apart look like one that is
        open. No lower lip is so far down that the gum below the teeth is seen.
        """
        (down, back), way = self._axes(vertices), self._between(vertices)
        gap, behind = ((way * axis).sum(1, keepdim=True) / axis.square().sum(1, keepdim=True) for axis in (down, back))
        too_far = behind - self._behind
        share = 1 - ((gap - _SHUT) / (_APART - _SHUT)).clamp(0, 1)
        shift = share * ((gap + _BITE).clamp(min=0) * down + too_far.clamp(min=0) * back)
        if self._lip is not None:
            lip = self._lip(vertices)[:, 0]
            shown = ((lip - vertices[:, self._edges[1]].mean(1) + shift) * down).sum(1, keepdim=True)
            shift = shift - (shown / down.square().sum(1, keepdim=True) - _SHOWN).clamp(min=0) * down
        moved = vertices.clone()
        moved[:, self._rows[TEETH[1]]] -= shift[:, None]
        return moved

    def apart(self, vertices: Tensor) -> Tensor:
        """Measure the gap (B,) in metres between the edges of the front teeth of heads (B,V,3) in any unit; negative
        where they overlap."""
        down, _ = self._axes(vertices)
        return (self._between(vertices) * down).sum(1) / down.square().sum(1)

    def light(self, name: str, points: Tensor, pixel: float = 0.0) -> Tensor:
        """Factors (N,3) of the colour of teeth at points (N,3) of the mean head, on the row of that name.

        They tell one tooth from the next and teeth from gum, and let the light fade towards the back. What is finer
        than a `pixel`, metres, is as faint as a pixel has it.
        """
        behind, along = self._behind_front(name, points), self._from_middle(name, points)
        meeting = points.new_tensor(_MEET[name]) / 1000
        from_gap = (along[:, None] - meeting).abs().amin(1)
        height = (points[:, 1] - _interpolated(points[:, 2], *self._edge(name)[:, [2, 1]].unbind(1))).abs()
        line = _GAP * (1 + 2 * (-height / 0.001).exp())  # corners of teeth are round
        width = line.clamp(min=pixel)
        light = _BEHIND[name] * (1 - _DARKER * line / width * (-(from_gap / width).square()).exp())
        reached = (-behind[:, None] / points.new_tensor(_DEEP)).exp()
        crown = _CROWN[name] - _BETWEEN * (-from_gap / 0.001).exp()
        gum = ((height - crown) / 0.001 + 0.5).clamp(0, 1)[:, None]
        return reached * light[:, None] * (1 - gum + gum * points.new_tensor(_GUM))

    def along(self, name: str, points: Tensor) -> Tensor:
        """How far points (N,3) of the mean head are along the row of that name from its middle, metres (N,): negative
        on the person's right."""
        return points[:, 0].sign() * self._from_middle(name, points)

    def unrolled(self, name: str, along: Tensor, height: Tensor) -> Tensor:
        """Place points (N,3) of the mean head on the front of a row that are so far along it (N,), see `along`, and at
        these heights (N,), metres: the inverse of `along` on the front alone, not within the row or on its back."""
        edge = self._edge(name)
        behind = _interpolated(along.abs(), self.along(name, edge).abs(), self._behind_front(name, edge))
        aside = (along.square() - behind.square()).clamp(min=0).sqrt()
        return torch.stack([along.sign() * aside, height, behind + self._places[name][:, 2].min()], 1)

    def _from_middle(self, name: str, points: Tensor) -> Tensor:
        """How far points (N,3) of the mean head are from the foremost one of a row, seen from above, metres (N,)."""
        return (points[:, 0].square() + self._behind_front(name, points).square()).sqrt()

    def _behind_front(self, name: str, points: Tensor) -> Tensor:
        """How far points (N,3) of the mean head lie behind the foremost ones of a row, metres (N,)."""
        return (points[:, 2] - self._places[name][:, 2].min()).clamp(min=0)

    def _edge(self, name: str) -> Tensor:
        """The vertices (N,3) of the mean head at the edge of a row."""
        row = self._places[name]
        low, high = row[:, 1].min(), row[:, 1].max()
        share = (row[:, 1] - low) / (high - low)
        return row[share > 1 - _RIM if name == TEETH[0] else share < _RIM]

    def _between(self, vertices: Tensor) -> Tensor:
        """The way (B,3) from the edges of the upper front teeth of heads (B,V,3) to those of the lower ones."""
        upper, lower = (vertices[:, edge].mean(1) for edge in self._edges)
        return lower - upper

    def _axes(self, vertices: Tensor) -> tuple[Tensor, Tensor]:
        """The ways (B,3) that are a metre down and back in the mouths of heads (B,V,3), in the unit of these."""
        down, back = self._ways(vertices)
        unit = down.norm(dim=1, keepdim=True) / self._length
        return functional.normalize(down, dim=1) * unit, functional.normalize(back, dim=1) * unit

    def _ways(self, vertices: Tensor) -> tuple[Tensor, Tensor]:
        """The ways (B,3) down a front tooth of heads (B,V,3), and back along the row."""
        down = vertices[:, self._edges[0]].mean(1) - vertices[:, self._root].mean(1)
        away = vertices[:, self._last].mean(1) - vertices[:, self._edges[0]].mean(1)
        return down, away - (away * down).sum(1, keepdim=True) / down.square().sum(1, keepdim=True) * down


def _interpolated(at: Tensor, known: Tensor, values: Tensor) -> Tensor:
    """Interpolate values (N,) that are known at N places, in any order, linearly at others (M,)."""
    order = known.argsort()
    return torch.from_numpy(np.interp(at.numpy(), known[order].numpy(), values[order].numpy())).to(at)
