"""Skin points: corners of the skin followed through short windows by their pixels alone.

They lie inside the face and outside eyes, brows and lips, so that no landmark detector and no tracker has a say in
where they go; the landmarks only tell where the skin is. Corners after Shi and Tomasi (1994), followed by pyramidal
Lucas-Kanade forwards and backwards (Kalal et al. 2010). A mesh to be judged is pinned to the corners in a window's
first frame and then compared with where the pixels went.

Image frame: pixels, x right, y down, the centre of the top-left pixel is (0, 0). IOD: distance of
the outer eye corners.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from selftrack.decoders.landmarks import LAYOUTS, Layout
from selftrack.decoders.mesh.rasterizer import rasterize


@dataclass(frozen=True)
class SkinPointConfig:
    """How skin points are found and followed. Lengths in IOD unless they say pixels."""

    window: float = 0.4  # seconds that a point is followed
    count: int = 60  # corners a window starts with, at most
    quality: float = 0.01  # weakest corner, as a part of the strongest one
    spacing: float = 0.06  # least distance of two corners
    margin: float = 0.05  # kept from the face's outline, eyes, brows and lips
    patch: float = 0.18  # side of the patch that is matched
    levels: int = 3  # of the image pyramid, above the frame itself
    step_limit: float = 0.4  # pixels, largest forward-backward distance from frame to frame
    loop_limit: float = 0.02  # largest distance when the last frame is matched to the first, beside step_limit
    min_share: float = 0.2  # a window that keeps fewer of its corners is given up: a cut, a hand, heavy blur

    def length(self, step: float) -> int:
        """Frames of a window, its first one included, in a clip of frames `step` seconds apart."""
        return max(round(self.window / step), 2)


class Window(NamedTuple):
    """Skin points of consecutive frames."""

    start: int
    """Row of the first frame."""
    iod: float
    """Pixels between the outer eye corners in the first frame."""
    paths: np.ndarray
    """(N,W,2) float32 image pixels of N points in W frames."""


def frame_step(times: np.ndarray) -> float:
    """Find the usual distance in seconds of frames at times (T,); a thirtieth where there is but one."""
    return max(float(np.median(np.diff(times))), 1e-3) if len(times) > 1 else 1 / 30


def find_windows(
    frames: Iterable[tuple[int, np.ndarray, np.ndarray]],
    step: float,
    config: SkinPointConfig | None = None,
) -> list[Window]:
    """Skin points in windows that do not overlap.

    Three frames are held at a time. A window breaks, and a new one starts, where a frame is lost, where almost all
    points are (a cut), and where the rows are not consecutive; give a part of the clip's frames to use that part only.

    Args:
        frames: rows, ascending, their grey images (H,W) uint8, and landmarks (L,2) in image pixels, NaN where lost; L
            is 478, 468 (MediaPipe) or 68 (IBUG).
        step: seconds from one frame to the next, see `frame_step`.
        config: how; the defaults if None.

    Raises:
        ValueError: landmarks of another number, images that are not grey uint8.
    """
    config = config or SkinPointConfig()
    length = config.length(step)
    windows: list[Window] = []
    walk: _Walk | None = None
    for row, grey, landmarks in frames:
        if landmarks.ndim != 2 or len(landmarks) not in LAYOUTS or landmarks.shape[1] != 2:
            raise ValueError(f"expected landmarks (L,2) with L of {sorted(LAYOUTS)}, got {landmarks.shape}")
        if grey.ndim != 2 or grey.dtype != np.uint8:
            raise ValueError(f"expected grey frames (H,W) uint8, got {grey.shape} {grey.dtype}")
        found = np.isfinite(landmarks).all()
        if walk is not None and not (found and row == walk.row + 1 and walk.step(grey, landmarks)):
            walk = None
        if walk is None and found:
            walk = _Walk.begin(row, grey, landmarks, config)
        if walk is not None and walk.length == length:
            windows += walk.finish()
            walk = None
    return windows


class _Walk:
    """The window in the making: its first and latest frame and the points that are still good."""

    def __init__(self, row: int, grey: np.ndarray, points: np.ndarray, iod: float, config: SkinPointConfig) -> None:
        self.row, self.iod, self.config = row, iod, config
        self.start, self.first, self.latest = row, grey, grey
        self.paths = points[:, None]  # (N,frames so far,2)
        self.least = max(1, config.min_share * len(points))

    @classmethod
    def begin(cls, row: int, grey: np.ndarray, landmarks: np.ndarray, config: SkinPointConfig) -> _Walk | None:
        """A window that starts with this frame; None if it has no corners."""
        layout = LAYOUTS[len(landmarks)]
        iod = float(np.linalg.norm(landmarks[layout.eyes[0]] - landmarks[layout.eyes[1]]))
        points = _corners(grey, landmarks, layout, iod, config)
        return cls(row, grey, points, iod, config) if len(points) else None

    @property
    def length(self) -> int:
        return self.paths.shape[1]

    def step(self, grey: np.ndarray, landmarks: np.ndarray) -> bool:
        """Follow the points into the next frame; False if too few went along."""
        if grey.shape != self.latest.shape:
            return False
        points, config = self.paths[:, -1], self.config
        reach = np.concatenate([points, landmarks])
        after, found = self._flow(self.latest, grey, points, points, reach)
        before, back = self._flow(grey, self.latest, after, after, reach)
        good = found & back & (np.linalg.norm(before - points, axis=1) < config.step_limit)
        self.paths = np.concatenate([self.paths, after[:, None]], 1)[good]
        self.row, self.latest = self.row + 1, grey
        return good.sum() >= self.least

    def finish(self) -> list[Window]:
        """The window, of the points that the last frame matches to where they began; none if too few."""
        first, last, config = self.paths[:, 0], self.paths[:, -1], self.config
        before, back = self._flow(self.latest, self.first, last, first, np.concatenate([first, last]))
        good = back & (np.linalg.norm(before - first, axis=1) < config.loop_limit * self.iod + config.step_limit)
        return [Window(self.start, self.iod, self.paths[good])] if good.sum() >= self.least else []

    def _flow(
        self, source: np.ndarray, target: np.ndarray, points: np.ndarray, guess: np.ndarray, reach: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where points (N,2) of one frame are in another, (N,2), and whether they were found, (N,).

        Only the box around `reach` (M,2), with room for the coarsest patch, is looked at: less work in large frames.
        """
        if not len(points):
            return points, np.zeros(0, bool)
        side = _patch(self.iod, self.config)
        room = side << self.config.levels
        size = source.shape[::-1]
        low = np.clip(np.floor(reach.min(0)) - room, 0, np.array(size) - 1).astype(int)
        high = np.clip(np.ceil(reach.max(0)) + room + 1, low + 1, size).astype(int)
        box = slice(low[1], high[1]), slice(low[0], high[0])
        moved, status, _ = cv2.calcOpticalFlowPyrLK(
            np.ascontiguousarray(source[box]),
            np.ascontiguousarray(target[box]),
            np.ascontiguousarray(points - low, np.float32),
            np.ascontiguousarray(guess - low, np.float32),
            winSize=(side, side),
            maxLevel=self.config.levels,
            flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
        )
        return moved + low.astype(np.float32), status[:, 0] > 0


def _patch(iod: float, config: SkinPointConfig) -> int:
    """Odd side of the matched patch, pixels."""
    return max(11, int(config.patch * iod)) | 1


def _corners(
    grey: np.ndarray, landmarks: np.ndarray, layout: Layout, iod: float, config: SkinPointConfig
) -> np.ndarray:
    """(N,2) float32 corners of the skin, pixels."""
    mask = skin_mask(landmarks, layout, config.margin * iod, grey.shape)
    found = cv2.goodFeaturesToTrack(grey, config.count, config.quality, max(3, config.spacing * iod), mask=mask)
    return np.zeros((0, 2), np.float32) if found is None else found[:, 0]


def skin_mask(landmarks: np.ndarray, layout: Layout, margin: float, size: tuple[int, int]) -> np.ndarray:
    """(H,W) uint8, 255 on the skin: the face's hull without eyes, brows and lips, `margin` pixels from all outlines."""
    mask = np.zeros(size, np.uint8)
    for group, value in ((layout.outline, 255), *((feature, 0) for feature in layout.features)):
        hull = cv2.convexHull(np.round(landmarks[list(group)]).astype(np.int32))
        cv2.fillConvexPoly(mask, hull, value)
        cv2.polylines(mask, [hull], True, 0, 2 * round(margin) + 1)  # the band eats the margin off the skin
    return mask


@dataclass(frozen=True)
class SkinError:
    """How far a mesh's skin is from where the pixels went, N points of windows of W frames."""

    start: np.ndarray  # (N,) int64, the row at which a point's window starts
    distance: np.ndarray  # (N,W) percent IOD, 0 in the first frame
    total: int  # points in all windows; N of them had a mesh under them and no lost frame

    @property
    def used(self) -> int:
        return len(self.start)

    @property
    def points(self) -> np.ndarray:
        """(N,) mean of each point over its window without the first frame, percent IOD."""
        return self.distance[:, 1:].mean(1)

    @property
    def mean(self) -> float:
        """Percent IOD; NaN without points."""
        return float(self.points.mean()) if self.used else float("nan")


def skin_error(
    windows: list[Window],
    vertices: Callable[[slice], np.ndarray],
    faces: Tensor | np.ndarray,
    size: tuple[int, int],
    ok: np.ndarray,
) -> SkinError:
    """The skin-point error of a mesh.

    Every corner is pinned to the triangle under it in its window's first frame; where the triangle goes is compared
    with where the pixels went.

    Args:
        windows: of one length, as `find_windows` gives them.
        vertices: rows -> (w,V,3) image frame, such as `Track.vertices`; called once per window.
        faces: (F,3) int64.
        size: (H,W) of the frame.
        ok: (T,) bool; windows with a lost frame or with frames beyond T are left out.
    """
    length = windows[0].paths.shape[1] if windows else 2
    starts, distances = [np.zeros(0, np.int64)], [np.zeros((0, length))]
    for window in windows:
        rows = slice(window.start, window.start + window.paths.shape[1])
        if rows.stop > len(ok) or not ok[rows].all():
            continue
        drift = _pinned_drift(window, np.asarray(vertices(rows), np.float32), torch.as_tensor(faces), size)
        distances.append(np.linalg.norm(drift, axis=-1))
        starts.append(np.full(len(drift), window.start))
    total = sum(len(window.paths) for window in windows)
    return SkinError(np.concatenate(starts), np.concatenate(distances), total)


class Pins(NamedTuple):
    """Points pinned to a mesh: M of N, those with a triangle under them."""

    hit: np.ndarray
    """(N,) bool."""
    corners: np.ndarray
    """(M,3) int64, vertices of the triangles."""
    weights: np.ndarray
    """(M,3) float32, barycentric coordinates of the pixel's centre."""

    def follow(self, vertices: np.ndarray) -> np.ndarray:
        """(M,W,2) where meshes (W,V,3) take them, image pixels; half a pixel off, which cancels in a motion."""
        return np.einsum("wnkc,nk->nwc", vertices[:, self.corners, :2], self.weights)


def pin(points: np.ndarray, vertices: np.ndarray, faces: Tensor | np.ndarray, size: tuple[int, int]) -> Pins:
    """Pin image points (N,2) to the foremost triangle of a mesh (V,3), faces (F,3), in a frame of size (H,W)."""
    faces = torch.as_tensor(faces)
    fragments = rasterize(torch.as_tensor(vertices, dtype=torch.float32)[None], faces, size)
    x, y = np.clip(np.round(points), 0, np.array(size[::-1]) - 1).astype(int).T
    triangle = fragments.face_index[0, y, x].numpy()
    hit = triangle >= 0
    return Pins(hit, faces.numpy()[triangle[hit]], fragments.barycentric[0, y, x].numpy()[hit])


def frame_error(
    windows: list[Window],
    vertices: Callable[[slice], np.ndarray],
    faces: Tensor | np.ndarray,
    size: tuple[int, int],
    ok: np.ndarray,
) -> np.ndarray:
    """(T,) skin-point error of each frame, percent IOD: as if its window were pinned to it instead of its first one.

    The mean over points and over the window's other frames. NaN in frames of no window. Arguments as `skin_error`.
    """
    errors = np.full(len(ok), np.nan)
    for window in windows:
        rows = slice(window.start, window.start + window.paths.shape[1])
        if rows.stop > len(ok) or not ok[rows].all():
            continue
        drift = _pinned_drift(window, np.asarray(vertices(rows), np.float32), torch.as_tensor(faces), size)
        if len(drift):
            apart = np.linalg.norm(drift[:, :, None] - drift[:, None], axis=-1).mean(0)  # (W,W), 0 against itself
            errors[rows] = apart.sum(1) / (len(apart) - 1)
    return errors


def _pinned_drift(window: Window, vertices: np.ndarray, faces: Tensor, size: tuple[int, int]) -> np.ndarray:
    """(N,W,2) percent IOD from the points to the mesh (W,V,3) pinned to them; N points have a mesh under them."""
    pins = pin(window.paths[:, 0], vertices[0], faces, size)
    mesh, observed = pins.follow(vertices), window.paths[pins.hit]
    return 100 / window.iod * ((mesh - mesh[:, :1]) - (observed - observed[:, :1]))
