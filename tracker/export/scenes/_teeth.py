"""Teeth as scene formats show them: a picture of their own, since the texture has too few texels for one tooth, and a
lower row that meets the upper one."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from selftrack.decoders.base import Decoder
from selftrack.decoders.teeth import TEETH, Teeth, has_teeth, row_of

_SIZE = (512, 128)  # width and height in texels of a row: a quarter and a sixth of a millimetre each
_QUALITY = 92
_RAISED = 0.003
"""Metres by which the lower row of a shut jaw stands higher: of a clenched grin, the jaw is tracked as a little open,
and shapes that add up cannot let rows meet as those do that are drawn (`Teeth.closed`)."""


def layout(head: Decoder) -> tuple[Tensor, Tensor]:
    """Lay out a head's texels (N,2), v down, and its triangles (F,3) into these: those of teeth in their picture, all
    others as the decoder has them."""
    if not has_teeth(head):
        return head.uvs, head.uv_faces
    rows, corners = Teeth(head), head.uv_faces.clone()
    places = torch.zeros(len(head.mean), 2)
    for number, name in enumerate(TEETH):
        row = row_of(head, name)
        points, (low, high) = head.mean[row], _limits(rows, head, name)
        share = (torch.stack([rows.along(name, points), points[:, 1]], 1) - low) / (high - low)
        places[row] = (share + torch.tensor([0, number])) / torch.tensor([1, len(TEETH)])
        own = head.of_parts((name,))
        corners[own] = head.faces[own] + len(head.uvs)
    return torch.cat([head.uvs, places]), corners


def teeth_picture(head: Decoder, texture: bytes) -> bytes | None:
    """Draw the teeth of a head as a JPEG, v down, the upper row above, in their colour in a texture, a picture file.

    None for a head without rows of teeth, or whose texture has their looks.
    """
    if not has_teeth(head):
        return None
    rows, (width, height) = Teeth(head), _SIZE
    colour = _colour(head, texture)
    shares = torch.stack(torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy"), -1) + 0.5
    drawn = []
    for name in TEETH:
        low, high = _limits(rows, head, name)
        along, down = (low + shares / torch.tensor(_SIZE) * (high - low)).flatten(0, 1).unbind(1)
        light = rows.light(name, rows.unrolled(name, along, down))
        drawn.append(light.view(height, width, 3).flip(-1).numpy() * colour)
    picture = np.rint(np.concatenate(drawn)).astype(np.uint8)
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()


def raise_lower(head: Decoder, neutral: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Let the lower teeth of a neutral head (V,3) stand higher, and as high as before where the jaw is open, by what
    its expressions add (E,V,3): both on copies."""
    if not has_teeth(head) or not head.has_arkit_curves:
        return neutral, offsets
    neutral, offsets, row = neutral.clone(), offsets.clone(), row_of(head, TEETH[1])
    neutral[row, 1] -= _RAISED
    offsets[head.expression_names.index("jawOpen"), row, 1] += _RAISED
    return neutral, offsets


def _colour(head: Decoder, texture: bytes) -> np.ndarray:
    """The colour (3,) of teeth in a texture, a picture file: BGR, 0..255. Raises ValueError where it is no picture."""
    image = cv2.imdecode(np.frombuffer(texture, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError("expected a texture in a picture file")
    middles = head.uvs[head.uv_faces[head.of_parts(TEETH)]].mean(1).numpy()
    columns, rows = (middles * image.shape[1::-1]).astype(int).T
    return image[rows, columns].mean(0)


def _limits(rows: Teeth, head: Decoder, name: str) -> tuple[Tensor, Tensor]:
    """Least and most (2,) of what its picture shows of a row: along it, and in height, metres."""
    points = head.mean[row_of(head, name)]
    places = torch.stack([rows.along(name, points), points[:, 1]], 1)
    return places.amin(0), places.amax(0)
