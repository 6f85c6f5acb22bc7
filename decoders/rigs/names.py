"""ARKit's curves by the names that rigs have for them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from selftrack.decoders.arkit import ARKIT_NAMES

_KEYS = {name.lower(): name for name in ARKIT_NAMES}
_SIDES = {"l": "left", "r": "right", "left": "left", "right": "right"}
_PREFIX = re.compile(
    r"(ctrl|bs|blend|blendshapes?|arkit|face|facial|head|expressions?|morph(er)?|shapes?|targets?|key|geo|mesh)\d*"
)


def arkit_name(name: str) -> str | None:
    """Find which of ARKit's curves a shape's name means; None where it means none.

    Case does not count, nor do namespaces (`blendShape1.`, `rig:`), prefixes such as `CTRL_`, and how a side is written
    (`Left`, `_L`, `.l`, `L_` in front). One side of a curve that ARKit has for both (`browInnerUp_L`) is that curve.
    """
    short = re.split(r"[.:|](?=[A-Za-z]{3})", name)[-1]
    short = re.sub(r"(?<=[a-z])([LR])$", r"_\1", short)
    words = [word.lower() for word in re.split(r"[^A-Za-z0-9]+", short) if word]
    while len(words) > 1 and _PREFIX.fullmatch(words[0]):
        del words[0]
    if len(words) > 1 and words[0] in _SIDES:
        words.append(words.pop(0))
    if len(words) > 1 and words[-1] in _SIDES:
        words[-1] = _SIDES[words[-1]]
    whole = "".join(words)
    return _KEYS.get(whole) or _KEYS.get(re.sub("(left|right)$", "", whole))


def arkit_names(names: Iterable[str]) -> dict[str, str]:
    """Collect ARKit's curve by the rig's own name, of the names that mean one."""
    return {name: curve for name in names if (curve := arkit_name(name))}
