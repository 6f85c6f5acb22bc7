"""A track in the formats of other tools."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from selftrack.errors import UserError
from selftrack.io import atomic_path
from selftrack.tracker.export.arrays import export_arrays, export_vertices
from selftrack.tracker.export.dcc import export_blender, export_maya
from selftrack.tracker.export.glb import export_glb
from selftrack.tracker.export.livelink import export_livelink
from selftrack.tracker.export.openface import export_openface
from selftrack.tracker.export.options import ExportOptions
from selftrack.tracker.export.tables import export_csv, export_parquet, export_unreal
from selftrack.tracker.export.viewer import export_viewer
from selftrack.tracker.results import curves, track_file
from selftrack.tracker.results.smoothing import CleanConfig, clean
from selftrack.tracker.results.track_file import Track, load


class Format(NamedTuple):
    """One file format."""

    write: Callable[[Track, Path, ExportOptions], None]
    """Writes the file; the path has a temporary name, so nothing may be read from it."""
    name: str
    """The file's own name, {clip} standing for the stem of the clip's name."""
    needs: str = ""
    """A package that the writer imports and that is an extra of its own, of the format's name."""


FORMATS: dict[str, Format] = {
    "livelink": Format(export_livelink, "{clip}_livelink.csv"),
    "unreal": Format(export_unreal, "{clip}_unreal.csv"),
    "csv": Format(export_csv, "{clip}.csv"),
    "parquet": Format(export_parquet, "{clip}.parquet", needs="pyarrow"),
    "npz": Format(export_arrays, "{clip}.npz"),
    "openface": Format(export_openface, "{clip}_openface.csv"),
    "vertices": Format(export_vertices, "{clip}_vertices.npz"),
    "glb": Format(export_glb, "{clip}.glb"),
    "viewer": Format(export_viewer, "viewer.html"),
    "blender": Format(export_blender, "{clip}_blender.py"),
    "maya": Format(export_maya, "{clip}_maya.py"),
}

_RESULTS = (track_file.NAME, curves.NAME)
_ANY_DECODER = ("csv", "parquet", "npz", "openface", "vertices")


def known(names: Iterable[str]) -> tuple[str, ...]:
    """The names, once each. Raises ValueError if one of them is no format, or needs what is not installed."""
    names = tuple(dict.fromkeys(names))
    for name in names:
        if name not in FORMATS:
            raise UserError(f"unknown format {name!r}; known: {', '.join(FORMATS)}")
        needs = FORMATS[name].needs
        if needs and not find_spec(needs):
            raise UserError(f"format {name} needs {needs}; install it with: pip install 'selftrack[{name}]'")
    return names


def default_path(clip: Path | str, to: str, folder: Path) -> Path:
    """Where the file of a clip in a format lies in a folder of results; never where these have a file of their own."""
    path = Path(folder) / FORMATS[to].name.format(clip=Path(clip).stem)
    return path.with_stem(f"{path.stem}_{to}") if path.name in _RESULTS else path


def write(track: Track, to: str, path: Path, options: ExportOptions | None = None) -> Path:
    """Write a track to `path` in the format named `to`; the file appears only when complete.

    Raises:
        ValueError: a format that is not known, a track that it cannot hold, or a path that is a track's own file.
        OSError: the file cannot be written.
    """
    known([to])
    path = Path(path)
    if path.name in _RESULTS and path.with_name(track_file.NAME).exists():
        raise UserError(f"{path}: would replace a part of the track there; name another file with -o")
    if track.decoder != "head" and to not in _ANY_DECODER:
        raise UserError(
            f"format {to} needs the bundled head's shapes, and this track is of a person's own model; there are "
            f"{', '.join(_ANY_DECODER)}"
        )
    with atomic_path(path) as part:
        FORMATS[to].write(track, part, options or ExportOptions())
    return path


def export(
    folder: Path,
    to: str,
    path: Path | None = None,
    options: ExportOptions | None = None,
    cleaning: CleanConfig | None = None,
) -> Path:
    """Write the track of a folder in the format named `to`, into the folder unless `path` is given.

    Args:
        cleaning: clean the track up first; without it the export is what was tracked.

    Raises:
        ValueError: no track there, a format that is not known, or a track that it cannot hold.
        OSError: the file cannot be written.
    """
    known([to])
    track, options = load(folder), replace(options or ExportOptions(), folder=Path(folder))
    if cleaning:
        track, options = clean(track, cleaning), replace(options, raw=track)
    return write(track, to, Path(path) if path else default_path(track.clip, to, folder), options)
