"""`viewer.html`: the clip, the animated head and the curves side by side, in one file that needs no network."""

from __future__ import annotations

import base64
import html
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from selftrack.io import file_hash
from selftrack.tracker.export.options import ExportOptions
from selftrack.tracker.export.registry import Need, exporter
from selftrack.tracker.export.scenes.glb import glb_bytes

if TYPE_CHECKING:
    from selftrack.tracker.results.track_file import Track

ASSETS = Path(__file__).parents[2] / "assets" / "viewer"
EMBEDDED = 30_000_000
"""Bytes up to which the clip is put into the page; a longer one is referred to by its relative path."""


@exporter("viewer", "viewer.html", needs=[Need.BLENDSHAPES], focal=True)
def export_viewer(track: Track, path: Path, options: ExportOptions) -> None:
    """Write one HTML page; the head in it is the .glb of the same options."""
    clip = _video_file(track)
    content, reference = b"", None
    if clip is not None and clip.stat().st_size <= EMBEDDED:
        content, reference = clip.read_bytes(), ""
    elif clip is not None:
        reference = _reference(clip, path.parent)
    data = {
        "times": track.times.round(6).tolist(),
        "ok": track.ok.astype(int).tolist(),
        "clip": reference,
    }
    parts = {
        "TITLE": html.escape(Path(track.clip).name),
        "DATA": json.dumps(data).replace("<", "\\u003c"),
        "GLB": base64.b64encode(glb_bytes(track, options)).decode(),
        "CLIP": base64.b64encode(content).decode(),
        "THREE": (ASSETS / "three.min.js").read_text(encoding="utf-8"),
        "SCRIPT": (ASSETS / "viewer.js").read_text(encoding="utf-8"),
    }
    page = (ASSETS / "page.html").read_text(encoding="utf-8")
    path.write_text(re.sub("%%([A-Z]+)%%", lambda match: parts[match[1]], page), encoding="utf-8")


def _video_file(track: Track) -> Path | None:
    """Find the file that was tracked; None if it is no longer where it was, or if pictures were tracked."""
    path = Path(track.clip)
    return path if path.is_file() and file_hash(path) == track.clip_hash else None


def _reference(clip: Path, folder: Path) -> str:
    """The URL of the clip relative to the page's folder."""
    return quote(os.path.relpath(clip.resolve(), folder.resolve()).replace(os.sep, "/"))
