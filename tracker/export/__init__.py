"""A track in the formats of other tools."""

from collections.abc import Callable
from pathlib import Path

from tracker.export.arrays import export_vertices
from tracker.track_file import Track, load

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
