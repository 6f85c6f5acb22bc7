"""Draws a head's mesh into pictures: shaded in one colour, in a texture, or as a wireframe."""

import copy
from dataclasses import dataclass, field
from itertools import product
from typing import Self

import cv2
import numpy as np
import torch
from torch.nn import functional

from selftrack.decoders.base import Decoder
from selftrack.decoders.landmarks import CHIN, EARS, HAIRLINE, INNER_LIPS
from selftrack.decoders.mesh.normals import vertex_normals
from selftrack.decoders.mesh.rasterizer import Fragments, interpolate_numba, rasterize
from selftrack.decoders.mesh.shading import HEADLIGHT, lambert
from selftrack.decoders.teeth import OF_MOUTH, TEETH, Teeth, has_teeth
from selftrack.errors import UserError
from selftrack.tracker.results.regions import PARTS, POINTS_OF, doubtful
from selftrack.tracker.results.texture import TextureConfig, light_in_mouth
from selftrack.tracker.results.track_file import Track

MODES = ("split", "mesh", "wire", "points", "texture")
_EARLIER = {"shaded": "split", "textured": "texture"}  # modes of settings that earlier versions wrote
_FINE = 2  # samples of a pixel in each direction
_TURNED = (0.15, 0.4)  # cosines between which the textured mesh fades in
_FADE = 0.02  # metres over which the mesh fades out
_JAW_BULGE = 0.03  # metres by which the angle of the jaw lies behind the line from chin to ear
_WARNING = (1.0, 0.55, 0.1)  # RGB of a region that is not to be trusted
_NEAR, _FAR = 0.006, 0.014  # metres from a region's landmarks, within which it is coloured fully, and not at all
_DARK = 0.15  # share of the light that is left in a shut mouth
_ROOM = 0.006  # metres between the rows of teeth, from which all of that gets behind them
_OPEN = 0.12  # gap between the lips over the mouth's width from which its inside is lit as far as light reaches
MOUTH = (*INNER_LIPS, 0, 17, 61, 291)  # inner edges, outer edges and corners of the lips
_LINE, _SPACE = 1.0, 0.25  # width of a wire in pixels at most, and as a share of the usual edge


@dataclass(frozen=True)
class OverlayConfig:
    """Settings of the overlay."""

    mode: str = "split"
    """What is shown: "split", the frame and beside it the shaded mesh over it; or over the frame alone "mesh", the
    shaded mesh, "wire", its edges, "points", the detected landmarks and the mesh's, or "texture", the mesh in the
    clip's own colours."""
    max_height: int | None = None
    """Larger frames are shrunk to this many pixels; None for 540 in the split view and the clip's own size else."""
    opacity: float = 0.75
    """Of the shaded mesh and of its edges over the frame, 0..1."""
    colour: tuple[float, float, float] = (0.80, 0.82, 0.86)
    """Of the shaded mesh's skin, RGB in 0..1."""
    ambient: float = 0.3
    """Share of the light that comes from everywhere, shaded."""
    burn_in: bool = False
    """Whether frame number, time and confidence stand in the picture."""
    texture: TextureConfig = field(default_factory=TextureConfig)
    """The clip's own texture, of the mode of that name and of texture.png."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "mode", _EARLIER.get(self.mode, self.mode))
        if self.mode not in MODES:
            raise UserError(f'unknown overlay mode "{self.mode}": choose one of {", ".join(MODES)}')
        if self.max_height is not None and self.max_height < 2:
            raise UserError(f"the overlay's max_height must be 2 pixels or more; got {self.max_height}")


class MeshPainter:
    """Draws a head's mesh into pictures: skin in one colour, eyes, lips and teeth in their own, or all in a texture.

    In the mode "texture" the colours are those of `texture` (3,T,T), RGB in 0..1, which has the light in it; in the
    mode "wire" only the edges show, and those behind the surface do not. All other modes are shaded.
    The mesh fades out behind the ears, above the hairline and at the neck, so that the fit can be seen; all of it shows
    if the decoder does not know where its landmarks are. Where the lips part little, little light gets between them,
    and the deeper inside the mouth, the less.
    """

    def __init__(self, head: Decoder, config: OverlayConfig | None = None, texture: torch.Tensor | None = None) -> None:
        self.config = config or OverlayConfig()
        self.textured, self.wired = (self.config.mode == mode for mode in ("texture", "wire"))
        if self.textured and (texture is None or texture.ndim != 3):
            raise UserError(f"the mode texture needs a texture (3,T,T), got {getattr(texture, 'shape', None)}")
        self.head, self.faces, self.uvs, self.uv_faces = head, head.faces, head.uvs, head.uv_faces
        skin = torch.tensor(self.config.colour)[:, None, None]
        own = functional.interpolate(head.mean_texture[None], head.skin_texels.shape, mode="bilinear")[0]
        plain = torch.where(head.skin_texels, skin, own)
        self.texture = (texture if texture is not None and self.textured else plain)[None]
        self.weight, self.ears, self.mouth = torch.ones(len(head.mean)), None, None
        self.parts = torch.zeros(5, len(head.mean))
        if head.has_landmarks:
            points = head.landmarks478(head.mean[None])[0]
            self.parts = torch.stack([nearness(head.mean, points[list(POINTS_OF[part])]) for part in PARTS[:5]])
            self.weight = _fade(head.mean, points)
            self.ears, self.mouth = head.landmarks478.subset(EARS), head.landmarks478.subset(MOUTH)
        self.weight[head.faces[head.of_parts(("neck",))]] = 0
        self.of_rows = {name: head.of_parts((name,)) for name in TEETH}
        of_teeth, self.inside = (head.of_parts(parts) for parts in (TEETH, OF_MOUTH))
        self.rows = Teeth(head) if has_teeth(head) else None
        self.teeth, self.hollow = head.faces[of_teeth].unique(), self.inside & ~of_teeth
        self.weight[head.faces[self.inside]] = 1  # deep as it is, it is seen through the lips alone
        self.reached = torch.ones(len(head.mean))
        deep = head.faces[self.inside].unique()
        self.reached[deep] = light_in_mouth(head, head.mean[deep])
        if self.rows is not None:
            self.reached[self.teeth] = 1  # `Teeth.light` knows
        self.shown = self.weight[head.faces].amax(1) > 0
        self.extent = head.faces[self.shown].unique().numpy()
        self.diagonals = _diagonals(head.faces)

    def textured_with(self, texture: torch.Tensor) -> Self:
        """Return the painter with another texture (3,T,T)."""
        other = copy.copy(self)
        other.texture = texture[None]
        return other

    def __call__(self, image: np.ndarray, vertices: np.ndarray, doubts: np.ndarray | None = None) -> np.ndarray:
        """Draw the mesh, whose vertices (V,3) are in the image's pixels, over the image (H,W,3) uint8, on a copy.

        Of the first five of `regions.PARTS`, those are coloured that are in doubt (5,).
        """
        height, width = image.shape[:2]
        drawn = self._draw((height, width), vertices, doubts)
        if drawn is None:
            return image
        where, layer = drawn
        out = image.copy()
        out[where] = np.rint(image[where] * (1 - layer[..., 3:]) + 255 * layer[..., :3]).astype(np.uint8)
        return out

    def layer(self, size: tuple[int, int], vertices: np.ndarray, doubts: np.ndarray | None = None) -> np.ndarray:
        """Draw the mesh alone: (H,W,4) float32 RGBA in 0..1 with straight alpha; all is 0 where there is no mesh."""
        out = np.zeros((*size, 4), np.float32)
        drawn = self._draw(size, vertices, doubts)
        if drawn is not None:
            where, layer = drawn
            out[where] = layer
            out[..., :3] /= np.maximum(out[..., 3:], 1e-6)
        return out

    def _draw(
        self, size: tuple[int, int], vertices: np.ndarray, doubts: np.ndarray | None
    ) -> tuple[tuple[slice, slice], np.ndarray] | None:
        """The rows and columns of a picture (H,W) that hold the mesh, and RGBA (h,w,4) there, with premultiplied alpha:
        the mean of finer samples, so that edges are smooth. None where the mesh is beside the picture."""
        height, width = size
        extent = vertices[self.extent, :2]
        low = np.clip(np.floor(extent.min(axis=0)), 0, (width, height)).astype(int)
        high = np.clip(np.ceil(extent.max(axis=0)) + 1, 0, (width, height)).astype(int)
        if (high <= low).any():
            return None
        fine = _FINE * (vertices - np.array([*low, 0], np.float32))
        fine[:, :2] += (_FINE - 1) / 2  # pixel centres are integers, so a picture's edge lies at -0.5
        moved = torch.from_numpy(fine.astype(np.float32))[None]
        if self.rows is not None:
            moved = self.rows.closed(moved)
        columns, rows = (_FINE * (high - low)).tolist()
        fragments = rasterize(moved, self.faces, (rows, columns))
        seen = fragments.face_index.flatten()
        drawn = ((seen >= 0) & self.shown[seen]).nonzero()[:, 0]
        if not len(drawn):
            return None
        pixels = Fragments(*(values.flatten(0, 2).index_select(0, drawn)[None, None] for values in fragments))
        colour, alpha = self._shade(moved, pixels)
        if doubts is not None and doubts.any():
            amount = self.parts[torch.from_numpy(doubts)].amax(0)
            share = 0.6 * interpolate_numba(amount[None, :, None], self.faces, pixels)[0, 0]
            colour = (1 - share) * colour + share * torch.tensor(_WARNING) * colour.mean(1, keepdim=True)
        if self.wired:
            alpha = alpha * self._wire(moved[0, :, :2], pixels)
        samples = torch.zeros(rows * columns, 4).index_copy(0, drawn, torch.cat([alpha * colour, alpha], -1))
        samples = samples.view(rows, columns, 4)
        layer = torch.zeros(rows // _FINE, columns // _FINE, 4)
        for row, column in product(range(_FINE), repeat=2):
            layer += samples[row::_FINE, column::_FINE] / _FINE**2
        return (slice(low[1], high[1]), slice(low[0], high[0])), layer.numpy()

    def _shade(self, vertices: torch.Tensor, fragments: Fragments) -> tuple[torch.Tensor, torch.Tensor]:
        """Colour (N,3) in 0..1 and opacity (N,1) of N pixels, given as fragments (1,1,N) of vertices (1,V,3)."""
        uvs = interpolate_numba(self.uvs, self.uv_faces, fragments)
        albedo = functional.grid_sample(self.texture, 2 * uvs - 1, align_corners=False)[0, :, 0].T
        inside = self.inside[fragments.face_index[0, 0]].nonzero()[:, 0]
        if len(inside):
            albedo[inside] *= self._light_inside(vertices, _some(fragments, inside))
        if self.textured:
            weight = self.weight[None]
            if self.ears is not None:
                weight = weight * _facing(vertices, self.ears(vertices).mean(1, keepdim=True))
            return albedo, interpolate_numba(weight[..., None], self.faces, fragments)[0, 0]
        light = torch.tensor(HEADLIGHT)
        diffuse = lambert(vertex_normals(vertices, self.faces), light)[0]
        # so thin a band has no normals that mean anything: as if it faced the camera
        diffuse[self.teeth] = lambert(torch.tensor([0.0, 0.0, -1.0]), light)
        light_there = self.config.ambient + (1 - self.config.ambient) * diffuse
        values = torch.stack([light_there, self.weight, self.reached], dim=-1)
        brightness, weight, reached = interpolate_numba(values, self.faces, fragments)[0, 0].split(1, dim=-1)
        brightness[inside] *= reached[inside]  # a clip's own texture has that in it
        return brightness * albedo, self.config.opacity * weight

    def _light_inside(self, vertices: torch.Tensor, fragments: Fragments) -> torch.Tensor:
        """What tells one tooth from the next, and the share of light that gets between lips and teeth, in N pixels
        inside the mouth, given as fragments (1,1,N) of vertices (1,V,3): factors (N,3) of their colour."""
        index = fragments.face_index[0, 0]
        light = torch.ones(len(index), 3)
        if self.rows is not None:
            pixel = _extent(self.head.mean) / max(_extent(vertices[0]), 1e-6)
            for name, of_row in self.of_rows.items():
                own = of_row[index].nonzero()[:, 0]
                if len(own):
                    points = interpolate_numba(self.head.mean, self.faces, _some(fragments, own))[0, 0]
                    light[own] = self.rows.light(name, points, pixel)
            light[self.hollow[index]] *= light_behind_teeth(self.rows.apart(vertices))
        if self.mouth is not None:
            light *= light_between(self.mouth(vertices)[0])
        return light

    def _wire(self, vertices: torch.Tensor, fragments: Fragments) -> torch.Tensor:
        """How much of N samples, given as fragments (1,1,N) of vertices (V,2), the edges of the mesh cover, (N,1)."""
        corners = vertices[self.faces]
        edges = corners.roll(-1, 1) - corners.roll(1, 1)  # opposite to each corner
        lengths = edges.norm(dim=-1)
        double_area = (edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]).abs()
        heights = double_area[:, None] / lengths.clamp(min=1e-6)
        heights = torch.where(self.diagonals, torch.inf, heights)
        seen = fragments.face_index[0, 0]
        distance = (fragments.barycentric[0, 0] * heights[seen]).nan_to_num(torch.inf).amin(1, keepdim=True)
        width = min(_FINE * _LINE, _SPACE * float(lengths[seen].median())) if len(seen) else 0.0
        return (width / 2 + 0.5 - distance).clamp(0, min(1.0, width))


class Crop:
    """A square picture of the frame around points (L,2) of a face, `side` pixels; None: as large as in the frame."""

    def __init__(self, points: np.ndarray, image: np.ndarray, side: int | None = None, margin: float = 0.22) -> None:
        low, high = points.min(0), points.max(0)
        half = (0.5 + margin) * float((high - low).max())
        side = side or round(2 * half)
        self.scale, self.low = side / (2 * half), (low + high) / 2 - half
        self.matrix = np.array([[self.scale, 0, 0], [0, self.scale, 0]])
        self.matrix[:, 2] = self.points(np.zeros(2))
        area = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_CUBIC
        self.picture = cv2.warpAffine(image, self.matrix, (side, side), flags=area, borderValue=(235, 235, 235))

    def points(self, points: np.ndarray) -> np.ndarray:
        """Map image pixels (...,2) to pixels of the picture."""
        return (points - self.low + 0.5) * self.scale - 0.5

    def vertices(self, vertices: np.ndarray) -> np.ndarray:
        """Map vertices (V,3) in the image frame to the picture."""
        return np.concatenate([self.points(vertices[:, :2]), vertices[:, 2:] * self.scale], 1).astype(np.float32)


def doubts_of(track: Track) -> np.ndarray:
    """Find which parts of a track's face are to be coloured, (T,5) bool for `MeshPainter`."""
    return doubtful(track.visible, track.confidence, track.ok)


def light_between(points: torch.Tensor) -> float:
    """Compute the share of light that reaches the inside of the mouth, by its points `MOUTH` (6,3) in the picture."""
    upper, lower, top, bottom, right, left = points
    down = functional.normalize((bottom - top)[:2], dim=0)
    gap, width = float((lower - upper)[:2] @ down), float((left - right).norm())
    return _DARK + (1 - _DARK) * min(max(gap / max(width, 1e-6), 0) / _OPEN, 1) ** 4


def _extent(vertices: torch.Tensor) -> float:
    """How large a mesh (V,3) is, in its unit, however it is turned: RMS distance of its vertices from their mean."""
    return float((vertices - vertices.mean(0)).square().sum(1).mean().sqrt())


def light_behind_teeth(gap: torch.Tensor) -> float:
    """Compute the share of the light in a mouth that gets behind the teeth, by the gap (1,) between their rows,
    metres."""
    return _DARK + (1 - _DARK) * float((gap / _ROOM).clamp(0, 1))


def _some(fragments: Fragments, index: torch.Tensor) -> Fragments:
    """Take the pixels of this index (n,) of fragments (1,1,N)."""
    return Fragments(*(values[:, :, index] for values in fragments))


def _diagonals(faces: torch.Tensor) -> torch.Tensor:
    """Which edges (F,3), by the corner opposite, are the diagonals of quads: where the mesh is made of these, each the
    edge that two triangles share which follow one another; else none."""
    ends = torch.stack([faces.roll(-1, 1), faces.roll(1, 1)], -1).sort(-1).values
    out = torch.zeros(len(faces), 3, dtype=torch.bool)
    if len(faces) % 2:
        return out
    shared = (ends[0::2, :, None] == ends[1::2, None]).all(-1)
    if shared.any(2).any(1).all():
        out[0::2], out[1::2] = shared.any(2), shared.any(1)
    return out


def _facing(vertices: torch.Tensor, middle: torch.Tensor) -> torch.Tensor:
    """Visibility (B,V) in 0..1 of vertices (B,V,3): 0 where the head, seen as a ball around `middle`, turns away.

    Local normals would open holes beside the nose and at the lids.
    """
    outwards = functional.normalize(vertices - middle, dim=-1)
    return ((-outwards[..., 2] - _TURNED[0]) / (_TURNED[1] - _TURNED[0])).clamp(0, 1)


def nearness(mean: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Say how near the mean head's vertices (V,3) are to points (N,3), (V,) in 0..1: 1 up to 6 mm, 0 from 14 mm on."""
    distance = torch.cdist(mean, points).amin(1)
    return ((_FAR - distance) / (_FAR - _NEAR)).clamp(0, 1)


def _fade(mean: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Visibility (V,) in 0..1 of the mean head's vertices: 1 on the face, 0 well outside of its oval."""
    hairline, chin, ears = points[HAIRLINE], points[CHIN], points[list(EARS)].mean(dim=0)
    jaw = ears - chin  # from the side; its normal points backwards and down
    behind_jaw = ((mean - chin)[:, 1] * jaw[2] - (mean - chin)[:, 2] * jaw[1]) / jaw[1:].norm()
    above = hairline[1] - mean[:, 1]
    beyond = torch.stack([above, mean[:, 2] - ears[2], behind_jaw - _JAW_BULGE])
    return (1 - beyond / _FADE).clamp(0, 1).prod(dim=0)
