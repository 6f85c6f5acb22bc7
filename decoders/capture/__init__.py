"""Multi-view captures of one face, from which a person's model is trained."""

from __future__ import annotations

from pathlib import Path

from selftrack.decoders.capture.base import Camera, Capture, in_camera, view_direction
from selftrack.decoders.capture.light_stage import Studio
from selftrack.decoders.capture.multiface import Multiface
from selftrack.errors import UserError

__all__ = ["Camera", "Capture", "in_camera", "open_capture", "view_direction"]


def open_capture(folder: Path) -> Capture:
    """Open the capture in a folder: a synthetic studio's, or one in Multiface's layout.

    Raises ValueError when it is neither, or when a part that all of it needs is missing or corrupt.
    """
    folder = Path(folder)
    for kind in (Studio, Multiface):
        if (folder / kind.MARK).is_file():
            return kind(folder)
    raise UserError(
        f"{folder}: no capture there; expected {Studio.MARK} of track-train studio, or {Multiface.MARK} and the "
        "rest of Multiface's layout"
    )
