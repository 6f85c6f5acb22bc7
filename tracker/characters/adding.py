"""From a file with a face and its shapes to a character that a track can move."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import Head, load_head
from selftrack.decoders.landmarks import MESH_POINTS
from selftrack.decoders.rigs.character import Character, Places
from selftrack.decoders.rigs.gltf import AXES, read_gltf
from selftrack.decoders.rigs.names import arkit_names
from selftrack.decoders.rigs.obj import read_obj_folder
from selftrack.decoders.rigs.rebuilt import shaped_glb
from selftrack.decoders.rigs.shaped import ShapedMesh
from selftrack.errors import UserError
from selftrack.tracker.characters.placing import INNER, Placed, Placer, in_head_frame
from selftrack.tracker.characters.registration import Surface, register

MOST_ERROR = 3.0
"""% of the distance of the outer eye corners, above which the points do not lie where they are seen."""
_NAMED = 0.5
"""Share of the rig's shapes, or of ARKit's, whose names are ARKit's in a rig that takes the curves as they are."""


def add_character(path: Path, licence: str = "", names: Mapping[str, str | None] | None = None) -> Character:
    """Read a file and find out how a track moves it.

    Args:
        path: of a .glb, or a folder of OBJ files, see `decoders.rigs.obj`.
        licence: text that goes into the character.
        names: ARKit's curve for a shape, by the rig's own name, which follows it; None for a shape that stays at 0.

    Raises:
        UserError: it cannot be read, has no shapes, no face is seen on it, or the points do not lie where they are
            seen; or names of no shape or curve.
    """
    mesh, source, digest = _read(path)
    follows, fitted = choose(mesh.names, names or {})
    head = load_head()
    placer = Placer(head)
    try:
        matrix = placer.to_head(mesh)
        mesh = in_head_frame(mesh, matrix)
        seen = placer.place(mesh)
        places = _everywhere(head, placer, mesh, seen)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    off = seen.error(places)
    if off > MOST_ERROR:
        raise UserError(
            f"{path}: the detector's points lie {off:.1f} % of the distance of the eyes' corners from where they are "
            f"seen, and {MOST_ERROR:g} % is the most; its face is too unlike a person's, or hidden by hair or glasses"
        )
    to_head = matrix @ np.diag([*AXES, 1.0])
    return Character(mesh, places, follows, fitted, to_head, source, path.name, digest, licence, off)


def choose(names: tuple[str, ...], given: Mapping[str, str | None]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Tell which shapes follow which of ARKit's curves, and which are fitted.

    What is given counts. Where half of the shapes, or of ARKit's curves, are known by name, the known ones follow
    these and the others stay at 0; else those that are not given are fitted.

    Raises:
        UserError: given names of no shape or curve.
    """
    for name, curve in given.items():
        if name not in names:
            raise UserError(f"--names: there is no shape {name!r}; there are {', '.join(names[:8])} ...")
        if curve is not None and curve not in ARKIT_NAMES:
            raise UserError(f"--names: {name!r} is to follow {curve!r}, which is no curve of ARKit's, or null for none")
    known = arkit_names(names)
    follows = {name: curve for name, curve in given.items() if curve is not None}
    others = [name for name in names if name not in given]
    if len(known) >= _NAMED * len(names) or len(set(known.values())) >= _NAMED * len(ARKIT_NAMES):
        return follows | {name: known[name] for name in others if name in known}, ()
    return follows, tuple(others)


def lacking(character: Character) -> tuple[str, ...]:
    """ARKit's curves that nothing of a character follows, where nothing of it is fitted either."""
    followed = set(character.follows.values())
    return () if character.fitted else tuple(name for name in ARKIT_NAMES if name not in followed)


def _read(path: Path) -> tuple[ShapedMesh, bytes, str]:
    """The mesh of a file, in its own units; the .glb of it; and the hash of what was read."""
    if path.is_dir():
        mesh = read_obj_folder(path)
        digest = hashlib.sha256()
        for file in sorted(path.glob("*.[oO][bB][jJ]")):
            digest.update(file.name.encode() + file.read_bytes())
        return mesh, shaped_glb(mesh), digest.hexdigest()
    if not path.is_file():
        raise UserError(f"{path}: no such file; name a .glb, or a folder with neutral.obj and an OBJ for each shape")
    if path.suffix.lower() != ".glb":
        raise UserError(f"{path}: is no .glb; export the character as glTF binary (.glb), or as a folder of OBJ files")
    mesh = read_gltf(path)
    if not np.abs(mesh.deltas).sum():
        raise UserError(f"{path}: has no morph targets that move anything; export it with its shape keys")
    data = path.read_bytes()
    return mesh, data, hashlib.sha256(data).hexdigest()


def _everywhere(head: Head, placer: Placer, mesh: ShapedMesh, seen: Placed) -> Places:
    """The 478 points on a mesh: as on the bundled head where that is brought onto it; irises as they are seen."""
    own = placer.place(placer.head)
    wanted = head.landmarks478
    points = register(
        Surface(own.vertices, placer.head.faces[placer.head.skin], own.places.subset(INNER)),
        head.shapes[head.identity].double().numpy(),
        Surface(seen.vertices, mesh.faces[mesh.skin] if mesh.skin.any() else mesh.faces, seen.places.subset(INNER)),
        Places(wanted.triangles.numpy(), wanted.weights.double().numpy()).subset(np.arange(MESH_POINTS)),
    )
    irises = seen.places.subset(np.arange(MESH_POINTS, len(seen.places.corners)))
    return Places(np.concatenate([points.corners, irises.corners]), np.concatenate([points.weights, irises.weights]))
