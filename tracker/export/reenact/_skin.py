"""The texture of a photo's head: what the photo shows, and of eyes, teeth and mouth also what it does not."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from selftrack.decoders.base import Decoder
from selftrack.decoders.landmarks import BROWS, EYE_CONTOURS, LEFT_IRIS, RIGHT_IRIS
from selftrack.decoders.mesh.rasterizer import interpolate, rasterize
from selftrack.decoders.mesh.unwrap import confidence, sample, scatter, surface, texel_map
from selftrack.tracker.results.texture import EYES, INNER, SKIN, TEETH, match, texels_of

_SHADE = {"eye_left": 0.85, "eye_right": 0.85, "teeth_upper": 0.75, "teeth_lower": 0.7, "tongue": 0.9, "mouth": 0.6}
"""Share of the skin's light that falls on what is behind lids and lips, open."""
SIDE = 1024
"""Of the texture in texels."""
_LEAST = 0.2  # cosine of the incident angle below which a texel is not read
_RASTER = 768  # pixels of the z-buffer: a quarter of a millimetre each, as fine as the edges of the lids
_RIM = 0.0012  # metres from lids and lips, within which a photo shows lashes and shadow
_WIDTH = 0.0004  # metres, of a ring around the middle of an iris, of which each has a colour of its own
_LEAST_WHITE = 0.65  # of its lightest channel, which the darkest one of a tooth has
_WHITE = 0.0085  # metres from the middle of an iris, beyond which all is as white as there: the corners lie in shadow
_CLEAR, _AROUND = 0.004, 0.014  # metres from lids and brows, between which lies the skin that lids are like
_SPREAD = 0.006  # metres over which it is averaged
_FEW = 30  # texels of a ring that are seen at least


def photo_texture(head: Decoder, image: np.ndarray, vertices: np.ndarray) -> Tensor:
    """Unwrap a photo (H,W,3) uint8 that shows the head with vertices (V,3) in its pixels.

    What is hidden of an eye is as what is seen at the same distance from its middle, and else as the mean head in the
    colours of the photo.

    Returns:
        (3,T,T), RGB in 0..1.
    """
    shown = torch.from_numpy(vertices)[None]
    generic = functional.interpolate(head.mean_texture[None], (SIDE, SIDE), mode="bilinear", antialias=True)[0]
    every = texel_map(head, SIDE, torch.ones(1, 1, dtype=torch.bool))
    weights = confidence(shown, head.faces, every, image.shape[:2], _LEAST, _RASTER)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    observed = scatter(sample(pixels, surface(shown, every)[..., :2]), every)[0]
    seen = scatter(weights[None], every)[0, 0] > 0
    of_part = {name: texels_of(head, (name,), SIDE) for name in head.part_names}
    skin, eyes, teeth, inner = (sum(of_part[name] for name in parts) > 0 for parts in (SKIN, EYES, TEETH, INNER))
    filled = match(generic, observed, seen & skin & ~(eyes | teeth | inner), skin)
    for name, share in _SHADE.items():
        filled = torch.where(of_part[name], share * filled, filled)
    distance, size = _from_middle(head), _texel_size(head)
    filled = torch.where(eyes, _ringed(filled, observed, distance, eyes & (_within(seen & eyes, size) == 1)), filled)
    filled = torch.where(teeth, _white(filled, observed, teeth, seen & teeth)[:, None, None], filled)
    keep = torch.where(eyes, _within(seen & eyes, size), (seen & skin).float())
    return filled + keep * (observed - filled)


def plain_skin(head: Decoder, image: np.ndarray, vertices: Tensor) -> np.ndarray:
    """Draw the skin of lids in a photo (H,W,3) uint8 as the skin around the eyes is, without lashes, brows and shadow.

    `vertices` (V,3) are the head's in the photo. Returns the photo (H,W,3) so, a copy.
    """
    edges = head.landmarks478.subset(tuple(p for part in (*EYE_CONTOURS, *BROWS) for p in part))(head.mean[None])[0]
    distance = torch.cdist(head.mean, edges).amin(1)
    around = ((distance > _CLEAR) & (distance < _AROUND) & head.skin_vertices).float()
    scale = float((vertices[:, 1].amax() - vertices[:, 1].amin()) / (head.mean[:, 1].amax() - head.mean[:, 1].amin()))
    seen = rasterize(vertices[None], head.faces, image.shape[:2])
    weight = (interpolate(around[:, None], head.faces, seen)[0, ..., 0] * (seen.face_index[0] >= 0)).numpy()
    weight *= (image.mean(2) / 255) ** 2  # lids bulge into the light; lashes, shadow and hair do not count

    def blurred(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values, (0, 0), _SPREAD * scale)

    share = blurred(weight)[..., None]
    mean = blurred(image * weight[..., None]) / np.maximum(share, 1e-6)
    return np.where(share > 1e-3, np.rint(mean).clip(0, 255), image).astype(np.uint8)


def _white(filled: Tensor, observed: Tensor, teeth: Tensor, seen: Tensor) -> Tensor:
    """The colour (3,) of teeth: of those that are observed (3,T,T), if enough are seen (T,T), else of `filled`."""
    light, dark = observed.amax(0), observed.amin(0)
    white = seen & (dark > _LEAST_WHITE * light)
    if white.sum() < _FEW:
        return filled[:, teeth].mean(1)
    return observed[:, white & (light >= light[white].median())].mean(1)


def _within(mask: Tensor, size: float) -> Tensor:
    """How far inside of a mask (T,T) its texels of a size in metres lie, 0..1: 1 from `_RIM` on."""
    distance = cv2.distanceTransform(mask.numpy().astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    return torch.from_numpy(distance * size / _RIM).clamp(max=1)


def _texel_size(head: Decoder) -> float:
    """The side of an eye's texel in metres, of the mean head."""
    eyes = torch.isin(head.face_parts, torch.tensor([head.part_names.index(name) for name in EYES]))
    a, b, c = head.mean[head.faces[eyes]].unbind(1)
    u, v, w = head.uvs[head.uv_faces[eyes]].unbind(1)
    areas = torch.linalg.cross(b - a, c - a).norm(dim=1), ((v - u)[:, 0] * (w - u)[:, 1] - (v - u)[:, 1] * (w - u)[:, 0])
    return float((areas[0].sum() / areas[1].abs().sum()).sqrt()) / SIDE


def _from_middle(head: Decoder) -> Tensor:
    """Distance (T,T) in metres of the texels of both eyes from the middle of their iris, 0 elsewhere."""
    points = head.landmarks478(head.mean[None])[0]
    out = torch.zeros(SIDE, SIDE)
    for name, iris in zip(EYES, (LEFT_IRIS, RIGHT_IRIS), strict=True):
        texels = texel_map(head, SIDE, texels_of(head, (name,), SIDE))
        out += scatter((surface(head.mean[None], texels) - points[iris]).norm(dim=-1)[None], texels)[0, 0]
    return out


def _ringed(filled: Tensor, observed: Tensor, distance: Tensor, seen: Tensor) -> Tensor:
    """A texture (3,T,T) in which a colour depends on the distance (T,T) from an iris' middle alone: the median of what
    is observed (3,T,T) there where it is seen (T,T); `filled` (3,T,T) if too little is."""
    ring = (distance / _WIDTH).long()
    colours = {}
    for number in ring[seen].unique().tolist():
        of_ring = observed[:, seen & (ring == number)]
        if of_ring.shape[1] >= _FEW:
            colours[number] = of_ring.median(1).values.numpy()
    if not colours:
        return filled
    at = (distance.clamp(max=_WHITE) / _WIDTH - 0.5).numpy()
    profile = np.stack(list(colours.values()), 1)
    return torch.from_numpy(np.stack([np.interp(at, list(colours), one) for one in profile])).float()
