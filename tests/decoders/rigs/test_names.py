"""ARKit's curves by the names that rigs have for them."""

import pytest

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.rigs.names import arkit_name, arkit_names


@pytest.mark.parametrize("form", ["{}", "blendShape1.{}", "CTRL_{}", "hero:face|{}", "BS_{}", "Head_{}", "head01_{}"])
def test_prefixes_and_namespaces_do_not_count(form: str) -> None:
    for name in ARKIT_NAMES:
        for written in (name, name.upper(), name[0].upper() + name[1:]):
            assert arkit_name(form.format(written)) == name


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("eyeBlink_L", "eyeBlinkLeft"),
        ("EyeBlink.R", "eyeBlinkRight"),
        ("eyeBlinkL", "eyeBlinkLeft"),
        ("L_mouthSmile", "mouthSmileLeft"),
        ("mouth_smile_right", "mouthSmileRight"),
        ("jaw-open", "jawOpen"),
        ("browInnerUp_L", "browInnerUp"),
        ("Jaw_L", "jawLeft"),
        ("jawLeft", "jawLeft"),
        ("mouthLeft", "mouthLeft"),
        ("upper_mouth_left", None),
        ("smile", None),
        ("jawOpenSmile", None),
        ("L", None),
        ("", None),
    ],
)
def test_sides_are_written_in_many_ways(written: str, name: str | None) -> None:
    assert arkit_name(written) == name


def test_those_that_mean_none_are_left_out() -> None:
    assert arkit_names(["fold", "CTRL_jawOpen"]) == {"CTRL_jawOpen": "jawOpen"}
