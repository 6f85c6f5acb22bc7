"""Are the deviations of a character's sliders true? Drawn people whose sliders are known, read from pictures of them.

    python -m selftrack.eval.characters OUT                  # 20 people: a table
    python -m selftrack.eval.characters OUT --measure 340 --real me.mp4 --real you.jpg ...

The second measures anew how pictures tell of shapes, on others who are drawn and on real people, and writes
OUT/makehuman.npz, which is `tracker/assets/makehuman.npz`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from selftrack.command import run
from selftrack.decoders.head.model import load_head
from selftrack.decoders.makehuman.sliders import SLIDERS, Sliders
from selftrack.errors import UserError
from selftrack.eval.characters.agreement import agreement, read_again
from selftrack.eval.characters.people import draw_all, read_real, studio_of
from selftrack.eval.characters.readings import check_real, save_readings
from selftrack.io import markdown_table, write_text
from selftrack.tracker.makehuman.reading import ShapeCodes
from selftrack.tracker.model import Model

FIRST_MEASURED = 100
"""Seeds below are of people who are checked."""
LEAST_MEASURED = 60
"""As many drawn people as there are codes of a shape."""


def main(
    folder: Annotated[Path, typer.Argument(help="Folder of the results.", metavar="OUT")],
    people: Annotated[int, typer.Option(help="Draw so many people to check.", min=2, max=FIRST_MEASURED)] = 20,
    measured: Annotated[
        int | None,
        typer.Option(
            "--measure",
            help="Draw so many others, and measure by them how pictures tell of shapes (default: do not).",
            min=LEAST_MEASURED,
        ),
    ] = None,
    real: Annotated[
        list[Path] | None,
        typer.Option(
            help="With --measure: a photo or clip of real people; may be given several times.", metavar="CLIP"
        ),
    ] = None,
) -> None:
    """Check the deviations of characters on drawn people whose sliders are known."""
    if measured and not real:
        raise UserError("--measure needs photos and clips of real people, too; name them with --real")
    if real and not measured:
        raise UserError("--real is what --measure compares drawn people with; add --measure N, or leave --real out")
    head, sliders = load_head(), Sliders.load()
    model, codes = Model.load(device="cpu"), ShapeCodes(head)
    studio = studio_of(head, sliders)
    folder.mkdir(parents=True, exist_ok=True)
    if real and measured:
        seen = [one for path in real for one in read_real(model, path)]
        check_real(seen)
        others = draw_all(model, studio, range(FIRST_MEASURED, FIRST_MEASURED + measured))
        save_readings(others, seen, sliders, codes, folder / "makehuman.npz")
    drawn = draw_all(model, studio, range(people))
    true = np.array([one.sliders for one in drawn])
    header = ("read from", "true within one deviation", "variance explained", "sliders seen", "of these explained")
    rows = [
        (name, *(f"{value:.3f}" for value in vars(agreement(true, found)).values()))
        for name, found in read_again(drawn, sliders, codes).items()
    ]
    table = markdown_table(header, rows)
    write_text(folder / "characters.md", f"{len(drawn)} drawn people, {len(SLIDERS)} sliders.\n\n{table}")
    print(table)


if __name__ == "__main__":
    run("python -m selftrack.eval.characters", main=main)
