"""Teeth of the mesh where a person has them, and with the looks of teeth."""

from __future__ import annotations

import torch
from torch import Tensor

from selftrack.decoders.base import Decoder
from selftrack.tracker.results.texture import TEETH

OF_MOUTH = ("mouth", "tongue", *TEETH)
_SEAT = {"teeth_upper": (0.0, 0.003, -0.006), "teeth_lower": (0.0, 0.005, -0.005)}
"""Metres by which the mesh's teeth are moved: they lie deep behind the lips, and the upper ones end where shut lips
meet, while a person's go 2 to 3 mm below that."""
_MEET = {"teeth_upper": (0.0, 8.5, 15.1, 22.8, 29.9, 36.6), "teeth_lower": (0.0, 5.3, 11.2, 18.1, 25.2, 32.3)}
"""Millimetres along the row from its middle where teeth meet: usual widths (Nelson, Wheeler's Dental Anatomy)."""
_CROWN, _GUM = 0.0105, (0.72, 0.40, 0.38)  # metres of a tooth's height; what gum beyond has of the teeth's colour
_GAP, _DARKER = 0.0005, 0.18  # metres of the line between two teeth, and how much darker it is
_DEEP = 0.02  # metres behind the front teeth in which the light falls to 1/e


def seated(head: Decoder, geometry: Tensor) -> Tensor:
    """Move the teeth of heads (B,V,3), metres, head frame, to where a person has them."""
    offset = torch.zeros_like(head.mean)
    for name in TEETH:
        offset[teeth(head, name)] = torch.tensor(_SEAT[name])
    return geometry + offset


def biting_edge(head: Decoder, geometry: Tensor) -> Tensor:
    """The place (3,) of a head (V,3), metres, where the edges of its upper front teeth are."""
    row = teeth(head, "teeth_upper")
    return geometry[row[head.mean[row, 1].topk(3).indices]].mean(0)


def tooth_light(head: Decoder, name: str, points: Tensor) -> Tensor:
    """Factors (N,3) of the colour of teeth at points (N,3) of the mean head, on the row of that name.

    They tell one tooth from the next and teeth from gum, and let the light fade towards the back.
    """
    row = head.mean[teeth(head, name)]
    edge, front = (row[:, 1].max() if name == "teeth_upper" else row[:, 1].min()), row[:, 2].min()
    along = (points[:, 0].square() + (points[:, 2] - front).clamp(min=0).square()).sqrt()
    meeting = points.new_tensor(_MEET[name]) / 1000
    from_gap = (along[:, None] - meeting).abs().amin(1)
    height = (points[:, 1] - edge).abs()
    width = _GAP * (1 + 2 * (-height / 0.001).exp())  # corners of teeth are round
    light = (1 - _DARKER * (-(from_gap / width).square()).exp()) * (-(points[:, 2] - front).clamp(min=0) / _DEEP).exp()
    gum = ((height - _CROWN) / 0.001 + 0.5).clamp(0, 1)[:, None]
    return light[:, None] * (1 - gum + gum * points.new_tensor(_GUM))


def teeth(head: Decoder, name: str) -> Tensor:
    """List the vertices of a row of teeth."""
    return head.faces[head.face_parts == head.part_names.index(name)].unique()
