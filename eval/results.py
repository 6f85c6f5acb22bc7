"""The figures of docs/results.md, of clips that every reader has: the bundled one and synthetic ones.

    python -m selftrack.eval.results OUT

tracks them as they are and after an adaptation, and writes OUT/results.md and OUT/figures.json. What is in OUT already
is not made again, so an interrupted run goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from selftrack.adapt.clips import adapt_and_track
from selftrack.adapt.learning.trainer import AdaptConfig
from selftrack.adapt.run import load_preset
from selftrack.command import run
from selftrack.errors import UserError
from selftrack.eval.checks.gpu import processor
from selftrack.eval.compare.reference import skin_windows
from selftrack.eval.compare.score import cell
from selftrack.eval.metrics import METRICS, Metric, TrackedClip, measure
from selftrack.eval.metrics.subject import truth_path
from selftrack.io import flat, json_text, markdown_table, nested, write_text
from selftrack.synthetic.clips import make_clip
from selftrack.tracker import load
from selftrack.tracker.clips.config import TrackConfig, load_model
from selftrack.tracker.model import Model

BUNDLED = Path(__file__).parents[1] / "tests" / "data" / "smile.mp4"
VARIANTS = ("un-adapted", "adapted")
SPEED, EFFORT, KEPT = "run.frames_per_second", "run.adaptation_seconds", "run.kept"
"""Names of what is no metric of the track: both times depend on the machine."""
Figures = dict[str, float]


def results(
    folder: Path, clips: list[Path], adaptation: AdaptConfig, progress: Callable[[str], None]
) -> dict[str, dict[str, Figures]]:
    """Track clips in both variants, by clip and variant; tracks and figures in the folder are not made again.

    Raises:
        UserError: a clip cannot be read, or shows too little of a face.
    """
    rows: dict[str, dict[str, Figures]] = {}
    model = None
    for clip in clips:
        rows[clip.stem] = {}
        for variant in VARIANTS:
            work = folder / "tracks" / clip.stem / variant
            done = work / "figures.json"
            if not done.exists():
                model = model or load_model(TrackConfig())
                settings = adaptation if variant == "adapted" else None
                write_text(done, json_text(nested(track_and_measure(clip, work, model, settings))))
            read = flat(json.loads(done.read_text(encoding="utf-8")))
            rows[clip.stem][variant] = {name: np.nan if value is None else value for name, value in read.items()}
            progress(f"{clip.stem} {variant}")
    return rows


def track_and_measure(clip: Path, folder: Path, model: Model, adaptation: AdaptConfig | None) -> Figures:
    """Track a clip into a folder, by a model that is adapted to it first if there are settings for that; measure it."""
    summary, verdict = adapt_and_track(clip, folder, TrackConfig(overlay=False), adaptation, model, overwrite=True)
    seconds, kept = (summary.adaptation, float(verdict.kept)) if verdict else (np.nan, np.nan)
    track = load(folder)
    figures = measure(TrackedClip.of(track, skin_windows(track)))
    return figures | {SPEED: summary.fps, EFFORT: seconds, KEPT: kept}


def page(rows: dict[str, dict[str, Figures]]) -> str:
    """Write Markdown: the decisive metrics of all clips, and the errors of those whose truth is known."""
    decisive = [metric for metric in METRICS.values() if metric.decisive]
    truth = [metric for metric in METRICS.values() if metric.headline and "truth" in metric.needs]
    known = {clip: row for clip, row in rows.items() if np.isfinite(row[VARIANTS[0]][truth[0].name])}
    text = _table(rows, decisive, {SPEED: "frames/s", EFFORT: "adaptation, s"})
    if known:
        text += "\nSynthetic clips, against their truth:\n\n" + _table(known, truth, {})
    return text + f"\nOn {processor()}.\n"


def _table(rows: dict[str, dict[str, Figures]], metrics: list[Metric], more: dict[str, str]) -> str:
    """A row for every clip and variant, and the means of several clips."""
    names = [*(metric.name for metric in metrics), *more]
    lines = []
    for clip, variants in rows.items():
        for variant, row in variants.items():
            lines.append([clip, label(variant, row), *(_cell(row[name], name) for name in names)])
    if len(rows) > 1:
        for variant in VARIANTS:
            values = [[variants[variant][name] for variants in rows.values()] for name in names]
            lines.append(
                ["**mean**", variant, *(_cell(float(np.mean(v)), n) for v, n in zip(values, names, strict=True))]
            )
    header = [*(f"{metric.label}, {metric.unit}" for metric in metrics), *more.values()]
    return markdown_table(["clip", "track", *header], lines)


def label(variant: str, figures: Figures) -> str:
    """Name a track; one whose adaptation was not kept is the un-adapted one again."""
    return f"{variant}, not kept" if figures[KEPT] == 0 else variant


def _cell(value: float, name: str) -> str:
    return cell(value, 0 if name in (SPEED, EFFORT) else 2 if "truth" not in name else 3)


def synthetic_clips(folder: Path, count: int, frames: int) -> list[Path]:
    """Make synthetic clips with their truth; those that are there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"synthetic{number}.mp4" for number in range(count)]
    for number, path in enumerate(paths):
        if not truth_path(path).exists():
            make_clip(path, 0, number, frames)
    return paths


def main(
    folder: Annotated[Path, typer.Argument(help="Folder for clips, tracks and figures.", metavar="OUT")],
    clips: Annotated[int, typer.Option(help="Number of synthetic clips (default 3).", min=0)] = 3,
    frames: Annotated[int, typer.Option(help="Frames of each of them, at 30 frames/s (default 120).", min=32)] = 120,
    steps: Annotated[int | None, typer.Option(help="Steps of the adaptation (default: the preset's).", min=1)] = None,
) -> None:
    """Track the bundled clip and synthetic ones, un-adapted and adapted, and write their figures."""
    if not BUNDLED.exists():
        raise UserError(f"{BUNDLED}: the bundled clip is not there; run this in a clone of the repository")
    settings = load_preset() if steps is None else replace(load_preset(), steps=steps)
    paths = [BUNDLED, *synthetic_clips(folder / "clips", clips, frames)]
    rows = results(folder, paths, settings, partial(print, flush=True))
    values: dict[str, Any] = {clip: {name: nested(row) for name, row in part.items()} for clip, part in rows.items()}
    write_text(folder / "figures.json", json_text(values))
    print(write_text(folder / "results.md", page(rows)))


if __name__ == "__main__":
    run("python -m selftrack.eval.results", results=main)
