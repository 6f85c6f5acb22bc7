"""A track as plain arrays."""

from pathlib import Path

import numpy as np

from tracker.export.options import ExportOptions
from tracker.track_file import Track


def export_vertices(track: Track, path: Path, options: ExportOptions) -> None:
    """An .npz of image-space vertices, the neutral format in which trackers are compared.

    verts (T,V,3) float32: x, y pixels of the clip, z pixels, larger = farther, finite on every row; faces
    (F,3) int32; ok (T,) bool; times (T,) float64 seconds.
    """
    faces = track.model().faces.numpy().astype(np.int32)
    with open(path, "wb") as file:
        np.savez(file, verts=track.vertices(), faces=faces, ok=track.ok, times=track.times)
