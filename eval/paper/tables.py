"""The tables of Yoon et al. 2019 on data that anybody can make, one command each.

    python -m selftrack.eval.paper.tables table1 OUT CLIP [CLIP ...]     adaptation: none, landmarks only, full
    python -m selftrack.eval.paper.tables table2 CAPTURES OUT            what each part of I2ZNet is worth
    python -m selftrack.eval.paper.tables table3 CAPTURES OUT            the same under perturbations (supplementary)
    python -m selftrack.eval.paper.tables figure10 OUT                   the resolution of the input

Each prints a Markdown table and writes it to OUT. What is in OUT already (tracks, weights) is not made again.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from selftrack.adapt.run import load_preset
from selftrack.adapt.terms import TERMS
from selftrack.command import run
from selftrack.errors import UserError
from selftrack.eval.checks.benchmark import tracked
from selftrack.eval.compare.reference import skin_windows
from selftrack.eval.compare.score import cell
from selftrack.eval.metrics import METRICS, TrackedClip, measure
from selftrack.eval.paper.held_out_people import NONE, PERTURBATIONS, held_out_shots
from selftrack.eval.paper.resolution import on_captures, on_clip, write_plot
from selftrack.eval.paper.variants import LABELS, VARIANTS, accuracy, robustness, stability, train_variant
from selftrack.io import markdown_table, write_text
from selftrack.synthetic.captures import find_captures
from selftrack.tracker.clips.files import ADAPTATION
from selftrack.tracker.network.weights import load_network
from selftrack.tracker.results.skin_points import Window
from selftrack.training.i2znet import TrainConfig

CLIP = Path(__file__).parents[2] / "tests" / "data" / "smile.mp4"
ADAPTATIONS: dict[str, dict[str, object] | None] = {
    "no adaptation": None,
    "landmarks only (FLRC)": {"weights": {"cftc": 0.0, "motc": 0.0, "jitter": 0.0, "shape_jitter": 0.0}},
    "full": {},
}
"""The settings of adaptation that each row of Table 1 changes."""
PARTS: dict[str, dict[str, object]] = {
    "landmarks and steadiness": {"weights": {"cftc": 0.0, "motc": 0.0}},
    "weights 100 / 100 / 1": {"weights": {"cftc": 100.0, "motc": 100.0, "flrc": 1.0}},  # those of the paper
    "without steadiness": {"weights": {"jitter": 0.0, "shape_jitter": 0.0}},
    **{f"without {name}": {"weights": {name: 0.0}} for name in TERMS if name != "flrc"},
    "neighbouring frames only": {"offsets": (0, 1), "groups": 16, "weights": {"jitter": 0.0, "shape_jitter": 0.0}},
    "grazing angles, too": {"least_cosine": 0.02},
    "occluded texels count": {"occlusion": 1e6},
    "the whole contour counts": {"terms": {"flrc": {"contour_cosine": -1.0}}},
    "without the detector's bias": {"bias": 0.0},
    "without contact": {"terms": {"opening": {"contact": 0.0}}},
}
"""Further parts and weights of our adaptation, for `table1 --parts`."""
BASELINES = ("HPEN", "3DDFA", "PRNet")
TABLE1 = ("stability.screen.mean", "stability.screen.ratio", "skin.mean", "landmarks.mean", "truth.vertices")
"""Names of the metrics in Table 1, the first one the paper's."""
TABLE2 = {
    "geometry": "geometry, mm",
    "landmarks": "landmarks, % IOD",
    "texture": "texture, 0..1",
    "temporal": "Eq. 10",
}
TABLE3 = {
    "change": "geometry, mm from undisturbed",
    "landmarks": "landmarks, % IOD from truth",
    "texture": "texture from undisturbed",
    "geometry": "geometry, mm from truth",
}
Row = dict[str, float]
Rows = dict[str, Row]
Lines = dict[str, Row | str]
"""Rows by name; a text says why there are no figures."""
Output = Annotated[Path, typer.Argument(help="Folder for results; what is there is used again.", metavar="OUT")]
Captures = Annotated[Path, typer.Argument(help="Folder that track-train captures has written.", metavar="CAPTURES")]
Steps = Annotated[int, typer.Option(help="Steps of each training (default 1000).", min=1)]
People = Annotated[int, typer.Option(help="Number of held-out people, two moments each (default 24).", min=1)]
Seed = Annotated[int, typer.Option(help="Random seed (default 0).", min=0)]
Training = Annotated[
    bool, typer.Option("--train/--no-train", help="Train what is not in OUT, or leave it out (default: train).")
]


Streams = Annotated[
    Path | None, typer.Option(help="Take weights of VGG-16 and FAN from this file of track-train streams.")
]
Device = Annotated[str, typer.Option(help="Train on cpu or cuda (default cpu).")]


def markdown(rows: Mapping[Any, Mapping[str, float] | str], columns: dict[str, str], first: str) -> str:
    """Write a table; a row that is a text says why it has no figures; what is NaN or missing is a dash."""
    lines = []
    for name, row in rows.items():
        if isinstance(row, str):
            lines.append([name, f"not run: {row}", *[""] * (len(columns) - 1)])
        else:
            lines.append([name, *(cell(row.get(column, float("nan"))) for column in columns)])
    return markdown_table([first, *columns.values()], lines)


def means(clips: dict[str, Rows]) -> Rows:
    """Average rows by clip and variant over the clips that have a figure, by variant."""
    out: Rows = {}
    for variant in next(iter(clips.values())):
        rows = [clip[variant] for clip in clips.values()]
        known = {name: [row[name] for row in rows if not np.isnan(row[name])] for name in rows[0]}
        out[variant] = {name: float(np.mean(values)) if values else float("nan") for name, values in known.items()}
    return out


def _finish(name: str, out: Path, *tables: str) -> None:
    text = "\n".join(tables)
    out.mkdir(parents=True, exist_ok=True)
    print(text, end="")
    write_text(out / f"{name}.md", text)


def table1(
    out: Output,
    clips: Annotated[
        list[Path], typer.Argument(help="Clips; the truth of a synthetic one lies beside it.", metavar="CLIP...")
    ],
    thorough: Annotated[bool, typer.Option("--thorough", help="Adapt for longer (default: no).")] = False,
    steps: Annotated[int | None, typer.Option(help="Steps of the adaptation (default: as --adapt).", min=1)] = None,
    parts: Annotated[
        bool, typer.Option("--parts", help="Leave out every part of our adaptation in turn, too.")
    ] = False,
    seed: Seed = 0,
) -> None:
    """Adaptation: none, with landmarks only, full (Table 1)."""
    torch.set_num_threads(1)
    settings = replace(load_preset("thorough" if thorough else "fast"), seed=seed)
    settings = settings if steps is None else replace(settings, steps=steps)
    variants = ADAPTATIONS | (PARTS if parts else {})
    figures: dict[str, Rows] = {}
    windows: list[Window] | None
    for clip in clips:
        figures[clip.stem], windows = {}, None
        for variant, change in variants.items():
            folder = out / re.sub(r"\W+", "_", variant) / clip.stem
            track = tracked(clip, folder, None if change is None else settings.changed(**change))
            windows = skin_windows(track) if windows is None else windows
            measured = measure(TrackedClip.of(track, windows))
            row = {name: measured[name] for name in TABLE1} | {"kept": float("nan")}
            if change is not None:
                row["kept"] = float(json.loads((folder / ADAPTATION).read_text())["kept"])
            figures[clip.stem][variant] = row
            print(clip.stem, variant, row, file=sys.stderr, flush=True)
    lines: Lines = {f"{clip}: {variant}": row for clip, rows in figures.items() for variant, row in rows.items()}
    lines |= {f"**mean**: {variant}": row for variant, row in means(figures).items()}
    columns = {name: f"{METRICS[name].label}, {METRICS[name].unit}" for name in TABLE1} | {"kept": "kept"}
    lines |= dict.fromkeys(BASELINES, "programs and weights of their own")
    _finish("table1", out, markdown(lines, columns, "clip: variant"))


def table2(
    captures: Captures,
    out: Output,
    steps: Steps = 1000,
    people: People = 24,
    clip: Annotated[Path, typer.Option(help="Clip for the temporal stability (default: the bundled one).")] = CLIP,
    seed: Seed = 0,
    training: Training = True,
    streams: Streams = None,
    device: Device = "cpu",
) -> None:
    """I2ZNet: scratch, frozen, + skip, + skip + key, on people that are not in its training data (Table 2)."""
    shots, rows = held_out_shots(people, 2, seed, ())[NONE], Lines()
    for name, trained in _trained(captures, out, steps, seed, training, streams, device).items():
        if isinstance(trained, Path):
            still = stability(trained, clip, out / "tracks" / name, streams)
            rows[LABELS[name]] = accuracy(load_network(trained, streams=streams), shots) | {"temporal": still}
        else:
            rows[LABELS[name]] = trained
    bundled = load_network()
    rows["bundled weights"] = accuracy(bundled, shots)
    _finish("table2", out, markdown(rows, TABLE2, "network"))


def table3(
    captures: Captures,
    out: Output,
    steps: Steps = 1000,
    people: People = 24,
    seed: Seed = 0,
    training: Training = True,
    streams: Streams = None,
    device: Device = "cpu",
) -> None:
    """The same networks when view, colour, light, crop or background change (supplementary Table 3)."""
    shots = held_out_shots(people, 2, seed)
    rows: dict[str, dict[str, Row] | str] = {}
    for name, trained in _trained(captures, out, steps, seed, training, streams, device).items():
        if isinstance(trained, Path):
            rows[LABELS[name]] = robustness(load_network(trained, streams=streams), shots, NONE)
        else:
            rows[LABELS[name]] = trained
    rows["bundled weights"] = robustness(load_network(), shots, NONE)
    tables = []
    for column, title in TABLE3.items():
        lines: Lines = {
            network: row if isinstance(row, str) else {p: row[p][column] for p in PERTURBATIONS}
            for network, row in rows.items()
        }
        tables.append(markdown(lines, {p: p for p in PERTURBATIONS}, title))
    _finish("table3", out, *tables)


def figure10(
    out: Output,
    people: People = 24,
    clip: Annotated[Path, typer.Option(help="Clip to lower, too (default: the bundled one).")] = CLIP,
    seed: Seed = 0,
) -> None:
    """The resolution of the input: resolution.png and a table (Figure 10)."""
    network = load_network()
    captures = on_captures(network, held_out_shots(people, 2, seed, ())[NONE])
    real = on_clip(network, clip, out / "tracks" / clip.stem)
    first = {"moved": "moved against 256, px", "landmarks": "landmarks, % IOD", "vertex": "vertex, mm"}
    second = {"moved": "moved against 256, px", "landmarks": "landmarks, % IOD", "stability": "Eq. 10, ratio of sums"}
    tables = markdown(captures, first, "synthetic people"), markdown(real, second, clip.stem)
    _finish("figure10", out, *tables)
    write_plot(captures, real, out / "resolution.png")


def _trained(
    captures: Path, out: Path, steps: int, seed: int, training: bool, streams: Path | None, device: str
) -> dict[str, Path | str]:
    """The file of weights of each variant, or why there is none; train it first if that is wanted."""
    torch.set_num_threads(1)
    shards, files = find_captures(captures), dict[str, Path | str]()
    for name in VARIANTS:
        weights = out / "i2znet" / f"{name}.safetensors"
        try:
            if training:
                train_variant(name, shards, weights, TrainConfig(steps=steps, seed=seed), streams, device)
            files[name] = weights if weights.exists() else "not trained in the time there was"
        except UserError as error:  # weights of a frozen stream are not there
            files[name] = str(error)
    return files


def main() -> None:
    """Run one of the commands."""
    name = "python -m selftrack.eval.paper.tables"
    run(name, __doc__, table1=table1, table2=table2, table3=table3, figure10=figure10)


if __name__ == "__main__":
    main()
