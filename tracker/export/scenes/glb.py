"""glTF 2.0 (.glb): the head with its morph targets, animated, and the clip's camera. See `_gltf` for axes and units."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from selftrack.decoders.rigs.meshopt import compressed
from selftrack.tracker.export.options import ExportOptions
from selftrack.tracker.export.registry import Need, exporter
from selftrack.tracker.geometry.camera import focal_length

if TYPE_CHECKING:
    from selftrack.tracker.results.track_file import Track

_QUALITY = 92


@exporter("glb", "{clip}.glb", needs=[Need.BLENDSHAPES], focal=True, timecode=True, takes=["compress"])
def export_glb(track: Track, path: Path, options: ExportOptions) -> None:
    """Write the track as binary glTF: mesh, morph targets, animation, camera and texture in one file."""
    glb = glb_bytes(track, options)
    path.write_bytes(compressed(glb) if options.compress else glb)


def glb_bytes(track: Track, options: ExportOptions, own_teeth: bool = False) -> bytes:
    """Build the .glb of a track, as every importer reads it, with teeth for show or the track's own: `build_glb`."""
    from selftrack.tracker.export.scenes._gltf import build_glb

    return build_glb(track, head_texture(track, options), focal_length(track, options.focal), own_teeth)


def head_texture(track: Track, options: ExportOptions) -> bytes:
    """Make a JPEG, v down: the track's `texture.png`, or the clip unwrapped, or without the clip the mean texture.

    The clip is unwrapped where it was tracked, however the performance was changed since."""
    import cv2

    from selftrack.tracker.results.clip import has_clip
    from selftrack.tracker.results.texture import NAME, clip_texture

    folder, tracked = options.folder, options.raw or track
    image = cv2.imread(str(folder / NAME)) if folder and (folder / NAME).exists() else None
    if image is None:
        texture = clip_texture(tracked, progress=options.progress) if has_clip(tracked) else track.model().mean_texture
        rgb = (255 * texture.clamp(0, 1)).round().byte().permute(1, 2, 0).numpy()
        image = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
