"""A rig of unknown units and origin, brought to the head frame by what the landmark detector sees of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from selftrack.decoders.head.model import Head
from selftrack.decoders.landmarks import OUTER_EYE_CORNERS
from selftrack.decoders.mesh.rasterizer import rasterize_numba
from selftrack.errors import UserError
from selftrack.synthetic import clip_render as draw
from selftrack.synthetic.rigs.rig import Rig
from selftrack.synthetic.rigs.surface import rig_surface
from selftrack.tracker.landmarks.detectors import AttentionMesh
from selftrack.tracker.landmarks.search import DetectConfig

_SIDE = 768  # of the picture, pixels
_BRIDGE = 168  # the detector's point between the eyes
_REACH = 0.14  # metres from there that are the face: a bust's shoulders are not
_LAMP = draw.Lights(
    directions=np.array([[0.0, -0.4, -0.9], [0.3, -0.1, -0.9]]),
    colours=np.full((2, 3), 0.4),
    sky=np.full(3, 0.5),
    ground=np.full(3, 0.5),
    gloss=0.0,
    sharpness=10.0,
)


def to_metres(rig: Rig, head: Head) -> Rig:
    """Return the rig with the outer corners of its eyes as far apart as those of `head`, and its origin there.

    Raises:
        UserError: no face is seen on it from the front.
    """
    points, depth = _seen(rig)
    mean = head.landmarks478(head.mean[None])[0].numpy().astype(float)
    a, b = OUTER_EYE_CORNERS
    scale = np.linalg.norm(mean[a] - mean[b]) / np.linalg.norm(points[a] - points[b])
    shift = mean[_BRIDGE] - scale * np.append(points[_BRIDGE], depth)
    neutral = scale * rig.neutral + shift
    near = np.linalg.norm(neutral - mean[_BRIDGE], axis=1) < _REACH
    return replace(
        rig,
        neutral=neutral,
        shapes=(scale * rig.shapes).astype(np.float32),
        skin=rig.skin & near[rig.faces].all(1),
    )


def _seen(rig: Rig) -> tuple[np.ndarray, float]:
    """The detector's points (478,2) and the depth of the bridge of the nose, in the rig's units, from the front."""
    low, high = rig.neutral.min(0), rig.neutral.max(0)
    scale = 0.9 * _SIDE / (high - low)[:2].max()
    origin = (low + high) / 2
    placed = (rig.neutral - origin) * scale
    flat = (placed + [_SIDE / 2, _SIDE / 2, 2 * _SIDE]).astype(np.float32)
    surface = rig_surface(rig)
    picture = np.full((_SIDE, _SIDE, 3), 0.3, np.float32)
    assert rig.texture is not None
    texture = (rig.texture.astype(np.float32) / 255) ** draw.GAMMA
    draw.draw_mesh(picture, flat, placed / _SIDE * 0.3, surface, texture, _LAMP)
    image = (255 * picture.clip(0, 1) ** (1 / draw.GAMMA)).astype(np.uint8)
    found = AttentionMesh(torch.device("cpu")).follower(DetectConfig()).detect_once(image)
    if found is None:
        raise UserError(
            "no face is seen on the rig from the front; turn it to look along +z, y up, with a picture of its skin"
        )
    depths = rasterize_numba(torch.from_numpy(flat[None]), torch.from_numpy(surface.faces), image.shape[:2]).depth[0]
    x, y = found.points[_BRIDGE].round().astype(int)
    at = depths[y, x].item() - 2 * _SIDE
    return (found.points - _SIDE / 2) / scale + origin[:2], float(at / scale + origin[2])
