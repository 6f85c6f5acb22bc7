"""A photo that needs no detector: the mean head in a picture of noise."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from selftrack.tracker.export.reenact._photo import Photo
from selftrack.tracker.results.track_file import Track
from selftrack.tracker.sources.opening import open_source


@pytest.fixture
def photo(make_track: Callable[..., Track]) -> Callable[..., Photo]:
    """`photo({"jawOpen": 0.2}, ry=0.1)`: the mean head with these curves, under that pose, in smooth noise."""

    def make(curves: dict[str, float] | None = None, **pose: float) -> Photo:
        noise = np.random.default_rng(0).integers(0, 256, (32, 36, 3)).astype(np.uint8)
        image = cv2.resize(noise, (360, 320), interpolation=cv2.INTER_CUBIC)
        return Photo(image, make_track((0.0,), curves, size=(360, 320), **pose))

    return make


@pytest.fixture
def face(smile: Path, tmp_path: Path) -> Path:
    """The first frame of the bundled clip, as a picture."""
    with open_source(smile) as source:
        image = next(iter(source)).image
    path = tmp_path / "face.png"
    cv2.imwrite(str(path), image[..., ::-1])
    return path
