"""Errors against the truth on synthetic clips, before and after adaptation.

    python -m selftrack.eval.checks.benchmark CLIPS OUT --adapt

CLIPS is what `python -m selftrack.synthetic.clips` has written. Tracks in OUT are not made again; OUT/benchmark.md
has the table, OUT/benchmark.json the figures.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from scipy import stats

from selftrack.adapt.run import adapt_clip, load_preset
from selftrack.adapt.trainer import AdaptConfig
from selftrack.command import run
from selftrack.decoders.base import Decoder
from selftrack.decoders.landmarks import LEFT_IRIS, RIGHT_IRIS
from selftrack.errors import UserError
from selftrack.eval.compare.score import skin_windows
from selftrack.eval.metrics.clip import skin_ratio, track_details
from selftrack.eval.metrics.truth import curve_error, gaze_error, pose_error, vertex_error
from selftrack.synthetic.people import face_vertices
from selftrack.synthetic.truth import Truth, find_clips, load_truth
from selftrack.tracker import load
from selftrack.tracker.geometry.crop import inter_ocular
from selftrack.tracker.geometry.pose import rotation
from selftrack.tracker.pipeline import TrackConfig, load_model, track_clip
from selftrack.tracker.results.skin_points import Window, skin_error
from selftrack.tracker.results.track_file import NAME, Track

COLUMNS = {
    "vertex": "vertex, mm",
    "image": "image, % IOD",
    "pose": "pose, deg",
    "curves": "curves",
    "gaze": "gaze, deg",
    "skin": "skin, % IOD",
    "floor": "skin of the truth",
    "landmarks": "landmarks, % IOD",
    "screen": "screen.ratio",
    "local": "local.ratio",
    "lost": "lost",
}
LABEL_FREE = ("skin", "landmarks", "screen", "local")
IRISES = {"eye_left": LEFT_IRIS, "eye_right": RIGHT_IRIS}
Row = dict[str, float]


def errors(track: Track, truth: Truth, windows: list[Window]) -> Row:
    """The figures of a track of a synthetic clip, by the names in `COLUMNS`; means over its good frames.

    vertex: distance on the face after every frame's turn and shift, and one scale for the clip, are removed: a lone
    camera cannot tell how large a head is. image: distance of the same vertices in the picture. pose: angle to the
    turn that the picture shows, see `Truth.apparent_angles`. gaze: both eyes, against the head. floor: what the skin
    points say of the true vertices.

    Raises:
        ValueError: the track is not of all frames of that clip.
    """
    if len(track) != len(truth):
        raise UserError(f"the track has {len(track)} frames, the truth {len(truth)}: track the whole clip")
    head, ok = track.model(), track.ok
    face = face_vertices(head)
    with torch.no_grad():
        shape = np.concatenate([head.geometry(z).numpy() for z in torch.from_numpy(track.z).split(64)])
    picture = track.vertices()
    true_picture = truth.in_image()
    iod = inter_ocular(head.landmarks478(torch.from_numpy(true_picture))[..., :2].numpy())
    apart = np.linalg.norm(picture[:, face, :2] - true_picture[:, face, :2], axis=-1).mean(1)
    curves = np.stack(list(track.curves().values()), 1)
    figures = track_details(track, windows).total()
    floor = skin_error(windows, truth.in_image, head.faces, track.size[::-1], ok)
    angles = track.H_image[:, 1:4], truth.apparent_angles()
    turns, true_turns = (rotation(torch.from_numpy(a)).numpy() for a in angles)
    ratios = {
        "vertex": vertex_error(scaled(shape[:, face], truth.vertices[:, face], ok), truth.vertices[:, face], ok, True),
        "pose": pose_error(turns.astype(float), true_turns, ok),
        "curves": curve_error(curves, truth.curves, ok),
        "gaze": gaze_error(gaze(head, shape), gaze(head, truth.vertices), ok),
        "skin": figures.skin,
        "floor": skin_ratio(floor),
        "landmarks": figures.landmarks,
        "screen": figures.screen.ratio,
        "local": figures.local.ratio,
    }
    row = {name: ratio.value() for name, ratio in ratios.items()}
    return row | {"image": float((100 * apart / iod)[ok].mean()), "lost": float((~ok).sum())}


def scaled(vertices: np.ndarray, truth: np.ndarray, ok: np.ndarray) -> np.ndarray:
    """Vertices (T,V,3) times the one factor that makes them as large as the truth over the frames `ok` (T,)."""

    def size(points: np.ndarray) -> float:
        centred = points[ok] - points[ok].mean(1, keepdims=True)
        return float(np.sqrt((centred.astype(float) ** 2).sum()))

    return vertices * (size(truth) / size(vertices))


def gaze(head: Decoder, vertices: np.ndarray) -> np.ndarray:
    """Directions (T,2,3) from the middle of each eyeball to that of its iris; vertices (T,V,3) in the head frame."""
    points = head.landmarks478(torch.from_numpy(vertices)).numpy()
    directions = []
    for name, iris in IRISES.items():
        ball = head.faces[head.face_parts == head.part_names.index(name)].unique().numpy()
        directions.append(points[:, iris] - vertices[:, ball].mean(1))
    return np.stack(directions, 1)


def tracked(clip: Path, folder: Path, adaptation: AdaptConfig | None) -> Track:
    """The track in `folder`, made if it is not there; adapted first if there are settings for that.

    Raises:
        UserError: the clip cannot be read.
        ValueError: it shows too little of a face.
    """
    if (folder / NAME).exists():
        return load(folder)
    config, also = TrackConfig(overlay=False), None
    model = load_model(config)
    if adaptation is not None:
        model, _, also = adapt_clip(clip, folder, config, adaptation, model)
    track_clip(clip, folder, config, model=model, also=also)
    return load(folder)


def relative_change(before: list[float], after: list[float]) -> tuple[float, float, float]:
    """Mean of (after - before) / before over clips, and its 95 % confidence interval (Student's t, paired)."""
    change = np.array(after) / np.array(before) - 1
    low, high = stats.ttest_1samp(change, 0).confidence_interval(0.95)
    return float(change.mean()), float(low), float(high)


def rank_agreement(rows: list[Row]) -> dict[str, float]:
    """Spearman's correlation of each label-free figure with the vertex error, over rows."""
    true = [row["vertex"] for row in rows]
    return {name: float(stats.spearmanr([row[name] for row in rows], true).statistic) for name in LABEL_FREE}


def table(rows: dict[str, dict[str, Row]]) -> str:
    """Markdown: a row for every clip and variant, the means, and what changed; rows by clip, then by variant."""
    lines = ["| clip | track | " + " | ".join(COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 2) + "|"]
    variants = list(next(iter(rows.values())))
    means = {v: {name: float(np.mean([clip[v][name] for clip in rows.values()])) for name in COLUMNS} for v in variants}
    for clip, tracks in [*rows.items(), ("**mean**", means)]:
        for variant, row in tracks.items():
            cells = [f"{row[name]:.0f}" if name == "lost" else f"{row[name]:.3f}" for name in COLUMNS]
            lines.append(f"| {clip} | {variant} | " + " | ".join(cells) + " |")
    if len(variants) > 1 and len(rows) > 1:
        lines += ["", "Relative change, mean over clips and paired 95 % confidence interval:", ""]
        first, second = variants[:2]
        for name in list(COLUMNS)[:-1]:
            if name != "floor":
                pairs = ([clip[v][name] for clip in rows.values()] for v in (first, second))
                mean, low, high = relative_change(*pairs)
                lines.append(f"- {COLUMNS[name]}: {mean:+.1%} ({low:+.1%} to {high:+.1%})")
    every = [row for tracks in rows.values() for row in tracks.values()]
    if len(every) > 2:
        ranks = ", ".join(f"{name} {value:.2f}" for name, value in rank_agreement(every).items())
        lines += ["", f"Spearman's correlation with the vertex error over {len(every)} tracks: {ranks}."]
    return "\n".join(lines)


def main(
    clips: Annotated[Path, typer.Argument(help="What python -m selftrack.synthetic.clips wrote.", metavar="CLIPS")],
    output: Annotated[Path, typer.Argument(help="Where tracks and table go.", metavar="OUT")],
    adapt: Annotated[bool, typer.Option("--adapt", help="Adapted tracks, too.")] = False,
    preset: Annotated[str, typer.Option(help="Of --adapt: fast or thorough.")] = "fast",
    steps: Annotated[int | None, typer.Option(help="Of the adaptation, instead of the preset's.", min=1)] = None,
    first: Annotated[int | None, typer.Option(help="Only so many clips.", min=1)] = None,
) -> None:
    """Track synthetic clips and print their errors against the truth."""
    torch.set_num_threads(1)
    settings = load_preset(preset)
    settings = settings if steps is None else replace(settings, steps=steps)
    rows: dict[str, dict[str, Row]] = {}
    for clip, truth in find_clips(clips)[:first]:
        tracks = {"plain": tracked(clip, output / f"{clip.stem}_plain", None)}
        if adapt:
            tracks["adapted"] = tracked(clip, output / f"{clip.stem}_adapted", settings)
        windows = skin_windows(tracks["plain"])
        rows[clip.stem] = {name: errors(track, load_truth(truth), windows) for name, track in tracks.items()}
        (output / "benchmark.json").write_text(json.dumps(rows, indent=1))
        (output / "benchmark.md").write_text(table(rows) + "\n")
        print(clip.stem, *(f"{name} {row['vertex']:.2f} mm" for name, row in rows[clip.stem].items()), flush=True)
    print(table(rows))


if __name__ == "__main__":
    run("python -m selftrack.eval.checks.benchmark", benchmark=main)
