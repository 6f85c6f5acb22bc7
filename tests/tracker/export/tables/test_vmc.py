"""Frames of the VMC protocol in a file: a line of JSON each."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from selftrack.tracker.export import write
from selftrack.tracker.results.track_file import Track


def test_a_line_for_each_frame(make_track: Callable[..., Track], tmp_path: Path) -> None:
    jaw = np.array([0.0, 0.5, 0.75])
    track = make_track([0.0, 0.04, 0.1], {"jawOpen": jaw}, ry=np.radians([0, 0, 40]), lost=[1])
    path = write(track, "vmc", tmp_path / "take.jsonl")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line["time"] for line in lines] == [0.0, 0.04, 0.1]
    assert [address for address, _ in lines[1]["messages"]] == ["/VMC/Ext/OK", "/VMC/Ext/T"]  # no face
    for line, value in ((lines[0], 0.0), (lines[2], 0.75)):
        assert line["messages"][0] == ["/VMC/Ext/OK", [1, 3, 0, 1]]
        assert line["messages"][-1] == ["/VMC/Ext/Blend/Apply", []]
        curves = dict(values for address, values in line["messages"] if address == "/VMC/Ext/Blend/Val")
        assert len(curves) == 52 and curves["JawOpen"] == pytest.approx(value)
    (head,) = (v for a, v in lines[2]["messages"] if a == "/VMC/Ext/Bone/Pos" and v[0] == "Head")
    assert head[1:] == pytest.approx([0, 0, 0, 0, np.sin(np.radians(20)), 0, np.cos(np.radians(20))], abs=1e-6)
