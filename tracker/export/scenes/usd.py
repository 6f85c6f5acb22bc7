"""OpenUSD (.usdz): the head with its blend shapes, joints, animation, material, and the clip's camera; see `_usd`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from selftrack.tracker.export.options import ExportOptions
from selftrack.tracker.export.registry import Need, exporter
from selftrack.tracker.export.scenes.glb import head_texture
from selftrack.tracker.geometry.camera import focal_length

if TYPE_CHECKING:
    from selftrack.tracker.results.track_file import Track


@exporter("usd", "{clip}.usdz", needs=[Need.BLENDSHAPES, Need.ARKIT_CURVES, Need.LANDMARKS], package="pxr", focal=True)
def export_usd(track: Track, path: Path, options: ExportOptions) -> None:
    """Write the track as one .usdz, which holds the stage and its texture, so that no second file can be lost."""
    from selftrack.tracker.export.scenes._usd import write_usdz

    write_usdz(track, path, head_texture(track, options), focal_length(track, options.focal))
