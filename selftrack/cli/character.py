"""`track-character`: MakeHuman characters of people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from selftrack.cli.progress import Stages
from selftrack.cli.settings import DeviceOption, OverwriteOption, check_clip
from selftrack.command import quiet, run
from selftrack.errors import UserError
from selftrack.io import OutputFolder
from selftrack.tracker.makehuman.files import FILES
from selftrack.tracker.results.track_file import is_track, load
from selftrack.tracker.sources.base import Window


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
    start: Annotated[float | None, typer.Option(help="Begin at this second of the clip (default 0).")] = None,
    duration: Annotated[float | None, typer.Option(help="Look at so many seconds (default: to the end).")] = None,
    device: DeviceOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Find the sliders of a MakeHuman character that looks like a person, and how sure each is.

    Writes makehuman.json, makehuman.mhm for MakeHuman and MPFB, makehuman.glb with ARKit's shapes, and makehuman.png
    beside the person.
    """
    window = Window(start or 0.0, duration)
    _check(source, {"--face": face, "--start": start, "--duration": duration, "--device": device})
    OutputFolder(output).check(FILES, overwrite)
    from selftrack.tracker.clips.config import TrackConfig
    from selftrack.tracker.makehuman.run import make_character

    config = TrackConfig(start=window.start, duration=duration, device=device or "auto", overlay=False)
    with Stages() as stages:
        made = make_character(source, output, config, face, overwrite, stages.show)
    if quiet():
        return
    rows, told = made.table(), made.told()
    others = f"of {f'the other {len(rows) - len(told)}' if told else 'all'} they tell no more than the most usual value"
    print(f"sliders  {len(told)} of {len(rows)} are told by the pictures; {others} (all are in {FILES[0]})")
    for name in told:
        print(f"told     {name} {rows[name]['value']:.2f} ± {rows[name]['deviation']:.2f} (its error bar)")
    print(f"results  {output}: {', '.join(FILES)}")


def _check(source: str, options: Mapping[str, object]) -> None:
    """Refuse what is no clip and no track of one face, and options of a clip with a track, before torch is loaded."""
    check_clip(source)
    given = [name for name, value in options.items() if value is not None]
    if not is_track(source):
        return
    load(source)
    if given:
        raise UserError(f"{source}: is a track, of one face and a part of a clip; leave {' and '.join(given)} out")


def main() -> None:
    """Run the console script `track-character`."""
    run("track-character", character=character)
