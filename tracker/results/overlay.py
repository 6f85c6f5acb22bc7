"""`overlay.mp4`: the clip with the mesh over it, in one of several modes; `overlay.png` of a single picture."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
import torch

from selftrack.io import atomic_path
from selftrack.tracker.geometry.crop import inter_ocular
from selftrack.tracker.progress import Steps, no_steps
from selftrack.tracker.results.clip import open_clip
from selftrack.tracker.results.painter import MeshPainter, OverlayConfig, doubts_of
from selftrack.tracker.results.texture import clip_texture, own_texture
from selftrack.tracker.results.track_file import Track
from selftrack.tracker.sources.base import Frame, SourceInfo
from selftrack.tracker.sources.names import is_picture
from selftrack.tracker.sources.writer import VideoWriter
from selftrack.tracker.threads import cores, in_order

NAME, PICTURE = "overlay.mp4", "overlay.png"
_CHUNK = 64  # frames whose vertices are held at a time
_AT_A_TIME = 3  # frames that are drawn at the same time at most, while others are read and written
_PIXELS = _AT_A_TIME * 1920 * 1080  # of all these, as each takes 0.2 KB of memory for a pixel while it is drawn
_SPLIT_HEIGHT = 540  # pixels of the split view at most
_DETECTED, _OF_MESH = (255, 210, 0), (0, 170, 255)  # RGB of the detector's points and of the mesh's
_DOT = 0.008  # radius as a share of the distance between the outer eye corners
_FONT, _SMALLEST = cv2.FONT_HERSHEY_SIMPLEX, 0.4  # size of the text at least
_LINES = 1000  # height of a picture in which its size is 1, pixels
_NUMBER = 0.003  # size of the number of a face, for each pixel of the head's height


def write_overlay(
    track: Track | Mapping[int, Track],
    folder: Path,
    config: OverlayConfig | None = None,
    progress: Steps = no_steps,
    texture: torch.Tensor | None = None,
) -> Path:
    """Write `overlay.mp4` into a folder: H.264 with the clip's timing and sound, if it has any, read from it again; of
    a single picture, `overlay.png`.

    Frames without a face show no mesh. Eyes, brows and mouth are coloured where they are not to be trusted.
    `progress(done, total)` is called after each frame. `texture` (3,T,T) is that of the mode "texture", by default
    `texture.clip_texture`, or what a person's own model makes of the frame's code and view, in the clip's colours.
    `track` may be those of several faces of the clip, by their numbers, which stand above the faces.

    Raises:
        UserError: the clip is not where it was.
    """
    config = config or OverlayConfig()
    draw = _Scene(track if isinstance(track, Mapping) else {None: track}, config, texture)
    with open_clip(draw.first) as source:
        width, height = _pane(source.info, config)
        scale = np.array([width, height]) / (source.info.width, source.info.height)
        panes = 2 if config.mode == "split" else 1

        def drawn(frame: Frame, meshes: Mapping[Any, np.ndarray]) -> tuple[Frame, np.ndarray]:
            shown = cv2.resize(frame.image, (width, height), interpolation=cv2.INTER_AREA)
            picture = draw(shown, meshes, frame.index, scale)
            if config.mode == "split":
                picture = np.concatenate([shown, picture], axis=1)
            return frame, burnt_in(picture, draw.legend(frame.index)) if config.burn_in else picture

        alone = len(draw.first) == 1 and is_picture(Path(draw.first.clip))
        path = Path(folder) / (PICTURE if alone else NAME)
        size = panes * width, height
        with _PictureWriter(path) if alone else VideoWriter(path, size, source.info, source.window) as writer:
            frames = zip(source, draw.meshes(), strict=False)
            for frame, picture in in_order(lambda pair: drawn(*pair), frames, _at_a_time(width, height)):
                writer.write(picture, frame.time)
                progress(frame.index + 1, len(draw.first))
    return path


class _PictureWriter:
    """Writes a single frame as a PNG, as `VideoWriter` does several."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def write(self, picture: np.ndarray, time: float) -> None:
        """Write the picture (h,w,3), RGB."""
        with atomic_path(self._path) as part:
            part.write_bytes(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())


class _Scene:
    """Draws what the tracks of a clip's faces have found; the number of a single one is None."""

    def __init__(self, tracks: Mapping[Any, Track], config: OverlayConfig, texture: torch.Tensor | None) -> None:
        self._tracks, self.first = tracks, next(iter(tracks.values()))
        self._artists = {number: _Artist(track, config, texture) for number, track in tracks.items()}

    def meshes(self) -> Iterator[dict[Any, np.ndarray]]:
        """Vertices (V,3) of each face, in the frame's pixels, of one frame after the other."""
        for meshes in zip(*(_vertices(track) for track in self._tracks.values()), strict=True):
            yield dict(zip(self._tracks, meshes, strict=True))

    def __call__(
        self, picture: np.ndarray, meshes: Mapping[Any, np.ndarray], row: int, scale: np.ndarray
    ) -> np.ndarray:
        """The picture (h,w,3) of a frame, `scale` (2,) times as large as that, with its faces, which hide one another
        by how large they are."""
        found = {number: track for number, track in self._tracks.items() if track.ok[row]}
        placed = {number: _scaled(meshes[number], scale) for number in found}
        for number in sorted(found, key=lambda number: float(found[number].H_image[row, 0])):
            picture = self._artists[number](picture, placed[number], row, scale)
        return picture if None in placed or not placed else _with_numbers(picture, placed)

    def legend(self, row: int) -> str:
        """What is said of a frame, and how far each face can be trusted there."""
        words = _moment(self.first, row)
        for number, track in self._tracks.items():
            words += f"  {_trust(track, row)}" if number is None else f"  {number}: {_trust(track, row)}"
        return words


def _scaled(vertices: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Vertices (V,3) of a frame in the pixels of its picture, `scale` (2,) times as large."""
    # pixel centres are integers, so a picture's edge lies at -0.5
    return np.concatenate([(vertices[:, :2] + 0.5) * scale - 0.5, vertices[:, 2:] * scale[1]], 1)


def _pane(info: SourceInfo, config: OverlayConfig) -> tuple[int, int]:
    """Width and height of one view of the clip, pixels."""
    highest = config.max_height or (_SPLIT_HEIGHT if config.mode == "split" else info.height)
    shrink = min(1.0, highest / info.height)
    return max(1, round(info.width * shrink)), max(1, round(info.height * shrink))


def _at_a_time(width: int, height: int) -> int:
    """How many frames with views of that size are drawn at the same time: as many as cores and memory allow."""
    return max(1, min(cores(), _AT_A_TIME, _PIXELS // (width * height)))


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

    def __call__(self, picture: np.ndarray, placed: np.ndarray, row: int, scale: np.ndarray) -> np.ndarray:
        """The picture (h,w,3) of a frame, `scale` (2,) times as large as that, with what was found in it; vertices
        (V,3) are in the picture's pixels."""
        if self._dots:
            return self._with_points(picture, placed, (self._track.landmarks[row] + 0.5) * scale - 0.5)
        paint = self._paint if self._own is None else self._paint.textured_with(self._own(row))
        return paint(picture, placed.astype(np.float32), self._doubts[row])

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


def _with_numbers(picture: np.ndarray, meshes: Mapping[int, np.ndarray]) -> np.ndarray:
    """Write its number above each mesh (V,3) in a picture (H,W,3), or at the picture's edge if that is off it."""
    height, width = picture.shape[:2]
    ink = np.zeros((height, width), np.uint8)
    for number, vertices in meshes.items():
        (low, top), (high, bottom) = vertices[:, :2].min(0), vertices[:, :2].max(0)
        size = max((bottom - top) * _NUMBER, _SMALLEST)
        (wide, tall), _ = cv2.getTextSize(str(number), _FONT, size, _stroke(size))
        x = np.clip((low + high - wide) / 2, 0, max(width - wide, 0))
        y = np.clip(top - tall / 2, tall + 2, max(height - 2, tall + 2))
        _put(ink, str(number), (round(float(x)), round(float(y))), size)
    return _inked(picture, ink, max(height / _LINES, _SMALLEST))


def _moment(track: Track, row: int) -> str:
    """The number of a frame, as in curves.csv, its time in the clip, and its timecode where the clip has one."""
    time, start = float(track.times[row]), track.start_timecode()
    minutes, thousandths = divmod(round(1000 * time), 60_000)
    code = "" if start is None else f"  {start.after(time)}"
    return f"{row:06d}  {minutes}:{thousandths / 1000:06.3f}{code}"


def _trust(track: Track, row: int) -> str:
    """How far a frame can be trusted."""
    return f"confidence {track.confidence[row]:.2f}" if track.ok[row] else "no face"


def burnt_in(picture: np.ndarray, text: str) -> np.ndarray:
    """Write a line of text into the bottom left of a picture (H,W,3) uint8, white with a dark edge, on a copy."""
    height, width = picture.shape[:2]
    size = max(height / _LINES, _SMALLEST)
    ink, margin = np.zeros((height, width), np.uint8), round(20 * size)
    _put(ink, text, (margin, height - margin), size)
    return _inked(picture, ink, size)


def _put(ink: np.ndarray, text: str, place: tuple[int, int], size: float) -> None:
    """Write text of a size into ink (H,W), its bottom left at a place."""
    cv2.putText(ink, text, place, _FONT, size, 255, _stroke(size), cv2.LINE_AA)


def _stroke(size: float) -> int:
    return max(round(2 * size), 1)


def _inked(picture: np.ndarray, ink: np.ndarray, size: float) -> np.ndarray:
    """A picture (H,W,3) with ink (H,W), white with a dark edge, for text of a size."""
    edge = cv2.GaussianBlur(cv2.dilate(ink, np.ones((3, 3))), (0, 0), 1 + size)
    darker = picture * (1 - np.minimum(2.0 * edge / 255, 1))[..., None]
    share = ink[..., None] / 255
    return np.rint(darker * (1 - share) + 255 * share).astype(np.uint8)
