"""`texture.png`: the face of a clip, unwrapped from a bounded sample of its frames.

Texels are in the decoder's UV layout, v down. What no frame of the sample shows comes from the decoder's mean
texture, in the colours of the clip.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from selftrack.decoders.base import Decoder
from selftrack.decoders.landmarks import INNER_LIPS, OUTER_EYE_CORNERS
from selftrack.decoders.mesh.unwrap import TexelMap, confidence, sample, scatter, surface, texel_map
from selftrack.tracker.geometry.pose import view_of
from selftrack.tracker.results.clip import read_rows
from selftrack.tracker.results.track_file import Track

NAME = "texture.png"
SKIN, INNER = ("head", "neck"), ("cavity_left", "cavity_right", "mouth", "tongue")
EYES, TEETH = ("eye_left", "eye_right"), ("teeth_upper", "teeth_lower")
SHADE = ((EYES, 0.85), (TEETH, 0.75), (INNER, 0.5))  # share of the skin's light that gets behind lids and lips
_BROWS = (105, 334)  # upper edges of the brows
_TEETH, _DEEP = 0.016, 0.012  # metres behind the lips to which all light reaches, and then 1/e of it as much deeper
_CHUNK = 16384  # texels whose median is taken at a time
_VARIANCE = 0.15**2  # of a channel in the source at which contrast and exposure tell the gain alike


@dataclass(frozen=True)
class TextureConfig:
    """Settings of the clip's texture."""

    size: int = 512
    """Side in texels."""
    frames: int = 48
    """At most so many frames are read, evenly spaced among those with a face."""
    least: float = 0.4
    """Cosine of the incident angle below which a texel is not read from a frame."""
    near_best: float = 0.8
    """A texel's frames count if their cosine is at least this share of its best one."""
    seam: float = 0.03
    """Width of the seam towards texels that no frame shows, as a share of the side."""
    reach: float = 0.15
    """How far hair that is seen above the face goes on over the scalp that no frame shows, as a share of the side."""


def write_texture(texture: Tensor, folder: Path) -> Path:
    """Write a texture (3,T,T), RGB in 0..1, as `texture.png` into a folder; it gets its name only when complete."""
    if texture.ndim != 3 or len(texture) != 3:
        raise ValueError(f"expected a texture (3, T, T), got {tuple(texture.shape)}")
    path = Path(folder) / NAME
    part = path.with_name("." + NAME)
    image = (255 * texture.clamp(0, 1)).round().byte().permute(1, 2, 0).numpy()
    part.write_bytes(cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes())
    part.replace(path)
    return path


def clip_texture(track: Track, config: TextureConfig | None = None) -> Tensor:
    """The clip's own texture (3,T,T), RGB in 0..1: per texel the median over the frames that show it well.

    Reads the clip again, in memory that does not grow with its length. Without a single face it is the decoder's
    mean texture.

    Raises:
        UserError: the clip is not where it was.
    """
    config, head = config or TextureConfig(), track.model()
    size = (config.size, config.size)
    generic = functional.interpolate(head.mean_texture[None], size, mode="bilinear", antialias=True)[0]
    wanted = head.skin_texels | texels_of(head, EYES + TEETH, len(head.skin_texels))
    texels = texel_map(head, config.size, wanted)
    rows = evenly(np.flatnonzero(track.ok), config.frames)
    if len(rows) == 0:
        return generic
    colours, weights = _observe(track, rows, texels, config)
    median, best = confident_median(colours, weights, config.near_best)
    observable, visible = (scatter(v[None, None].float(), texels)[0, 0] > 0 for v in (torch.ones_like(best), best))
    observed = scatter(median[None], texels)[0]
    skin = nearer(texels_of(head, SKIN, config.size), texels_of(head, EYES + TEETH + INNER, config.size))
    matched = match(generic, observed, visible & skin, skin)
    scalp, reach, seam = scalp_texels(head, config.size), config.reach * config.size, config.seam * config.size
    matched = carried_on(matched, observed, visible & skin, scalp, reach, seam)
    for parts, share in SHADE:
        matched = torch.where(texels_of(head, parts, config.size) & ~skin, share * matched, matched)
    matched = matched * _texels_light(head, config.size)
    return blend(observed, visible, observable, matched, seam)


def own_texture(track: Track, observed: Tensor) -> Callable[[int], Tensor] | None:
    """Give the texture that the decoder paints: frame -> texture (3,T,T), RGB in 0..1, of its code and view, in the
    colours of the clip, whose texture (3,T,T) `observed` is. None if the decoder's texture does not change."""
    model = track.model()
    if not model.paints_view:
        return None

    @torch.no_grad()
    def made(row: int) -> Tensor:
        z, pose = (torch.from_numpy(values[row : row + 1]) for values in (track.z, track.H_image))
        return model.colour(z, view_of(pose))[0]

    size = model.mean_texture.shape[-1]
    skin = _resized(model.skin_texels, size)
    visible = functional.interpolate(observed[None], (size, size), mode="bilinear", antialias=True)[0]
    rows = evenly(np.flatnonzero(track.ok), 8)
    mean = torch.stack([made(int(row)) for row in rows]).mean(0) if len(rows) else visible
    gain, bias = colour_match(mean[:, skin], visible[:, skin])
    return lambda row: (gain[..., None] * made(row) + bias[..., None]).clamp(0, 1)


def _resized(mask: Tensor, size: int) -> Tensor:
    """A mask (T,T) bool at another size, where it is all true."""
    return functional.interpolate(mask.float()[None, None], (size, size), mode="area")[0, 0] > 0.999


def texels_of(head: Decoder, parts: tuple[str, ...], size: int) -> Tensor:
    """Which texels (T,T) bool of a (size,size) texture lie on these parts of the head."""
    every = texel_map(head, size, torch.ones(1, 1, dtype=torch.bool))
    chosen = torch.tensor([i for i, name in enumerate(head.part_names) if name in parts])
    own = torch.zeros(len(head.mean), dtype=torch.bool)
    own[head.faces[torch.isin(head.face_parts, chosen)]] = True
    return scatter(own[every.corners].all(1).float()[None, None], every)[0, 0] > 0


def nearer(one: Tensor, other: Tensor) -> Tensor:
    """Which texels (T,T) bool lie nearer to those of `one` (T,T) bool than to those of `other`."""
    distances = [
        cv2.distanceTransform((~m).numpy().astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5) for m in (one, other)
    ]
    return torch.from_numpy(distances[0] < distances[1])


def evenly(rows: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the rows, evenly spaced, from the first to the last."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int))]


def _observe(track: Track, rows: np.ndarray, texels: TexelMap, config: TextureConfig) -> tuple[Tensor, Tensor]:
    """Colours (R,3,N) uint8 of the texels in R frames and their confidence (R,N) float16."""
    head, colours, weights = track.model(), [], []
    for frame in read_rows(track, set(rows.tolist())):
        vertices = torch.from_numpy(track.vertices(slice(frame.index, frame.index + 1)))
        image = torch.from_numpy(frame.image).permute(2, 0, 1)[None].float()
        colour = sample(image, surface(vertices, texels)[..., :2])
        weight = confidence(vertices, head.faces, texels, frame.image.shape[:2], config.least)
        colours.append(colour[0].round().byte())
        weights.append(weight[0].half())
    return torch.stack(colours), torch.stack(weights)


def confident_median(colours: Tensor, weights: Tensor, near_best: float) -> tuple[Tensor, Tensor]:
    """Median over frames whose confidence is at least `near_best` of the texel's best one.

    Args:
        colours: (R,3,N) uint8 of N texels in R frames.
        weights: (R,N) confidence, 0 where not visible.

    Returns:
        (3,N) float32 in 0..1, 0 where never visible, and the best confidence (N,).
    """
    if colours.ndim != 3 or weights.shape != (len(colours), colours.shape[2]):
        raise ValueError(f"expected colours (R, 3, N) and weights (R, N), got {colours.shape} and {weights.shape}")
    best = weights.amax(0)
    counts = (weights > 0) & (weights >= near_best * best)
    pieces = [
        torch.where(c[:, None], v.float() / 255, torch.nan).nanmedian(0).values
        for v, c in zip(colours.split(_CHUNK, 2), counts.split(_CHUNK, 1), strict=True)
    ]
    return torch.cat(pieces, -1).nan_to_num(0), best


def colour_match(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Gain and bias (3,1) per channel that take colours `source` (3,N) to `target` (3,N), by least squares.

    The gain is drawn to that of a mere change of exposure (no bias) as far as the source has little contrast.
    """
    mean, wanted = source.mean(1, keepdim=True), target.mean(1, keepdim=True)
    covariance = ((source - mean) * (target - wanted)).mean(1, keepdim=True)
    variance = (source - mean).square().mean(1, keepdim=True)
    exposure = wanted / mean.clamp(min=1e-3)
    gain = (covariance + _VARIANCE * exposure) / (variance + _VARIANCE)
    return gain, wanted - gain * mean


def match(generic: Tensor, observed: Tensor, known: Tensor, skin: Tensor) -> Tensor:
    """The generic texture (3,T,T) in the colours of the observed one, 0..1.

    Args:
        generic, observed: (3,T,T), RGB in 0..1.
        known: (T,T) bool, texels of skin where `observed` holds; none: the generic texture is returned.
        skin: (T,T) bool. Eyes, teeth and mouth take the skin's exposure only, alike in all channels: what a
            camera makes of skin also tells the skin's own tone, which their white does not share.
    """
    if not known.any():
        return generic
    source, target = generic[:, known], observed[:, known]
    gain, bias = colour_match(source, target)
    matched = gain[..., None] * generic + bias[..., None]
    return torch.where(skin, matched, target.mean() / source.mean() * generic).clamp(0, 1)


def carried_on(matched: Tensor, observed: Tensor, known: Tensor, scalp: Tensor, reach: float, seam: float) -> Tensor:
    """The texture (3,T,T) `matched` with the hair that is seen at the border of the observed skin carried on over the
    scalp, so that it has no edge there; it fades out over `reach` texels.

    Args:
        matched, observed: (3,T,T), RGB in 0..1.
        known: (T,T) bool, texels of skin where `observed` holds. What it has within `seam` texels of its border is left
            out: there a frame shows the background where the head is narrower than the mesh.
        scalp: (T,T) in 0..1, how much of the hair a texel takes.
    """
    from scipy.ndimage import distance_transform_edt  # here, since it takes a while and most tracks need no texture

    solid = cv2.copyMakeBorder(known.numpy().astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    sure = torch.from_numpy(cv2.distanceTransform(solid, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1] > seam)
    if not sure.any():
        return matched
    distance, nearest = distance_transform_edt(~sure.numpy(), return_indices=True)
    weight = sure.float()[None]
    seen = _smooth((observed - matched) * weight, seam / 2) / _smooth(weight, seam / 2).clamp(min=1e-3)
    hair = _smooth(seen[:, nearest[0], nearest[1]], seam)
    fading = torch.from_numpy(np.exp(-((distance / reach) ** 2))).float()
    return (matched + scalp * fading * hair).clamp(0, 1)


def light_in_mouth(head: Decoder, points: Tensor) -> Tensor:
    """The share (N,) of the light that gets to points (N,3) of the mean head inside its mouth; all of it where the
    decoder does not know where the lips are."""
    if not head.has_landmarks:
        return torch.ones(len(points))
    lips = head.landmarks478(head.mean[None])[0, list(INNER_LIPS), 2].mean()
    return (-(points[:, 2] - lips - _TEETH).clamp(min=0) / _DEEP).exp()


def _texels_light(head: Decoder, size: int) -> Tensor:
    """The same of the texels (T,T) of mouth and tongue; 1 elsewhere."""
    inside = texel_map(head, size, texels_of(head, ("mouth", "tongue"), size))
    light = light_in_mouth(head, surface(head.mean[None], inside)[0])
    return 1 - scatter((1 - light)[None, None], inside)[0, 0]


def scalp_texels(head: Decoder, size: int) -> Tensor:
    """Where hair may grow, (T,T) in 0..1 of a (size,size) texture: 1 above the brows, 0 below the eyes and off the
    head, by the mean head's landmarks; all 0 where the decoder has none."""
    if not head.has_landmarks:
        return torch.zeros(size, size)
    every = texel_map(head, size, texels_of(head, ("head",), size))
    points = head.landmarks478(head.mean[None])[0, :, 1]
    eyes, brows = (points[list(several)].mean() for several in (OUTER_EYE_CORNERS, _BROWS))
    height = surface(head.mean[None], every)[0, :, 1]
    return scatter(((eyes - height) / (eyes - brows)).clamp(0, 1)[None, None], every)[0, 0]


def _smooth(values: Tensor, sigma: float) -> Tensor:
    """Values (C,T,T) under a Gaussian of `sigma` texels."""
    layers = [cv2.GaussianBlur(layer, (0, 0), sigma) for layer in values.numpy()]
    return torch.from_numpy(np.stack(layers))


def blend(observed: Tensor, visible: Tensor, observable: Tensor, matched: Tensor, seam: float) -> Tensor:
    """A texture (3,T,T) that is `observed` where `visible` (T,T) and `matched` elsewhere.

    The observed fades out over `seam` texels towards those that are observable (T,T) and not visible; the border
    towards all others is no seam.
    """
    solid = (visible | ~observable).numpy().astype(np.uint8)
    if solid.all():
        return torch.where(visible, observed, matched)
    distance = torch.from_numpy(cv2.distanceTransform(solid, cv2.DIST_L2, cv2.DIST_MASK_5))
    alpha = (distance / max(seam, 1e-6)).clamp(max=1) * visible
    return matched + alpha * (observed - matched)
