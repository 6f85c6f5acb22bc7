"""Measure at the detector's 478 points what ARKit's curves do to a face, and how faces differ: for build_head.py.

    python scripts/arkit_reference.py ict_facekit.npz REFERENCE.npz

The reference is ICT-FaceKit (Li et al. 2020, MIT): its shapes are near ARKit's, its people are from scans. Its people
are drawn from many views and the detector finds its points on the pictures; each is lifted to the surface, and medians
are taken, as in embed_landmarks.py.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import typer
from embed_landmarks import IRIS, OPEN, SIZE, detect, lift, nearest_on_surface
from torch import Tensor

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.base import Decoded
from selftrack.decoders.head.model import load_head
from selftrack.synthetic.rigs.ict import read_ict
from selftrack.synthetic.rigs.rig import Rig
from selftrack.tracker.landmarks.attention_mesh import LandmarkNet


class Drawn(NamedTuple):
    """A rig that embed_landmarks can draw; the code is the rig's identity."""

    rig: Rig
    texture: Tensor
    curves: np.ndarray
    faces: Tensor
    uvs: Tensor
    uv_faces: Tensor

    @classmethod
    def of(cls, rig: Rig, texture: Tensor) -> Drawn:
        curves = np.array([OPEN.get(name, 0.0) for name in ARKIT_NAMES])
        uvs = torch.from_numpy(rig.corners.reshape(-1, 2)).float()
        return cls(rig, texture, curves, torch.from_numpy(rig.faces), uvs, torch.arange(len(uvs)).view(-1, 3))

    def __call__(self, z: Tensor) -> Decoded:
        placed = self.rig.person(z[0].double().numpy()).vertices(self.curves)
        return Decoded(torch.from_numpy(placed[None]).float(), self.texture[None])


def main(ict: Path, out: Path, people: int = 8, seed: int = 0) -> None:
    """Detect, lift, take medians, write."""
    head, net = load_head(), LandmarkNet()
    rig = read_ict(ict, head)
    drawn = Drawn.of(rig, head.mean_texture)
    codes = 0.8 * torch.randn(people, len(rig.identity), generator=torch.Generator().manual_seed(seed))
    reference = torch.from_numpy(rig.vertices(drawn.curves)).float()
    views = list(itertools.product((-0.9, -0.6, -0.3, 0.0, 0.3, 0.6, 0.9), (-0.25, 0.0, 0.25)))
    lifted = []
    with torch.no_grad():
        for code, (yaw, pitch) in itertools.product(codes, views):
            pose = torch.tensor([np.log(SIZE / 0.30), pitch, yaw, 0.0, SIZE / 2, SIZE / 2 - 6], dtype=torch.float32)
            points, vertices, fragments = detect(drawn, net, code, pose)
            lifted.append(lift(points, vertices, drawn.faces, fragments, reference))
    median = torch.stack(lifted).nanmedian(0).values
    triangles, weights = torch.zeros(478, 3, dtype=torch.long), torch.zeros(478, 3)
    for rows, allowed in ((slice(0, IRIS.start), rig.skin), (IRIS, rig.moist)):
        faces = drawn.faces[torch.from_numpy(allowed)]
        chosen, weights[rows] = nearest_on_surface(median[rows], reference, faces)
        triangles[rows] = faces[chosen]

    def at(values: np.ndarray) -> np.ndarray:
        """(K,478,3) of per-vertex values (K,V,3)."""
        return torch.einsum("klvc,lv->klc", torch.from_numpy(values).float()[:, triangles], weights).numpy()

    np.savez_compressed(
        out,
        names=np.array(ARKIT_NAMES),
        mean=at(rig.neutral[None])[0],
        expression=at(rig.shapes).astype(np.float32),
        identity=at(rig.identity).astype(np.float32),
        known=rig.known,
    )
    off = np.linalg.norm(median - at(rig.vertices(drawn.curves)[None])[0], axis=1)
    typer.echo(f"{out}: points lie {1000 * off.mean():.2f} mm from where they were seen")


if __name__ == "__main__":
    typer.run(main)
