"""A rig by its file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import Head
from selftrack.errors import UserError
from selftrack.synthetic.rigs.gltf import read_gltf
from selftrack.synthetic.rigs.ict import read_ict
from selftrack.synthetic.rigs.metric import to_metres
from selftrack.synthetic.rigs.rig import Eyeball, Rig, eyeball

_LOOKS = [name.startswith("eyeLook") for name in ARKIT_NAMES]


def read_rig(path: Path, head: Head, texture: Path | None = None) -> Rig:
    """Read a rig in metres, in the head frame.

    Args:
        path: of a .glb or .gltf, see `gltf`, or of ICT-FaceKit as an .npz, see `ict`.
        head: in whose layout skins are that a rig has not itself, and as large as which a .glb is made.
        texture: a picture of the skin for a .glb, see `gltf.read_gltf`.

    Raises:
        UserError: it is another file, or no face is seen on it.
    """
    if path.suffix.lower() not in (".glb", ".gltf"):
        if texture is not None:
            raise UserError(f"{texture}: a picture of the skin is for a .glb; {path} is drawn with skins of its own")
        return read_ict(path, head)
    rig = to_metres(read_gltf(path, texture), head)
    return rig if rig.shapes[_LOOKS].any() else replace(rig, eyes=_eyeballs(rig))


def _eyeballs(rig: Rig) -> tuple[Eyeball, ...]:
    """The eyes of a rig that has no shapes for the gaze: they turn by themselves."""
    vertices = np.unique(rig.faces[rig.moist])
    if not len(vertices):
        return ()
    x = rig.neutral[vertices, 0]
    sides = x < (x.min() + x.max()) / 2  # the subject's right is to the picture's left
    each = {"Right": vertices[sides], "Left": vertices[~sides]}
    return tuple(eyeball(side, rig.neutral, chosen, chosen) for side, chosen in each.items())
