"""Fit and judge the confidence of `selftrack.tracker.results.confidence`.

    python -m selftrack.eval.checks.confidence fit TRACK_DIR ...
    python -m selftrack.eval.checks.confidence test TRACK_DIR ... --plot reliability.png

A frame is good if its skin-point error (`skin_points.frame_error`) is under 1 % of the IOD. Of synthetic clips,
whose truth lies beside them, the frames that the flow has lost (a hand, blur) are judged by the true vertices.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Self

import numpy as np
import torch
import typer
from scipy import optimize

from selftrack.adapt.frames.clip import ClipConfig, chosen_rows
from selftrack.adapt.frames.split import split_rows
from selftrack.command import run
from selftrack.decoders.mesh.normals import vertex_normals
from selftrack.eval.compare.reference import skin_windows
from selftrack.eval.compare.score import cell
from selftrack.eval.metrics.calibration import BINS, Reliability, auroc
from selftrack.eval.metrics.subject import truth_path
from selftrack.io import markdown_table
from selftrack.synthetic.people import face_vertices
from selftrack.synthetic.truth import Truth, load_truth
from selftrack.tracker import load
from selftrack.tracker.clips.files import ADAPTATION
from selftrack.tracker.geometry.crop import inter_ocular
from selftrack.tracker.results.confidence import ASSET, LIMIT, SIGNALS, ConfidenceModel, track_signals
from selftrack.tracker.results.skin_points import SkinPointConfig, frame_error, frame_step
from selftrack.tracker.results.track_file import Track

RIDGE = 0.01
"""Penalty on squared weights: signals are few and alike."""
BETTER = ("presence", "size", "sharpness")
"""What can only raise the confidence; all other signals can only lower it."""
FACING = -0.3
"""Normals of vertices that count as visible have a z below this."""


@dataclass(frozen=True)
class Judged:
    """Frames of one track whose error is known."""

    name: str
    signals: np.ndarray
    """(N,11)."""
    good: np.ndarray
    """(N,) bool."""
    predicted: np.ndarray
    """(N,) the confidence in the track."""

    @classmethod
    def of(cls, name: str, track: Track, adapted: bool = False) -> Self:
        """Judge a track whose clip can still be read; an `adapted` one without the frames that adaptation held out, as
        the confidence was fitted to them. Raises UserError where the clip cannot be read."""
        error = frame_error(skin_windows(track), track.vertices, track.model().faces, track.size[::-1], track.ok)
        truth = truth_path(Path(track.clip))
        if truth.exists():
            error = np.where(np.isnan(error), true_frame_error(track, load_truth(truth)), error)
        known = track.ok & np.isfinite(error)
        if adapted:
            step = frame_step(track.times)
            rows = chosen_rows(len(track), ClipConfig().frames, step)
            split = split_rows(len(rows), step)
            known[rows[np.concatenate([split.select, split.report])]] = False
        return cls(name, track_signals(track)[known], error[known] < LIMIT, track.confidence[known])


def true_frame_error(track: Track, truth: Truth) -> np.ndarray:
    """Measure `skin_points.frame_error` (T,) without a flow: of the vertices of mesh and truth that face the camera.

    NaN in windows with a lost frame and in the clip's last frames, which fill no window.
    """
    head, length = track.model(), SkinPointConfig().length(frame_step(track.times))
    face = face_vertices(head)
    errors = np.full(len(track), np.nan)
    for start in range(0, len(track) - length + 1, length):
        rows = slice(start, start + length)
        if not track.ok[rows].all():
            continue
        true = truth.in_image(rows)
        facing = vertex_normals(torch.from_numpy(true[:1]), head.faces)[0, :, 2].numpy() < FACING
        iod = inter_ocular(head.landmarks478(torch.from_numpy(true[:1]))[..., :2].numpy())[0]
        visible = np.flatnonzero(face & facing)[::8]
        drift = 100 / iod * (track.vertices(rows)[:, visible, :2] - true[:, visible, :2])
        apart = np.linalg.norm(drift[:, None] - drift[None], axis=-1).mean(-1)
        errors[rows] = apart.sum(1) / (length - 1)
    return errors


def fit(tracks: list[Judged]) -> ConfidenceModel:
    """Fit a ridge logistic regression in which every track weighs the same.

    The weights' signs are fixed: with some tens of people, a large face or a rotated one may be a better one by chance.
    """
    values = np.concatenate([t.signals for t in tracks])
    good = np.concatenate([t.good for t in tracks])
    weight = np.concatenate([np.full(len(t.good), 1 / max(len(t.good), 1)) for t in tracks]) / len(tracks)
    mean, spread = np.nanmean(values, 0), np.nanstd(values, 0) + 1e-6
    model = ConfidenceModel(tuple(mean), tuple(spread), (0.0,) * len(mean), 0.0)
    x, sign = model.standardised(values), np.where(good, 1.0, -1.0)

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (x @ theta[:-1] + theta[-1])
        slope = -weight * sign / (1 + np.exp(margin))
        penalty = RIDGE * (theta[:-1] ** 2).sum()
        gradient = np.append(x.T @ slope + 2 * RIDGE * theta[:-1], slope.sum())
        return float(weight @ np.logaddexp(0, -margin)) + penalty, gradient

    bounds = [(0, None) if name in BETTER else (None, 0) for name in SIGNALS] + [(None, None)]
    theta = optimize.minimize(loss, np.zeros(len(bounds)), jac=True, bounds=bounds, method="L-BFGS-B").x
    return ConfidenceModel(model.mean, model.spread, tuple(theta[:-1]), float(theta[-1]))


def reliability_plot(confidence: np.ndarray, good: np.ndarray, path: Path) -> None:
    """Draw how often frames of each confidence are good, with the counts below, as a PNG."""
    from matplotlib.figure import Figure

    reliability = Reliability.of(confidence, good)
    figure = Figure(figsize=(4, 4.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color="grey", linewidth=1)
    above.plot(reliability.predicted, reliability.right, "o-")
    above.set(ylabel=f"share of frames under {LIMIT:g} % IOD", ylim=(0, 1), xlim=(0, 1))
    above.set_title(f"ECE {reliability.error():.3f}, AUROC {auroc(confidence, good):.2f}", fontsize=10)
    below.bar((np.arange(BINS) + 0.5) / BINS, reliability.count, 0.9 / BINS)
    below.set(xlabel="confidence", ylabel="frames")
    figure.savefig(path, dpi=110)


def table(tracks: list[Judged]) -> str:
    """Write Markdown: calibration of every track and of all frames together."""
    arrays = (np.concatenate([getattr(t, k) for t in tracks]) for k in ("signals", "good", "predicted"))
    rows = []
    for track in (*tracks, Judged("**all**", *arrays)):
        predicted, good = track.predicted, track.good
        figures = good.mean(), predicted.mean(), Reliability.of(predicted, good).error(), auroc(predicted, good)
        rows.append([track.name, len(good), *map(cell, figures)])
    return markdown_table(["track", "frames", "good", "mean confidence", "ECE", "AUROC"], rows)


Folders = Annotated[list[Path], typer.Argument(help="Folders written by `track` or the benchmark.", metavar="DIR")]


def _adapted(folder: Path) -> bool:
    """Whether the track there was adapted to, and the adaptation kept."""
    report = folder / ADAPTATION
    return report.exists() and json.loads(report.read_text())["kept"]


def _judged(folders: list[Path]) -> list[Judged]:
    tracks = [Judged.of(folder.name, load(folder), _adapted(folder)) for folder in folders]
    return [track for track in tracks if len(track.good)]


def fit_command(
    folders: Folders,
    output: Annotated[Path, typer.Option("-o", help="File to write (default: the bundled one).")] = ASSET,
) -> None:
    """Fit the model to tracks and write its coefficients."""
    tracks = _judged(folders)
    model = fit(tracks)
    model.save(output)
    print(table([replace(track, predicted=model(track.signals)) for track in tracks]), end="")


def test_command(
    folders: Folders,
    plot: Annotated[Path | None, typer.Option(help="File for the reliability diagram (default: none).")] = None,
) -> None:
    """Judge the confidence in tracks."""
    tracks = _judged(folders)
    print(table(tracks), end="")
    if plot:
        predicted, good = (np.concatenate([getattr(t, k) for t in tracks]) for k in ("predicted", "good"))
        reliability_plot(predicted, good, plot)


if __name__ == "__main__":
    run("python -m selftrack.eval.checks.confidence", fit=fit_command, test=test_command)
