"""Times through every format that has them, at the usual rates and a varying one, across a clip's first minute.

Those of livelink, unreal, csv, parquet, npz and openface are in tests of these; those of the scripts in test_dcc;
mov's in test_matte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pygltflib
import pytest

from selftrack.tracker.export import FORMATS, default_path, write
from selftrack.tracker.export.timing import frame_rate
from selftrack.tracker.results.track_file import Track
from selftrack.tracker.timecode import counted_rate


def steady(track: Track) -> bool:
    return bool(np.ptp(np.diff(track.times)) < 1e-6)


def rate_of(track: Track) -> float:
    """Frames a second that a program is set to: the clip's, or where that varies what test_timing has."""
    return 1 / np.diff(track.times).mean() if steady(track) else frame_rate(track.times)


def of_glb(path: Path, rate: float) -> np.ndarray:
    """Seconds: the keys of all channels."""
    file = pygltflib.GLTF2().load(str(path))
    (inputs,) = {sampler.input for animation in file.animations for sampler in animation.samplers}
    accessor = file.accessors[inputs]
    start = file.bufferViews[accessor.bufferView].byteOffset
    return np.frombuffer(file.binary_blob()[start : start + 4 * accessor.count], np.float32).astype(float)


def of_usd(path: Path, rate: float) -> np.ndarray:
    """Time codes over the stage's own rate."""
    from pxr import Usd, UsdSkel

    stage = Usd.Stage.Open(str(path))
    (animation,) = [UsdSkel.Animation(prim) for prim in stage.Traverse() if prim.IsA(UsdSkel.Animation)]
    codes = animation.GetBlendShapeWeightsAttr().GetTimeSamples()
    assert stage.GetTimeCodesPerSecond() == pytest.approx(rate)
    assert codes == animation.GetRotationsAttr().GetTimeSamples() == animation.GetTranslationsAttr().GetTimeSamples()
    return np.array(codes) / stage.GetTimeCodesPerSecond()


def of_nuke(path: Path, rate: float) -> np.ndarray:
    """A Read node's first frame is 1."""
    return (np.loadtxt(path)[:, 0] - 1) / rate


def of_aftereffects(path: Path, rate: float) -> np.ndarray:
    """Frames over the units that the text itself says, the same for each property."""
    text = path.read_text()
    units = float(re.search(r"Units Per Second\t([\d.]+)", text)[1])
    assert units == pytest.approx(rate, rel=3e-6)
    frames = {tuple(re.findall(r"^\t([\d.]+)\t", section, re.M)) for section in re.split(r"\tFrame\t.*\n", text)[1:]}
    (only,) = frames
    return np.array(only, float) / units


def of_metahuman(path: Path, rate: float) -> np.ndarray:
    """Rig Mapper's rule: frame numbers on the rate that it is imported with; the one at 0 is the sequence's start."""
    lines = [line.split(",") for line in path.read_text().splitlines()]
    numbers = [int(number) for name, number, _ in lines if name == "CTRL_expressions_jawOpen"]
    assert numbers[0] == 0
    return np.array(numbers[1:]) / rate


def of_vmc(path: Path, rate: float) -> np.ndarray:
    """Seconds of each line, which are those of the message, too."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert all(["/VMC/Ext/T", [line["time"]]] in line["messages"] for line in lines)
    return np.array([line["time"] for line in lines])


def of_osc(path: Path, rate: float) -> np.ndarray:
    """Seconds of each line, which are those of its first message, too."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert all(line["messages"][0] == ["/frame/time", [line["time"]]] for line in lines)
    return np.array([line["time"] for line in lines])


@dataclass(frozen=True)
class Rule:
    """How a program reads the times of a format."""

    read: Callable[[Path, float], np.ndarray]
    frames: float
    """By how much of a frame of its rate a time may be off; 0 where times are seconds."""
    whole: bool = False
    """Whether times stand on whole frames, so that of two on one of them the second is left out."""


RULES = {
    "glb": Rule(of_glb, 0),
    "usd": Rule(of_usd, 0),
    "vmc": Rule(of_vmc, 0),
    "osc": Rule(of_osc, 0),
    "aftereffects": Rule(of_aftereffects, 0.05),
    "nuke": Rule(of_nuke, 0.5, whole=True),
    "metahuman": Rule(of_metahuman, 0.5, whole=True),
}


@pytest.mark.parametrize("to", RULES)
def test_times_come_back(to: str, minute: Track, tmp_path: Path) -> None:
    if FORMATS[to].package:
        pytest.importorskip(FORMATS[to].package, reason="an extra")
    rule, rate = RULES[to], rate_of(minute)
    read = rule.read(write(minute, to, default_path(minute.clip, to, tmp_path)), rate)
    kept = np.unique(np.rint(minute.times * rate), return_index=True)[1] if rule.whole else np.arange(len(minute))
    assert not steady(minute) or len(kept) == len(minute), "a key for each frame"
    off = 1e-4 + (0 if steady(minute) else rule.frames / rate)  # at a steady rate all stand on frames
    np.testing.assert_allclose(read, minute.times[kept], atol=off)


@pytest.mark.parametrize("to", ["edl", "otio"])
def test_a_cut_is_the_tracked_part(to: str, minute: Track, tmp_path: Path) -> None:
    """Counted from 00:00:00:00 at the clip's rate; in one of varying rate at the whole one, or that over 1.001, nearest
    to it."""
    path, counted = write(minute, to, default_path(minute.clip, to, tmp_path)), float(counted_rate(rate_of(minute)))
    if to == "edl":
        codes = re.search(r" C +(\S+) (\S+) ", path.read_text()).groups()
        first, after = (_number(code, round(counted)) for code in codes)
    else:
        otio = pytest.importorskip("opentimelineio", reason="opentimelineio is an extra")
        cut = next(iter(otio.adapters.read_from_file(str(path)).find_clips())).source_range
        assert cut.start_time.rate == pytest.approx(counted)
        first, after = cut.start_time.value, cut.end_time_exclusive().value
    off = 1e-4 if steady(minute) else 0.5 / counted
    np.testing.assert_allclose(np.array([first, after - 1]) / counted, minute.times[[0, -1]], atol=off)


def _number(text: str, rate: int) -> int:
    """Frames since midnight of a timecode without drop-frame."""
    hours, minutes, seconds, frames = map(int, text.split(":"))
    return (3600 * hours + 60 * minutes + seconds) * rate + frames
