"""`track-rig`: characters of the user's own, for `track --character` and `track-export --to character`; and
`track-character`: MakeHuman characters of people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from selftrack.cli.progress import Stages
from selftrack.cli.settings import DeviceOption, OverwriteOption
from selftrack.command import quiet, run
from selftrack.errors import UserError

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


def character(
    source: Annotated[
        str,
        typer.Argument(
            help="A picture or a video of the person, a folder or pattern of pictures, or a folder that track has "
            "written.",
            metavar="PHOTO|CLIP",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the results.")],
    face: Annotated[
        int | None, typer.Option(help="Of several people, take the face of this number, see track --thumbnails.", min=0)
    ] = None,
    start: Annotated[float, typer.Option(help="Begin at this second of the clip.")] = 0.0,
    duration: Annotated[float | None, typer.Option(help="Look at so many seconds (default: to the end).")] = None,
    device: DeviceOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Find the sliders of a MakeHuman character that looks like a person, and how sure each is.

    Writes character.json, character.mhm for MakeHuman and MPFB, character.glb with ARKit's shapes, and character.png
    beside the person.
    """
    from selftrack.tracker.clips.config import TrackConfig
    from selftrack.tracker.makehuman.run import make_character

    config = TrackConfig(start=start, duration=duration, device=device or "auto", overlay=False)
    with Stages() as stages:
        made = make_character(source, output, config, face, overwrite, stages.show)
    if quiet():
        return
    rows = made.table()
    seen = [name for name, row in rows.items() if row["seen"]]
    print(f"sliders  {len(seen)} of {len(rows)} were seen; of the others the character has the most usual value")
    surest = sorted(seen, key=lambda name: rows[name]["deviation"] / rows[name]["population"])
    for name in surest[:5]:
        print(f"         {name} {rows[name]['value']:.2f} ± {rows[name]['deviation']:.2f}")
    print(f"results  {output}: character.json, character.mhm, character.glb, character.png")


def _read_text(path: Path | None) -> str:
    try:
        return path.read_text(encoding="utf-8") if path else ""
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as text ({error})") from error


def _read_names(path: Path | None) -> dict[str, str | None]:
    if path is None:
        return {}
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(read, dict) or not all(value is None or isinstance(value, str) for value in read.values()):
        raise UserError(f'{path}: must hold curves by the names of shapes, such as {{"Smile_L": "mouthSmileLeft"}}')
    return read


def main() -> None:
    """Run the console script `track-rig`."""
    run("track-rig", _ABOUT, add=add, show=show)


def main_character() -> None:
    """Run the console script `track-character`."""
    run("track-character", character=character)
