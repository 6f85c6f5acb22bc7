"""MakeHuman's own file of a character (.mhm), which MakeHuman 1.2 and MPFB read.

It is a text of a directive a line: the version, the name, `modifier NAME VALUE` with six digits for each slider that is
not as by default, those of the whole person always, and the eyes with their material. What is not named stays as
MakeHuman has it by default.
"""

from __future__ import annotations

import numpy as np

from selftrack.decoders.makehuman.sliders import MACROS, SLIDERS
from selftrack.errors import UserError

SUFFIX = ".mhm"
EYE_MATERIALS = ("brown", "brownlight", "green", "lightblue", "blue", "deepblue")
"""MakeHuman's own colours of eyes, by the names of their files."""
_OTHERS = {
    "breast/BreastSize": 0.5,
    "breast/BreastFirmness": 0.5,
    "macrodetails/African": 1 / 3,
    "macrodetails/Asian": 1 / 3,
    "macrodetails/Caucasian": 1 / 3,
    "macrodetails-height/Height": 0.5,
    "macrodetails-proportions/BodyProportions": 0.5,
}
"""Sliders of the whole person that are not read; the values are MakeHuman's own by default."""
_EYES = "HighPolyEyes 2c12f43b-1303-432c-b7ce-d78346baf2e6"
"""Name and number of MakeHuman's own eyes."""


def mhm_text(values: np.ndarray, name: str, eyes: str | None = None) -> str:
    """Write a character.

    Args:
        values: (K,) of the sliders.
        name: of the character, in one line.
        eyes: one of `EYE_MATERIALS`; None for MakeHuman's own by default.
    """
    written = [(slider, round(float(value), 6)) for slider, value in zip(SLIDERS, values, strict=True)]
    sliders = {slider.name: value for slider, value in written if slider in MACROS or value != slider.default}
    lines = ["# Written by selftrack", "version v1.2.0", f"name {' '.join(name.split())}"]
    lines += ["camera 0.0 0.0 0.0 0.0 0.0 1.0"]
    lines += [f"modifier {slider} {value:.6f}" for slider, value in (_OTHERS | sliders).items()]
    lines += [f"eyes {_EYES}", "clothesHideFaces True", "skinMaterial skins/default.mhmat"]
    lines += [f"material {_EYES} eyes/materials/{eyes}.mhmat"] if eyes else []
    return "\n".join([*lines, "subdivide False", ""])


def read_mhm(text: str, name: str) -> np.ndarray:
    """Read the sliders (K,) of a character; what is not named is as by default, and other modifiers are left out.

    Args:
        text: the file's.
        name: what to call it in errors.

    Raises:
        UserError: it has no version of MakeHuman's, or a value that is no number.
    """
    lines = [line.split() for line in text.splitlines()]
    if not any(line[:1] == ["version"] for line in lines):
        raise UserError(f"{name}: is no character of MakeHuman's, for it names no version; save it again")
    values = {slider.name: slider.default for slider in SLIDERS}
    for words in lines:
        if words[:1] == ["modifier"] and len(words) == 3 and words[1] in values:
            try:
                values[words[1]] = float(words[2])
            except ValueError as error:
                raise UserError(f"{name}: {words[1]} is {words[2]!r}, which is no number; save it again") from error
    return np.array(list(values.values()))
