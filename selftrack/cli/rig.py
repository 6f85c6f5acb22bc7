"""Rigs of the user's own: `track-rig`, for `track --character` and `track-export --to character`; and `track-range`,
the file of ranges that `track-export --range` takes, from moments of a take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from selftrack.command import quiet, run
from selftrack.errors import UserError, reason
from selftrack.tracker.export.curve_range import learn_ranges, write_ranges

_NAMES = 'curves by the names of shapes, such as {"Smile_L": "mouthSmileLeft"}'
_ABOUT = "Characters of your own, which a track moves: track-rig add hero.glb -o hero.rig."


def add(
    source: Annotated[
        Path,
        typer.Argument(
            help="A .glb with morph targets, or a folder with neutral.obj and an OBJ for each shape.", metavar="FILE"
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The .rig file to write; a .png is written beside it.")
    ],
    names: Annotated[
        Path | None,
        typer.Option(
            metavar="JSON",
            help="ARKit's curve for a shape by the rig's own name, or null for a shape that stays at 0 (default: by "
            "name, else fitted).",
        ),
    ] = None,
    licence: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A text that goes into the .rig file (default: none).")
    ] = None,
) -> None:
    """Read a character, find its face, and write what a track moves it by."""
    from selftrack.decoders.rigs.character import SUFFIX

    if output.suffix != SUFFIX:
        raise UserError(f"{output}: a character is a {SUFFIX} file; let its name end with {SUFFIX}")
    given, text = _read_names(names), _read_text(licence)
    from selftrack.tracker.characters.adding import add_character, lacking
    from selftrack.tracker.characters.fit import unseen
    from selftrack.tracker.characters.preview import write_preview

    character = add_character(source, text, given)
    character.save(output)
    picture = write_preview(character, output.with_suffix(".png"))
    if quiet():
        return
    print(
        f"shapes   {len(character.mesh.names)}: {len(character.follows)} follow ARKit's curves, "
        f"{len(character.fitted)} are fitted"
    )
    print(f"points   {character.error:.2f} % of the distance of the eyes' corners from where they are seen")
    for words, missing in (
        ("has no", lacking(character)),
        ("cannot be seen to move, and stay at 0:", unseen(character)),
    ):
        if missing:
            print(f"note     {words} {', '.join(missing)}")
    print(f"results  {output}, {picture}")


def show(character: Annotated[Path, typer.Argument(help="A .rig file of track-rig add.", metavar="RIG")]) -> None:
    """Say what is in a .rig file."""
    from selftrack.decoders.rigs.character import Character

    read = Character.load(character)
    print(f"source   {read.source_name}, SHA-256 {read.source_hash}")
    for name in read.mesh.names:
        print(f"{name}   {read.follows.get(name, 'fitted' if name in read.fitted else 'stays 0')}")
    if read.licence:
        print(read.licence)


def learn(
    folder: Annotated[Path, typer.Argument(help="Folder that `track` has written.", metavar="DIR")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .json file to write.")],
    neutral: Annotated[
        float | None,
        typer.Option(help="The face is at rest at this second of the clip; its curves become 0 (default: none)."),
    ] = None,
    full: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CURVE=SECOND",
            help="Second at which a curve is what the rig's 1 is; without Left or Right it is for both sides. May be "
            "given several times.",
        ),
    ] = None,
) -> None:
    """Learn the range of a rig from a take: when the face rests, the rig's 0, and when it acts fully, its 1."""
    moments = dict(_moment(one) for one in full or ())
    if neutral is None and not moments:
        raise UserError("nothing to learn from; say --neutral SECOND, or --full CURVE=SECOND, or both")
    if output.suffix != ".json":
        raise UserError(f"{output}: the file of ranges is JSON; let its name end with .json")
    from selftrack.tracker.results.track_file import load

    write_ranges(learn_ranges(load(folder), neutral, moments), output)
    print(output)


def _read_text(path: Path | None) -> str:
    try:
        return path.read_text(encoding="utf-8") if path else ""
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as text ({reason(error)}); name a file of plain text") from error


def _read_names(path: Path | None) -> dict[str, str | None]:
    if path is None:
        return {}
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({reason(error)}); it must hold {_NAMES}") from error
    if not isinstance(read, dict) or not all(value is None or isinstance(value, str) for value in read.values()):
        raise UserError(f"{path}: must hold {_NAMES}")
    return read


def _moment(text: str) -> tuple[str, float]:
    name, _, second = text.partition("=")
    try:
        return name.strip(), float(second)
    except ValueError as error:
        raise UserError(f"--full takes CURVE=SECOND, such as jawOpen=3.2; got {text!r}") from error


def main() -> None:
    """Run the console script `track-rig`."""
    run("track-rig", _ABOUT, add=add, show=show)


def main_range() -> None:
    """Run the console script `track-range`."""
    run("track-range", learn=learn)
