"""A track as plain arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import numpy as np

from selftrack.tracker.export.options import ExportOptions
from selftrack.tracker.export.registry import exporter
from selftrack.tracker.geometry.camera import camera_pose, focal_length
from selftrack.tracker.mapped import pieces, write_member, write_parts

if TYPE_CHECKING:
    from selftrack.tracker.results.track_file import Track


@exporter("vertices", "{clip}_vertices.npz")
def export_vertices(track: Track, path: Path, options: ExportOptions) -> None:
    """Write an .npz of image-space vertices, the neutral format in which trackers are compared.

    verts (T,V,3) float32: x, y pixels of the clip, z pixels, larger = farther, finite on every row; faces
    (F,3) int32; ok (T,) bool; times (T,) float64 seconds.
    """
    faces = track.model().faces.numpy().astype(np.int32)
    shape = (len(track), len(track.model().mean), 3)
    parts = (track.vertices(rows) for rows in pieces(track.times))  # all of an hour would take six gigabytes
    with ZipFile(path, "w") as archive:
        write_parts(archive, "verts", shape, np.dtype(np.float32), parts, compressed=False)
        for name, values in (("faces", faces), ("ok", track.ok), ("times", track.times)):
            write_member(archive, name, values, compressed=False)


@exporter("npz", "{clip}.npz", focal=True, timecode=True)
def export_arrays(track: Track, path: Path, options: ExportOptions) -> None:
    """Write an .npz of the curves and the pose, without pickle and without the decoder's code.

    times (T,) float64 seconds; ok (T,) bool; confidence (T,) 0..1; names (K,) and curves (T,K), ARKit's 0..1 where the
    decoder has them; yaw, pitch, roll (T,) degrees; pose (T,6) f, rx, ry, rz, tx, ty of `Track.H_image`; focal, pixels,
    and R (T,3,3), t (T,3) metres, x_camera = R x_head + t (OpenCV axes); size (2,) width, height; where the clip has
    timecode, that of time 0 and the timecode_rate that it counts, frames/s; after a clean-up curves_raw and pose_raw.
    """
    curves, pose, focal = track.curves(), track.pose(), focal_length(track, options.focal)
    rotation, translation = camera_pose(track, focal)
    values: dict[str, Any] = {
        "times": track.times,
        "ok": track.ok,
        "confidence": track.confidence,
        "names": np.array(list(curves)),
        "curves": np.stack(list(curves.values()), axis=1),
        **{name: pose[name] for name in ("yaw", "pitch", "roll")},
        "pose": track.H_image,
        "focal": np.float64(focal),
        "R": rotation,
        "t": translation,
        "size": np.array(track.size),
    }
    if track.timecode:
        values |= {"timecode": track.timecode, "timecode_rate": track.timecode_rate}
    if options.raw:
        values["curves_raw"] = np.stack(list(options.raw.curves().values()), axis=1)
        values["pose_raw"] = options.raw.H_image
    with open(path, "wb") as file:
        np.savez_compressed(file, **values)
