"""What must not change the curves, and how much it does: the same clip mirrored, half as large, shifted, with every
frame twice, backwards, and with a frozen second.

    python -m selftrack.eval.meaning.metamorphic CLIP...

No truth is needed: two tracks of one performance must say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import replace
from typing import Annotated, NamedTuple

import cv2
import numpy as np
import typer

from selftrack.command import run
from selftrack.decoders.arkit import ARKIT_NAMES, OTHER_SIDE
from selftrack.io import markdown_table
from selftrack.tracker.clips.config import TrackConfig, load_model
from selftrack.tracker.clips.subjects import find_in_clip
from selftrack.tracker.model import Model
from selftrack.tracker.results.track_file import Track
from selftrack.tracker.sources.base import Frame, FrameSource, SourceInfo, Window
from selftrack.tracker.sources.opening import open_source
from selftrack.tracker.tracker import Tracker

SHIFT = 0.06
"""Share of the frame's width and height that is cut off at the left and at the top."""
FROZEN = 1.0
"""Seconds for which the middle frame stands."""


class Change(NamedTuple):
    """A change that leaves the performance what it is."""

    frames: Callable[[list[Frame]], Iterator[Frame]]
    """Frames of a clip as they are shown after the change."""
    compare: Callable[[np.ndarray, np.ndarray], np.ndarray]
    """Of curves (T,52) before and (U,52) after: by how much each differs (52,)."""


def _each(alter: Callable[[np.ndarray], np.ndarray]) -> Callable[[list[Frame]], Iterator[Frame]]:
    return lambda frames: (replace(frame, image=np.ascontiguousarray(alter(frame.image))) for frame in frames)


def _half(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def _shifted(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    return image[round(SHIFT * height) :, round(SHIFT * width) :]


def _doubled(frames: list[Frame]) -> Iterator[Frame]:
    times = [frame.time for frame in frames] + [frames[-1].time + _step(frames)]
    for number, frame in enumerate(frames):
        yield replace(frame, index=2 * number)
        yield replace(frame, index=2 * number + 1, time=(times[number] + times[number + 1]) / 2)


def _backwards(frames: list[Frame]) -> Iterator[Frame]:
    last = frames[-1].time + frames[0].time
    for number, frame in enumerate(reversed(frames)):
        yield replace(frame, index=number, time=last - frame.time)


def _frozen(frames: list[Frame]) -> Iterator[Frame]:
    middle, count, step = len(frames) // 2, _still(frames), _step(frames)
    for number, frame in enumerate([*frames[:middle], *[frames[middle]] * count, *frames[middle + 1 :]]):
        yield replace(frame, index=number, time=frames[0].time + number * step)


def _step(frames: list[Frame]) -> float:
    return (frames[-1].time - frames[0].time) / max(len(frames) - 1, 1)


def _still(frames: list[Frame]) -> int:
    """How many frames the frozen one stands for."""
    return max(round(FROZEN / max(_step(frames), 1e-3)), 2)


def _difference(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return np.abs(before - after).mean(0)


def _drift(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Largest change within the frozen stretch, after the first fifth of it, in which the damping settles."""
    middle, count = len(before) // 2, len(after) - len(before) + 1
    return np.ptp(after[middle + count // 5 : middle + count], axis=0)


CHANGES = {
    "mirrored": Change(_each(lambda image: image[:, ::-1]), lambda a, b: _difference(a, b[:, list(OTHER_SIDE)])),
    "half size": Change(_each(_half), _difference),
    "shifted": Change(_each(_shifted), _difference),
    "every frame twice": Change(_doubled, lambda a, b: _difference(a, b[::2])),
    "backwards": Change(_backwards, lambda a, b: _difference(a, b[::-1])),
    "frozen second": Change(_frozen, _drift),
}


class _Memory(FrameSource):
    """Frames in memory as a clip."""

    def __init__(self, info: SourceInfo, frames: list[Frame]) -> None:
        super().__init__()
        height, width = frames[0].image.shape[:2]
        self.info, self.window = replace(info, width=width, height=height), Window()
        self._frames = frames

    def count(self) -> int:
        return len(self._frames)

    def fingerprint(self) -> str:
        return ""

    def _read(self, only: Container[int] | None) -> Iterator[Frame]:
        return (frame for frame in self._frames if only is None or frame.index in only)


def track_frames(info: SourceInfo, frames: list[Frame], model: Model) -> Track:
    """Track frames in memory as a file is tracked."""
    config = TrackConfig()
    with _Memory(info, frames) as clip:
        subject, *_ = find_in_clip(clip, model, config, config.person)
        tracker = Tracker(model, config, subject)
        for _ in tracker.stream(clip.frames()):
            pass
        return tracker.finish()


def measure(source: FrameSource, model: Model) -> dict[str, np.ndarray]:
    """Say by how much each curve (52,) differs after each change."""
    frames = [replace(frame, index=number) for number, frame in enumerate(source.frames())]
    before = track_frames(source.info, frames, model).curve_values
    return {
        name: change.compare(before, track_frames(source.info, list(change.frames(frames)), model).curve_values)
        for name, change in CHANGES.items()
    }


def table(rows: dict[str, np.ndarray]) -> str:
    """A Markdown table: mean over the curves, and the three that differ most."""
    lines = []
    for name, differs in rows.items():
        most = [f"{ARKIT_NAMES[i]} {differs[i]:.3f}" for i in np.argsort(differs)[::-1][:3]]
        lines.append([name, f"{differs.mean():.4f}", ", ".join(most)])
    return markdown_table(["change", "mean difference", "most"], lines)


def main(
    clips: Annotated[list[str], typer.Argument(help="Clips, of some seconds each: they are held in memory.")],
) -> None:
    """Measure what changes the curves and should not."""
    model = load_model(TrackConfig())
    found = []
    for clip in clips:
        with open_source(clip) as source:
            found.append(measure(source, model))
        print(f"{clip}\n\n{table(found[-1])}", flush=True)
    if len(found) > 1:
        mean = {name: np.mean([rows[name] for rows in found], axis=0) for name in CHANGES}
        print(f"mean of {len(found)} clips\n\n{table(mean)}")


if __name__ == "__main__":
    run("python -m selftrack.eval.meaning.metamorphic", metamorphic=main)
