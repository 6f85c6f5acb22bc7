"""The comparison of tracks, and the tuning of filters to a given steadiness."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from decoders.head import Head, load_head
from eval.compare import bisect, compare, table
from eval.filters import filtered, savitzky_golay
from eval.metrics import Metrics, Ratio, RootMeanSquare, Stability
from tracker.points import Window
from tracker.track_file import Track


def shaky(head: Head, count: int = 20) -> Track:
    """A head that sways smoothly and shakes by a pixel."""
    rng, rows = np.random.default_rng(0), np.arange(count)
    pose = np.zeros((count, 6))
    pose[:, 0], pose[:, 4], pose[:, 5] = np.log(900), 160 + 30 * np.sin(rows / 8), 120
    pose[:, 4:] += rng.normal(size=(count, 2))
    codes = np.zeros((count, head.size))
    codes[:, head.expression] = 0.3 + 0.03 * rng.normal(size=codes[:, head.expression].shape)
    points = rng.uniform(100, 200, (count, 478, 2))
    points[:, 33], points[:, 263] = [130, 100], [190, 100]
    values = dict(
        times=rows / 30,
        ok=np.ones(count, bool),
        z=codes.astype(np.float32),
        H_image=pose.astype(np.float32),
        landmarks=points,
        inverse_distance=0.0,
        size=(320, 240),
        clip_hash="a",
        decoder=head.name,
        decoder_hash=head.hash,
        config=json.dumps({}),
    )
    track = object.__new__(Track)  # of its fields, those that count here
    for name in Track.__dataclass_fields__:
        object.__setattr__(track, name, values.get(name))
    return track


def test_bisect_finds_the_border() -> None:
    assert bisect(lambda x: x <= 2.7, 0, 10, 20) == pytest.approx(2.7, abs=1e-4)
    assert bisect(lambda x: True, 0, 10, 20) == pytest.approx(10, abs=1e-4)


def test_filters_become_as_steady_as_the_second_track() -> None:
    track = shaky(load_head())
    steadier = filtered(track, lambda values, times: savitzky_golay(values, 9))
    rest = np.repeat(np.array([[[160.0, 120]]], np.float32), 12, 1)
    rows = compare({"a": track, "b": steadier}, [Window(0, 60.0, rest)], filters=True)
    assert "Savitzky-Golay 9" in rows and len(rows) == 6
    wanted = rows["b"].screen.ratio.value() + rows["b"].local.ratio.value()
    assert rows["Savitzky-Golay 9"].values() == pytest.approx(rows["b"].values())
    euro = rows[next(name for name in rows if name.endswith("beta 0"))]
    assert euro.screen.ratio.value() + euro.local.ratio.value() == pytest.approx(wanted, abs=0.02)


def test_refuses_what_cannot_be_compared() -> None:
    track = shaky(load_head())
    with pytest.raises(ValueError, match="same clip"):
        compare({"a": track, "b": replace(track, clip_hash="b")}, [])
    with pytest.raises(ValueError, match="second track"):
        compare({"a": track}, [], filters=True)


def test_table() -> None:
    steady = Stability(Ratio(2, 1), Ratio(3, 2), RootMeanSquare(1, 1))
    text = table({"mine": Metrics(steady, steady, Ratio(1, 4), Ratio(2, 8))})
    assert text.splitlines()[2] == "| mine | 0.250 | 1.500 | 1.500 | 0.250 | 8 |"
    assert len({line.count("|") for line in text.splitlines()}) == 1
