"""Pictures of the report: the worst frames with the mesh on them, and the unwrapped face over time."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch

from selftrack.decoders.base import Decoder
from selftrack.decoders.landmarks import FACE_OVAL, MESH_POINTS
from selftrack.decoders.mesh.unwrap import TexelMap, confidence, sample, surface, texel_map
from selftrack.eval.compare.reference import Reference
from selftrack.eval.metrics.landmarks import feature_points, projected_landmarks
from selftrack.eval.report.judgement import Weakest
from selftrack.tracker.progress import Steps, no_steps
from selftrack.tracker.results.clip import read_rows
from selftrack.tracker.results.painter import Crop, MeshPainter, OverlayConfig
from selftrack.tracker.results.skin_points import pin
from selftrack.tracker.results.texture import evenly
from selftrack.tracker.results.track_file import Track

CHEEKS = (118, 347)
"""Of the detector's points."""
PIXELS, MESH = (60, 220, 60), (255, 70, 40)
"""RGB of dots where the pixels are, and of the lines to where the mesh is."""


@dataclass(frozen=True)
class PictureConfig:
    """Settings of the pictures."""

    worst: int = 2
    """Worst frames by skin points, and as many by landmarks, beside that of the weakest region."""
    apart: int = 12
    """Frames between two of them, at least."""
    side: int = 400
    """Of a picture of the face, pixels."""
    opacity: float = 0.45
    """Of the mesh, 0..1."""
    strip: int = 6
    """Unwrapped faces side by side."""
    texture: int = 448
    """Side of the unwrapped texture in texels, of which the face takes 40 %."""
    history: int = 900
    """Frames, evenly spaced, in the picture of a row of texels over time; all of a shorter clip."""


class Bad(NamedTuple):
    """A frame with a large error."""

    row: int
    why: str
    error: float
    """Percent IOD."""
    by_skin: bool = False
    region: str = ""
    """Of eyes, brows and mouth the one that it is bad by; empty for the whole face."""


def worst_frames(
    skin: np.ndarray, landmarks: np.ndarray, weakest: Weakest | None = None, config: PictureConfig | None = None
) -> list[Bad]:
    """Choose the frames that a report calls the worst: that of the largest error by skin points (T,), that of the
    weakest region, and then others whose errors by skin points and by landmarks (T,) are largest, some frames apart.
    """
    config = config or PictureConfig()
    found: list[Bad] = []

    def add(errors: np.ndarray, why: str, by_skin: bool, count: int) -> None:
        left = np.where(np.isfinite(errors), errors, -1.0)
        for _ in range(count):
            for bad in found:
                left[max(bad.row - config.apart, 0) : bad.row + config.apart] = -1
            row = int(left.argmax())
            if left[row] <= 0:
                break
            found.append(Bad(row, why, float(left[row]), by_skin))

    add(skin, "skin points", True, 1)
    if weakest and weakest.row not in [bad.row for bad in found]:
        found.append(Bad(weakest.row, f"the {weakest.region}", weakest.worst, region=weakest.region))
    add(skin, "skin points", True, config.worst - 1)
    add(landmarks, "landmarks", False, config.worst)
    return found


class Pictures(NamedTuple):
    """What one reading of the clip shows of its tracks, by their names."""

    faces: dict[int, dict[str, str]]
    """By row: pictures as data URIs, "frame" without a mesh, then one of each track."""
    strips: dict[str, list[str]]
    """Unwrapped faces."""
    strip_rows: list[int]
    history: dict[str, str]
    """A row of texels over time, from left to right."""
    history_rows: tuple[int, int]
    """First and last frame of it."""


def take(
    tracks: dict[str, Track],
    reference: Reference,
    worst: list[Bad],
    config: PictureConfig | None = None,
    progress: Steps = no_steps,
) -> Pictures:
    """Read the clip once and take all pictures of its tracks, which have the same frames with a face.

    Raises:
        UserError: the clip is not where it was.
    """
    config = config or PictureConfig()
    first = next(iter(tracks.values()))
    good = np.flatnonzero(first.ok)
    strip, history = (evenly(good, count).tolist() if len(good) else [] for count in (config.strip, config.history))
    head, bad = first.model(), {item.row: item for item in worst}
    painter, sheet = MeshPainter(head, OverlayConfig(opacity=config.opacity)), _Sheet(head, config.texture)
    marks = {name: _Marks(track, reference) for name, track in tracks.items()}
    faces: dict[int, dict[str, str]] = {}
    strips: dict[str, list[str]] = {name: [] for name in tracks}
    lines: dict[str, list[np.ndarray]] = {name: [] for name in tracks}
    wanted = sorted({*bad, *strip, *history})
    for done, frame in enumerate(read_rows(first, set(wanted), verify=True)):
        row, image = frame.index, frame.image
        if row in bad:
            crop = Crop(reference.landmarks[row], image, config.side)
            faces[row] = {"frame": uri(crop.picture)}
        for name, track in tracks.items():
            vertices = track.vertices(slice(row, row + 1))
            if row in bad:
                mesh = painter(crop.picture, crop.vertices(vertices[0]))
                faces[row][name] = uri(_with_lines(crop, mesh, *marks[name].at(bad[row])))
            if row in strip:
                strips[name].append(uri(sheet.face(image, vertices)))
            if row in history:
                lines[name].append(sheet.line(image, vertices))
        progress(done + 1, len(wanted))
    wide = max(1, round(1100 / max(len(history), 1)))
    over_time = {n: uri(np.repeat(np.stack(part, 1), wide, 1)) for n, part in lines.items() if part}
    return Pictures(faces, strips, strip, over_time, (history[0], history[-1]) if history else (0, 0))


def file_uri(path: Path) -> str:
    """Make a data URI of a file with a picture; empty where there is none."""
    image = cv2.imread(str(path)) if path.is_file() else None
    return "" if image is None else uri(image[..., ::-1])


def uri(image: np.ndarray, quality: int = 88) -> str:
    """Encode a picture (H,W,3) uint8 RGB as a JPEG data URI."""
    good, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert good, "JPEG"
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def _with_lines(crop: Crop, picture: np.ndarray, pixels: np.ndarray, mesh: np.ndarray) -> np.ndarray:
    """Draw dots where points (N,2) are in the image, and lines to where the mesh has them (N,2), on a copy."""
    out, fine = picture.copy(), 16  # a sixteenth of a pixel
    for a, b in zip(*(np.round(fine * crop.points(p)).astype(int) for p in (pixels, mesh)), strict=True):
        cv2.line(out, tuple(a.tolist()), tuple(b.tolist()), MESH, 2, cv2.LINE_AA, 4)
        cv2.circle(out, tuple(a.tolist()), 2 * fine, PIXELS, -1, cv2.LINE_AA, 4)
    return out


class _Marks:
    """The points of a track by which a frame is bad."""

    def __init__(self, track: Track, reference: Reference) -> None:
        self.track, self.reference = track, reference

    def at(self, bad: Bad) -> tuple[np.ndarray, np.ndarray]:
        """Find where points (N,2) are in the image and where the mesh has them, image pixels."""
        if not bad.by_skin:
            detected = self.track.landmarks[bad.row]
            mesh = projected_landmarks(self.track, len(detected), slice(bad.row, bad.row + 1))[0]
            chosen = feature_points(bad.region, len(detected)) if bad.region else slice(0, MESH_POINTS, 4)
            return detected[chosen], mesh[chosen]
        for window in self.reference.windows:
            age, length = bad.row - window.start, window.paths.shape[1]
            if 0 <= age < length:
                vertices = self.track.vertices(slice(window.start, window.start + length))
                pins = pin(window.paths[:, 0], vertices[0], self.track.model().faces, self.reference.size)
                pixels = window.paths[pins.hit]
                drift = pins.follow(vertices) - pixels
                usual = (drift.sum(1) - drift[:, age]) / (length - 1)  # in the other frames
                return pixels[:, age], pixels[:, age] + drift[:, age] - usual
        return np.zeros((0, 2)), np.zeros((0, 2))


class _Sheet:
    """The face in the decoder's texture, and the row of it that runs over both cheeks and the nose."""

    def __init__(self, head: Decoder, size: int) -> None:
        self.faces = head.faces
        uvs = torch.zeros(len(head.mean), 2)
        uvs[head.faces] = head.uvs[head.uv_faces]
        points = size * head.landmarks478(uvs[None])[0]
        (left, top), (right, bottom) = (f(points[list(FACE_OVAL)], 0) for f in (torch.amin, torch.amax))
        self.row = round(points[list(CHEEKS), 1].mean().item())
        edge = 0.1 * (right - left)  # whose skin is hardly visible from the front
        self.box = slice(int(top), int(bottom) + 1), slice(int(left + edge), int(right - edge) + 1)
        mask = torch.zeros(size, size, dtype=torch.bool)
        mask[self.box] = True
        self.texels = texel_map(head, size, mask)
        mask[: self.row] = mask[self.row + 1 :] = False
        self.row_texels = texel_map(head, size, mask)

    def face(self, image: np.ndarray, vertices: np.ndarray) -> np.ndarray:
        """Unwrap the face (h,w,3); ticks at its sides show the row."""
        picture = self._unwrap(image, vertices, self.texels)[self.box]
        picture[self.row - self.box[0].start, np.r_[0:8, -8:0]] = MESH
        return picture

    def line(self, image: np.ndarray, vertices: np.ndarray) -> np.ndarray:
        """Unwrap the row (w,3)."""
        return self._unwrap(image, vertices, self.row_texels)[self.row, self.box[1]]

    def _unwrap(self, image: np.ndarray, vertices: np.ndarray, texels: TexelMap) -> np.ndarray:
        """(T,T,3) uint8 texture of a mesh (1,V,3), white where nothing is visible."""
        mesh, pixels = torch.from_numpy(vertices), torch.from_numpy(image).permute(2, 0, 1)[None].float()
        colours = sample(pixels, surface(mesh, texels)[..., :2])[0].T
        colours[confidence(mesh, self.faces, texels, image.shape[:2])[0] == 0] = 255
        out = np.full((texels.size, texels.size, 3), 255, np.uint8)
        out[tuple(texels.texel.numpy().T)] = colours.round().byte().numpy()
        return out
