"""`overlay.mp4`: the clip with the mesh over it, in one of several modes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

from selftrack.tracker.geometry.crop import inter_ocular
from selftrack.tracker.results.clip import open_clip
from selftrack.tracker.results.painter import MeshPainter, OverlayConfig, doubts_of
from selftrack.tracker.results.texture import clip_texture, own_texture
from selftrack.tracker.results.track_file import Track
from selftrack.tracker.sources.base import SourceInfo
from selftrack.tracker.sources.writer import VideoWriter

NAME = "overlay.mp4"
_CHUNK = 64  # frames whose vertices are held at a time
_SPLIT_HEIGHT = 540  # pixels of the split view at most
_DETECTED, _OF_MESH = (255, 210, 0), (0, 170, 255)  # RGB of the detector's points and of the mesh's
_DOT = 0.008  # radius as a share of the distance between the outer eye corners
_FONT, _SMALLEST = cv2.FONT_HERSHEY_SIMPLEX, 0.4  # size of the text at least
_LINES = 1000  # height of a picture in which its size is 1, pixels


def write_overlay(
    track: Track,
    folder: Path,
    config: OverlayConfig | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    texture: torch.Tensor | None = None,
) -> Path:
    """Write `overlay.mp4` into a folder: H.264 with the clip's timing and sound, if it has any, read from it again.

    Frames without a face show no mesh. Eyes, brows and mouth are coloured where they are not to be trusted.
    `progress(done, total)` is called after each frame. `texture` (3,T,T) is that of the mode "texture", by default
    `texture.clip_texture`, or what a person's own model makes of the frame's code and view, in the clip's colours.

    Raises:
        UserError: the clip is not where it was.
    """
    config, path = config or OverlayConfig(), Path(folder) / NAME
    draw = _Artist(track, config, texture)
    with open_clip(track) as source:
        width, height = _pane(source.info, config)
        scale = np.array([width, height]) / (source.info.width, source.info.height)
        panes = 2 if config.mode == "split" else 1
        with VideoWriter(path, (panes * width, height), source.info, source.window) as writer:
            for frame, vertices in zip(source, _vertices(track), strict=False):
                shown = cv2.resize(frame.image, (width, height), interpolation=cv2.INTER_AREA)
                picture = draw(shown, vertices, frame.index, scale) if track.ok[frame.index] else shown
                if config.mode == "split":
                    picture = np.concatenate([shown, picture], axis=1)
                if config.burn_in:
                    picture = burnt_in(picture, _legend(track, frame.index))
                writer.write(picture, frame.time)
                progress(frame.index + 1, len(track))
    return path


def _pane(info: SourceInfo, config: OverlayConfig) -> tuple[int, int]:
    """Width and height of one view of the clip, pixels."""
    highest = config.max_height or (_SPLIT_HEIGHT if config.mode == "split" else info.height)
    shrink = min(1.0, highest / info.height)
    return max(1, round(info.width * shrink)), max(1, round(info.height * shrink))


def _vertices(track: Track) -> Iterator[np.ndarray]:
    """Vertices (V,3) of one frame after the other."""
    for first in range(0, len(track), _CHUNK):
        yield from track.vertices(slice(first, first + _CHUNK))


class _Artist:
    """Draws what the track has found in a frame over its picture, as the mode says."""

    def __init__(self, track: Track, config: OverlayConfig, texture: torch.Tensor | None) -> None:
        self._track, self._own = track, None
        if config.mode == "texture" and texture is None:
            texture = clip_texture(track, config.texture)
            self._own = own_texture(track, texture)
        self._paint, self._doubts = MeshPainter(track.model(), config, texture), doubts_of(track)
        self._dots = config.mode == "points"

    def __call__(self, picture: np.ndarray, vertices: np.ndarray, row: int, scale: np.ndarray) -> np.ndarray:
        """The picture (h,w,3) of a frame, `scale` (2,) times as large as that, with what was found in it; vertices
        (V,3) are in the frame's pixels."""
        # pixel centres are integers, so a picture's edge lies at -0.5
        placed = np.concatenate([(vertices[:, :2] + 0.5) * scale - 0.5, vertices[:, 2:] * scale[1]], 1)
        if self._dots:
            return self._with_points(picture, placed, (self._track.landmarks[row] + 0.5) * scale - 0.5)
        if self._own is not None:
            self._paint.texture = self._own(row)[None]
        return self._paint(picture, placed.astype(np.float32), self._doubts[row])

    def _with_points(self, picture: np.ndarray, vertices: np.ndarray, detected: np.ndarray) -> np.ndarray:
        """With the detected points (L,2) and, where the decoder knows their places, those of the mesh."""
        out, head = picture.copy(), self._track.model()
        radius = max(_DOT * float(inter_ocular(detected)), 0.8)
        if head.has_landmarks:
            placed = head.landmarks(len(detected))(torch.from_numpy(vertices)[None].float())[0, :, :2]
            _draw_dots(out, placed.numpy(), _OF_MESH, radius)
        _draw_dots(out, detected, _DETECTED, radius)
        return out


def _draw_dots(picture: np.ndarray, points: np.ndarray, colour: tuple[int, int, int], radius: float) -> None:
    """Draw a dot at each of the points (L,2) of a picture (H,W,3)."""
    fine = 16  # a sixteenth of a pixel
    for x, y in np.rint(fine * points).astype(int).tolist():
        cv2.circle(picture, (x, y), round(fine * radius), colour, -1, cv2.LINE_AA, 4)


def _legend(track: Track, row: int) -> str:
    """What is said of a frame: its number, as in curves.csv, its time in the clip, its timecode where the clip has one,
    and how far it can be trusted."""
    time, start = float(track.times[row]), track.start_timecode()
    minutes, thousandths = divmod(round(1000 * time), 60_000)
    code = "" if start is None else f"  {start.after(time)}"
    trust = f"confidence {track.confidence[row]:.2f}" if track.ok[row] else "no face"
    return f"{row:06d}  {minutes}:{thousandths / 1000:06.3f}{code}  {trust}"


def burnt_in(picture: np.ndarray, text: str) -> np.ndarray:
    """Write a line of text into the bottom left of a picture (H,W,3) uint8, white with a dark edge, on a copy."""
    height, width = picture.shape[:2]
    size = max(height / _LINES, _SMALLEST)
    ink, margin = np.zeros((height, width), np.uint8), round(20 * size)
    cv2.putText(ink, text, (margin, height - margin), _FONT, size, 255, max(round(2 * size), 1), cv2.LINE_AA)
    edge = cv2.GaussianBlur(cv2.dilate(ink, np.ones((3, 3))), (0, 0), 1 + size)
    darker = picture * (1 - np.minimum(2.0 * edge / 255, 1))[..., None]
    share = ink[..., None] / 255
    return np.rint(darker * (1 - share) + 255 * share).astype(np.uint8)
