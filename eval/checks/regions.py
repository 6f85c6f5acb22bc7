"""Fit and judge the confidence of eyes, brows, mouth and pose (`selftrack.tracker.results.regions`) on clips before
whose faces occluders are drawn.

    python -m selftrack.eval.checks.regions fit CLIP ...
    python -m selftrack.eval.checks.regions test CLIP ...

A region is right where the mesh of the covered clip is within 5 % of the IOD of the mesh of the clip as it is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import torch
import typer
from scipy import optimize, special

from selftrack.command import run
from selftrack.decoders.base import SurfacePoints
from selftrack.decoders.landmarks import POINTS
from selftrack.errors import UserError
from selftrack.io import markdown_table, write_text
from selftrack.tracker.clips.subjects import PersonConfig, find_in_clip
from selftrack.tracker.geometry import crop as crops
from selftrack.tracker.geometry.crop import inter_ocular
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.model import Model
from selftrack.tracker.refinement.subject import Subject
from selftrack.tracker.results.regions import ASSET, REGIONS, points_of, region_confidence, shown, signals
from selftrack.tracker.results.track_file import Track
from selftrack.tracker.sources.base import Frame
from selftrack.tracker.sources.opening import open_source
from selftrack.tracker.tracker import Tracker, TrackerConfig
from selftrack.training.visibility.occluders import occlude

LIMIT = 5.0
"""Percent of the IOD within which a region is right."""
FRAMES = 90
"""Of a clip, from its beginning."""
COVERED = (0.3, 0.75)
"""Share of these frames at which something comes before the face and goes."""
RIDGE = 0.01
"""Penalty on squared weights."""
_SIDE = 256
_BINS = (0.0, 0.3, 0.6, 0.8, 0.9, 1.01)


@dataclass(frozen=True)
class Judged:
    """Frames whose regions are known to be right or not."""

    visible: np.ndarray
    """(N,6) shares of the parts that are seen."""
    confidence: np.ndarray
    """(N,) of the frames."""
    right: dict[str, np.ndarray]
    """(N,) bool by region."""


def judge(clip: Path, model: Model, occluders: int, seed: int) -> list[Judged]:
    """Track a clip as it is and behind each of some occluders."""
    with open_source(clip) as source:
        subject, *_ = find_in_clip(source, model, TrackerConfig(), PersonConfig())
        frames = [frame for frame, _ in zip(source, range(FRAMES), strict=False)]
    plain = _track(frames, model, subject)
    if not plain.ok.any():
        raise UserError(f"{clip}: no face was found in its first {len(frames)} frames; name clips that begin with one")
    judged = []
    for number in range(occluders):
        covered = [_covered(frame, row, plain, (seed, number), len(frames)) for row, frame in enumerate(frames)]
        track = _track(covered, model, subject)
        both = plain.ok & track.ok
        right = {region: (error < LIMIT)[both] for region, error in region_error(track, plain).items()}
        judged.append(Judged(track.visible[both], track.confidence[both], right))
    return judged


def region_error(track: Track, reference: Track) -> dict[str, np.ndarray]:
    """Mean distance (T,) of each region's points of two meshes, percent of the reference's IOD."""
    first, second = _mesh_points(track), _mesh_points(reference)
    distance = 100 * np.linalg.norm(first - second, axis=-1) / inter_ocular(second)[:, None]
    return {region: distance[:, points_of(region)].mean(1) for region in REGIONS}


def fit(judged: list[Judged]) -> dict[str, list[float]]:
    """Bias and weights of each region's logistic regression, of the frames that show the region; more that is seen can
    only raise a confidence."""
    visible, confidence = (np.concatenate([getattr(one, name) for one in judged]) for name in ("visible", "confidence"))
    values, fitted = signals(visible, confidence), {}
    for region in REGIONS:
        rows = shown(visible, region) == 1
        x, good = values[region][rows], np.concatenate([one.right[region] for one in judged])[rows]

        def loss(weights: np.ndarray, x: np.ndarray = x, good: np.ndarray = good) -> float:
            logits = x @ weights
            return float((np.logaddexp(0, logits) - good * logits).mean() + RIDGE * (weights[1:] ** 2).sum())

        start = np.array([special.logit(np.clip(good.mean(), 0.02, 0.98)), 0.5, 0.5])
        found = optimize.minimize(loss, start, bounds=[(None, None), (0, None), (0, None)])
        fitted[region] = [round(float(value), 4) for value in found.x]
    return fitted


def table(judged: list[Judged]) -> str:
    """By region and confidence: how many frames there are, and how many of them are right."""
    visible, confidence = (np.concatenate([getattr(one, name) for one in judged]) for name in ("visible", "confidence"))
    told = region_confidence(visible, confidence, np.ones(len(confidence), bool))
    rows = []
    for region in REGIONS:
        right = np.concatenate([one.right[region] for one in judged])
        cells = []
        for low, high in zip(_BINS, _BINS[1:], strict=False):
            inside = (told[region] >= low) & (told[region] < high)
            cells.append(f"{100 * right[inside].mean():.0f} % of {inside.sum()}" if inside.any() else "–")
        rows.append((region, *cells))
    header = ["right", *(f"{low:.1f} to {min(high, 1):.1f}" for low, high in zip(_BINS, _BINS[1:], strict=False))]
    return markdown_table(header, rows)


def _track(frames: list[Frame], model: Model, subject: Subject | None) -> Track:
    tracker = Tracker(model, subject=subject)
    for frame in frames:
        tracker(frame)
    return tracker.finish()


def _covered(frame: Frame, row: int, plain: Track, seed: tuple[int, int], count: int) -> Frame:
    """The frame with an occluder, the same in every frame, before the face; without it before and after `COVERED`."""
    if not (COVERED[0] <= row / count < COVERED[1] and plain.ok[row]):
        return frame
    region = crops.face_similarity(plain.landmarks[row], _SIDE)
    points = crops.apply(region, plain.landmarks[row])
    picture = crops.warp(frame.image, region, _SIDE) / np.float32(255)
    covered, hidden = occlude(np.random.default_rng(seed), picture, points, always=True)
    layer = np.concatenate([covered, hidden[..., None]], 2).astype(np.float32)
    size = frame.image.shape[1::-1]
    laid = cv2.warpAffine(layer, crops.invert(region), size, flags=cv2.INTER_LINEAR)
    alpha = (laid[..., 3:] > 0.05) * laid[..., 3:]
    image = frame.image * (1 - alpha) + 255 * laid[..., :3] * alpha
    return Frame(frame.index, frame.time, image.clip(0, 255).astype(np.uint8))


@torch.no_grad()
def _mesh_points(track: Track) -> np.ndarray:
    """(T,478,2) the detector's places on the mesh, image pixels."""
    places = SurfacePoints.landmarks(track.model(), POINTS)
    z, pose = torch.from_numpy(track.z), torch.from_numpy(track.H_image)
    return project(places(z), pose, track.inverse_distance)[..., :2].numpy()


_Clips = Annotated[list[Path], typer.Argument(help="Clips that show a face from the beginning.", metavar="CLIP...")]
_Occluders = Annotated[int, typer.Option(help="Cover each clip in so many ways (default 12).", min=1)]
_Seed = Annotated[int, typer.Option(help="Random seed of the occluders (default 0).", min=0)]


def _judged(clips: list[Path], occluders: int, seed: int) -> list[Judged]:
    model = Model.load(device="cpu")
    return [one for number, clip in enumerate(clips) for one in judge(clip, model, occluders, seed + 1000 * number)]


def fit_command(
    clips: _Clips,
    occluders: _Occluders = 12,
    seed: _Seed = 0,
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write (default: the bundled one).")] = ASSET,
) -> None:
    """Fit the confidence of the regions."""
    write_text(output, json.dumps(fit(_judged(clips, occluders, seed)), indent=1) + "\n")
    print(output)


def test_command(clips: _Clips, occluders: _Occluders = 12, seed: _Seed = 1) -> None:
    """Compare the confidence of the regions with how often they are right."""
    print(table(_judged(clips, occluders, seed)), end="")


if __name__ == "__main__":
    run("python -m selftrack.eval.checks.regions", "Confidence by region.", fit=fit_command, test=test_command)
