"""A folder of OBJ files as a face with shapes: neutral.obj, and one file for each shape with the same vertices."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from selftrack.decoders.rigs.gltf import AXES
from selftrack.decoders.rigs.parts import is_unseen, kinds
from selftrack.decoders.rigs.shaped import ShapedMesh
from selftrack.errors import UserError

NEUTRAL = "neutral.obj"
_GREY = np.full((4, 4, 3), 185, np.uint8)


@dataclass
class _Obj:
    """What is read of a file."""

    points: list[list[float]] = field(default_factory=list)
    faces: list[list[int]] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    """Of each face, the names of its object, group and material."""


def read_obj_folder(folder: Path) -> ShapedMesh:
    """Read a folder; shapes have the names of their files. Axes are those of glTF, see `gltf`; no picture is read.

    Raises:
        UserError: no neutral.obj, no other file, one that cannot be read or that has another number of vertices.
    """
    named = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.suffix.lower() == ".obj"}
    if NEUTRAL not in named:
        raise UserError(f"{folder}: has no {NEUTRAL}; put the face at rest there under that name, and a file a shape")
    neutral = _read(named.pop(NEUTRAL))
    if not named:
        raise UserError(f"{folder}: has {NEUTRAL} alone; put one OBJ for each shape beside it")
    points = np.array(neutral.points)
    deltas = np.zeros((len(named), *points.shape), np.float32)
    for row, path in enumerate(named.values()):
        shape = np.array(_read(path).points)
        if shape.shape != points.shape:
            raise UserError(
                f"{path}: has {len(shape)} vertices and {NEUTRAL} {len(points)}; export all with the same vertices"
            )
        deltas[row] = (shape - points) * AXES
    seen = [row for row, part in enumerate(neutral.parts) if not is_unseen(part)]
    faces = np.array([neutral.faces[row] for row in seen], np.int64).reshape(-1, 3)
    if not len(faces) or not 0 <= faces.min() <= faces.max() < len(points):
        raise UserError(f"{folder / NEUTRAL}: has no triangles, or names vertices that are not there; export it again")
    skin, moist, inner = np.concatenate([kinds(neutral.parts[row], 1) for row in seen]).T
    corners = np.full((len(faces), 3, 2), 0.5)
    names = tuple(path.stem for path in named.values())
    return ShapedMesh(points * AXES, faces, names, deltas, corners, skin, moist, inner, _GREY)


def _read(path: Path) -> _Obj:
    out = _Obj()
    part = {"o": "", "g": "", "usemtl": ""}
    try:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            kind, _, rest = line.strip().partition(" ")
            if kind == "v":
                out.points.append([float(value) for value in rest.split()[:3]])
            elif kind == "f":
                corners = [int(corner.split("/")[0]) for corner in rest.split()]
                corners = [corner - 1 if corner > 0 else len(out.points) + corner for corner in corners]
                triangles = [[corners[0], *pair] for pair in zip(corners[1:], corners[2:], strict=False)]
                out.faces += triangles
                out.parts += [" ".join(part.values())] * len(triangles)
            elif kind in part:
                part[kind] = rest
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not an OBJ that can be read ({error}); export it again") from error
    if not out.points or any(len(point) != 3 for point in out.points):
        raise UserError(f"{path}: not an OBJ that can be read (its vertices are not three numbers); export it again")
    return out
