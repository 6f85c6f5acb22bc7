"""Changes that leave a performance what it is: the frames they show, and how they are compared."""

import numpy as np
import pytest

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.eval.meaning.metamorphic import CHANGES, MIRROR, table
from selftrack.tracker.sources.base import Frame


@pytest.fixture
def frames() -> list[Frame]:
    """Six frames at 10 a second whose pixels say their number and their column."""
    columns = np.arange(40)[None, :, None] * np.ones((20, 1, 3))
    return [Frame(n, 2 + n / 10, (columns + 40 * n).astype(np.uint8)) for n in range(6)]


def test_a_mirror_swaps_sides() -> None:
    index = ARKIT_NAMES.index
    assert MIRROR[index("eyeBlinkLeft")] == index("eyeBlinkRight") and MIRROR[index("jawLeft")] == index("jawRight")
    assert MIRROR[index("jawOpen")] == index("jawOpen") and (MIRROR[MIRROR] == np.arange(52)).all()


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
        "mirrored": before[:, MIRROR],
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
