"""The files of a run: their names, whether they may be written, and the settings among them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from selftrack.errors import UserError
from selftrack.io import OutputFolder
from selftrack.tracker import export
from selftrack.tracker.model import Model
from selftrack.tracker.results import contact_sheet, curves, faces, overlay, texture, track_file
from selftrack.tracker.results.track_file import Track

CONFIG = "config.yaml"
ADAPTED, ADAPTATION = "adapted.safetensors", "adaptation.json"
REPORT, REPORT_DATA = "report.html", "report.json"  # of `track-eval`: those of an earlier run go with its track
_TRACKED = (track_file.NAME, curves.NAME, overlay.NAME, overlay.PICTURE, contact_sheet.NAME, CONFIG, faces.NAME)
OUTPUTS = (*_TRACKED, ADAPTED, ADAPTATION, texture.NAME, REPORT, REPORT_DATA)
Writer = Callable[[Track, Model, Path], None]
"""Writes further results of a track by a model into a folder, under names of `OUTPUTS`."""


def export_names(path: Path | str, exports: Iterable[str]) -> dict[str, str]:
    """Names of the files that a clip is exported to, by format. Raises UserError as `export.known`."""
    return {to: export.default_path(path, to, Path()).name for to in export.known(exports)}


def check_results(path: Path | str, folder: Path | str, exports: Iterable[str], overwrite: bool) -> None:
    """Make sure that the results of a clip, and those formats of it, may be written into a folder.

    Raises:
        UserError: as `OutputFolder.check`; an unknown format; or the folder holds the results of another clip and
            `overwrite` is not set.
    """
    output, names = OutputFolder(folder), export_names(path, exports).values()
    other = "" if overwrite else _clip_of(output)
    if other and other != str(Path(path).resolve()):
        raise UserError(f"{output.path}: holds the results of another clip, {other}; name a folder for these with -o")
    output.check((*OUTPUTS, *names), overwrite)


def _clip_of(output: OutputFolder) -> str:
    """The clip whose results a folder holds; empty where that is not known."""
    for folder in (output, *output.parts()):
        if folder.is_ours(track_file.NAME):
            try:
                return track_file.load(folder.path).clip
            except UserError:  # of a version that cannot be read any more: the results of an earlier run
                return ""
    return ""


def write_settings(settings: Mapping[str, Any], folder: Path) -> None:
    """Write `config.yaml` into a folder."""
    (folder / CONFIG).write_text(yaml.safe_dump(dict(settings), sort_keys=False), encoding="utf-8")


@contextmanager
def scratch_folder(results: Path) -> Iterator[Path]:
    """A folder for files that are not among the results, on the disk of these, where there is room for a clip's."""
    with tempfile.TemporaryDirectory(prefix=".scratch", dir=results) as folder:
        yield Path(folder)
