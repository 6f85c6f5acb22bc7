"""Build `tracker/assets/motion.npz`, the moments of real faces' motion, from recordings of ARKit's curves.

    python scripts/build_motion.py RECORDINGS [--take NAME ...]

The recordings of the bundled file are from alexdjulin/LiveLinkFace-CSV-Retarget-For-Motionbuilder (MIT): the takes
S07_001, alex_rom_3 and facial.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import typer

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.synthetic.rigs.performance import read_takes
from selftrack.tracker.refinement import controls
from selftrack.tracker.refinement.motion import ASSET

TAKES = ["S07_001", "alex_rom_3", "facial"]


def mirrored(curves: np.ndarray) -> np.ndarray:
    """The curves (T,52) of the mirrored face."""
    other = [n.replace("Left", "#").replace("Right", "Left").replace("#", "Right") for n in ARKIT_NAMES]
    return curves[:, [ARKIT_NAMES.index(name) for name in other]]


def main(recordings: Path, take: list[str] = TAKES, out: Path = ASSET) -> None:
    """Write mean, deviation and correlation of the controls, both sides alike."""
    takes = [t for t in read_takes(recordings) if t.name in take]
    both = [controls.to_controls(c.clip(0, 1)) for t in takes for c in (t.curves, mirrored(t.curves))]
    rows, times = np.concatenate(both), [t.times for t in takes for _ in range(2)]
    steps = [(np.diff(r, axis=0), np.diff(t)) for r, t in zip(both, times, strict=True)]
    speed = np.concatenate([change[dt > 0] / dt[dt > 0, None] for change, dt in steps])
    np.savez_compressed(
        out,
        names=np.array(controls.NAMES),
        mean=rows.mean(0).astype(np.float32),
        deviation=rows.std(0).astype(np.float32),
        correlation=np.corrcoef(rows.T).astype(np.float32),
        speed=np.sqrt((speed**2).mean(0)).astype(np.float32),
    )
    typer.echo(f"{out}: {len(rows) // 2} frames, both ways")


if __name__ == "__main__":
    typer.run(main)
