"""What adaptation keeps of a clip in memory: points, crops, frozen features and the pixels around the face."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
import torch
from torch import Tensor

from selftrack.adapt.frames.split import EVERY, Split, block_length, split_rows
from selftrack.errors import TooLittleError, UserError
from selftrack.tracker.clips.notes import no_face
from selftrack.tracker.geometry import crop as crops
from selftrack.tracker.geometry.crop import CropStabiliser, inter_ocular
from selftrack.tracker.landmarks.base import Places
from selftrack.tracker.landmarks.everyone import thumbnail
from selftrack.tracker.model import Crops, Model
from selftrack.tracker.network.i2znet import Features, Heads
from selftrack.tracker.progress import Steps, no_steps
from selftrack.tracker.refinement.flow import View
from selftrack.tracker.results.skin_points import frame_step
from selftrack.tracker.sources.base import Frame, FrameSource
from selftrack.tracker.tracker import TrackerConfig


@dataclass(frozen=True)
class ClipConfig:
    """Settings of what is kept."""

    frames: int = 600
    """At most so many; of a longer clip, stretches of 2.7 seconds spread evenly over it."""
    margin: float = 0.15
    """Around the landmarks, in sides of their bounding box."""
    max_iod: float = 160.0
    """Larger faces are shrunk to this inter-ocular distance in pixels."""
    blur: float = 0.012
    """Standard deviation in inter-ocular distances of the blur that leaves sub-pixel interpolation no favourite."""
    maps: bool = False
    """Whether the frozen streams' maps themselves are kept, so that the convolutions that compress them are trained,
    too, as in the paper: 4 MB a frame of VGG-16 and FAN, 0.2 MB of the bundled network."""
    cut: float = 30.0
    """Mean change of a thumbnail between neighbours, in grey levels, that is a cut if others change much less."""


BATCH = 8  # frames that go through the network together


class Pixels:
    """The surroundings of the face in T frames, at the frames' own resolution, sampled bilinearly."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []
        self._places: list[tuple[float, float, float, int, int, int]] = []
        self._used = 0

    def add(self, frame: np.ndarray, points: np.ndarray, iod: float, config: ClipConfig) -> None:
        """Keep what `frame` (H,W,3) uint8 shows around points (L,2)."""
        low, high = points.min(0), points.max(0)
        margin = config.margin * (high - low).max()
        bounds = np.array(frame.shape[1::-1])
        low = np.clip(np.floor(low - margin), 0, bounds - 1).astype(int)
        high = np.clip(np.ceil(high + margin), low + 1, bounds).astype(int)
        region = frame[low[1] : high[1], low[0] : high[0]]
        scale = min(1.0, config.max_iod / iod)
        if scale < 1:
            region = cv2.resize(region, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        region = cv2.GaussianBlur(region, (0, 0), max(config.blur * iod * scale, 0.5))
        height, width = region.shape[:2]
        scale_x, scale_y = width / (high[0] - low[0]), height / (high[1] - low[1])
        # frame pixel p lies at (p + 0.5 - low) * scale - 0.5 of the region
        self._places.append((*low, scale_x, scale_y, width, height))
        self._parts.append(cv2.cvtColor(region, cv2.COLOR_RGB2RGBA).reshape(-1, 4))

    def close(self) -> None:
        """All frames are in."""
        starts = np.cumsum([0, *(len(p) for p in self._parts)])[:-1]
        # (P,) RGBA in one number each, gathered in half the time that three need
        self.values = torch.from_numpy(np.concatenate(self._parts)).view(torch.int32)[:, 0]
        self.start = torch.from_numpy(starts)
        self.place = torch.tensor(self._places, dtype=torch.float32)  # (T,6)
        self._parts.clear()

    def to(self, device: torch.device | str) -> Pixels:
        """Moved to a device."""
        self.values, self.start, self.place = (x.to(device) for x in (self.values, self.start, self.place))
        return self

    def sample(self, rows: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """RGB (B,3,N) in 0..1 at points (B,N,2) in image pixels of frames `rows` (B,), and whether they lie inside.

        Bilinear as Eq. 7 and differentiable in the points; outside what is kept, the border's values.
        """
        low, scale, size = self.place[rows][:, None].split(2, 2)
        at = (points + 0.5 - low) * scale - 0.5
        inside = ((at >= 0) & (at <= size - 1)).all(2)
        at = torch.minimum(at.clamp(min=0), size - 1).nan_to_num()  # a state that diverged is judged, not looked up
        corner = torch.minimum(at.detach().floor(), (size - 2).clamp(min=0)).long()
        fraction = at - corner
        width = size[..., 0].long()
        base = self.start[rows][:, None] + corner[..., 1] * width + corner[..., 0]
        right, below = (size[..., 0] > 1).long(), width * (size[..., 1] > 1)
        x, y = fraction[..., :1], fraction[..., 1:]
        a, b, c, d = (self._take(base + shift) for shift in (0, right, below, below + right))
        top, bottom = a + x * (b - a), c + x * (d - c)
        return (top + y * (bottom - top))[..., :3].transpose(1, 2) / 255, inside

    def _take(self, index: Tensor) -> Tensor:
        pixels = self.values.index_select(0, index.reshape(-1)).view(torch.uint8)
        return pixels.view(*index.shape, 4).float()


@dataclass
class Clip:
    """T frames with a face, in the clip's order."""

    rows: np.ndarray  # (T,) their numbers in the clip
    times: np.ndarray  # (T,) seconds
    shot: np.ndarray  # (T,) number of the shot between two cuts or gaps that each belongs to
    points: Tensor  # (T,L,2) detected, image pixels
    iod: Tensor  # (T,) pixels
    transform: Tensor  # (T,2,3) image -> crop
    views: list[View]  # T, the crops
    levels: list[Tensor]  # per level what the frozen streams say: (T,N) compressed, or (T,C,s,s) half, the maps
    pixels: Pixels
    size: tuple[int, int]  # width, height of the frame
    total: int  # frames of the clip
    split: Split  # the clip's frame numbers to learn from, select and report by

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def crop_points(self) -> Tensor:
        """The detected points (T,L,2) in the crop frame."""
        return self.points @ self.transform[:, :, :2].transpose(1, 2) + self.transform[:, None, :, 2]

    def to(self, device: torch.device) -> Clip:
        """Moved to a device."""
        points, iod, transform = (x.to(device) for x in (self.points, self.iod, self.transform))
        levels = [level.to(device) for level in self.levels]
        pixels = self.pixels.to(device)
        return replace(self, points=points, iod=iod, transform=transform, levels=levels, pixels=pixels)

    def features(self, heads: Heads, rows: Tensor) -> Features:
        """What heads read from frames `rows` (B,)."""
        levels = [level[rows] for level in self.levels]
        if any(level.ndim == 4 for level in levels):
            levels = heads.compress([level.float() for level in levels])
        return heads.features(levels, self.crop_points[rows])


def chosen_rows(count: int, most: int, step: float) -> np.ndarray:
    """Of `count` rows, `step` seconds apart, all or stretches of neighbours spread evenly, `most` in all. A stretch has
    five blocks of the split, one of them held out."""
    stretch = EVERY * block_length(step)
    stretches = most // stretch
    if count <= max(most, stretch) or stretches < 1:
        return np.arange(min(count, max(most, stretch)))
    starts = np.linspace(0, count - stretch, stretches).astype(int)
    return np.unique((starts[:, None] + np.arange(stretch)).ravel())


def read_clip(
    source: FrameSource,
    model: Model,
    tracking: TrackerConfig,
    config: ClipConfig,
    progress: Steps = no_steps,
    places: Places | None = None,
) -> Clip:
    """Detect, crop and perceive a clip once; `places` are those of the face where there are several.

    Raises:
        UserError: the clip cannot be read.
        TooLittleError: fewer than eight frames show a face.
        NoFaceError: none does.
    """
    count = source.count()
    if count is None or not source.repeatable:
        raise UserError(f"{source.title}: has no end, so it cannot be adapted to; record it first")
    wanted = chosen_rows(count, config.frames, 1 / float(source.info.rate))
    follower, stabiliser = model.landmarks.follower(tracking.detect, places), CropStabiliser(tracking.crop)
    kept, shots, times, last = _Kept(model, config), _Shots(config.cut), list[float](), None
    for done, frame in enumerate(source.frames(only=set(wanted.tolist())), 1):
        if last is not None and frame.index != last + 1:
            follower.reset()
            stabiliser.reset()
        last = frame.index
        times.append(frame.time)
        found = follower(frame.image, frame.time)
        shots.add(frame.image, frame.index, found is not None)
        progress(done, len(wanted))
        if found is None:
            stabiliser.reset()
        else:
            kept.add(frame, found.points, stabiliser(found.points, frame.time))
    if not len(kept):
        raise no_face(source.title, len(wanted), outcome="nothing was adapted to")
    if len(kept) < 8:
        raise TooLittleError(
            f"{source.title}: a face in {len(kept)} frames is too little to adapt to; track it without --adapt"
        )
    parts = split_rows(len(wanted), frame_step(np.array(times)))
    split = Split(*(wanted[part] for part in parts))
    return kept.clip(shots.numbers(), (source.info.width, source.info.height), count, split)


class _Kept:
    """A clip in the making."""

    def __init__(self, model: Model, config: ClipConfig) -> None:
        self._model, self._config, self._pixels = model, config, Pixels()
        self._rows: list[int] = []
        self._times: list[float] = []
        self._points: list[np.ndarray] = []
        self._transforms: list[np.ndarray] = []
        self._views: list[View] = []
        self._levels: list[list[Tensor]] = []
        self._pending: list[tuple[np.ndarray, np.ndarray]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, frame: Frame, points: np.ndarray, transform: np.ndarray) -> None:
        """A frame with landmarks (L,2) and crop (2,3)."""
        self._rows.append(frame.index)
        self._times.append(frame.time)
        self._points.append(points)
        self._transforms.append(transform)
        self._pixels.add(frame.image, points, float(inter_ocular(points)), self._config)
        picture = crops.warp(frame.image, transform)
        self._views.append(View.of(picture, transform, points))
        self._pending.append((picture, crops.apply(transform, points)))
        if len(self._pending) == BATCH:
            self._perceive()

    @torch.no_grad()
    def _perceive(self) -> None:
        pictures, points = (np.stack(part) for part in zip(*self._pending, strict=True))
        images, at = self._model.tensors(Crops(pictures, points))
        network = self._model.network
        perceived = network.perceive(images)
        if self._config.maps:
            self._levels.append([level.half() for level in network.levels(images, at, perceived)])
        else:
            self._levels.append(network.compressed(images, at, perceived))
        self._pending = []

    def clip(self, shot: np.ndarray, size: tuple[int, int], total: int, split: Split) -> Clip:
        """The clip, on the model's device."""
        if self._pending:
            self._perceive()
        self._pixels.close()
        device, at = self._model.device, torch.from_numpy(np.stack(self._points)).float()
        return Clip(
            rows=np.array(self._rows),
            times=np.array(self._times),
            shot=shot,
            points=at.to(device),
            iod=torch.from_numpy(inter_ocular(at.numpy())).to(device),
            transform=torch.from_numpy(np.stack(self._transforms)).float().to(device),
            views=self._views,
            levels=[torch.cat(level) for level in zip(*self._levels, strict=True)],
            pixels=self._pixels.to(device),
            size=size,
            total=max(total, self._rows[-1] + 1),
            split=split,
        )


class _Shots:
    """Numbers the shots of a clip: a cut, a gap in the rows or a lost face begins a new one."""

    def __init__(self, cut: float) -> None:
        self._cut = cut
        self._rows: list[int] = []
        self._found: list[bool] = []
        self._changes: list[float] = []
        self._last: np.ndarray | None = None

    def add(self, image: np.ndarray, row: int, found: bool) -> None:
        small = thumbnail(image)
        change = 0.0 if self._last is None else float(np.abs(small - self._last).mean())
        self._last = small
        self._rows.append(row)
        self._found.append(found)
        self._changes.append(change)

    def numbers(self) -> np.ndarray:
        """(T,) of the frames with a face."""
        changes, rows, found = np.array(self._changes), np.array(self._rows), np.array(self._found)
        usual = np.median(changes)
        breaks = (changes > self._cut) & (changes > 5 * usual)
        breaks[1:] |= (np.diff(rows) > 1) | (found[1:] != found[:-1])
        return np.cumsum(breaks)[found]
