"""`track-export`: a track in the formats of other tools."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from selftrack.cli.progress import Stages
from selftrack.command import quiet, run
from selftrack.errors import UserError
from selftrack.tracker import export as exports
from selftrack.tracker.export import FORMATS, GROUPS, ExportOptions, taking
from selftrack.tracker.export.curve_range import CurveRange, read_ranges
from selftrack.tracker.export.maps._settings import map_names
from selftrack.tracker.export.options import METAVARS

if TYPE_CHECKING:
    from selftrack.tracker.export.presets import Expression
    from selftrack.tracker.results.smoothing import CleanConfig


@dataclass(frozen=True)
class _Place:
    """Where the clip's camera and clock are."""

    focal: Annotated[
        float | None,
        typer.Option(
            help="Focal length of the camera in pixels (default: the track's; that of a far lens where it has none)."
        ),
    ] = None
    timecode: Annotated[
        str | None,
        typer.Option(
            help="Timecode of the clip's time 0, HH:MM:SS:FF, or HH:MM:SS;FF for drop-frame (default: the clip's own)."
        ),
    ] = None

    def check(self, formats: Sequence[str]) -> None:
        """Refuse what none of the formats has."""
        for option, given in vars(self).items():
            if given is not None and not any(getattr(FORMATS[name], option) for name in formats):
                counting = ", ".join(sorted(name for name, format_ in FORMATS.items() if getattr(format_, option)))
                raise UserError(
                    f"--{option} does not count in {', '.join(formats)}; leave it out, or write one of {counting}"
                )


@dataclass(frozen=True)
class _Changes:
    """What is changed of the performance, in this order."""

    curves: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Take curves and head pose from a table like curves.csv, edited by hand or in the viewer (default: "
            "the track's own).",
        ),
    ] = None
    clean: Annotated[
        bool, typer.Option("--clean", help="Smooth noise and bridge short gaps; blinks stay (default: no).")
    ] = False
    neutral: Annotated[
        float | None,
        typer.Option(
            help="With --clean: the face is at rest at this second of the clip; its curves become 0 (default: none)."
        ),
    ] = None
    preset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=INTENSITY",
            help="Lay an expression over the performance, such as happy=0.7; may be given several times (default: "
            "none).",
        ),
    ] = None
    preset_only: Annotated[
        bool, typer.Option("--preset-only", help="Show the expression in place of the performance's (default: no).")
    ] = False
    presets: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="YAML with further expressions for --preset (default: the bundled ones)."),
    ] = None
    range_file: Annotated[
        Path | None,
        typer.Option(
            "--range",
            metavar="FILE",
            help="Bring the curves to the range of a rig, by a file of track-range (default: no).",
        ),
    ] = None

    def check(self) -> None:
        """Refuse options that do nothing without another one."""
        if self.neutral is not None and not self.clean:
            raise UserError("--neutral is a part of the clean-up; add --clean")
        if not self.preset and (self.preset_only or self.presets):
            option = "preset-only" if self.preset_only else "presets"
            raise UserError(f"--{option} does nothing without --preset NAME=INTENSITY; add that")

    def cleaning(self) -> CleanConfig | None:
        """Settings of the clean-up, None for none."""
        from selftrack.tracker.results.smoothing import CleanConfig

        return CleanConfig(neutral=self.neutral) if self.clean else None

    def ranges(self) -> dict[str, CurveRange] | None:
        """The range of the rig, None where none is named. Raises UserError as `read_ranges`."""
        return read_ranges(self.range_file) if self.range_file else None

    def expression(self) -> Expression | None:
        """What is laid over the performance, None for nothing. Raises UserError where it is not known."""
        from selftrack.tracker.export.presets import Expression, read_presets

        if not self.preset:
            return None
        return Expression.of(_intensities(self.preset), read_presets(self.presets), self.preset_only)

    def __str__(self) -> str:
        made = {
            f"the table {self.curves}": self.curves,
            "the clean-up": self.clean,
            f"{', '.join(self.preset or ())}{' alone' if self.preset_only else ''}": self.preset,
            f"the range of {self.range_file}": self.range_file,
        }
        return ", ".join(words for words, given in made.items() if given)


# Options of formats, by the names of the fields of `ExportOptions`: what each format asks for or takes.


@dataclass(frozen=True)
class _Glb:
    compress: Annotated[
        bool,
        typer.Option(
            "--compress", help="Make the file a third as large by meshopt, for programs that read that (default: no)."
        ),
    ] = False


@dataclass(frozen=True)
class _Viewer:
    against: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Another track of the clip, to switch to (default: none).")
    ] = None


@dataclass(frozen=True)
class _Character:
    character: Annotated[
        Path | None,
        typer.Option(metavar=METAVARS["character"], help="The .rig file of track-rig (default: none)."),
    ] = None


@dataclass(frozen=True)
class _Flame:
    flame: Annotated[
        Path | None,
        typer.Option(metavar=METAVARS["flame"], help="FLAME's model file, .pkl or .npz (default: none)."),
    ] = None
    flame_landmarks: Annotated[
        Path | None,
        typer.Option(
            metavar=METAVARS["flame_landmarks"], help="Where its landmarks lie, .npy, .pkl or .npz (default: none)."
        ),
    ] = None


@dataclass(frozen=True)
class _Maps:
    maps: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="The maps to draw, such as pncc,normals (default: all of the mesh)."),
    ] = None
    crop: Annotated[
        str | None,
        typer.Option(help="What they show: frame, face, or X,Y,WIDTH,HEIGHT in pixels of the clip (default: frame)."),
    ] = None
    size: Annotated[
        int | None, typer.Option(help="Their width in pixels (default: that of the clip; 512 with --crop face).")
    ] = None


@dataclass(frozen=True)
class _Reenact:
    onto: Annotated[
        Path | None,
        typer.Option(
            metavar=METAVARS["onto"],
            help="A picture of the person who is to move so (default: none). Use pictures of people who have agreed to "
            "it.",
        ),
    ] = None
    keep_pose: Annotated[
        bool, typer.Option("--keep-pose", help="The head stays as it is in the photo (default: it turns).")
    ] = False
    no_tag: Annotated[
        bool,
        typer.Option(
            "--no-tag",
            help="Without the word synthetic in the picture (default: with it); the file says so.",
        ),
    ] = False


def export(
    folder: Annotated[Path, typer.Argument(help="Folder that `track` has written.", metavar="DIR")],
    to: Annotated[
        list[str],
        typer.Option(
            help="Write these formats, such as livelink,glb: livelink for Unreal, glb for Unity and three.js, blender, "
            "maya, viewer for a browser; docs/exports.md describes them. Known are "
            f"{', '.join(sorted((*FORMATS, *GROUPS)))}."
        ),
    ],
    *,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The file to write (default: in DIR, named after the clip).")
    ] = None,
    place: _Place,
    changes: Annotated[_Changes, "What is changed of the performance, in this order"],
    glb: Annotated[_Glb, "For --to glb"],
    viewer: Annotated[_Viewer, "For --to viewer"],
    character: Annotated[_Character, "For --to character"],
    flame: Annotated[_Flame, "For --to flame"],
    maps: Annotated[_Maps, "For --to maps, maps-exr, maps-mkv"],
    reenact: Annotated[_Reenact, "For --to reenact"],
) -> None:
    """Write a track in the formats of other tools."""
    formats = exports.known(to)
    if not formats or (output is not None and len(formats) > 1):
        raise UserError(f"--to names {len(formats)} formats; name one{' for the file of -o' if formats else ''}")
    if output is not None:
        _check_name(formats[0], output)
    place.check(formats)
    own = _said(glb, viewer, character, flame, maps, reenact)
    _check(formats, own)
    changes.check()
    if not folder.exists():
        raise UserError(f"{folder}: no such file or folder; make it with: track VIDEO -o {folder}")
    options = ExportOptions(focal=place.focal, **own)
    exports.require_said(formats, options)
    made = changes.cleaning(), place.timecode, changes.ranges(), changes.expression(), changes.curves
    if len(formats) > 1:
        exports.check(folder, formats, options)
    for name in formats:
        with Stages(lines=False) as stages:
            shown = replace(options, progress=partial(stages.show, name))
            written = exports.export(folder, name, output, shown, *made)
        print(written)  # bars would take it to stderr
    if str(changes) and not quiet():
        print(f"edited   with {changes}", file=sys.stderr)


def _said(*groups: Any) -> dict[str, Any]:
    """The options of formats that were given, as fields of `ExportOptions`."""
    own = {
        name: value for group in groups for name, value in vars(group).items() if not (value is None or value is False)
    }
    return own | ({"maps": map_names(own["maps"])} if "maps" in own else {})


def _intensities(texts: Sequence[str]) -> dict[str, float]:
    """Intensities by the names of expressions; one without is 1. Raises UserError where one is named twice."""
    intensities: dict[str, float] = {}
    for text in texts:
        name, _, intensity = text.partition("=")
        name = name.strip()
        if name in intensities:
            raise UserError(f"--preset names {name} twice; name it once, with the intensity that is meant")
        try:
            intensities[name] = float(intensity or 1)
        except ValueError as error:
            raise UserError(f"--preset takes NAME=INTENSITY, such as happy=0.7; got {text!r}") from error
    return intensities


def _check_name(name: str, output: Path) -> None:
    """Refuse a file whose name says that it is of another format."""
    suffix, others = Path(FORMATS[name].file).suffix, {Path(known.file).suffix for known in FORMATS.values()}
    if suffix and output.suffix.lower() in others - {suffix, ""}:
        raise UserError(f"-o {output}: {name} is a {suffix} file; name it so, or another format with --to")


def _check(formats: Sequence[str], options: Iterable[str]) -> None:
    """Refuse options that none of the formats asks for or takes."""
    for option in options:
        takers = taking(option)
        if not {name for taker in takers for name in GROUPS.get(taker, (taker,))} & set(formats):
            raise UserError(f"--{option.replace('_', '-')} is for --to {', '.join(takers)}; leave it out")


def main() -> None:
    """Run the console script `track-export`."""
    run("track-export", export=export)
