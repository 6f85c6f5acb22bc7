"""A track in the formats of other tools."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tracker.export.arrays import export_vertices
from tracker.export.glb import export_glb
from tracker.export.options import ExportOptions
from tracker.track_file import Track, load


class Format(NamedTuple):
    """One file format."""

    write: Callable[[Track, Path, ExportOptions], None]
    """Writes the file; the path has a temporary name, so nothing may be read from it."""
    name: str
    """The file's own name, {clip} standing for the stem of the clip's name."""


FORMATS: dict[str, Format] = {
    "vertices": Format(export_vertices, "{clip}_vertices.npz"),
    "glb": Format(export_glb, "{clip}.glb"),
}


def known(names: Iterable[str]) -> tuple[str, ...]:
    """The names, once each. Raises ValueError if one of them is no format."""
    names = tuple(dict.fromkeys(names))
    for name in names:
        if name not in FORMATS:
            raise ValueError(f"unknown format {name!r}; known: {', '.join(FORMATS)}")
    return names


def default_path(track: Track, to: str, folder: Path) -> Path:
    """Where a format's file lies in a folder of results."""
    return Path(folder) / FORMATS[to].name.format(clip=Path(track.clip).stem)


def write(track: Track, to: str, path: Path, options: ExportOptions | None = None) -> Path:
    """Write a track to `path` in the format named `to`; the file appears only when complete.

    Raises:
        ValueError: a format that is not known, or a track that it cannot hold.
        OSError: the file cannot be written.
    """
    known([to])
    path = Path(path)
    part = path.with_name(f".{path.name}.part")
    try:
        FORMATS[to].write(track, part, options or ExportOptions())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def export(folder: Path, to: str, path: Path | None = None, options: ExportOptions | None = None) -> Path:
    """Write the track of a folder in the format named `to`, into the folder unless `path` is given.

    Raises:
        ValueError: no track there, a format that is not known, or a track that it cannot hold.
        OSError: the file cannot be written.
    """
    known([to])
    track, options = load(folder), replace(options or ExportOptions(), folder=Path(folder))
    return write(track, to, Path(path) if path else default_path(track, to, folder), options)
