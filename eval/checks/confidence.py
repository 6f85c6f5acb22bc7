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
from scipy import optimize, stats

from selftrack.adapt.clip import ClipConfig, chosen_rows
from selftrack.adapt.split import split_rows
from selftrack.command import run
from selftrack.decoders.mesh.normals import vertex_normals
from selftrack.eval.compare.score import skin_windows
from selftrack.synthetic.people import face_vertices
from selftrack.synthetic.truth import Truth, load_truth
from selftrack.tracker import load
from selftrack.tracker.geometry.crop import inter_ocular
from selftrack.tracker.pipeline import ADAPTATION
from selftrack.tracker.results.confidence import ASSET, LIMIT, SIGNALS, ConfidenceModel, track_signals
from selftrack.tracker.results.skin_points import SkinPointConfig, frame_error
from selftrack.tracker.results.track_file import Track

BINS = 10
RIDGE = 0.01  # penalty on squared weights: signals are few and alike
BETTER = ("presence", "size", "sharpness")  # what can only raise the confidence; all other signals can only lower it
FACING = -0.3  # z of the normals of vertices that count as seen


@dataclass(frozen=True)
class Judged:
    """Frames of one track whose error is known."""

    name: str
    signals: np.ndarray  # (N,11)
    good: np.ndarray  # (N,) bool
    given: np.ndarray  # (N,) the confidence in the track

    @classmethod
    def of(cls, name: str, track: Track, adapted: bool = False) -> Self:
        """Of a track whose clip can still be read; of an `adapted` one, without the frames that adaptation held out, as
        the confidence was brought to them. Raises ValueError where the clip cannot be read."""
        error = frame_error(skin_windows(track), track.vertices, track.model().faces, track.size[::-1], track.ok)
        truth = Path(track.clip).with_suffix(".truth.npz")
        if truth.exists():
            error = np.where(np.isnan(error), true_frame_error(track, load_truth(truth)), error)
        known = track.ok & np.isfinite(error)
        if adapted:
            rows = chosen_rows(len(track), ClipConfig().frames)
            split = split_rows(len(rows))
            known[rows[np.concatenate([split.select, split.report])]] = False
        return cls(name, track_signals(track)[known], error[known] < LIMIT, track.confidence[known])


def true_frame_error(track: Track, truth: Truth) -> np.ndarray:
    """(T,) `skin_points.frame_error` without a flow: of the vertices of mesh and truth that face the camera.

    NaN in windows with a lost frame and in the clip's last frames, which fill no window.
    """
    head, length = track.model(), SkinPointConfig().window
    face = face_vertices(head)
    errors = np.full(len(track), np.nan)
    for start in range(0, len(track) - length + 1, length):
        rows = slice(start, start + length)
        if not track.ok[rows].all():
            continue
        true = truth.in_image(rows)
        facing = vertex_normals(torch.from_numpy(true[:1]), head.faces)[0, :, 2].numpy() < FACING
        iod = inter_ocular(head.landmarks478(torch.from_numpy(true[:1]))[..., :2].numpy())[0]
        seen = np.flatnonzero(face & facing)[::8]
        drift = 100 / iod * (track.vertices(rows)[:, seen, :2] - true[:, seen, :2])
        apart = np.linalg.norm(drift[:, None] - drift[None], axis=-1).mean(-1)
        errors[rows] = apart.sum(1) / (length - 1)
    return errors


def fit(tracks: list[Judged]) -> ConfidenceModel:
    """Ridge logistic regression in which every track weighs the same.

    The weights' signs are given: with some tens of people, a large face or a turned one may be a better one by chance.
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


@dataclass(frozen=True)
class Reliability:
    """What confidences were given, and how often they were right, in bins of 0..1 of one width."""

    count: np.ndarray  # (10,)
    given: np.ndarray  # (10,) mean confidence, NaN in an empty bin
    right: np.ndarray  # (10,) share of good frames

    @classmethod
    def of(cls, confidence: np.ndarray, good: np.ndarray) -> Self:
        """Of confidences (N,) in 0..1 and whether the frames are good (N,)."""
        at = np.minimum((confidence * BINS).astype(int), BINS - 1)
        count, given, right = (np.bincount(at, w, BINS) for w in (np.ones(len(at)), confidence, good.astype(float)))
        filled = np.where(count > 0, count, np.nan)
        return cls(count, given / filled, right / filled)

    def error(self) -> float:
        """Expected calibration error (Guo et al. 2017): the mean gap between both, weighted by the count."""
        return float(np.nansum(self.count * np.abs(self.given - self.right)) / self.count.sum())


def auroc(confidence: np.ndarray, good: np.ndarray) -> float:
    """The chance that a good frame is trusted more than a bad one (ties count half); NaN if all are alike."""
    n, m = int(good.sum()), int((~good).sum())
    if not n or not m:
        return float("nan")
    return float((stats.rankdata(confidence)[good].sum() - n * (n + 1) / 2) / (n * m))


def reliability_plot(confidence: np.ndarray, good: np.ndarray, path: Path) -> None:
    """Draw how often frames of each confidence are good, with the counts below."""
    from matplotlib.figure import Figure

    reliability = Reliability.of(confidence, good)
    figure = Figure(figsize=(4, 4.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color="grey", linewidth=1)
    above.plot(reliability.given, reliability.right, "o-")
    above.set(ylabel=f"share of frames under {LIMIT:g} % IOD", ylim=(0, 1), xlim=(0, 1))
    above.set_title(f"ECE {reliability.error():.3f}, AUROC {auroc(confidence, good):.2f}", fontsize=10)
    below.bar((np.arange(BINS) + 0.5) / BINS, reliability.count, 0.9 / BINS)
    below.set(xlabel="confidence", ylabel="frames")
    figure.savefig(path, dpi=110)


def table(tracks: list[Judged]) -> str:
    """Markdown: calibration of every track and of all frames together."""
    pooled = Judged("**all**", *(np.concatenate([getattr(t, k) for t in tracks]) for k in ("signals", "good", "given")))
    lines = ["| track | frames | good | mean confidence | ECE | AUROC |", "|---|---|---|---|---|---|"]
    for track in (*tracks, pooled):
        given, good = track.given, track.good
        figures = good.mean(), given.mean(), Reliability.of(given, good).error(), auroc(given, good)
        lines.append(f"| {track.name} | {len(given)} | " + " | ".join(f"{f:.3f}" for f in figures) + " |")
    return "\n".join(lines)


Folders = Annotated[list[Path], typer.Argument(help="Folders written by `track` or the benchmark.", metavar="DIR")]


def _adapted(folder: Path) -> bool:
    """Whether the track there was adapted to, and the adaptation kept."""
    report = folder / ADAPTATION
    return report.exists() and json.loads(report.read_text())["kept"]


def _judged(folders: list[Path]) -> list[Judged]:
    tracks = [Judged.of(folder.name, load(folder), _adapted(folder)) for folder in folders]
    return [track for track in tracks if len(track.good)]


def fit_command(
    folders: Folders, output: Annotated[Path, typer.Option("-o", help="The file to write.")] = ASSET
) -> None:
    """Fit the model to tracks and write its coefficients."""
    tracks = _judged(folders)
    model = fit(tracks)
    model.save(output)
    print(table([replace(track, given=model(track.signals)) for track in tracks]))


def test_command(
    folders: Folders, plot: Annotated[Path | None, typer.Option(help="Where the reliability diagram goes.")] = None
) -> None:
    """Judge the confidence in tracks."""
    tracks = _judged(folders)
    print(table(tracks))
    if plot:
        reliability_plot(*(np.concatenate([getattr(t, k) for t in tracks]) for k in ("given", "good")), plot)


if __name__ == "__main__":
    run("python -m selftrack.eval.checks.confidence", fit=fit_command, test=test_command)
