"""What all trackers of a clip are measured against: its skin points, and the landmarks that show where the skin is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch

from selftrack.errors import UserError
from selftrack.eval.metrics.subject import Annotations, Mesh, TrackedClip
from selftrack.tracker.landmarks.detectors import AttentionMesh
from selftrack.tracker.landmarks.search import DetectConfig
from selftrack.tracker.mapped import give_back
from selftrack.tracker.progress import TRACKING, Progress, no_progress
from selftrack.tracker.results.clip import open_clip
from selftrack.tracker.results.skin_points import Window, find_windows, frame_step
from selftrack.tracker.results.track_file import Track
from selftrack.tracker.sources.base import Frame
from selftrack.tracker.sources.opening import open_source

_PIECE = 1000  # frames whose landmarks are read before their memory is given back


@dataclass(frozen=True)
class Reference:
    """A clip as its pixels show it; its skin points depend on no tracker."""

    clip_hash: str
    size: tuple[int, int]
    """(H,W)."""
    landmarks: np.ndarray
    """(T,L,2) detected points, image pixels, NaN where lost: they give the place of the skin and the IOD."""
    windows: list[Window]

    @classmethod
    def of(cls, track: Track, progress: Progress = no_progress) -> Reference:
        """Take a track's clip, which is read again. Raises UserError when it cannot be read."""
        return cls(track.clip_hash, track.size[::-1], track.landmarks, skin_windows(track, progress))

    @classmethod
    def detect(cls, clip: Path, progress: Progress = no_progress) -> Reference:
        """Take a clip in which our own detector follows the largest face; the clip is read twice.

        Raises:
            UserError: the clip cannot be read, or there is no face in it.
        """
        follower, points, times = AttentionMesh(torch.device("cpu")).follower(DetectConfig()), [], []
        with open_source(clip) as source:
            size, total = (source.info.height, source.info.width), source.count() or 0
            for frame in source:
                found = follower(frame.image, frame.time)
                times.append(frame.time)
                points.append(found.points if found else np.full((478, 2), np.nan, np.float32))
                progress(TRACKING, len(points), max(total, len(points)))
            landmarks = np.stack(points)
            if np.isnan(landmarks).all():
                raise UserError(f"{clip}: no face was found in any frame; name a clip that shows one")
            windows = find_windows(_seen(source.frames(), landmarks), frame_step(np.array(times)))
            return cls(source.fingerprint(), size, landmarks, windows)

    def tracked(
        self, tracker: Track | Mesh, ok: np.ndarray | None = None, annotations: Annotations | None = None
    ) -> TrackedClip:
        """Put a tracker's mesh into this clip; only the frames `ok` (T,) count, by default those with a face."""
        if isinstance(tracker, Track):
            clip = TrackedClip.of(tracker, self.windows, annotations)
        else:
            lost = int((~tracker.ok).sum())
            clip = TrackedClip(tracker, self.windows, self.landmarks, self.size, lost, annotations=annotations)
        return clip if ok is None else replace(clip, mesh=replace(clip.mesh, ok=ok))


def skin_windows(track: Track, progress: Progress = no_progress) -> list[Window]:
    """Follow the skin points of the track's clip, which is read again. Raises UserError when it cannot be read."""
    with open_clip(track, verify=True) as source:
        return find_windows(_seen(source.frames(), track.landmarks, progress), frame_step(track.times))


def _seen(
    frames: Iterator[Frame], landmarks: np.ndarray, progress: Progress = no_progress
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """What `find_windows` needs of frames, of those with landmarks (T,L,2)."""
    count = len(landmarks)
    for frame in islice(frames, count):
        yield frame.index, cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY), landmarks[frame.index]
        progress("following the skin", frame.index + 1, count)
        if frame.index % _PIECE == 0:
            give_back(landmarks)
