"""Does the mesh do what the detector found?

Distances are in percent of the inter-ocular distance (IOD), that of the outer eye corners. Points are (T,L,2) in
pixels, L 478 or 68; rows of lost frames are NaN and count nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from selftrack.decoders.landmarks import (
    CHIN,
    INNER_LIP_CONTOUR,
    INNER_LIPS,
    LEFT_EYE,
    MESH_POINTS,
    NOSE_TIP,
    POINTS,
    RIGHT_EYE,
)
from selftrack.eval.metrics.registry import metric, once
from selftrack.eval.metrics.subject import TrackedClip
from selftrack.tracker.geometry.crop import inter_ocular
from selftrack.tracker.mapped import pieces
from selftrack.tracker.results.regions import REGIONS, points_of
from selftrack.tracker.results.track_file import Track

WHOLE = "face"
FEATURES = tuple(region for region in REGIONS if region != "pose")
"""Eyes, brows and mouth."""


def landmark_distance(
    projected: np.ndarray, detected: np.ndarray, points: Sequence[int] | slice = slice(MESH_POINTS)
) -> np.ndarray:
    """Average the distance of projected and detected points (T,L,2), by default all but the irises: (T,) percent
    IOD."""
    assert projected.shape == detected.shape, f"got {projected.shape} and {detected.shape}"
    distance = np.linalg.norm(projected[:, points] - detected[:, points], axis=-1)
    return 100 * distance.mean(1) / inter_ocular(detected)


def eye_aspect_ratio(points: np.ndarray) -> np.ndarray:
    """Divide opening by width, mean of both eyes: (T,) of points (T,478,2) (Soukupova and Cech 2016)."""

    def one(a: int, b: int, c: int, d: int, e: int, f: int) -> np.ndarray:
        def length(i: int, j: int) -> np.ndarray:
            return np.linalg.norm(points[:, i] - points[:, j], axis=-1)

        return (length(b, f) + length(c, e)) / (2 * length(a, d))

    return (one(*RIGHT_EYE) + one(*LEFT_EYE)) / 2


def lip_gap(points: np.ndarray) -> np.ndarray:
    """Measure the distance of the inner lips' middles over the IOD: (T,) of points (T,478,2)."""
    upper, lower = INNER_LIPS
    return np.linalg.norm(points[:, upper] - points[:, lower], axis=-1) / inter_ocular(points)


def nose_to_chin(points: np.ndarray) -> np.ndarray:
    """Measure the distance of nose tip and chin over the IOD: (T,) of points (T,478,2)."""
    return np.linalg.norm(points[:, NOSE_TIP] - points[:, CHIN], axis=-1) / inter_ocular(points)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Compute Pearson's r of (T,) and (T,) over the rows where both are finite; NaN where one is constant."""
    good = np.isfinite(a) & np.isfinite(b)
    if good.sum() < 2 or not a[good].std() or not b[good].std():
        return float("nan")
    return float(np.corrcoef(a[good], b[good])[0, 1])


def partial_correlation(a: np.ndarray, b: np.ndarray, control: np.ndarray) -> float:
    """Compute Pearson's r of (T,) and (T,) with what is linear in `control` (T,) taken out of both."""
    good = np.isfinite(a) & np.isfinite(b) & np.isfinite(control)
    basis = np.stack([control[good], np.ones(good.sum())], 1)
    a, b = (x[good] - basis @ np.linalg.lstsq(basis, x[good], rcond=None)[0] for x in (a, b))
    return correlation(a, b)


def projected_landmarks(track: Track, count: int = POINTS, rows: slice = slice(None)) -> np.ndarray:
    """Project the track's mesh at the points of the detector that has 478 or 68: (T,L,2), image pixels."""
    embedding, (first, stop, _) = track.model().landmarks(count), rows.indices(len(track))
    chunks = [track.vertices(slice(i, min(i + 64, stop))) for i in range(first, stop, 64)]
    return np.concatenate([embedding(torch.from_numpy(c))[..., :2].numpy() for c in chunks])


def feature_points(region: str, count: int) -> list[int]:
    """The points of one of the `FEATURES`; of a mouth, with those of the inner lips where the detector has them."""
    more = INNER_LIP_CONTOUR if region == "mouth" and count == POINTS else ()
    return [*points_of(region, count), *more]


@once
def by_region(clip: TrackedClip) -> dict[str, np.ndarray]:
    """Measure every frame: (T,) percent IOD of the whole face, by the name `WHOLE`, and of each of the `FEATURES`; NaN
    where lost, and for a decoder that does not know the points."""
    assert clip.track is not None
    count = clip.landmarks.shape[1]
    points: dict[str, Sequence[int] | slice] = {WHOLE: slice(MESH_POINTS)}
    points |= {region: feature_points(region, count) for region in FEATURES}
    out = {part: np.full(len(clip.track), np.nan) for part in points}
    for rows in pieces(clip.landmarks) if clip.track.model().has_landmarks else ():
        projected, detected = projected_landmarks(clip.track, count, rows), clip.landmarks[rows].astype(np.float64)
        for part, chosen in points.items():
            found = landmark_distance(projected, detected, chosen)
            out[part][rows] = np.where(clip.mesh.ok[rows], found, np.nan)
    return out


def distances(clip: TrackedClip) -> np.ndarray:
    """Measure every frame: (T,) percent IOD, see `by_region`."""
    return by_region(clip)[WHOLE]


@metric(
    "landmarks.mean",
    "Landmark distance",
    "% IOD",
    "Distance of the mesh from the detected points, mean over points and frames.",
    needs=("track",),
    decisive=True,
    scale=(1.25, 2.2),
)
def mean(clip: TrackedClip) -> np.ndarray:
    """Average over points, frame by frame."""
    return distances(clip)


@metric(
    "landmarks.worst",
    "Landmark distance, worst frame",
    "% IOD",
    "Distance of the mesh from the detected points in the frame where it is largest.",
    needs=("track",),
    headline=False,
    scale=(1.6, 3.0),
)
def worst(clip: TrackedClip) -> float:
    """Take the largest over frames."""
    known = distances(clip)[np.isfinite(distances(clip))]
    return float(known.max()) if len(known) else float("nan")


def _register_feature(region: str, scale: tuple[float, float]) -> None:
    """Register the metric of one of the `FEATURES`."""

    @metric(
        f"landmarks.{region}",
        f"Landmark distance, {region}",
        "% IOD",
        f"Distance of the mesh from the detected points of the {region}, mean over points and frames.",
        needs=("track",),
        headline=False,
        scale=scale,
    )
    def feature(clip: TrackedClip) -> np.ndarray:
        """Average over points, frame by frame."""
        return by_region(clip)[region]


for _region, _scale in zip(FEATURES, ((0.6, 1.3), (0.6, 1.3), (0.9, 1.4)), strict=True):
    _register_feature(_region, _scale)


class Openings(NamedTuple):
    """How far a face is open, (T,) each; NaN where it is lost."""

    mesh_lips: np.ndarray
    """The mesh's `lip_gap`."""
    lips: np.ndarray
    """The detected points' `lip_gap`."""
    jaw: np.ndarray
    """Their `nose_to_chin`."""
    eyes: np.ndarray
    """Their `eye_aspect_ratio`."""


@once
def openings(clip: TrackedClip) -> Openings | None:
    """Measure every frame; None where mesh or detector does not have the 478 points."""
    assert clip.track is not None
    if not clip.track.model().has_landmarks or clip.landmarks.shape[1] != POINTS:
        return None
    out = Openings(*np.full((4, len(clip.track)), np.nan))
    for rows in pieces(clip.landmarks):
        points = clip.landmarks[rows]
        mesh = lip_gap(projected_landmarks(clip.track, rows=rows))
        for into, values in zip(
            out, (mesh, lip_gap(points), nose_to_chin(points), eye_aspect_ratio(points)), strict=True
        ):
            into[rows] = np.where(clip.mesh.ok[rows], values, np.nan)
    return out


def _curve(track: Track, *names: str) -> np.ndarray:
    """The mean (T,) of curves; NaN of a track that lacks them."""
    curves = track.curves()
    return np.mean([curves.get(name, np.full(len(track), np.nan)) for name in names], axis=0)


@metric(
    "agreement.lip_gap",
    "Lip gap, correlation",
    "-1..1",
    "Correlation of the gap between the inner lips on the mesh with the detected one.",
    better="higher",
    needs=("track",),
    headline=False,
    scale=(0.99, 0.95),
)
def lips(clip: TrackedClip) -> float:
    """Correlate the gaps."""
    found = openings(clip)
    return correlation(found.mesh_lips, found.lips) if found else float("nan")


@metric(
    "agreement.jaw_open",
    "jawOpen, correlation",
    "-1..1",
    "Correlation of jawOpen with the detected distance of nose and chin, at equal pitch of the head.",
    better="higher",
    needs=("track",),
    headline=False,
)
def jaw(clip: TrackedClip) -> float:
    """Correlate curve and distance, with what is linear in the pitch taken out of both."""
    found = openings(clip)
    if clip.track is None or found is None:
        return float("nan")
    return partial_correlation(_curve(clip.track, "jawOpen"), found.jaw, clip.track.pose()["pitch"])


@metric(
    "agreement.eye_blink",
    "eyeBlink, correlation",
    "-1..1",
    "Correlation of eyeBlink, mean of both sides, with minus the detected eye aspect ratio.",
    better="higher",
    needs=("track",),
    headline=False,
)
def blink(clip: TrackedClip) -> float:
    """Correlate curve and eye aspect ratio."""
    found = openings(clip)
    if clip.track is None or found is None:
        return float("nan")
    return correlation(_curve(clip.track, "eyeBlinkLeft", "eyeBlinkRight"), -found.eyes)
