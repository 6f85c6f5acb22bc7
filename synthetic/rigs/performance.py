"""What a filmed rig did: its curves, head and shape in every frame, and the file that keeps them."""

from __future__ import annotations

import csv
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.errors import UserError
from selftrack.io import atomic_path

SUFFIX = ".rig.npz"


@dataclass(frozen=True)
class Performance:
    """T frames of a rig before a camera. Camera frame: metres, x right, y down, z away from the camera."""

    times: np.ndarray
    """(T,) seconds."""
    curves: np.ndarray
    """(T,52) ARKit values, 0..1."""
    known: np.ndarray
    """(52,) bool, the curves that the rig can show."""
    angles: np.ndarray
    """(T,3) rx, ry, rz of R = Rz Ry Rx from the head frame to the camera's, radians."""
    position: np.ndarray
    """(T,3) of the head's origin in the camera frame, metres."""
    focal: float
    """Pixels."""
    size: tuple[int, int]
    """Width, height of the frame."""
    neutral: np.ndarray
    """(V,3) the rig's skin without expression, metres, head frame."""
    faces: np.ndarray
    """(F,3) its triangles."""

    def __len__(self) -> int:
        return len(self.times)

    def save(self, path: Path) -> None:
        """Write the file; it gets its name only when it is complete."""
        values: dict[str, Any] = {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}
        with atomic_path(path) as part, part.open("wb") as file:
            np.savez_compressed(file, **values)

    @classmethod
    def load(cls, path: Path) -> Performance:
        """Read what `save` wrote. Raises UserError when it is something else."""
        with np.load(path, allow_pickle=False) as data:
            if set(data.files) != {f.name for f in fields(cls)}:
                raise UserError(f"{path}: not the performance of a filmed rig; film one with: {COMMAND}")
            values = {name: data[name] for name in data.files}
        return cls(**values | {"focal": float(values["focal"]), "size": tuple(values["size"].tolist())})


COMMAND = "python -m selftrack.synthetic.rigs.film"


@dataclass(frozen=True)
class Take:
    """Recorded curves."""

    name: str
    times: np.ndarray
    """(T,) seconds, from 0."""
    curves: np.ndarray
    """(T,52) in the order of `ARKIT_NAMES`."""

    def at(self, times: np.ndarray) -> np.ndarray:
        """Interpolate (N,52) at times (N,)."""
        return np.stack([np.interp(times, self.times, column) for column in self.curves.T], 1)


def read_takes(path: Path) -> list[Take]:
    """Read recordings.

    Either a CSV with a column for each ARKit curve, in any spelling of capitals, and one of seconds (`time` or
    `seconds`; else 60 rows a second, as the Live Link Face app writes); or an .npz with `names` (52,) and per take
    `NAME_curves` (T,52) and `NAME_seconds` (T,).

    Raises:
        UserError: it is neither.
    """
    try:
        return _read_npz(path) if path.suffix == ".npz" else [_read_csv(path)]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path}: no recording of ARKit's curves ({error}); give a CSV with a column for each"
        ) from error


def _read_npz(path: Path) -> list[Take]:
    with np.load(path, allow_pickle=False) as data:
        order = [list(data["names"]).index(name) for name in ARKIT_NAMES]
        names = [key.removesuffix("_curves") for key in data.files if key.endswith("_curves")]
        return [
            Take(
                name,
                data[f"{name}_seconds"] - data[f"{name}_seconds"][0],
                data[f"{name}_curves"][:, order].astype(float),
            )
            for name in names
        ]


def _read_csv(path: Path) -> Take:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [{(key or "").lower(): value for key, value in row.items()} for row in csv.DictReader(file)]
    rows = [row for row in rows if row.get("blendshapecount") != "0"]
    if not rows:
        raise ValueError("it has no rows")
    curves = np.array([[float(row[name.lower()]) for name in ARKIT_NAMES] for row in rows])
    clock = next((key for key in ("time", "seconds") if key in rows[0]), None)
    times = np.array([float(row[clock]) for row in rows]) if clock else np.arange(len(rows)) / 60
    return Take(path.stem, times - times[0], curves)
