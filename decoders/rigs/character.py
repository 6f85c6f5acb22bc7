"""A character of the user's own, as a .rig file: its shapes, and where a landmark detector's points lie on it.

The file is safetensors; the metadata have a JSON text `character` with what is no array.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.landmarks import POINTS
from selftrack.decoders.rigs.shaped import ShapedMesh
from selftrack.errors import UserError
from selftrack.io import atomic_path

SUFFIX = ".rig"
_VERSION = 1
_MESH = ("neutral", "faces", "deltas", "corners", "skin", "moist", "inner", "texture")


@dataclass(frozen=True)
class Places:
    """Points on a surface, each in a triangle."""

    corners: np.ndarray
    """(L,3) int64, vertices."""
    weights: np.ndarray
    """(L,3), sum 1."""

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Points (...,L,C) of per-vertex values (...,V,C)."""
        return np.einsum("...lkc,lk->...lc", values[..., self.corners, :], self.weights)

    def subset(self, rows: np.ndarray) -> Places:
        """Take the points of these rows."""
        return Places(self.corners[rows], self.weights[rows])


@dataclass(frozen=True)
class Character:
    """A face with shapes of its own, in the head frame, metres: x to the image's right, y down, z away."""

    mesh: ShapedMesh
    places: Places
    """The detector's 478 points on it."""
    follows: Mapping[str, str]
    """The curve of ARKit's that a shape is, by the rig's own name."""
    fitted: tuple[str, ...]
    """Names of the shapes whose weights are fitted; those neither here nor in `follows` stay at 0."""
    to_head: np.ndarray
    """(4,4) from the source's places, y up, to the head frame."""
    source: bytes
    """The .glb that it is from, or that was made of the OBJ files."""
    source_name: str
    source_hash: str
    """SHA-256 of what was read."""
    licence: str
    """Text of the licence that the user named."""
    error: float
    """Mean distance of the points on it from those that the detector sees, % of the distance of the outer eye
    corners."""

    def __post_init__(self) -> None:
        unknown = (set(self.follows) | set(self.fitted)) - set(self.mesh.names)
        if unknown or set(self.follows.values()) - set(ARKIT_NAMES):
            raise ValueError(f"names of no shape or curve: {sorted(unknown) or sorted(self.follows.values())}")

    def save(self, path: Path) -> None:
        """Write the .rig file."""
        arrays = {name: getattr(self.mesh, name) for name in _MESH}
        arrays |= {"place_corners": self.places.corners, "place_weights": self.places.weights}
        arrays |= {"to_head": self.to_head, "source": np.frombuffer(self.source, np.uint8)}
        facts = {
            "version": _VERSION,
            "names": self.mesh.names,
            "follows": dict(self.follows),
            "fitted": self.fitted,
            "source_name": self.source_name,
            "source_hash": self.source_hash,
            "licence": self.licence,
            "error": self.error,
        }
        with atomic_path(path) as part:
            save_file(
                {name: np.ascontiguousarray(values) for name, values in arrays.items()},
                part,
                {"character": json.dumps(facts)},
            )

    @classmethod
    def load(cls, path: Path | str) -> Character:
        """Read a .rig file.

        Raises:
            UserError: no such file, or another one.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(f"{path}: no such file; make it with: track-rig add FILE -o {path.with_suffix(SUFFIX)}")
        try:
            with safe_open(path, "np") as file:
                facts: dict[str, Any] = json.loads((file.metadata() or {})["character"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no mapping
            if facts["version"] != _VERSION:
                raise ValueError(f"it is of version {facts['version']}")
            mesh = ShapedMesh(names=tuple(facts["names"]), **{name: arrays[name] for name in _MESH})
            places = Places(arrays["place_corners"], arrays["place_weights"])
            if places.corners.shape != (POINTS, 3) or mesh.deltas.shape != (len(mesh.names), *mesh.neutral.shape):
                raise ValueError("its arrays do not fit one another")
            return cls(
                mesh,
                places,
                facts["follows"],
                tuple(facts["fitted"]),
                arrays["to_head"],
                arrays["source"].tobytes(),
                facts["source_name"],
                facts["source_hash"],
                facts["licence"],
                facts["error"],
            )
        except (SafetensorError, OSError, KeyError, ValueError, TypeError, IndexError) as error:
            raise UserError(f"{path}: not a character of track-rig ({error}); make it with track-rig add") from error
