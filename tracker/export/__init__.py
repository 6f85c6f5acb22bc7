"""A track in the formats of other tools.

Each module in the folders here holds the writers of one or a few formats, which register themselves when it is
imported; all are imported with the package, so they import torch and other large packages in their functions only.
Modules whose names begin with an underscore are helpers that need these.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import TYPE_CHECKING

from selftrack.errors import UserError
from selftrack.io import OutputFolder, atomic_path, remove_parts
from selftrack.tracker.export.curve_range import CurveRange, in_range
from selftrack.tracker.export.edited import with_table
from selftrack.tracker.export.options import MAKERS, ExportOptions
from selftrack.tracker.export.registry import (
    FORMATS,
    GROUPS,
    Format,
    Need,
    exporter,
    known,
    require,
    require_said,
    taking,
)
from selftrack.tracker.export.timing import with_timecode
from selftrack.tracker.sources.names import source_name

if TYPE_CHECKING:
    from selftrack.tracker.export.presets import Expression
    from selftrack.tracker.results.smoothing import CleanConfig
    from selftrack.tracker.results.track_file import Track

__all__ = [
    "FORMATS",
    "GROUPS",
    "ExportOptions",
    "Format",
    "Need",
    "check",
    "default_path",
    "export",
    "exporter",
    "known",
    "require",
    "require_said",
    "taking",
    "write",
]

for _module in sorted(module.name for module in walk_packages(__path__, f"{__name__}.")):
    if not _module.rpartition(".")[2].startswith("_"):
        import_module(_module)


def default_path(clip: Path | str, to: str, folder: Path) -> Path:
    """Place the file of a clip in a format in a folder of results; never where these have a file of their own."""
    path = Path(folder) / FORMATS[to].file.format(clip=source_name(clip))
    return path.with_stem(f"{path.stem}_{to}") if path.name in _results() else path


def write(track: Track, to: str, path: Path, options: ExportOptions | None = None) -> Path:
    """Write a track to `path` in the format named `to`; the file appears only when complete.

    Raises:
        UserError: a format that is not known, a track that it cannot hold, a path that is a track's own file or one
            that the export is made from, or a file that cannot be written.
    """
    (to,) = known([to])
    path = Path(path)
    if path.name in _results() and path.with_name(_results()[0]).exists():
        raise UserError(f"{path}: would replace a part of the track there; name another file with -o")
    options = options or ExportOptions()
    if any(_is_same(path, given) for given in (track.clip, *vars(options).values())):
        raise UserError(f"{path}: is what the export is made from; name another file with -o")
    _require([to], track, options)
    remove_parts(path)
    with atomic_path(path) as part:
        FORMATS[to].write(track, part, options)
    return path


def check(folder: Path, names: Sequence[str], options: ExportOptions | None = None) -> None:
    """Make sure, before any of them is written, that the track of a folder can be exported there in several formats.

    Raises:
        UserError: no track there, a file of the options is not there, a file of the user's is in the way of one of
            them, or as `require`.
    """
    from selftrack.tracker.results.track_file import folder_of, load

    names, track, folder = known(names), load(folder), folder_of(folder)
    _require(names, track, options)
    _check_given(names, options or ExportOptions())
    for name in names:
        _check_free(default_path(track.clip, name, folder))


def export(
    folder: Path,
    to: str,
    path: Path | None = None,
    options: ExportOptions | None = None,
    cleaning: CleanConfig | None = None,
    timecode: str | None = None,
    ranges: Mapping[str, CurveRange] | None = None,
    expression: Expression | None = None,
    edited: Path | None = None,
) -> Path:
    """Write the track of a folder in the format named `to`, into the folder unless `path` is given.

    In the folder it replaces an earlier export, but no file of the user's.

    Args:
        cleaning: clean the track up first; without it the export is what was tracked.
        timecode: of the clip's time 0, in place of the track's own.
        ranges: by curve, to which the curves are brought, after the clean-up and the expression.
        expression: laid over the performance, after the clean-up.
        edited: a table like curves.csv, whose curves and head pose come first.

    Raises:
        UserError: no track there, a file of the user's is in the way, no timecode at the clip's rate, or as `write`.
    """
    from selftrack.tracker.results.smoothing import clean
    from selftrack.tracker.results.track_file import folder_of, load

    (to,) = known([to])
    track, folder = load(folder), folder_of(folder)
    options = replace(options or ExportOptions(), folder=folder)
    if timecode is not None:
        track = with_timecode(track, timecode)
    tracked = track
    if edited:
        track = with_table(track, edited)
    if cleaning:
        track = clean(track, cleaning)
    if expression:
        track = expression.over(track)
    if ranges:
        track = in_range(track, ranges)
    if track is not tracked:
        options = replace(options, raw=tracked)
    if path is not None:
        return write(track, to, Path(path), options)
    path = default_path(track.clip, to, folder)
    _check_free(path)
    write(track, to, path, options)
    OutputFolder(folder).own([path.name])
    return path


def _require(names: Sequence[str], track: Track, options: ExportOptions | None) -> None:
    """As `require`, for a track; its decoder, which may be gone, is read only where that matters."""
    if any(FORMATS[name].needs or FORMATS[name].asks for name in names):
        require(names, track.model(), options)


def _check_given(names: Sequence[str], options: ExportOptions) -> None:
    """Make sure that the files and folders which options name for formats are there."""
    for field in {field: None for name in names for field in (*FORMATS[name].asks, *FORMATS[name].takes)}:
        given = getattr(options, field)
        if isinstance(given, Path) and not given.exists():
            advice = f"make it with: {MAKERS[field].format(given)}" if field in MAKERS else "name one that is there"
            raise UserError(f"--{field.replace('_', '-')} {given}: no such file; {advice}")


def _check_free(path: Path) -> None:
    """Refuse to replace a file of the user's in a folder of results."""
    if os.path.lexists(path) and not OutputFolder(path.parent).is_ours(path.name):
        raise UserError(
            f"{path}: this program did not write it, or it was changed since; move it away, or name another file "
            "with -o"
        )


def _is_same(path: Path, given: object) -> bool:
    """Whether what is given is a file, and the path is that of the same."""
    return isinstance(given, str | Path) and path.is_file() and Path(given).is_file() and path.samefile(given)


def _results() -> tuple[str, ...]:
    """Names of the track's own files, the track itself first."""
    from selftrack.tracker.results import curves, track_file

    return track_file.NAME, curves.NAME
