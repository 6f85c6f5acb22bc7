"""The mesh of every frame as a file of its own, OBJ or PLY, in one archive.

Metres, x to the image's right, y up, z towards the viewer, before a camera at the origin, as in the .glb.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np

from selftrack.io import zip_member
from selftrack.tracker.export.options import ExportOptions
from selftrack.tracker.export.registry import exporter
from selftrack.tracker.geometry.camera import focal_length
from selftrack.tracker.progress import counted

if TYPE_CHECKING:
    from selftrack.decoders.base import Decoder
    from selftrack.tracker.results.track_file import Track

    Encode = Callable[[np.ndarray], bytes]


@exporter("obj", "{clip}_obj.zip", focal=True)
def export_obj(track: Track, path: Path, options: ExportOptions) -> None:
    """Write frame_000000.obj and so on, with texture coordinates; numbers are those of the track's rows."""
    _archive(track, path, options, "obj", _obj_encoder(track.model()))


@exporter("ply", "{clip}_ply.zip", focal=True)
def export_ply(track: Track, path: Path, options: ExportOptions) -> None:
    """Write frame_000000.ply and so on, binary; numbers are those of the track's rows."""
    _archive(track, path, options, "ply", _ply_encoder(track.model()))


def _archive(track: Track, path: Path, options: ExportOptions, suffix: str, encode: Encode) -> None:
    from selftrack.tracker.export.scenes._head import placed_vertices

    with ZipFile(path, "w") as archive:
        placed = placed_vertices(track, focal_length(track, options.focal))
        for row, vertices in enumerate(counted(placed, len(track), options.progress)):
            archive.writestr(zip_member(f"frame_{row:06d}.{suffix}", ZIP_DEFLATED), encode(vertices))


def _obj_encoder(head: Decoder) -> Encode:
    """Make the function that writes vertices (V,3) as OBJ, which has v up and counts from 1."""
    uvs = head.uvs.numpy() * [1, -1] + [0, 1]
    corners = np.stack([head.faces.numpy(), head.uv_faces.numpy()], axis=-1) + 1
    rest = "vt %.6f %.6f\n" * len(uvs) % tuple(uvs.ravel()) + "f %d/%d %d/%d %d/%d\n" * len(corners) % tuple(
        corners.ravel()
    )

    def encode(vertices: np.ndarray) -> bytes:
        return ("v %.7f %.7f %.7f\n" * len(vertices) % tuple(vertices.ravel()) + rest).encode("ascii")

    return encode


def _ply_encoder(head: Decoder) -> Encode:
    """Make the function that writes vertices (V,3) as binary PLY, little-endian."""
    faces = np.empty(len(head.faces), [("count", "u1"), ("corners", "<i4", 3)])
    faces["count"], faces["corners"] = 3, head.faces.numpy()
    rest = faces.tobytes()

    def encode(vertices: np.ndarray) -> bytes:
        header = (
            f"ply\nformat binary_little_endian 1.0\nelement vertex {len(vertices)}\n"
            "property float x\nproperty float y\nproperty float z\n"
            f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
        )
        return header.encode("ascii") + vertices.astype("<f4").tobytes() + rest

    return encode
