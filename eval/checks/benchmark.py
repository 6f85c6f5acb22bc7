"""Errors against the truth on synthetic clips, before and after adaptation.

    python -m selftrack.eval.checks.benchmark CLIPS OUT --adapt

CLIPS is what `python -m selftrack.synthetic.clips` has written. Tracks in OUT are not made again; OUT/benchmark.md
has the table, OUT/benchmark.json the figures.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated
from warnings import catch_warnings, simplefilter

import numpy as np
import torch
import typer
from scipy import stats

from selftrack.adapt.clips import adapt_and_track
from selftrack.adapt.learning.trainer import AdaptConfig
from selftrack.adapt.run import load_preset
from selftrack.command import run
from selftrack.errors import UserError
from selftrack.eval.compare.reference import skin_windows
from selftrack.eval.compare.score import cell
from selftrack.eval.metrics import TrackedClip, headline, measure
from selftrack.io import json_text, markdown_table, write_text
from selftrack.synthetic.truth import find_clips
from selftrack.tracker import load
from selftrack.tracker.clips.config import TrackConfig
from selftrack.tracker.results.skin_points import Window
from selftrack.tracker.results.track_file import NAME, Track

TRUTH = "truth."
"""With which the names of metrics begin that need the truth."""
Row = dict[str, float]


def errors(track: Track, windows: list[Window]) -> Row:
    """Measure a track of a synthetic clip, whose truth lies beside it, by all metrics.

    Raises:
        UserError: the track is not of all frames of that clip.
    """
    clip = TrackedClip.of(track, windows)
    if clip.truth is None:
        raise UserError(f"{track.clip}: its truth is not beside it, or not of the same frames: track the whole clip")
    return measure(clip)


def tracked(clip: Path, folder: Path, adaptation: AdaptConfig | None) -> Track:
    """Load the track in `folder`; make it if it is not there, adapted first if there are settings for that.

    Raises:
        UserError: the clip cannot be read, or shows too little of a face.
    """
    if (folder / NAME).exists():
        return load(folder)
    adapt_and_track(clip, folder, TrackConfig(overlay=False), adaptation)
    return load(folder)


def relative_change(before: list[float], after: list[float]) -> tuple[float, float, float]:
    """Average (after - before) / before over clips, with its 95 % confidence interval (Student's t, paired)."""
    change = np.array(after) / np.array(before) - 1
    low, high = stats.ttest_1samp(change, 0).confidence_interval(0.95)
    return float(change.mean()), float(low), float(high)


def rank_agreement(rows: list[Row]) -> dict[str, float]:
    """Compute Spearman's correlation of each headline metric without truth with the vertex error, over rows."""
    true = [row["truth.vertices"] for row in rows]
    blind = [m.name for m in headline(rows) if m.better == "lower" and not m.name.startswith(TRUTH)]
    with np.errstate(invalid="ignore"), catch_warnings():
        simplefilter("ignore", stats.ConstantInputWarning)  # as lost frames, if there are none
        return {name: float(stats.spearmanr([row[name] for row in rows], true).statistic) for name in blind}


def table(rows: dict[str, dict[str, Row]]) -> str:
    """Write Markdown: a row for every clip and variant, the means, and what changed; rows by clip, then by variant."""
    every = [row for tracks in rows.values() for row in tracks.values()]
    columns, variants = headline(every), list(next(iter(rows.values())))
    means = {
        v: {m.name: float(np.mean([clip[v][m.name] for clip in rows.values()])) for m in columns} for v in variants
    }
    lines = [
        [clip, variant, *(cell(row[m.name]) for m in columns)]
        for clip, tracks in [*rows.items(), ("**mean**", means)]
        for variant, row in tracks.items()
    ]
    text = markdown_table(["clip", "track", *(f"{m.label}, {m.unit}" for m in columns)], lines)
    if len(variants) > 1 and len(rows) > 1:
        text += "\nRelative change, mean over clips and paired 95 % confidence interval:\n\n"
        first, second = variants[:2]
        for m in columns:
            before, after = ([clip[v][m.name] for clip in rows.values()] for v in (first, second))
            if m.better in ("lower", "higher") and all(before):
                mean, low, high = relative_change(before, after)
                text += f"- {m.label}: {mean:+.1%} ({low:+.1%} to {high:+.1%})\n"
    if len(every) > 2:
        ranks = ", ".join(f"{name} {value:.2f}" for name, value in rank_agreement(every).items())
        text += f"\nSpearman's correlation with the vertex error over {len(every)} tracks: {ranks}.\n"
    return text


def main(
    clips: Annotated[
        Path, typer.Argument(help="Folder that python -m selftrack.synthetic.clips has written.", metavar="CLIPS")
    ],
    output: Annotated[Path, typer.Argument(help="Folder for tracks and tables.", metavar="OUT")],
    adapt: Annotated[bool, typer.Option("--adapt", help="Adapt to each clip, too.")] = False,
    thorough: Annotated[bool, typer.Option("--thorough", help="Adapt for longer (default: no).")] = False,
    steps: Annotated[int | None, typer.Option(help="Steps of the adaptation (default: as --adapt).", min=1)] = None,
    first: Annotated[int | None, typer.Option(help="Number of clips (default: all).", min=1)] = None,
) -> None:
    """Track synthetic clips and print their errors against the truth."""
    torch.set_num_threads(1)
    settings = load_preset("thorough" if thorough else "fast")
    settings = settings if steps is None else replace(settings, steps=steps)
    rows: dict[str, dict[str, Row]] = {}
    output.mkdir(parents=True, exist_ok=True)
    for clip, _ in find_clips(clips)[:first]:
        tracks = {"plain": tracked(clip, output / f"{clip.stem}_plain", None)}
        if adapt:
            tracks["adapted"] = tracked(clip, output / f"{clip.stem}_adapted", settings)
        windows = skin_windows(tracks["plain"])
        rows[clip.stem] = {name: errors(track, windows) for name, track in tracks.items()}
        write_text(output / "benchmark.json", json_text(rows))
        write_text(output / "benchmark.md", table(rows))
        print(
            clip.stem, *(f"{name} {row['truth.vertices']:.2f} mm" for name, row in rows[clip.stem].items()), flush=True
        )
    print(table(rows), end="")


if __name__ == "__main__":
    run("python -m selftrack.eval.checks.benchmark", benchmark=main)
