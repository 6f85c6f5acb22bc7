"""What a lower resolution of the face costs (Yoon et al. 2019, Sec. 4.2.2 and Fig. 10)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from selftrack.decoders.head.model import load_head
from selftrack.eval.metrics.stability import mesh_stability
from selftrack.eval.metrics.subject import median_iod
from selftrack.eval.paper.held_out_people import Shots, detect, lowered
from selftrack.eval.paper.variants import landmark_error, read, vertex_distance
from selftrack.io import atomic_path
from selftrack.synthetic.people import face_vertices
from selftrack.tracker.clips.config import TrackConfig
from selftrack.tracker.clips.single import track_clip
from selftrack.tracker.geometry.crop import CROP_SIZE, apply, warp
from selftrack.tracker.geometry.pose import project, to_image
from selftrack.tracker.landmarks.attention_mesh import LandmarkNet
from selftrack.tracker.network.i2znet import Codes, I2ZNet, to_tensor
from selftrack.tracker.results.track_file import Track, load
from selftrack.tracker.sources.opening import open_source

SIDES = (256, 192, 128, 96, 64)
Row = dict[str, float]


def face_in_crop(codes: Codes) -> np.ndarray:
    """Place the face's vertices (N,V,2) in the crop."""
    head = load_head()
    return project(head.geometry(codes.z), codes.pose)[:, torch.from_numpy(face_vertices(head)), :2].numpy()


def on_captures(network: I2ZNet, shots: Shots) -> dict[int, Row]:
    """Measure by resolution: errors against the truth, and crop pixels by which the face lies elsewhere than at 256."""
    rows: dict[int, Row] = {}
    best, net = None, LandmarkNet()
    for side in SIDES:
        pictures = lowered(shots.pictures, side)
        codes = read(network, pictures, detect(net, pictures))
        face = face_in_crop(codes)
        best = face if best is None else best
        rows[side] = {
            "vertex": vertex_distance(codes.z, torch.from_numpy(shots.codes)),
            "landmarks": landmark_error(codes, shots.points),
            "moved": float(np.linalg.norm(face - best, axis=2).mean()),
        }
    return rows


def on_clip(network: I2ZNet, clip: Path, folder: Path) -> dict[int, Row]:
    """Measure a clip by resolution, in the tracker's own crops and with one identity.

    Figures are the distance of the mesh from what the detector finds at 256, Eq. 10 in the image, and crop pixels as
    in `on_captures`.
    """
    track_clip(clip, folder, TrackConfig(overlay=False), overwrite=True)
    track = load(folder)
    with open_source(clip) as source:
        pictures = np.stack([warp(f.image, m) for f, m, ok in zip(source, track.crop, track.ok, strict=True) if ok])
    crops, net = torch.from_numpy(track.crop[track.ok]), LandmarkNet()
    detected = apply(track.crop[track.ok], track.landmarks[track.ok])
    rows: dict[int, Row] = {}
    best = None
    for side in SIDES:
        small = lowered(pictures, side)
        points = detect(net, small)
        codes = _pooled_codes(network, small, points)
        face = face_in_crop(codes)
        best = face if best is None else best
        rows[side] = {
            "landmarks": landmark_error(codes, detected),
            "stability": _stability(track, codes, to_image(codes.pose, crops)),
            "moved": float(np.linalg.norm(face - best, axis=2).mean()),
        }
    return rows


@torch.no_grad()
def _pooled_codes(network: I2ZNet, pictures: np.ndarray, points: np.ndarray, samples: int = 24) -> Codes:
    """Codes conditioned on the identity that is pooled over frames spread evenly, as in tracking."""
    images, at = to_tensor(torch.from_numpy(pictures)), torch.from_numpy(points)
    some = np.unique(np.linspace(0, len(points) - 1, samples + 2)[1:-1].round().astype(int))
    features = network.features(images[some], at[some])
    subject = network.heads.pool(features, network.heads.regress(features).subject)[0]
    codes = [network(i, p, subject) for i, p in zip(images.split(32), at.split(32), strict=True)]
    return Codes(*(torch.cat(part) for part in zip(*codes, strict=True)))


def _stability(track: Track, codes: Codes, pose: torch.Tensor) -> float:
    """Eq. 10 in the picture, ratio of sums, over the track's good frames."""
    head, row = load_head(), np.cumsum(track.ok) - 1

    def vertices(rows: slice) -> np.ndarray:
        chosen = row[rows].clip(0)
        return project(head.geometry(codes.z[chosen]), pose[chosen].float()).numpy()

    return mesh_stability(vertices, track.ok, median_iod(track.landmarks))[0].ratio.value()


def write_plot(captures: dict[int, Row], clip: dict[int, Row], path: Path) -> None:
    """Draw a small PNG: how far the face moves, and the landmarks' errors, by resolution."""
    figure = Figure(figsize=(7.2, 2.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for rows, label in ((captures, "synthetic people"), (clip, "clip")):
        left.plot(list(rows), [row["moved"] for row in rows.values()], "o-", label=label)
        right.plot(list(rows), [row["landmarks"] for row in rows.values()], "o-", label=label)
    left.set(ylabel=f"moved against {CROP_SIZE}, px", ylim=(0, None))
    right.set(ylabel="landmarks, % IOD", ylim=(0, None))
    for axes in (left, right):
        axes.set(xlabel="side of the input, px", xticks=SIDES)
        axes.invert_xaxis()
        axes.grid(alpha=0.3)
    left.legend(frameon=False)
    with atomic_path(path) as part:
        figure.savefig(part, format="png", dpi=90)
