"""What a photo tells of the looks of eyes, teeth and mouth, also where it does not show them, and of lids."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from selftrack.decoders.base import Decoder
from selftrack.decoders.landmarks import BROWS, EYE_CONTOURS, LEFT_IRIS, RIGHT_IRIS
from selftrack.decoders.mesh.rasterizer import interpolate, rasterize
from selftrack.decoders.mesh.unwrap import TexelMap, confidence, sample, scatter, surface, texel_map
from selftrack.decoders.teeth import TEETH
from selftrack.tracker.results.texture import EYES, SKIN, between_lips, mouth_opening, tooth_colour

_SHADE = {"tongue": 0.9, "mouth": 0.6}
"""Share of the skin's light that falls on what is behind lips that are wide apart."""
SIDE = 1024
"""Of the texture in texels."""
_LEAST = 0.2  # cosine of the incident angle below which a texel is not read
_RASTER = 768  # pixels of the z-buffer: a quarter of a millimetre each, as fine as the edges of the lids
_RIM = 0.0012  # metres from lids, within which a photo shows lashes and shadow
_WIDTH = 0.0004  # metres, of a ring around the middle of an iris, of which each has a colour of its own
_WHITE = 0.0075  # metres from the middle of an iris, beyond which all is as white as there: the corners lie in shadow
_IRIS, _UNLIKE = 0.0068, 0.2  # metres from its middle, beyond which an eye is white; how far a colour may be off that
_FEW = 30  # texels of a ring that are seen at least
_SEAM = 0.0008  # metres around an opening, in which teeth may still be seen
_CLEAR, _AROUND = 0.004, 0.02  # metres from lids and brows, between which lies the skin that lids are like
_SPREAD = 0.008  # metres over which it is averaged


def photo_texture(head: Decoder, image: np.ndarray, vertices: np.ndarray, points: np.ndarray) -> Tensor:
    """Make the texture of eyes, teeth and mouth by a photo (H,W,3) uint8, in whose pixels the vertices (V,3) and a
    detector's points (L,2) are.

    An eye is as the photo shows it; what is hidden of it is as what is seen at the same distance from its middle. Teeth
    have the colour of those that the photo shows, or of ivory in the light on the skin; tongue and mouth are the mean
    head's in that light.

    Returns:
        (3,T,T), RGB in 0..1; the mean head's where the skin is.
    """
    texels = texel_map(head, SIDE, torch.ones(1, 1, dtype=torch.bool))
    observed, seen = _observed(head, image, vertices, texels)
    filled, part = _generic(head, texels)
    skin, eyes, teeth = (_of(part, head, names) for names in (SKIN, EYES, TEETH))
    lit = seen & skin if (seen & skin).any() else skin
    light = observed[:, lit].mean() / filled[:, lit].mean() if seen.any() else 1.0
    for name, share in _SHADE.items():
        filled[:, _of(part, head, (name,))] *= share * light
    inside = between_lips(image, mouth_opening(image.shape[:2], points))
    filled[:, teeth] = tooth_colour(inside, observed[:, lit])[:, None]
    clear = _within(seen & eyes, texels, _texel_size(head))
    away = _from_middle(head, texels, part)
    filled[:, eyes] = _ringed(filled, observed, away, eyes & (clear == 1))[:, eyes]
    off = (observed - filled).norm(dim=0) * (away > _IRIS)
    keep = clear * eyes * (-(off / _UNLIKE).square()).exp()  # where the mesh's eye is wider open, the photo has skin
    return _padded((filled + keep * (observed - filled)).clamp(0, 1), texels)


def _observed(head: Decoder, image: np.ndarray, vertices: np.ndarray, texels: TexelMap) -> tuple[Tensor, Tensor]:
    """The colours (3,N) of texels in a photo, 0..1, and which of them (N,) bool it shows."""
    shown = torch.from_numpy(vertices)[None]
    seen = confidence(shown, head.faces, texels, image.shape[:2], _LEAST, _RASTER)[0] > 0
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    return sample(pixels, surface(shown, texels)[..., :2])[0], seen


def _generic(head: Decoder, texels: TexelMap) -> tuple[Tensor, Tensor]:
    """The colours (3,N) of texels on the mean head, 0..1, and the number (N,) of the part that each is of."""
    generic = functional.interpolate(head.mean_texture[None], (SIDE, SIDE), mode="bilinear", antialias=True)[0]
    part_of = torch.zeros(len(head.mean), dtype=torch.long)
    part_of[head.faces] = head.face_parts.long()[:, None]
    return generic[:, texels.texel[:, 0], texels.texel[:, 1]], part_of[texels.corners[:, 0]]


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
    weight *= (image.mean(2) / 255) ** 4  # lids bulge into the light; lashes, shadow and hair do not count

    def blurred(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values, (0, 0), _SPREAD * scale)

    share = blurred(weight)[..., None]
    mean = blurred(image * weight[..., None]) / np.maximum(share, 1e-6)
    return np.where(share > 1e-3, np.rint(mean).clip(0, 255), image).astype(np.uint8)


def without_opening(image: np.ndarray, points: np.ndarray, unit: float) -> np.ndarray:
    """Draw lips over what is between them in a photo (H,W,3) uint8 with a detector's points (L,2) in it, where a metre
    of the head has `unit` pixels. Returns a copy, or the photo itself where its lips are shut."""
    from scipy.ndimage import distance_transform_edt

    opening = mouth_opening(image.shape[:2], points).astype(np.uint8)
    x, y, width, height = cv2.boundingRect(opening)
    if not width:
        return image
    edge = int(np.ceil(_SEAM * unit))
    box = slice(max(y - 2 * edge, 0), y + height + 2 * edge), slice(max(x - 2 * edge, 0), x + width + 2 * edge)
    wide = cv2.dilate(opening[box], cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * edge + 1, 2 * edge + 1))) > 0
    rows, columns = distance_transform_edt(wide, return_distances=False, return_indices=True)
    out = image.copy()
    out[box] = np.where(wide[..., None], cv2.blur(image[box][rows, columns], (edge, edge)), image[box])
    return out


def _padded(colours: Tensor, texels: TexelMap) -> Tensor:
    """A texture (3,T,T) of colours (3,N) of texels; all others are like the nearest: edges are blended."""
    from scipy.ndimage import distance_transform_edt

    texture = scatter(colours[None], texels)[0]
    empty = scatter(torch.ones(1, 1, colours.shape[1]), texels)[0, 0].numpy() == 0
    rows, columns = distance_transform_edt(empty, return_distances=False, return_indices=True)
    return texture[:, torch.from_numpy(rows).long(), torch.from_numpy(columns).long()]


def _of(part: Tensor, head: Decoder, names: tuple[str, ...]) -> Tensor:
    """Which texels (N,), of these parts (N,), are of the parts of these names."""
    return torch.tensor([name in names for name in head.part_names])[part]


def _within(mask: Tensor, texels: TexelMap, size: float) -> Tensor:
    """How far inside of a mask (N,) its texels of a size in metres lie, 0..1: 1 from `_RIM` on."""
    picture = scatter(mask[None, None].float(), texels)[0, 0].numpy().astype(np.uint8)
    distance = torch.from_numpy(cv2.distanceTransform(picture, cv2.DIST_L2, cv2.DIST_MASK_5))
    return (distance[texels.texel[:, 0], texels.texel[:, 1]] * size / _RIM).clamp(max=1)


def _texel_size(head: Decoder) -> float:
    """The side of an eye's texel in metres, of the mean head."""
    eyes = head.of_parts(EYES)
    a, b, c = head.mean[head.faces[eyes]].unbind(1)
    u, v, w = functional.pad(head.uvs[head.uv_faces[eyes]], (0, 1)).unbind(1)
    areas = (torch.linalg.cross(y - x, z - x).norm(dim=1).sum() for x, y, z in ((a, b, c), (u, v, w)))
    return float((next(areas) / next(areas)).sqrt()) / SIDE


def _from_middle(head: Decoder, texels: TexelMap, part: Tensor) -> Tensor:
    """Distance (N,) in metres of texels, of these parts (N,), from the middle of the iris of the eye on their side."""
    points, left = head.landmarks478(head.mean[None])[0], _of(part, head, EYES[:1])
    middle = torch.where(left[:, None], points[LEFT_IRIS], points[RIGHT_IRIS])
    return (surface(head.mean[None], texels)[0] - middle).norm(dim=-1)


def _ringed(filled: Tensor, observed: Tensor, distance: Tensor, seen: Tensor) -> Tensor:
    """Colours (3,N) that depend on the distance (N,) from an iris' middle alone: the median of what is observed (3,N)
    there where it is seen (N,); `filled` (3,N) if too little is."""
    ring, colours = (distance / _WIDTH).long(), {}
    for number in ring[seen].unique().tolist():
        of_ring = observed[:, seen & (ring == number)]
        if of_ring.shape[1] >= _FEW:
            colours[number] = of_ring.median(1).values.numpy()
    if not colours:
        return filled
    at = (distance.clamp(max=_WHITE) / _WIDTH - 0.5).numpy()
    profile = np.stack(list(colours.values()), 1)
    return torch.from_numpy(np.stack([np.interp(at, list(colours), one) for one in profile])).float()
