"""`track-export --preset` as it is typed, and that no other command has it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from selftrack.tracker.results.track_file import Track


def jaw_of(path: str) -> list[float]:
    header, *rows = (line.split(",") for line in Path(path).read_text().splitlines())
    return [float(row[header.index("jawOpen")]) for row in rows]


def test_over_a_performance_and_alone(run: Callable, make_track: Callable[..., Track]) -> None:
    make_track(np.arange(2) / 25, {"jawOpen": np.array([0.5, 1.0])}).save(Path())
    Path("mine.yaml").write_text("gape: {jawOpen: 0.8}\nhush: {mouthPucker: 0.5}\n")
    to = ("track-export", ".", "--to", "csv", "-o", "a.csv", "--presets", "mine.yaml")
    for arguments, expected in (
        (["--preset", "gape=0.5"], [0.5 + 0.5 * 0.4, 1]),
        (["--preset", "gape", "--preset", "hush=0.2"], [0.5 + 0.5 * 0.8, 1]),
        (["--preset", "gape=0.5", "--preset-only"], [0.4, 0.4]),
        (["--preset", "happy=0"], [0.5, 1]),
    ):
        status, _, err = run(*to, *arguments)
        assert status == 0, err
        assert jaw_of("a.csv") == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--preset", "hapy=1"], "there is no expression 'hapy'; known are happy, sad, angry"),
        (["--preset", "happy=2"], "--preset happy: the intensity must be from 0 to 1; got 2"),
        (["--preset", "happy=much"], "--preset takes NAME=INTENSITY, such as happy=0.7; got 'happy=much'"),
        (["--preset", "happy=0.2", "--preset", "happy"], "--preset names happy twice; name it once"),
        (["--preset-only"], "--preset-only does nothing without --preset"),
        (["--presets", "mine.yaml"], "--presets does nothing without --preset"),
        (["--presets", "nowhere.yaml", "--preset", "grin"], "nowhere.yaml: cannot be read as YAML (No such file"),
    ],
)
def test_bad_input_is_one_line(run: Callable, wink: Track, arguments: list[str], words: str) -> None:
    wink.save(Path())
    status, out, err = run("track-export", ".", "--to", "csv", *arguments)
    assert status == 2 and out == "" and len(err.splitlines()) == 1 and words in err, err
    assert [path.name for path in Path().iterdir()] == ["track.npz"]


@pytest.mark.parametrize("command", ["track", "track-batch"])
def test_expressions_are_of_track_export_alone(run: Callable, smile: Path, command: str) -> None:
    """One name means one thing: how long --adapt learns is --thorough."""
    status, out, err = run(command, smile, "-o", "out", "--adapt", "--preset", "happy=0.7")
    assert status == 2 and out == "" and len(err.splitlines()) == 1
    assert "no such option: --preset" in err and not Path("out").exists()
