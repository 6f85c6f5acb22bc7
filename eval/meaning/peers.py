"""What another tracker's curves mean, on the films of `benchmark`.

    python -m selftrack.eval.meaning.peers FILMS CURVES

FILMS is the folder that `benchmark` has made; CURVES has a table for each film, clip00.csv and so on, with a column for
each of ARKit's curves and one of seconds (`time`), as `track-export --to csv` writes it; of a curve that the other
tracker does not have, a column of zeros.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from selftrack.command import run
from selftrack.errors import UserError
from selftrack.eval.meaning.curves import CurveSums, summary
from selftrack.io import markdown_table
from selftrack.synthetic.rigs.performance import SUFFIX, Performance, read_takes


def judge_tables(films: Path, curves: Path) -> dict[str, float]:
    """Hold tables of curves against the performances of films of the same names; see `curves.summary`.

    Raises:
        UserError: a folder has no films, or no readable table for one of them.
    """
    paths = sorted(films.glob("*" + SUFFIX))
    if not paths:
        raise UserError(f"{films}: no films; make them with: python -m selftrack.eval.meaning.benchmark RIG TAKES OUT")
    rows, known = [], []
    for path in paths:
        performance = Performance.load(path)
        (take,) = read_takes(curves / path.name.replace(SUFFIX, ".csv"))
        rows.append(CurveSums.of(performance.curves, take.at(performance.times - performance.times[0])))
        known.append(performance.known)
    sums = rows[0]
    for row in rows[1:]:
        sums = sums + row
    return summary(sums, np.logical_or.reduce(known))


def main(
    films: Annotated[Path, typer.Argument(help="Folder of the films.", metavar="FILMS")],
    curves: Annotated[Path, typer.Argument(help="Folder of the other tracker's tables.", metavar="CURVES")],
) -> None:
    """Measure what another tracker's curves mean."""
    values = judge_tables(films, curves)
    print(markdown_table(["figure", "value"], [[name, f"{value:.3f}"] for name, value in values.items()]))


if __name__ == "__main__":
    run("python -m selftrack.eval.meaning.peers", meaning=main)
