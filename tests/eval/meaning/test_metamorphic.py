"""Changes that leave a performance what it is: the frames they show, and how they are compared."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from selftrack.decoders.arkit import ARKIT_NAMES, OTHER_SIDE
from selftrack.eval.meaning.metamorphic import CHANGES, table, track_frames
from selftrack.eval.meaning.rates import STILL, draw
from selftrack.synthetic.scene import Stage
from selftrack.tracker.clips.config import TrackConfig, load_model
from selftrack.tracker.sources.base import Frame, SourceInfo
from selftrack.tracker.sources.opening import open_source


@pytest.fixture
def frames() -> list[Frame]:
    """Six frames at 10 a second whose pixels say their number and their column."""
    columns = np.arange(40)[None, :, None] * np.ones((20, 1, 3))
    return [Frame(n, 2 + n / 10, (columns + 40 * n).astype(np.uint8)) for n in range(6)]


def test_a_mirror_swaps_sides() -> None:
    index, other = ARKIT_NAMES.index, np.array(OTHER_SIDE)
    assert other[index("eyeBlinkLeft")] == index("eyeBlinkRight") and other[index("jawLeft")] == index("jawRight")
    assert other[index("jawOpen")] == index("jawOpen") and (other[other] == np.arange(52)).all()


def test_pictures_after_each_change(frames: list[Frame]) -> None:
    shown = {name: list(change.frames(frames)) for name, change in CHANGES.items()}
    assert shown["mirrored"][0].image[0, :, 0].tolist() == list(range(39, -1, -1))
    assert shown["half size"][0].image.shape == (10, 20, 3)
    assert shown["shifted"][0].image.shape == (19, 38, 3) and shown["shifted"][0].image[0, 0, 0] == 2
    numbers = {name: [f.image[0, 0, 0] // 40 for f in some] for name, some in shown.items()}
    assert numbers["every frame twice"] == [n for n in range(6) for _ in range(2)]
    assert numbers["backwards"] == [5, 4, 3, 2, 1, 0]
    assert numbers["frozen second"] == [0, 1, 2, *[3] * 10, 4, 5]
    for some in shown.values():
        assert [frame.index for frame in some] == list(range(len(some)))
        assert (np.diff([frame.time for frame in some]) > 0).all()
    assert shown["every frame twice"][1].time == pytest.approx(2.05)
    assert [f.time for f in shown["backwards"]] == pytest.approx([f.time for f in frames])


def test_a_tracker_that_is_not_moved_by_them_differs_nowhere() -> None:
    rng = np.random.default_rng(0)
    before = rng.random((6, 52))
    frozen = np.concatenate([before[:3], np.repeat(before[3:4], 10, 0), before[4:]])
    after = {
        "mirrored": before[:, list(OTHER_SIDE)],
        "half size": before,
        "shifted": before,
        "every frame twice": np.repeat(before, 2, 0),
        "backwards": before[::-1],
        "frozen second": frozen,
    }
    rows = {name: change.compare(before, after[name]) for name, change in CHANGES.items()}
    assert all((row == 0).all() for row in rows.values())
    moved = CHANGES["frozen second"].compare(before, frozen + 0.3 * np.arange(len(frozen))[:, None])
    np.testing.assert_allclose(moved, 0.3 * 7)  # the last eight of the ten frozen frames
    assert "| mirrored | 0.0000 |" in table(rows)


def mirrored(info: SourceInfo, frames: list[Frame]) -> np.ndarray:
    """By how much each curve (52,) of a clip differs from that of the mirrored clip."""
    model, change = load_model(TrackConfig()), CHANGES["mirrored"]
    before, after = (track_frames(info, some, model) for some in (frames, list(change.frames(frames))))
    assert before.ok.all() and after.ok.all()
    return change.compare(before.curve_values, after.curve_values)


def test_the_mirrored_clip_has_the_mirrored_curves(smile: Path) -> None:
    with open_source(smile) as source:
        assert mirrored(source.info, list(source.frames(only=range(0, 72, 3)))).max() < 0.03


def test_a_mirrored_performance_has_the_mirrored_curves(smile: Path) -> None:
    with open_source(smile) as source:  # for what else a source says
        info = replace(source.info, width=STILL.size, height=STILL.size)
    assert mirrored(info, draw(Stage(replace(STILL, exposures=1)), 2, 2, 6)).max() < 0.03
