"""Does the mesh do what the detector saw? Pure functions, and a command that prints a table of tracked clips.

    python -m selftrack.eval.metrics.agreement smile_track other_track

Distances are in percent of the inter-ocular distance (IOD): between points 33 and 263, the outer eye corners.
Points are (T,478,2) in pixels; rows of lost frames are NaN and count nowhere.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from selftrack.command import run
from selftrack.decoders.landmarks import CHIN, INNER_LIPS, LEFT_EYE, MESH_POINTS, NOSE_TIP, RIGHT_EYE
from selftrack.tracker import load
from selftrack.tracker.geometry.crop import inter_ocular
from selftrack.tracker.results.texture import TextureConfig, clip_texture
from selftrack.tracker.results.track_file import Track


def landmark_distance(projected: np.ndarray, detected: np.ndarray) -> np.ndarray:
    """(T,) mean distance of the 468 mesh points, percent IOD, of projected and detected points (T,478,2)."""
    assert projected.shape == detected.shape, f"got {projected.shape} and {detected.shape}"
    distance = np.linalg.norm(projected[:, :MESH_POINTS] - detected[:, :MESH_POINTS], axis=-1)
    return 100 * distance.mean(1) / inter_ocular(detected)


def eye_aspect_ratio(points: np.ndarray) -> np.ndarray:
    """(T,) opening over width, mean of both eyes (Soukupova and Cech 2016), of points (T,478,2)."""

    def one(a: int, b: int, c: int, d: int, e: int, f: int) -> np.ndarray:
        def length(i: int, j: int) -> np.ndarray:
            return np.linalg.norm(points[:, i] - points[:, j], axis=-1)

        return (length(b, f) + length(c, e)) / (2 * length(a, d))

    return (one(*RIGHT_EYE) + one(*LEFT_EYE)) / 2


def lip_gap(points: np.ndarray) -> np.ndarray:
    """(T,) distance of the inner lips' middles over the IOD, of points (T,478,2)."""
    upper, lower = INNER_LIPS
    return np.linalg.norm(points[:, upper] - points[:, lower], axis=-1) / inter_ocular(points)


def nose_to_chin(points: np.ndarray) -> np.ndarray:
    """(T,) distance of nose tip and chin over the IOD, of points (T,478,2)."""
    return np.linalg.norm(points[:, NOSE_TIP] - points[:, CHIN], axis=-1) / inter_ocular(points)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation of (T,) and (T,) over the rows where both are finite; NaN where one is constant."""
    good = np.isfinite(a) & np.isfinite(b)
    a, b = a[good] - a[good].mean(), b[good] - b[good].mean()
    norm = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / norm) if norm > 0 else float("nan")


def partial_correlation(a: np.ndarray, b: np.ndarray, given: np.ndarray) -> float:
    """Pearson's correlation of (T,) and (T,) with what is linear in `given` (T,) taken out of both."""
    good = np.isfinite(a) & np.isfinite(b) & np.isfinite(given)
    basis = np.stack([given[good], np.ones(good.sum())], 1)
    a, b = (x[good] - basis @ np.linalg.lstsq(basis, x[good], rcond=None)[0] for x in (a, b))
    return correlation(a, b)


def projected_landmarks(track: Track) -> np.ndarray:
    """(T,478,2) the track's mesh at the detector's points, image pixels."""
    head = track.model()
    chunks = [track.vertices(slice(i, i + 64)) for i in range(0, len(track), 64)]
    return np.concatenate([head.landmarks478(torch.from_numpy(c))[..., :2].numpy() for c in chunks])


def colour_distance(one: torch.Tensor, other: torch.Tensor, mask: torch.Tensor) -> float:
    """Distance in grey levels of 255 between the mean colours of two textures (3,S,S), 0..1, over the mask (S,S)."""
    return float(255 * (one - other)[:, mask].mean(1).norm())


def skin_colour(track: Track) -> float:
    """How far the skin that the appearance code means is from the one that the clip shows, grey levels."""
    head = track.model()
    code = torch.from_numpy(np.median(track.z[track.ok], axis=0))
    with torch.no_grad():
        meant = head.colour(code[None])[0]
    return colour_distance(meant, clip_texture(track, TextureConfig(size=meant.shape[-1])), head.skin_texels)


def agreement(track: Track) -> dict[str, float]:
    """Figures of one track by name; see the functions above."""
    mesh, seen = projected_landmarks(track), track.landmarks.astype(np.float64)
    curves, distance = track.curves(), landmark_distance(mesh, seen)
    blink = (curves["eyeBlinkLeft"] + curves["eyeBlinkRight"]) / 2
    return {
        "frames": len(track),
        "lost": int((~track.ok).sum()),
        "landmarks % IOD": float(np.nanmean(distance)),
        "worst frame": float(np.nanmax(distance)),
        "lip gap r": correlation(lip_gap(mesh), lip_gap(seen)),
        "jawOpen r": correlation(curves["jawOpen"], nose_to_chin(seen)),
        "at equal pitch": partial_correlation(curves["jawOpen"], nose_to_chin(seen), track.pose()["pitch"]),
        "eyeBlink r": correlation(blink, -eye_aspect_ratio(seen)),
    }


def main(folders: list[Path]) -> None:
    """Print a Markdown table of the tracks in `folders`."""
    rows = {folder.name: agreement(load(folder)) for folder in folders}
    names = list(next(iter(rows.values())))
    print("| clip | " + " | ".join(names) + " |")
    print("|---" * (len(names) + 1) + "|")
    for clip, row in rows.items():
        cells = [f"{v:d}" if isinstance(v, int) else f"{v:.2f}" for v in row.values()]
        print(f"| {clip} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    run("python -m selftrack.eval.metrics.agreement", agreement=main)
