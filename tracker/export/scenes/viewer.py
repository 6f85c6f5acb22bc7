"""`viewer.html`: the clip, the animated head and the curves side by side, in one file that needs no network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from selftrack.errors import UserError
from selftrack.io import file_hash
from selftrack.tracker.export.options import ExportOptions
from selftrack.tracker.export.presets import page_arithmetic
from selftrack.tracker.export.registry import Need, exporter, require
from selftrack.tracker.export.scenes.glb import glb_bytes
from selftrack.tracker.geometry.camera import focal_length
from selftrack.tracker.results.curves import by_motion, most_moving
from selftrack.tracker.results.track_file import Track, folder_of, load

ASSETS = Path(__file__).parents[2] / "assets" / "viewer"
SCRIPTS = ("rig", "stage", "expressions", "edits", "history", "sliders", "plot", "viewer")
SHOWN = 6
"""Curves that the plot has at first."""
EMBEDDED = 30_000_000
"""Bytes up to which the clip is put into the page; a longer one is referred to by its relative path."""


@exporter("viewer", "viewer.html", needs=[Need.BLENDSHAPES, Need.ARKIT_CURVES], focal=True, takes=["against"])
def export_viewer(track: Track, path: Path, options: ExportOptions) -> None:
    """Write one HTML page; the head in it is the .glb of the same options, and so is that of the other track.

    Raises:
        UserError: the other track is of another clip, or by a decoder without blend shapes.
    """
    clip = _video_file(track)
    content, reference = b"", None
    if clip is not None and clip.stat().st_size <= EMBEDDED:
        content, reference = clip.read_bytes(), ""
    elif clip is not None:
        reference = quote(options.relative(clip, path))
    data: dict[str, Any] = {
        "times": track.times.round(6).tolist(),
        "ok": track.ok.astype(int).tolist(),
        "clip": reference,
        "size": track.size,
        "focal": focal_length(track, options.focal),
        "hash": _hash(track),
        "curves": by_motion(track),
        "shown": most_moving(track, SHOWN),
        "expressions": page_arithmetic(),
        "title": home.resolve().name if (home := options.home or options.folder) else "this track",
    }
    against = b""
    if options.against is not None:
        other, folder = _other(track, options.against), folder_of(options.against)
        against = glb_bytes(other, replace(options, folder=folder))
        data["against"] = {"title": folder.resolve().name, "times": other.times.round(6).tolist()}
    parts = {
        "TITLE": html.escape(Path(track.clip).name),
        "DATA": json.dumps(data).replace("<", "\\u003c"),
        "GLB": base64.b64encode(glb_bytes(track, options)).decode(),
        "AGAINST": base64.b64encode(against).decode(),
        "CLIP": base64.b64encode(content).decode(),
        "THREE": (ASSETS / "three.min.js").read_text(encoding="utf-8"),
    }
    parts |= {name.upper(): (ASSETS / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS}
    page = (ASSETS / "page.html").read_text(encoding="utf-8")
    path.write_text(re.sub("%%([A-Z]+)%%", lambda match: parts[match[1]], page), encoding="utf-8")


def _hash(track: Track) -> str:
    """SHA-256 in hex of what edits are laid over: the page keeps them in the browser by this name."""
    moved = (track.times, track.curve_values, track.H_image)
    return hashlib.sha256(b"".join(np.ascontiguousarray(values).tobytes() for values in moved)).hexdigest()


def _other(track: Track, path: Path) -> Track:
    """Read the track to compare with."""
    other = load(path)
    if other.clip_hash != track.clip_hash:
        raise UserError(f"{path}: is a track of another clip, {other.clip}; name one of {track.clip}")
    require(["viewer"], other.model())
    return other


def _video_file(track: Track) -> Path | None:
    """Find the file that was tracked; None if it is no longer where it was, or if pictures were tracked."""
    path = Path(track.clip)
    return path if path.is_file() and file_hash(path) == track.clip_hash else None
