"""The bundled clip as the tracker sees it where it follows no pixels of the skin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from selftrack.tracker.frame_result import FrameResult
from selftrack.tracker.geometry import crop as crops
from selftrack.tracker.geometry.crop import CropStabiliser
from selftrack.tracker.model import Model
from selftrack.tracker.refinement.mouth import see_teeth
from selftrack.tracker.sources.opening import open_source
from selftrack.tracker.tracker import Tracker


@pytest.fixture(scope="package")
def model() -> Model:
    return Model.load(device="cpu")


@pytest.fixture(scope="package")
def points_alone() -> Callable[[Model], Tracker]:
    """Makes a tracker that follows no skin and holds no hidden curve."""

    def make(model: Model) -> Tracker:
        tracker = Tracker(model)
        assert tracker._refinement is not None
        tracker._refinement._skin = np.arange(0)
        tracker._hold = None
        return tracker

    return make


@pytest.fixture(scope="package")
def frames(model: Model, points_alone: Callable[[Model], Tracker], smile: Path) -> list[FrameResult]:
    """Of the whole clip."""
    tracker = points_alone(model)
    with open_source(smile) as source:
        return [tracker(frame) for frame in source]


@pytest.fixture(scope="package")
def teeth(frames: list[FrameResult], smile: Path) -> np.ndarray:
    """What the tracker saw of them in each frame (T,3), in pixels of its crop."""
    seen, steady = [], CropStabiliser()
    with open_source(smile) as source:
        for frame, found in zip(source, frames, strict=True):
            transform = steady(found.landmarks, found.time)
            seen.append(see_teeth(crops.warp(frame.image, transform), crops.apply(transform, found.landmarks)))
    return np.array(seen, np.float32)
