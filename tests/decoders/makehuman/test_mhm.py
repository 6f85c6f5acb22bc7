"""MakeHuman's own file of a character."""

import numpy as np
import pytest

from selftrack.decoders.makehuman.mhm import mhm_text, read_mhm
from selftrack.decoders.makehuman.sliders import SLIDERS, draw_sliders
from selftrack.errors import UserError


def test_sliders_come_back() -> None:
    for seed in range(20):
        values = draw_sliders(np.random.default_rng(seed))
        np.testing.assert_allclose(read_mhm(mhm_text(values, "somebody", "green"), "x.mhm"), values, atol=1e-6, rtol=0)


def test_lines_are_those_that_makehuman_writes() -> None:
    values = np.array([slider.default for slider in SLIDERS])
    values[[slider.name for slider in SLIDERS].index("nose/nose-hump-decr|incr")] = -0.25
    lines = mhm_text(values, "a  name\nof two lines", "brown").splitlines()
    assert lines[1:3] == ["version v1.2.0", "name a name of two lines"]
    assert "modifier nose/nose-hump-decr|incr -0.250000" in lines
    assert "modifier macrodetails/Caucasian 0.333333" in lines
    assert "modifier macrodetails/Gender 0.500000" in lines  # always, for MakeHuman asks for them
    assert not any("nose-curve" in line for line in lines)
    assert lines[-1] == "subdivide False"
    assert {line.split()[0] for line in lines[1:]} <= {
        *("version", "name", "camera", "modifier", "eyes", "clothesHideFaces", "skinMaterial", "material", "subdivide")
    }


def test_another_programs_file_is_read() -> None:
    text = (
        "# Written by MakeHuman 1.2.0\nversion v1.2.0\nname x\nmodifier mouth/mouth-angles-down|up 0.5\n"
        "modifier armslegs/r-hand-scale-decr|incr 1.0\nmodifier macrodetails/Age 0.8\nskeleton default.mhskel\n"
    )
    values = dict(zip((slider.name for slider in SLIDERS), read_mhm(text, "x.mhm"), strict=True))
    assert values["mouth/mouth-angles-down|up"] == 0.5
    assert values["macrodetails/Age"] == 0.8
    assert values["macrodetails/Gender"] == 0.5


@pytest.mark.parametrize("text", ["", "hello", "version v1.2.0\nmodifier nose/nose-hump-decr|incr much"])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="x.mhm"):
        read_mhm(text, "x.mhm")
