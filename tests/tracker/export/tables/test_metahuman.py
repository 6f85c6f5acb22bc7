"""The controls of a MetaHuman: every curve arrives once, on the subject's own side, in Unreal's long table."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from selftrack.decoders.arkit import ARKIT_NAMES, OTHER_SIDE
from selftrack.tracker.export import write
from selftrack.tracker.export.tables.metahuman import CONTROLS, PREFIX
from selftrack.tracker.results.track_file import Track

NAMED = {  # as the rig's own documentation and public code have them, written by hand
    "jawOpen": {"jawOpen"},
    "eyeBlinkLeft": {"eyeBlinkL"},
    "eyeLookOutLeft": {"eyeLookLeftL"},
    "eyeLookInRight": {"eyeLookLeftR"},
    "mouthSmileRight": {"mouthCornerPullR"},
    "browInnerUp": {"browRaiseInL", "browRaiseInR"},
    "mouthFunnel": {"mouthFunnelUL", "mouthFunnelUR", "mouthFunnelDL", "mouthFunnelDR"},
    "mouthPressLeft": {"mouthPressUL", "mouthPressDL"},
}


def read(path: Path) -> dict[str, list[float]]:
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    assert header == "curve_name,frame_number,value"
    curves: dict[str, list[float]] = {}
    for name, number, value in (line.split(",") for line in lines):
        assert int(number) == len(curves.setdefault(name, []))
        curves[name].append(float(value))
    return curves


def test_every_curve_goes_somewhere_and_no_control_has_two() -> None:
    assert set(CONTROLS) == set(ARKIT_NAMES)
    assert max(Counter(control for several in CONTROLS.values() for control in several).values()) == 1
    for name, expected in NAMED.items():
        assert set(CONTROLS[name]) == {PREFIX + control for control in expected}


def mirrored(control: str) -> str:
    """The control on the other side, by its name."""
    for left, right in (("eyeLookLeft", "eyeLookRight"), ("jawLeft", "jawRight"), ("mouthLeft", "mouthRight")):
        if left in control or right in control:
            swapped = control.replace(left, "?").replace(right, left).replace("?", right)
            break
    else:
        swapped = control
    end = {"L": "R", "R": "L"}.get(swapped[-1], swapped[-1])
    return swapped[:-1] + end


@pytest.mark.parametrize("index", range(52))
def test_a_mirrored_face_has_mirrored_controls(index: int) -> None:
    name, other = ARKIT_NAMES[index], ARKIT_NAMES[OTHER_SIDE[index]]
    assert {mirrored(control) for control in CONTROLS[name]} == set(CONTROLS[other])


def test_the_file(make_track: Callable[..., Track], tmp_path: Path) -> None:
    jaw = np.array([0, 0.25, 0.5])
    track = make_track(np.arange(3) / 25, {"jawOpen": jaw, "mouthSmileLeft": 0.75}, rx=0.1, ry=0.2, rz=0.3)
    curves = read(write(track, "metahuman", tmp_path / "a.csv"))
    assert curves[f"{PREFIX}jawOpen"] == pytest.approx(jaw) and curves[f"{PREFIX}mouthCornerPullL"] == [0.75] * 3
    assert max(curves[f"{PREFIX}mouthCornerPullR"]) == 0
    live = read(write(track, "unreal", tmp_path / "b.csv"))
    for angle in ("HeadYaw", "HeadPitch", "HeadRoll"):
        assert curves[angle] == live[angle]
    assert len(curves) == 3 + sum(map(len, CONTROLS.values()))
