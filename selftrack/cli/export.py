"""`track-export`: a track in the formats of other tools."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from selftrack.command import run
from selftrack.errors import UserError
from selftrack.tracker import export as exports
from selftrack.tracker.export import FORMATS, GROUPS, taking
from selftrack.tracker.export.maps._settings import map_names


def export(
    folder: Annotated[Path, typer.Argument(help="Folder that `track` has written.", metavar="DIR")],
    to: Annotated[
        list[str],
        typer.Option(
            help=f"Write these formats, such as livelink,glb. Known are {', '.join(sorted((*FORMATS, *GROUPS)))}."
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The file to write (default: in DIR, named after the clip).")
    ] = None,
    focal: Annotated[
        float | None,
        typer.Option(help="Focal length of the camera in pixels (default: fitted; of a far lens without)."),
    ] = None,
    timecode: Annotated[
        str | None,
        typer.Option(
            help="Timecode of the clip's time 0, HH:MM:SS:FF, or HH:MM:SS;FF for drop-frame (default: the clip's own)."
        ),
    ] = None,
    clean: Annotated[
        bool, typer.Option("--clean", help="Smooth noise and bridge short gaps; blinks stay (default: no).")
    ] = False,
    compress: Annotated[
        bool, typer.Option("--compress", help="For glb: pack it by meshopt, for programs that read that (default: no).")
    ] = False,
    against: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="For viewer: another track of the clip, to switch to (default: none)."),
    ] = None,
    flame: Annotated[
        Path | None, typer.Option(metavar="FILE", help="For flame: FLAME's model file, .pkl or .npz (default: none).")
    ] = None,
    flame_landmarks: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="For flame: where its landmarks lie, .npy, .pkl or .npz (default: none)."),
    ] = None,
    character: Annotated[
        Path | None,
        typer.Option(metavar="RIG", help="For character: the .rig file of track-rig (default: none)."),
    ] = None,
    maps: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES", help="For maps: the maps to draw, such as pncc,normals (default: all of the mesh)."
        ),
    ] = None,
    crop: Annotated[
        str | None,
        typer.Option(
            help="For maps: what they show, frame, face, or X,Y,WIDTH,HEIGHT in pixels of the clip (default: frame)."
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(help="For maps: their width in pixels (default: that of the clip; 512 with --crop face)."),
    ] = None,
    onto: Annotated[
        Path | None,
        typer.Option(
            metavar="PHOTO",
            help="For reenact: a picture of the person who is to move so (default: none). Use pictures of people who "
            "have agreed to it.",
        ),
    ] = None,
    keep_pose: Annotated[
        bool, typer.Option("--keep-pose", help="For reenact: the head stays as it is in the photo (default: it turns).")
    ] = False,
    no_tag: Annotated[
        bool,
        typer.Option(
            "--no-tag",
            help="For reenact: without the word synthetic in the picture (default: with it); the file says so.",
        ),
    ] = False,
    curves: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Take curves and head pose from a table like curves.csv, edited by hand or in the viewer; before the "
            "clean-up (default: the track's own).",
        ),
    ] = None,
    preset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=INTENSITY",
            help="Lay an expression over the performance, such as happy=0.7; after the clean-up. May be given several "
            "times (default: none).",
        ),
    ] = None,
    preset_only: Annotated[
        bool, typer.Option("--preset-only", help="Show the expression in place of the performance's (default: no).")
    ] = False,
    presets: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="YAML with further expressions for --preset (default: the bundled ones)."),
    ] = None,
    range_file: Annotated[
        Path | None,
        typer.Option(
            "--range",
            metavar="FILE",
            help="Bring the curves to the range of a rig, by a file of track-range; after the clean-up (default: no).",
        ),
    ] = None,
    neutral_frame: Annotated[
        int | None, typer.Option(help="With --clean: the row of a resting face, which becomes 0 (default: none).")
    ] = None,
) -> None:
    """Write a track in the formats of other tools."""
    formats = exports.known(to)
    if not formats or (output is not None and len(formats) > 1):
        raise UserError(f"--to names {len(formats)} formats; name one{' for the file of -o' if formats else ''}")
    for option, given in (("focal", focal), ("timecode", timecode)):
        if given is not None and not any(getattr(FORMATS[name], option) for name in formats):
            counting = ", ".join(sorted(name for name, format_ in FORMATS.items() if getattr(format_, option)))
            raise UserError(
                f"--{option} does not count in {', '.join(formats)}; leave it out, or write one of {counting}"
            )
    own: dict[str, Any] = {
        "compress": compress,
        "against": against,
        "flame": flame,
        "flame_landmarks": flame_landmarks,
        "character": character,
        "maps": () if maps is None else map_names(maps),
        "crop": crop or "",
        "size": size,
        "onto": onto,
        "keep_pose": keep_pose,
        "no_tag": no_tag,
    }
    _check(formats, [option for option, given in own.items() if given not in (None, False, "", ())])
    if neutral_frame is not None and not clean:
        raise UserError("--neutral-frame is a part of the clean-up; add --clean")
    if not preset and (preset_only or presets):
        raise UserError(
            f"--preset{'-only' if preset_only else 's'} does nothing without --preset NAME=INTENSITY; add that"
        )
    if not folder.exists():
        raise UserError(f"{folder}: no such file; make it with: track CLIP -o {folder}")
    from selftrack.tracker.export.curve_range import read_ranges
    from selftrack.tracker.export.options import ExportOptions
    from selftrack.tracker.export.presets import Expression, read_presets
    from selftrack.tracker.results.smoothing import CleanConfig

    cleaning = CleanConfig(neutral_frame=neutral_frame) if clean else None
    ranges = read_ranges(range_file) if range_file else None
    expression = Expression.of(_intensities(preset), read_presets(presets), preset_only) if preset else None
    options = ExportOptions(focal=focal, **own)
    exports.require_said(formats, options)
    for name in formats:
        print(exports.export(folder, name, output, options, cleaning, timecode, ranges, expression, curves))


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


def _check(formats: Sequence[str], options: Sequence[str]) -> None:
    """Refuse options that none of the formats asks for or takes."""
    for option in options:
        takers = taking(option)
        if not {name for taker in takers for name in GROUPS.get(taker, (taker,))} & set(formats):
            raise UserError(f"--{option.replace('_', '-')} is for --to {', '.join(takers)}; leave it out")


def main() -> None:
    """Run the console script `track-export`."""
    run("track-export", export=export)
