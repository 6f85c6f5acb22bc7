"""Fit the bundled confidence again, for instance after the network was trained again.

    python scripts/fit_confidence.py WORK

makes 24 synthetic clips of 4 s and 8 hard ones in WORK, tracks them and writes tracker/assets/confidence.json; what is
in WORK already is kept, so that an interrupted run goes on (delete the tracks after a change of the network). About
half an hour on one core.
"""

from __future__ import annotations

from pathlib import Path

import torch
import typer

from selftrack.eval.checks.benchmark import tracked
from selftrack.eval.checks.confidence import fit_command
from selftrack.synthetic.clips import main as make_clips
from selftrack.synthetic.truth import find_clips

SETS = {"ordinary": (24, 100, False), "hard": (8, 200, True)}  # clips, seed, hard; the benchmark has seed 0
FRAMES = 120


def main(work: Path) -> None:
    """Make clips and tracks in WORK and fit."""
    torch.set_num_threads(1)
    folders = []
    for name, (clips, seed, hard) in SETS.items():
        make_clips(work / name, clips, FRAMES, seed, hard)
        for clip, _ in find_clips(work / name):
            folders.append(work / f"{name}_{clip.stem}")
            tracked(clip, folders[-1], None)
    fit_command(folders)


if __name__ == "__main__":
    typer.run(main)
