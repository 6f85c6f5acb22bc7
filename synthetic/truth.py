"""What is in a synthetic clip: shape, pose, curves and camera of every frame, and the file that keeps them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from selftrack.errors import UserError
from selftrack.io import atomic_path
from selftrack.synthetic.cameras import project, rotation_matrix

COMMAND = "python -m selftrack.synthetic.clips"


@dataclass(frozen=True)
class Truth:
    """What is in a clip of T frames. Camera frame: metres, x right, y down, z away from the camera."""

    times: np.ndarray
    """(T,) float64, seconds."""
    vertices: np.ndarray
    """(T,V,3) float32, metres in the head frame."""
    angles: np.ndarray
    """(T,3) rx, ry, rz of R = Rz Ry Rx from the head frame to the camera's, radians."""
    position: np.ndarray
    """(T,3) of the head's origin in the camera frame, metres."""
    focal: float
    """Pixels."""
    size: tuple[int, int]
    """Width, height of the frame."""
    curves: np.ndarray
    """(T,52) float32 ARKit values, 0..1."""
    identity: np.ndarray
    """(60,) code nearest to the actor's shape."""
    occluded: np.ndarray
    """(T,) share of the head's pixels behind something, 0..1."""

    def __len__(self) -> int:
        return len(self.times)

    def in_image(self, rows: slice = slice(None)) -> np.ndarray:
        """Project the vertices: (T,V,3) float32 in the image frame, depth in pixels at the head's distance."""
        rotated = self.vertices[rows] @ rotation_matrix(self.angles[rows]).transpose(0, 2, 1)
        return project(rotated + self.position[rows, None], self.focal, self.size).astype(np.float32)

    def apparent_angles(self) -> np.ndarray:
        """Compute rx, ry, rz (T,3), radians, of the rotation against the ray through the head's origin.

        A weak-perspective tracker cannot tell a rotated head beside the axis from one that is not: this is the
        rotation that its picture shows.
        """
        ray = self.position / np.linalg.norm(self.position, axis=1, keepdims=True)
        axis = np.cross(np.array([0.0, 0.0, 1.0]), ray)
        half = np.sqrt((1 + ray[:, 2:]) / 2)  # cosine of half the angle between axis and ray
        to_ray = Rotation.from_quat(np.concatenate([axis / (2 * half), half], 1))
        return (to_ray.inv() * Rotation.from_euler("xyz", self.angles)).as_euler("xyz")

    def save(self, path: Path) -> None:
        """Write the file; it gets its name only when it is complete."""
        values: dict[str, Any] = {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}
        with atomic_path(path) as part, part.open("wb") as file:
            np.savez(file, **values)


def load_truth(path: Path) -> Truth:
    """Read what `Truth.save` wrote. Raises UserError when it is something else."""
    with np.load(path, allow_pickle=False) as data:
        if set(data.files) != {f.name for f in fields(Truth)}:
            raise UserError(f"{path}: not the truth of a synthetic clip; make some with: {COMMAND}")
        values = {name: data[name] for name in data.files}
    return Truth(**values | {"focal": float(values["focal"]), "size": tuple(values["size"].tolist())})


def find_clips(folder: Path) -> list[tuple[Path, Path]]:
    """List the clips in `folder` with their truths, sorted. Raises UserError when there are none."""
    truths = sorted(Path(folder).glob("clip*.truth.npz"))
    if not truths:
        raise UserError(f"{folder}: no synthetic clips there; make them with: {COMMAND} {folder}")
    return [(path.with_name(path.name.removesuffix(".truth.npz") + ".mp4"), path) for path in truths]
