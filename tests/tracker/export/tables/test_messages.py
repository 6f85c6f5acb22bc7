"""Files of OSC messages: what is in them, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from selftrack.errors import UserError
from selftrack.tracker.export import write
from selftrack.tracker.export.tables.messages import read_messages
from selftrack.tracker.results.track_file import Track

FRAME = '{"time": 1.5, "messages": [["/a", [1, 0.5, "b"]]]}\n'


def test_osc_has_a_line_for_each_frame(make_track: Callable[..., Track], tmp_path: Path) -> None:
    """The values of `curves.csv`, by their names there."""
    track = make_track([0.0, 0.04, 0.1], {"jawOpen": np.array([0.0, 0.5, 0.75])}, ry=np.radians([0, 0, 40]), lost=[1])
    path = write(track, "osc", tmp_path / "take.jsonl")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line["time"] for line in lines] == [0.0, 0.04, 0.1]
    values = [{address: value for address, (value,) in line["messages"]} for line in lines]
    assert values[1] == {"/frame/time": 0.04, "/frame/ok": 0, "/frame/confidence": 0.0}
    assert values[2]["/face/jawOpen"] == 0.75 and values[2]["/frame/ok"] == 1
    assert values[2]["/head/yaw"] == pytest.approx(40, abs=1e-4)
    assert values[2]["/head/scale"] == pytest.approx(float(np.exp(track.H_image[2, 0])), rel=1e-6)
    assert len(values[2]) == 3 + 6 + 52


@pytest.mark.parametrize("to", ["osc", "vmc"])
def test_what_is_written_is_read(make_track: Callable[..., Track], tmp_path: Path, to: str) -> None:
    track = make_track([0.0, 0.04], {"jawOpen": 0.5})
    path = write(track, to, tmp_path / "take.jsonl")
    for line, moment in zip(path.read_text(encoding="utf-8").splitlines(), read_messages(path), strict=True):
        messages = [[message.address, list(message.arguments)] for message in moment.messages]
        assert {"time": moment.time, "messages": messages} == json.loads(line)


@pytest.mark.parametrize(
    "text,words",
    [
        ("", "holds no frame"),
        (FRAME + "half a li", "line 2 is no frame"),
        (FRAME + FRAME.replace("1.5", "1.4"), "line 2 is earlier"),
        (FRAME.replace("1.5", "NaN"), "line 1 is no frame"),
        (FRAME.replace("/a", "a"), "line 1 is no frame"),
        (FRAME.replace("0.5", "null"), "line 1 is no frame"),
        ("[1, 2]\n", "line 1 is no frame"),
        ('{"time": 0, "messages": [[]]}\n', "line 1 is no frame"),
        ("time,jawOpen\n", "line 1 is no frame"),
    ],
)
def test_what_is_no_such_file_is_said(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "take.jsonl"
    path.write_text(text)
    with pytest.raises(UserError, match=f"take.jsonl: {words}"):
        list(read_messages(path))


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read .No such file"):
        list(read_messages(tmp_path / "none.jsonl"))
    (tmp_path / "film.mp4").write_bytes(bytes(range(128, 256)))
    with pytest.raises(UserError, match="cannot be read .it is no text"):
        list(read_messages(tmp_path / "film.mp4"))
