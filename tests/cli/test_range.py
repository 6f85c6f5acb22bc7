"""`track-range` and `track-export --range` as they are typed."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from selftrack.tracker.results.track_file import Track

JAW = np.array([0.0, 0.05, 0.25, 0.65, 1.0])


@pytest.fixture
def opening(make_track: Callable[..., Track]) -> Track:
    """Five frames at 25 a second of a jaw that opens."""
    return make_track(np.arange(5) / 25, {"jawOpen": JAW})


def test_learned_and_applied(run: Callable, opening: Track) -> None:
    """Medians of 0.1 s around: 0.05 at rest and, at the end, 0.65."""
    opening.save(Path())
    status, out, err = run("track-range", ".", "-o", "hero.json", "--neutral", 0, "--full", "jawOpen=0.16")
    assert status == 0 and out == "hero.json\n", err
    learned = json.loads(Path("hero.json").read_text())["jawOpen"]
    assert learned == {"neutral": 0.05, "gain": 1.6667, "max": 1.0}
    status, out, err = run("track-export", ".", "--to", "csv", "-o", "a.csv", "--range", "hero.json")
    assert status == 0, err
    header, *rows = (line.split(",") for line in Path("a.csv").read_text().splitlines())
    jaw = [float(row[header.index("jawOpen")]) for row in rows]
    np.testing.assert_allclose(jaw, ((JAW - learned["neutral"]) * learned["gain"]).clip(0, 1), atol=1e-6)


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        ("track-range", [".", "-o", "a.json"], "nothing to learn from"),
        ("track-range", [".", "-o", "a.csv", "--neutral", "0"], "end with .json"),
        ("track-range", [".", "-o", "a.json", "--full", "jawOpen"], "--full takes CURVE=SECOND"),
        ("track-range", ["nowhere", "-o", "a.json", "--neutral", "0"], "no such file"),
        ("track-export", [".", "--to", "csv", "--range", "nowhere.json"], "nowhere.json: cannot be read"),
    ],
)
def test_bad_input_is_one_line(run: Callable, opening: Track, command: str, arguments: list[str], words: str) -> None:
    opening.save(Path())
    status, out, err = run(command, *arguments)
    assert status == 2 and out == "" and len(err.splitlines()) == 1 and words in err, err
    assert [path.name for path in Path().iterdir()] == ["track.npz"]
