"""What the window shows, and where there is none."""

from collections.abc import Callable

import numpy as np
import pytest

from selftrack.tracker.live.preview import drawn, missing_display
from selftrack.tracker.tracker import Tracker


@pytest.mark.parametrize("height, width, scale", [(100, 120, 1.0), (1440, 1000, 0.5)])
def test_points_where_they_are(fake_model: Callable, height: int, width: int, scale: float) -> None:
    """Green ones where the face is, in colours as OpenCV shows them, and a size that fits on a screen."""
    image = np.full((height, width, 3), 20, np.uint8)
    image[..., 0] += 30
    result = Tracker(fake_model())(np.full((100, 120, 3), 20, np.uint8))
    picture = drawn(image, result, "")
    assert picture.shape == (round(height * scale), round(width * scale), 3)
    np.testing.assert_array_equal(picture[0, 0], [20, 20, 50])
    x, y = np.median((result.landmarks + 0.5) * scale, axis=0).astype(int)
    face = picture[max(y - 15, 0) : y + 15, max(x - 15, 0) : x + 15].astype(int)
    coloured = np.abs(face - [20, 20, 50]).sum(axis=2) > 60
    assert 0.05 < coloured.mean()


def test_without_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert missing_display().startswith("no preview: there is no display here")
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert missing_display() == ""
