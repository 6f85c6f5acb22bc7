"""`track-range`: the file of ranges that `track-export --range` takes, from moments of a take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from selftrack.command import run
from selftrack.errors import UserError
from selftrack.tracker.export.curve_range import learn_ranges, write_ranges


def learn(
    folder: Annotated[Path, typer.Argument(help="Folder that `track` has written.", metavar="DIR")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .json file to write.")],
    rest: Annotated[
        float | None, typer.Option(help="Second at which the face rests; its curves become 0 (default: none).")
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
    if rest is None and not moments:
        raise UserError("nothing to learn from; say --rest SECOND, or --full CURVE=SECOND, or both")
    if output.suffix != ".json":
        raise UserError(f"{output}: the file of ranges is JSON; let its name end with .json")
    from selftrack.tracker.results.track_file import load

    write_ranges(learn_ranges(load(folder), rest, moments), output)
    print(output)


def _moment(text: str) -> tuple[str, float]:
    name, _, second = text.partition("=")
    try:
        return name.strip(), float(second)
    except ValueError as error:
        raise UserError(f"--full takes CURVE=SECOND, such as jawOpen=3.2; got {text!r}") from error


def main() -> None:
    """Run the console script `track-range`."""
    run("track-range", learn=learn)
