"""Place the detector's 478 points on the head's surface and add them to `decoders/assets/head.npz`.

    python scripts/embed_landmarks.py

No hand work: heads of several identities are rendered from many views, the detector runs on the pictures, each point
is lifted to the surface through the z-buffer where the surface faces the camera, and the medians are taken. The mouth
is a little open in every picture, so that points of the upper and the lower lip do not fall on one another.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
import typer
from torch import Tensor

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import ASSET, Head
from selftrack.decoders.mesh.rasterizer import Fragments, rasterize_numba
from selftrack.tracker.geometry.crop import face_similarity
from selftrack.tracker.geometry.pose import project, through
from selftrack.tracker.landmarks.attention_mesh import LandmarkNet

SIZE = 192
IRIS = slice(468, 478)
FACING = 0.35  # cosine under which a lifted point does not count
OPEN = {"jawOpen": 0.22, "mouthUpperUpLeft": 0.25, "mouthUpperUpRight": 0.25}


def codes(count: int, head: Head, generator: torch.Generator) -> Tensor:
    """Codes (count,128) of random people with slightly open mouths."""
    z = torch.zeros(count, head.size)
    z[:, head.identity] = torch.randn(count, 60, generator=generator) * 0.7
    z[:, head.appearance] = torch.randn(count, 16, generator=generator) * 0.5
    for name, value in OPEN.items():
        z[:, head.expression.start + ARKIT_NAMES.index(name)] = value
    return z


def face_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Unit normals (F,3) of triangles of vertices (V,3)."""
    a, b, c = vertices[faces].unbind(1)
    return torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=1)


def draw(head: Head, z: Tensor, pose: Tensor) -> tuple[Tensor, Tensor, Fragments]:
    """Picture (3,S,S) in 0..1, vertices (V,3) and fragments of one head under a lamp beside the camera."""
    decoded = head(z[None])
    v = project(decoded.vertices, pose[None])
    fragments = rasterize_numba(v, head.faces, (SIZE, SIZE))
    tri = fragments.face_index[0].clamp(min=0)
    weights = fragments.barycentric[0]
    uv = (head.uvs[head.uv_faces[tri]] * weights[..., None]).sum(-2)
    sampled = torch.nn.functional.grid_sample(decoded.texture, uv[None] * 2 - 1, align_corners=False)[0]
    normals = torch.zeros_like(v[0])
    for k in range(3):
        normals.index_add_(0, head.faces[:, k], face_normals(v[0], head.faces))
    normals = torch.nn.functional.normalize(normals, dim=1)
    n = (normals[head.faces[tri]] * weights[..., None]).sum(-2)
    light = 0.4 + 0.6 * (n @ torch.tensor([-0.25, -0.35, -0.9])).clamp(0, 1)
    picture = (sampled * light).clamp(0, 1)
    picture[:, fragments.face_index[0] < 0] = 0.45
    return picture, v[0], fragments


def detect(head: Head, net: LandmarkNet, z: Tensor, pose: Tensor) -> tuple[Tensor, Tensor, Fragments]:
    """Points (478,2) in the picture, after one re-crop to them; vertices (V,3) and fragments of that picture."""
    for _ in range(3):
        picture, vertices, fragments = draw(head, z, pose)
        points = net(picture[None]).points[0, :, :2]
        crop = torch.tensor(face_similarity(points.numpy(), SIZE), dtype=torch.float32)
        pose = through(pose[None], crop[None])[0]
    return points, vertices, fragments


def lift(points: Tensor, vertices: Tensor, faces: Tensor, fragments: Fragments, at: Tensor) -> Tensor:
    """Surface points (478,3) on the vertices `at` (V,3) under picture points; NaN where nothing faces the camera."""
    x, y = points.round().long().clamp(0, SIZE - 1).unbind(1)
    tri = fragments.face_index[0, y, x]
    weights = fragments.barycentric[0, y, x]
    facing = -face_normals(vertices, faces)[tri.clamp(min=0), 2]
    facing = facing.abs()
    found = (at[faces[tri.clamp(min=0)]] * weights[..., None]).sum(1)
    found[(tri < 0) | (facing < FACING)] = torch.nan
    return found


def nearest_on_surface(points: Tensor, vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest triangle (L,) of `faces` (F,3) and barycentric weights (L,3), by dense sampling of the triangles."""
    steps = [(i / 12, j / 12) for i in range(13) for j in range(13 - i)]
    weights = torch.tensor([(1 - a - b, a, b) for a, b in steps])
    corners = vertices[faces]
    best = torch.full((len(points),), torch.inf)
    triangle, bary = torch.zeros(len(points), dtype=torch.long), torch.zeros(len(points), 3)
    for w in weights:
        distance, index = torch.cdist(points, (corners * w[:, None]).sum(1)).min(1)
        better = distance < best
        best = torch.where(better, distance, best)
        triangle = torch.where(better, index, triangle)
        bary[better] = w
    return triangle, bary


def main(people: int = 8, seed: int = 0) -> None:
    """Detect, lift, take medians, write."""
    head, net = Head(), LandmarkNet()
    z = codes(people, head, torch.Generator().manual_seed(seed))
    reference = head.geometry(codes(1, head, torch.Generator()) * (z[:1].abs() > 0).float())
    base = torch.zeros(1, head.size)
    base[:, head.expression] = z[:1, head.expression]
    reference = head.geometry(base)[0]
    lifted, records = [], []
    views = list(itertools.product((-0.9, -0.6, -0.3, 0.0, 0.3, 0.6, 0.9), (-0.25, 0.0, 0.25)))
    with torch.no_grad():
        for person, (yaw, pitch) in itertools.product(z, views):
            pose = torch.tensor([np.log(SIZE / 0.30), pitch, yaw, 0.0, SIZE / 2, SIZE / 2], dtype=torch.float32)
            points, vertices, fragments = detect(head, net, person, pose)
            lifted.append(lift(points, vertices, head.faces, fragments, reference))
            records.append((points, vertices, abs(yaw) < 0.4))
    median = torch.stack(lifted).nanmedian(0).values
    eye = torch.tensor([n.startswith("eye") for n in head.part_names])[head.face_parts]
    skin = torch.tensor([n == "head" for n in head.part_names])[head.face_parts]
    triangle, weights = torch.zeros(478, dtype=torch.long), torch.zeros(478, 3)
    for rows, allowed in ((slice(0, 468), skin), (IRIS, eye)):
        ids = allowed.nonzero()[:, 0]
        t, w = nearest_on_surface(median[rows], reference, head.faces[ids])
        triangle[rows], weights[rows] = ids[t], w
    errors = []
    for points, vertices, frontal in records:
        if frontal:
            placed = (vertices[head.faces[triangle]] * weights[..., None]).sum(1)[:, :2]
            errors.append((placed - points).norm(dim=1) / (points[33] - points[263]).norm() * 100)
    error = torch.stack(errors).mean(0)
    typer.echo(f"reprojection on frontal pictures: mean {error.mean():.2f} % IOD, worst point {error.max():.2f}")
    with np.load(ASSET, allow_pickle=False) as data:
        asset = {k: data[k] for k in data.files}
    asset |= {"landmark_triangles": triangle.numpy().astype(np.int16), "landmark_weights": weights.numpy()}
    np.savez_compressed(ASSET, **asset)


if __name__ == "__main__":
    typer.run(main)
