"""A track in the formats of other tools."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from tracker.track_file import Track, load


def export_vertices(track: Track, path: Path) -> None:
    """An .npz of image-space vertices, the neutral format in which trackers are compared.

    verts (T,V,3) float32: x, y pixels of the clip, z pixels, larger = farther, finite on every row; faces
    (F,3) int32; ok (T,) bool; times (T,) float64 seconds.
    """
    faces = track.model().faces.numpy().astype(np.int32)
    with open(path, "wb") as file:
        np.savez(file, verts=track.vertices(), faces=faces, ok=track.ok, times=track.times)


FORMATS: dict[str, Callable[[Track, Path], None]] = {"vertices": export_vertices}


def export(folder: Path, to: str, path: Path) -> Path:
    """Write the track of a folder to `path` in the format named `to`; the file appears only when complete.

    Raises:
        ValueError: no track there, or a format that is not known.
    """
    if to not in FORMATS:
        raise ValueError(f"unknown format {to!r}; known: {', '.join(FORMATS)}")
    track, path = load(folder), Path(path)
    part = path.with_name(f".{path.name}.part")
    try:
        FORMATS[to](track, part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path
