"""Closures of the eyes, labelled by eye in footage, against the curves of its tracks.

    python -m selftrack.eval.meaning.closures TRACK [TRACK ...]

A TRACK is a folder of `track`; its clip is looked up by name in closures.csv, which has of every closure of both eyes
the first frame with the lids more than half way down, the deepest and the last one.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer

from selftrack.command import run
from selftrack.errors import UserError
from selftrack.io import markdown_table
from selftrack.tracker import load

LABELS = Path(__file__).with_name("closures.csv")
SHUT, OPEN = 0.85, 0.15
"""eyeBlink of shut and of open eyes."""
NEAR = 2
"""Frames around a closure that count for neither."""
COMMAND = "python -m selftrack.eval.meaning.closures"


class Closure(NamedTuple):
    """A closure, by its frames."""

    first: int
    deepest: int
    last: int


class Seen(NamedTuple):
    """What the curves say of a closure."""

    blink: float
    """eyeBlink of the eye that is less shut, in the deepest frame."""
    look_down: float
    """eyeLookDown there, of the eye that looks down more."""
    lag: int
    """Frames from the deepest one to the largest eyeBlink around it."""


def read_labels(path: Path = LABELS) -> dict[str, list[Closure]]:
    """Read the closures by clip."""
    labels: dict[str, list[Closure]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            labels.setdefault(row["clip"], []).append(Closure(*(int(row[name]) for name in Closure._fields)))
    return labels


def judge(curves: dict[str, np.ndarray], closures: list[Closure]) -> tuple[list[Seen], np.ndarray]:
    """Hold curves (T,) by name against closures.

    Returns:
        What is seen of each, and eyeBlink (N,), of the eye that is more shut, in the frames with open eyes.
    """
    blinks = np.stack([curves["eyeBlinkLeft"], curves["eyeBlinkRight"]])
    down = np.maximum(curves["eyeLookDownLeft"], curves["eyeLookDownRight"])
    seen, opened = [], np.ones(blinks.shape[1], bool)
    for closure in closures:
        around = slice(max(closure.first - NEAR, 0), closure.last + NEAR + 1)
        opened[around] = False
        peak = around.start + int(blinks[:, around].mean(0).argmax())
        at = closure.deepest
        seen.append(Seen(float(blinks[:, at].min()), float(down[at]), peak - at))
    return seen, blinks.max(0)[opened]


def main(tracks: Annotated[list[Path], typer.Argument(help="Folders of `track`.", metavar="TRACK")]) -> None:
    """Say how shut eyes read."""
    labels, rows = read_labels(), []
    for folder in tracks:
        track = load(folder)
        name = Path(track.clip).stem
        if name not in labels:
            raise UserError(f"{folder}: its clip {name} has no labels; there are {', '.join(labels)}")
        seen, opened = judge(track.curves(), labels[name])
        for closure, one in zip(labels[name], seen, strict=True):
            rows.append([name, closure.deepest, f"{one.blink:.2f}", f"{one.look_down:.2f}", one.lag])
        rows.append([f"{name}, open", "", f"{np.quantile(opened, 0.9):.2f}", "", ""])
    print(markdown_table(["clip", "frame", "eyeBlink", "eyeLookDown", "lag, frames"], rows), end="")


if __name__ == "__main__":
    run(COMMAND, closures=main)
