"""`track-character`: a MakeHuman character of a person."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from selftrack.cli.progress import Stages
from selftrack.cli.settings import DeviceOption, OverwriteOption
from selftrack.command import quiet, run


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


def main() -> None:
    """Run the console script `track-character`."""
    run("track-character", character=character)
