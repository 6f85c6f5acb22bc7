"""`overlay.mp4`: the frame on the left, the mesh over the frame on the right, shaded or in the clip's own texture."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.nn import functional

from selftrack.decoders.base import Decoder
from selftrack.decoders.landmarks import CHIN, EARS, HAIRLINE
from selftrack.decoders.mesh.normals import vertex_normals
from selftrack.decoders.mesh.rasterizer import Fragments, interpolate, rasterize
from selftrack.decoders.mesh.shading import HEADLIGHT, lambert
from selftrack.errors import UserError
from selftrack.tracker.results.clip import open_clip
from selftrack.tracker.results.regions import PARTS, POINTS_OF, doubtful
from selftrack.tracker.results.texture import TextureConfig, clip_texture, own_texture
from selftrack.tracker.results.track_file import Track
from selftrack.tracker.sources.writer import VideoWriter

NAME = "overlay.mp4"
MODES = ("shaded", "textured")
_CHUNK = 64  # frames whose vertices are held at a time
_TURNED = (0.15, 0.4)  # cosines between which the textured mesh fades in
_FADE = 0.02  # metres over which the mesh fades out
_JAW_BULGE = 0.03  # metres by which the angle of the jaw lies behind the line from chin to ear
_WARNING = (1.0, 0.55, 0.1)  # RGB of a region that is not to be trusted
_NEAR, _FAR = 0.006, 0.014  # metres from a region's landmarks, within which it is coloured fully, and not at all


@dataclass(frozen=True)
class OverlayConfig:
    """Settings of the overlay."""

    mode: str = "shaded"
    """Of the mesh: "shaded" in one colour, or "textured", opaque in the clip's own colours."""
    max_height: int = 540
    """Larger frames are shrunk to this many pixels."""
    opacity: float = 0.75
    """Of the shaded mesh over the frame, 0..1."""
    colour: tuple[float, float, float] = (0.80, 0.82, 0.86)
    """Of the shaded mesh's skin, RGB in 0..1."""
    ambient: float = 0.3
    """Share of the light that comes from everywhere, shaded."""
    texture: TextureConfig = field(default_factory=TextureConfig)
    """The clip's own texture, of the textured mode and of texture.png."""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UserError(f'unknown overlay mode "{self.mode}": choose one of {", ".join(MODES)}')


def write_overlay(
    track: Track,
    folder: Path,
    config: OverlayConfig | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    texture: torch.Tensor | None = None,
) -> Path:
    """Write `overlay.mp4` into a folder: H.264 with the clip's timing and sound, if it has any, read from it again.

    Frames without a face show no mesh. Eyes, brows and mouth are coloured where they are not to be trusted.
    `progress(done, total)` is called after each frame. `texture` (3,T,T) is that of the textured mode, by default
    `texture.clip_texture`, or what a person's own model makes of the frame's code and view, in the clip's colours.

    Raises:
        UserError: the clip is not where it was.
    """
    config, path = config or OverlayConfig(), Path(folder) / NAME
    own = None
    if config.mode == "textured" and texture is None:
        texture = clip_texture(track, config.texture)
        own = own_texture(track, texture)
    paint, doubts = MeshPainter(track.model(), config, texture), doubtful(track.visible, track.confidence, track.ok)
    with open_clip(track) as source:
        width, height = source.info.width, source.info.height
        shrink = min(1.0, config.max_height / height)
        pane = max(1, round(width * shrink)), max(1, round(height * shrink))
        scale = np.array(pane) / (width, height)
        with VideoWriter(path, (2 * pane[0], pane[1]), source.info, source.window) as writer:
            for frame, vertices in zip(source, _vertices(track), strict=False):
                shown = cv2.resize(frame.image, pane, interpolation=cv2.INTER_AREA)
                meshed = shown
                if track.ok[frame.index]:
                    # pixel centres are integers, so a picture's edge lies at -0.5
                    vertices[:, :2] = (vertices[:, :2] + 0.5) * scale - 0.5
                    vertices[:, 2] *= scale[1]
                    if own is not None:
                        paint.texture = own(frame.index)[None]
                    meshed = paint(shown, vertices, doubts[frame.index])
                writer.write(np.concatenate([shown, meshed], axis=1), frame.time)
                progress(frame.index + 1, len(track))
    return path


def _vertices(track: Track) -> Iterator[np.ndarray]:
    """Vertices (V,3) of one frame after the other."""
    for first in range(0, len(track), _CHUNK):
        yield from track.vertices(slice(first, first + _CHUNK))


class MeshPainter:
    """Draws a head's mesh into pictures: skin in one colour, eyes, lips and teeth in their own, or all in a texture.

    In the textured mode the colours are those of `texture` (3,T,T), RGB in 0..1, which has the light in it.
    The mesh fades out behind the ears, above the hairline and at the neck, so that the fit can be seen; all of it shows
    if the decoder does not know where its landmarks are.
    """

    def __init__(self, head: Decoder, config: OverlayConfig | None = None, texture: torch.Tensor | None = None) -> None:
        self.config = config or OverlayConfig()
        if self.config.mode == "textured" and (texture is None or texture.ndim != 3):
            raise UserError(f"the textured mode needs a texture (3,T,T), got {getattr(texture, 'shape', None)}")
        self.faces, self.uvs, self.uv_faces = head.faces, head.uvs, head.uv_faces
        skin = torch.tensor(self.config.colour)[:, None, None]
        own = functional.interpolate(head.mean_texture[None], head.skin_texels.shape, mode="bilinear")[0]
        plain = torch.where(head.skin_texels, skin, own)
        self.texture = (texture if texture is not None and self.config.mode == "textured" else plain)[None]
        self.weight, self.ears = torch.ones(len(head.mean)), None
        self.parts = torch.zeros(5, len(head.mean))
        if head.has_landmarks:
            points = head.landmarks478(head.mean[None])[0]
            self.parts = torch.stack([_nearness(head.mean, points[list(POINTS_OF[part])]) for part in PARTS[:5]])
            self.weight = _fade(head.mean, head.landmarks478(head.mean[None])[0])
            self.ears = head.landmarks478.subset(EARS)
        if "neck" in head.part_names:
            self.weight[head.faces[head.face_parts == head.part_names.index("neck")]] = 0
        teeth = torch.tensor([name.startswith("teeth") for name in head.part_names])[head.face_parts]
        self.teeth = head.faces[teeth].unique()

    def __call__(self, image: np.ndarray, vertices: np.ndarray, doubts: np.ndarray | None = None) -> np.ndarray:
        """The image (H,W,3) uint8 with the mesh, whose vertices (V,3) are in its pixels, drawn over it. Of
        the first five of `regions.PARTS`, those are coloured that are in doubt (5,)."""
        height, width = image.shape[:2]
        low = np.clip(np.floor(vertices[:, :2].min(axis=0)), 0, (width, height)).astype(int)
        high = np.clip(np.ceil(vertices[:, :2].max(axis=0)) + 1, 0, (width, height)).astype(int)
        if (high <= low).any():
            return image
        moved = torch.from_numpy(vertices - np.array([*low, 0], np.float32))[None]
        fragments = rasterize(moved, self.faces, (int(high[1] - low[1]), int(high[0] - low[0])))
        drawn = fragments.face_index[0] >= 0
        pixels = Fragments(*(values[0][drawn][None, None] for values in fragments))
        colour, alpha = self._shade(moved, pixels)
        if doubts is not None and doubts.any():
            amount = self.parts[torch.from_numpy(doubts)].amax(0)
            share = 0.6 * interpolate(amount[None, :, None], self.faces, pixels)[0, 0].numpy()
            colour = (1 - share) * colour + share * np.array(_WARNING) * colour.mean(1, keepdims=True)
        out = image.copy()
        region = out[low[1] : high[1], low[0] : high[0]]
        behind = region[drawn.numpy()]
        region[drawn.numpy()] = np.rint(behind + alpha * (255 * colour - behind)).astype(np.uint8)
        return out

    def _shade(self, vertices: torch.Tensor, fragments: Fragments) -> tuple[np.ndarray, np.ndarray]:
        """Colour (N,3) in 0..1 and opacity (N,1) of N pixels, given as fragments (1,1,N) of vertices (1,V,3)."""
        uvs = interpolate(self.uvs, self.uv_faces, fragments)
        albedo = functional.grid_sample(self.texture, 2 * uvs - 1, align_corners=False)[0, :, 0].T
        if self.config.mode == "textured":
            weight = self.weight[None]
            if self.ears is not None:
                weight = weight * _facing(vertices, self.ears(vertices).mean(1, keepdim=True))
            return albedo.numpy(), interpolate(weight[..., None], self.faces, fragments)[0, 0].numpy()
        light = torch.tensor(HEADLIGHT)
        diffuse = lambert(vertex_normals(vertices, self.faces), light)[0]
        # so thin a band has no normals that mean anything: as if it faced the camera
        diffuse[self.teeth] = lambert(torch.tensor([0.0, 0.0, -1.0]), light)
        values = torch.stack([self.config.ambient + (1 - self.config.ambient) * diffuse, self.weight], dim=-1)
        brightness, weight = interpolate(values, self.faces, fragments)[0, 0].split(1, dim=-1)
        return (brightness * albedo).numpy(), (self.config.opacity * weight).numpy()


def _facing(vertices: torch.Tensor, middle: torch.Tensor) -> torch.Tensor:
    """Visibility (B,V) in 0..1 of vertices (B,V,3): 0 where the head, seen as a ball around `middle`, turns away.

    Local normals would open holes beside the nose and at the lids.
    """
    outwards = functional.normalize(vertices - middle, dim=-1)
    return ((-outwards[..., 2] - _TURNED[0]) / (_TURNED[1] - _TURNED[0])).clamp(0, 1)


def _nearness(mean: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """(V,) in 0..1: how near the mean head's vertices (V,3) are to points (N,3)."""
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
