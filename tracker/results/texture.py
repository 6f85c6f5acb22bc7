"""`texture.png`: the face of a clip, unwrapped from a bounded sample of its frames.

Texels are in the decoder's UV layout, v down. What no frame of the sample shows comes from the decoder's mean
texture, in the colours of the clip.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from selftrack.decoders.base import Decoder
from selftrack.decoders.landmarks import EYE_CONTOURS, IBUG_68, INNER_LIP_CONTOUR, INNER_LIPS, OUTER_EYE_CORNERS
from selftrack.decoders.mesh.normals import vertex_normals
from selftrack.decoders.mesh.rasterizer import rasterize_numba
from selftrack.decoders.mesh.unwrap import TexelMap, confidence, sample, scatter, surface, texel_map
from selftrack.decoders.teeth import TEETH
from selftrack.tracker.geometry.pose import view_of
from selftrack.tracker.progress import Steps, counted, no_steps
from selftrack.tracker.results.clip import read_rows
from selftrack.tracker.results.track_file import Track

NAME = "texture.png"
SKIN, INNER = ("head", "neck"), ("cavity_left", "cavity_right", "mouth", "tongue")
EYES = ("eye_left", "eye_right")
SHADE = ((EYES, 0.85), (INNER, 0.5))  # share of the skin's light that gets behind lids and lips
_INNER_68 = (78, 82, 13, 312, 308, 317, 14, 87)  # the lips' inner edges, of the points that 300-W has
_FACING = 0.004  # metres that count as much as turning by a radian
_EDGE = 0.012  # metres around the edges of lids and lips, over which skin goes on to these
_SOURCES = 48  # texels whose mean they take
_RIMS = (*(point for eye in EYE_CONTOURS for point in eye), *INNER_LIP_CONTOUR)
_BROWS = (105, 334)  # upper edges of the brows
_TEETH, _DEEP = 0.016, 0.012  # metres behind the lips to which all light reaches, and then 1/e of it as much deeper
_CHUNK = 16384  # texels whose median is taken at a time
_LEAST_WHITE = 0.65  # of its lightest channel, which the darkest one of a tooth has at least,
_WHITER = 0.3  # or so far from the skin's share to white
_DIM = 0.6  # of the skin's brightness, which a tooth between the lips has at least
_HOLLOW = (0.2, 1.3)  # share of the skin's light in an open mouth, at least and at most
_SOFT = 0.02  # of an opening's width, within which a picture mixes it with the lips
_SLIT = 0.08  # area between the lips over their width squared, from which on they are open
_FEW, _MOST = 30, 2000  # pixels of teeth by which their colour is told, and of a frame that are looked at
_IVORY = (1.22, 1.085, 0.97)  # colour of teeth in white light, as a share of the skin's brightness
_USUAL, _APART = (1.28, 0.92, 0.8), 0.15  # colour of skin there over its mean, and how people differ in its logarithm
_GREY = 0.03  # the logarithm of skin's colour over its mean in a picture without colours, at most
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


def clip_texture(track: Track, config: TextureConfig | None = None, progress: Steps = no_steps) -> Tensor:
    """The clip's own texture (3,T,T), RGB in 0..1: per texel the median over the frames that show it well.

    Reads the clip again, in memory that does not grow with its length. Without a single face it is the decoder's
    mean texture.

    Raises:
        UserError: the clip is not where it was.
    """
    config, head = config or TextureConfig(), track.model()
    size = (config.size, config.size)
    generic = functional.interpolate(head.mean_texture[None], size, mode="bilinear", antialias=True)[0]
    wanted = head.skin_texels | texels_of(head, EYES, len(head.skin_texels))
    texels = texel_map(head, config.size, wanted)
    rows = evenly(np.flatnonzero(track.ok), config.frames)
    if len(rows) == 0:
        return generic
    seen = _observe(track, rows, texels, config, progress)
    median, best = confident_median(seen.colours, seen.weights, config.near_best)
    observable, visible, parted = (
        scatter(v[None, None].float(), texels)[0, 0] > 0 for v in (torch.ones_like(best), best, seen.parted)
    )
    observed, visible = to_edges(head, scatter(median[None], texels)[0], visible, parted | ~observable)
    skin = nearer(texels_of(head, SKIN, config.size), texels_of(head, EYES + TEETH + INNER, config.size))
    matched = match(generic, observed, visible & skin, skin)
    scalp, reach, seam = scalp_texels(head, config.size), config.reach * config.size, config.seam * config.size
    matched = carried_on(matched, observed, visible & skin, scalp, reach, seam)
    known = visible & skin
    lit = observed[:, known] if known.any() else generic[:, skin]
    matched = _inner_parts(head, matched, seen.inside, lit)
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
    flat = torch.cat([head.uvs * size - 0.5, torch.zeros_like(head.uvs[:, :1])], -1)[None]
    index = rasterize_numba(flat.float(), head.uv_faces, (size, size)).face_index[0]
    return (index >= 0) & head.of_parts(parts)[index.clamp(min=0)]


def nearer(one: Tensor, other: Tensor) -> Tensor:
    """Which texels (T,T) bool lie nearer to those of `one` (T,T) bool than to those of `other`."""
    distances = [
        cv2.distanceTransform((~m).numpy().astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5) for m in (one, other)
    ]
    return torch.from_numpy(distances[0] < distances[1])


def evenly(rows: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the rows, evenly spaced, from the first to the last."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int))]


class _Observed(NamedTuple):
    """What R frames show."""

    colours: Tensor
    """(R,3,N) uint8 of N texels."""
    weights: Tensor
    """(R,N) float16, their confidence, 0 where another part of the face is seen there."""
    parted: Tensor
    """(N,) bool, which of them lie between the lips of some frame."""
    inside: Tensor
    """(3,M) in 0..1, colours from between the lips."""


def _observe(track: Track, rows: np.ndarray, texels: TexelMap, config: TextureConfig, progress: Steps) -> _Observed:
    """Look at texels in some frames of a clip. No lip takes its colour from where these show teeth."""
    head, colours, weights, inside = track.model(), [], [], []
    parted = torch.zeros(len(texels.texel), dtype=torch.bool)
    for frame in counted(read_rows(track, set(rows.tolist())), len(rows), progress):
        vertices = torch.from_numpy(track.vertices(slice(frame.index, frame.index + 1)))
        places, size = surface(vertices, texels)[..., :2], frame.image.shape[:2]
        opening = mouth_opening(size, track.landmarks[frame.index])
        x, y = places[0].round().long().unbind(1)
        between = torch.from_numpy(_widened(opening))[y.clamp(0, size[0] - 1), x.clamp(0, size[1] - 1)]
        image = torch.from_numpy(frame.image)
        colours.append(sample(image.permute(2, 0, 1)[None].float(), places)[0].round().byte())
        weights.append((confidence(vertices, head.faces, texels, size, config.least)[0] * ~between).half())
        inside.append(between_lips(frame.image, opening))
        parted |= between
    return _Observed(torch.stack(colours), torch.stack(weights), parted, torch.cat(inside, 1))


def to_edges(head: Decoder, observed: Tensor, visible: Tensor, lost: Tensor) -> tuple[Tensor, Tensor]:
    """The observed texture (3,T,T) and where it is visible (T,T) bool, carried on to the edges of lids and lips.

    Skin that is `lost` (T,T) bool, since no frame is read there or all show teeth before it, takes the colour of
    the nearest visible skin that faces the same way: across the mouth lies the other lip.
    """
    from scipy.spatial import cKDTree  # here, since it takes a while and most tracks need no texture

    if not head.has_landmarks:
        return observed, visible
    size = len(visible)
    skin = texel_map(head, size, texels_of(head, ("head",), size))
    rims = head.landmarks478.subset(_RIMS)(head.mean[None])[0]
    places = surface(torch.cat([head.mean, _FACING * vertex_normals(head.mean[None], head.faces)[0]], 1)[None], skin)[0]
    near, (rows, columns) = torch.cdist(places[:, :3], rims).amin(1) < _EDGE, skin.texel.T
    known, wanted = visible[rows, columns] & near, lost[rows, columns] & ~visible[rows, columns] & near
    if not known.any():
        return observed, visible
    count = range(1, 1 + min(_SOURCES, int(known.sum())))
    _, nearest = cKDTree(places[known]).query(places[wanted], count)
    at, source = skin.texel[wanted].T, skin.texel[known][nearest].permute(2, 0, 1)
    filled, seen = observed.clone(), visible.clone()
    filled[:, at[0], at[1]], seen[at[0], at[1]] = observed[:, source[0], source[1]].mean(-1), True
    return filled, seen


def mouth_opening(size: tuple[int, int], points: np.ndarray) -> np.ndarray:
    """Which pixels (H,W) bool lie between the lips' inner edges, of a detector's points (L,2); none where these are
    shut or lost."""
    lips = INNER_LIP_CONTOUR if len(points) > len(IBUG_68) else [IBUG_68.index(p) for p in _INNER_68]
    edges, mask = points[list(lips)], np.zeros(size, np.uint8)
    if np.isfinite(edges).all() and _open(edges):
        cv2.fillPoly(mask, [edges.round().astype(np.int32)], 1)
    return mask > 0


def _open(edges: np.ndarray) -> bool:
    """Whether lips with these inner edges (N,2) are apart: detectors leave a slit between those that touch."""
    side = np.ptp(edges, axis=0).max()
    return bool(cv2.contourArea(edges.astype(np.float32)) > _SLIT * side**2)


def _widened(opening: np.ndarray) -> np.ndarray:
    """An opening (H,W) bool with its edge, in which a picture mixes lips and what is between them."""
    columns = np.flatnonzero(opening.any(0))
    if not len(columns):
        return opening
    around = 2 * max(1, round(_SOFT * float(np.ptp(columns)))) + 1
    return cv2.dilate(opening.astype(np.uint8), np.ones((around, around), np.uint8)) > 0


def between_lips(image: np.ndarray, opening: np.ndarray) -> Tensor:
    """Take colours (3,M) in 0..1 from an opening (H,W) bool of an image (H,W,3) uint8, evenly; at most `_MOST`."""
    colours = image[opening]
    return torch.from_numpy(colours[:: len(colours) // _MOST + 1]).T.float() / 255


def are_teeth(inside: Tensor, skin: Tensor) -> Tensor:
    """Which of the colours (3,M) from between the lips are of teeth, (M,) bool: bright, and less red than the skin, of
    colours (3,N)."""
    least = min(_LEAST_WHITE, _WHITER + (1 - _WHITER) * float((skin.amin(0) / skin.amax(0).clamp(min=1e-3)).mean()))
    return (inside.amin(0) > least * inside.amax(0)) & (inside.mean(0) > _DIM * skin.mean())


def tooth_colour(inside: Tensor, skin: Tensor) -> Tensor:
    """Find the colour (3,) of teeth: of those among colours (3,M) from between the lips, in the tint of the whitest. If
    these are few, it is ivory in the light on the skin, by colours (3,N) of it, but no lighter than what is seen there.
    All RGB in 0..1."""
    teeth = inside[:, are_teeth(inside, skin)]
    if teeth.shape[1] >= _FEW:
        white, light = teeth.amin(0), teeth.mean(0).quantile(3 / 4)
        colour = teeth[:, white >= white.quantile(2 / 3)].mean(1)
        return colour * (light / colour.mean()).clamp(max=1)
    tone = skin.kthvalue(1 + 3 * (skin.shape[1] - 1) // 4, dim=1).values  # the upper quartile
    ivory = (tone.mean() * tone.new_tensor(_IVORY) * _colour_of_light(tone)).clamp(0, 1)
    if inside.shape[1] < _FEW:
        return ivory
    return ivory * (inside.mean(0).quantile(0.9) / ivory.mean()).clamp(max=1)


def _colour_of_light(tone: Tensor) -> Tensor:
    """The colour (3,) of the light on skin of that colour (3,), over its mean: what of the skin is more unusual than
    people are is the light's."""
    own = (tone / tone.mean().clamp(min=1e-3)).clamp(min=1e-3).log()
    if own.square().sum() < _GREY**2:  # a picture without colours has grey teeth
        return tone.new_tensor(_IVORY).mean() / tone.new_tensor(_IVORY)
    unusual = own - tone.new_tensor(_USUAL).log()
    size = unusual.square().sum()
    return (unusual * size / (size + _APART**2)).exp()


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


def _inner_parts(head: Decoder, matched: Tensor, inside: Tensor, skin: Tensor) -> Tensor:
    """The texture (3,T,T) with teeth, mouth and tongue as light as in colours (3,M) from between the lips, beside
    colours (3,N) of the skin, and less light in sockets and throat. What lies beside a part's texels is like them:
    pictures of its edge mix both."""
    from scipy.ndimage import distance_transform_edt

    size = matched.shape[-1]
    factor = torch.ones(size, size)
    for parts, share in SHADE:
        factor[texels_of(head, parts, size)] = share
    deep = texel_map(head, size, texels_of(head, ("mouth", "tongue"), size))
    light, (rows, columns) = light_in_mouth(head, surface(head.mean[None], deep)[0]), deep.texel.T
    mouth = matched[:, rows, columns].mean() * light.mean()
    hollow = inside[:, ~are_teeth(inside, skin)].mean(0)
    if len(hollow) >= _FEW:
        factor[rows, columns] = float((hollow.median() / mouth).clamp(*_HOLLOW))
    factor[rows, columns] *= light
    own = texels_of(head, TEETH, size)
    empty = ~texels_of(head, head.part_names, size).numpy()
    nearest = tuple(distance_transform_edt(empty, return_distances=False, return_indices=True))
    lit = factor[nearest] * matched
    return torch.where(own[nearest], tooth_colour(inside, skin)[:, None, None], lit) if own.any() else lit


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
