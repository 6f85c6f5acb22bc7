"""Unwrapping against analytic surfaces, brute force and finite differences."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from selftrack.decoders.head.model import load_head
from selftrack.decoders.mesh.unwrap import TexelMap, confidence, sample, scatter, surface, texel_map, unwrap

SIDE = 40  # texels
EVERY = torch.ones(1, 1, dtype=torch.bool)


def plane(count: int = 9) -> SimpleNamespace:
    """A unit square (count x count vertices) with uv = its own x, y; `vertices` (V, 3) lie in z = 0."""
    line = torch.linspace(0, 1, count)
    v, u = torch.meshgrid(line, line, indexing="ij")
    uvs = torch.stack([u, v], -1).reshape(-1, 2)
    index = torch.arange(count * count).view(count, count)
    a, b, c, d = (index[i : i + count - 1, j : j + count - 1].flatten() for i in (0, 1) for j in (0, 1))
    faces = torch.cat([torch.stack([a, c, b], -1), torch.stack([b, c, d], -1)])
    vertices = torch.cat([uvs, torch.zeros_like(uvs[:, :1])], -1)
    return SimpleNamespace(uvs=uvs, uv_faces=faces, faces=faces, vertices=vertices, skin_texels=EVERY)


def tilt(yaw: float, pitch: float) -> Tensor:
    """Rx(pitch) Ry(yaw) as a matrix."""
    (cy, sy), (cp, sp) = ((math.cos(a), math.sin(a)) for a in (yaw, pitch))
    turn = torch.tensor([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    return torch.tensor([[1, 0, 0], [0, cp, -sp], [0, sp, cp]]) @ turn


def pattern(uvs: Tensor) -> Tensor:
    """A smooth procedural texture: colours (3, ...) in 0..1 at uvs (..., 2)."""
    u, v = uvs.unbind(-1)
    return torch.stack([torch.sin(9 * u), torch.cos(7 * v), torch.sin(5 * u + 6 * v)]) / 2 + 0.5


def centres(texels: TexelMap) -> Tensor:
    """uv (N, 2) of the texels' centres."""
    return (texels.texel.flip(-1) + 0.5) / texels.size


def test_a_tilted_plane_gives_back_its_texture() -> None:
    board = plane()
    turn = tilt(0.5, -0.3)
    placed = 150 * (board.vertices - torch.tensor([0.5, 0.5, 0])) @ turn.T + torch.tensor([110.3, 100.6, 5])
    rows, columns = torch.meshgrid(torch.arange(200.0), torch.arange(220.0), indexing="ij")
    pixels = torch.stack([columns - 110.3, rows - 100.6], -1)
    picture = pattern(pixels @ torch.linalg.inv(150 * turn[:2, :2]).T + 0.5)
    texels = texel_map(board, SIDE)
    texture, weight = unwrap(picture[None], placed[None], board.faces, texels)
    assert texture.shape == (1, 3, SIDE, SIDE) and len(texels.texel) == SIDE**2
    expected = pattern(centres(texels)).view(3, SIDE, SIDE)
    torch.testing.assert_close(texture[0], expected, atol=2e-3, rtol=0)
    torch.testing.assert_close(weight[0], torch.full((SIDE, SIDE), turn[2, 2].item()), atol=1e-4, rtol=0)


def test_the_back_of_a_plane_is_not_seen() -> None:
    board = plane()
    placed = 50 * board.vertices * torch.tensor([-1.0, 1, 1]) + torch.tensor([60.0, 5, 0])
    assert confidence(placed[None], board.faces, texel_map(board, SIDE), (100, 100)).sum() == 0


def half_sphere(sphere: tuple[Tensor, Tensor]) -> tuple[SimpleNamespace, Tensor]:
    """The front half of the sphere with uv = (x, y) / 2 + 1/2, and the whole sphere's vertices (1, V, 3)."""
    vertices, faces = sphere
    front = faces[(vertices[faces][..., 2] < 1e-3).all(1)]
    mapped = SimpleNamespace(uvs=vertices[:, :2] / 2 + 0.5, uv_faces=front, faces=front, skin_texels=EVERY)
    return mapped, vertices[None]


@pytest.mark.parametrize("raster", [48, 192])
def test_confidence_is_the_cosine_and_a_sphere_does_not_hide_itself(sphere: tuple[Tensor, Tensor], raster: int) -> None:
    mapped, vertices = half_sphere(sphere)
    texels = texel_map(mapped, SIDE)
    placed = 90 * vertices + torch.tensor([130.0, 110, 0])
    found = confidence(placed, sphere[1], texels, (256, 256), least=0.3, raster=raster)[0]
    cosine = (1 - (2 * centres(texels) - 1).square().sum(-1)).clamp(min=0).sqrt()
    trusted, grazing = cosine > 0.32, cosine < 0.28
    torch.testing.assert_close(found[trusted], cosine[trusted], atol=0.01, rtol=0)
    assert trusted.sum() > 1000 and grazing.any() and not found[grazing].any()


def test_a_smooth_head_hardly_hides_itself_from_the_front() -> None:
    head = load_head()
    texels = texel_map(head, 64)
    placed = 1500 * head.mean[None] + torch.tensor([256.0, 256, 0])
    found = confidence(placed, head.faces, texels, (512, 512))
    fine = confidence(placed, head.faces, texels, (512, 512), raster=1024)
    assert (found > 0).float().mean() > 0.4 and ((found > 0) != (fine > 0)).float().mean() < 0.01


def test_what_is_in_front_hides_what_is_behind() -> None:
    board = plane()
    behind = 100 * board.vertices + torch.tensor([20.0, 20, 0])
    front = 30 * board.vertices + torch.tensor([50.0, 60, -20])
    both = torch.cat([behind, front])[None]
    faces = torch.cat([board.faces, board.faces + len(behind)])
    texels = texel_map(board, SIDE)
    points = 100 * centres(texels) + 20
    covered = ((points > torch.tensor([51.0, 61])) & (points < torch.tensor([79.0, 89]))).all(-1)
    free = ((points < torch.tensor([49.0, 59])) | (points > torch.tensor([81.0, 91]))).any(-1)
    found = confidence(both, faces, texels, (140, 140))[0]
    assert covered.sum() > 50 and not found[covered].any() and found[free].min() > 0.99
    pushed = torch.cat([behind, front + torch.tensor([0.0, 0, 40])])[None]
    assert confidence(pushed, faces, texels, (140, 140)).min() > 0.99


def test_what_leaves_the_frame_is_not_seen() -> None:
    board = plane()
    placed = 100 * board.vertices + torch.tensor([-50.0, 20, 0])
    texels = texel_map(board, SIDE)
    texture, weight = unwrap(torch.ones(1, 3, 80, 90), placed[None], board.faces, texels)
    x, y = (100 * centres(texels) + torch.tensor([-50.0, 20])).view(SIDE, SIDE, 2).unbind(-1)
    inside = (x >= 0) & (x <= 89) & (y >= 0) & (y <= 79)
    assert inside.any() and not inside.all()
    assert torch.equal(weight[0] > 0, inside) and torch.equal(texture[0], inside.float().expand(3, -1, -1))


def test_a_batch_is_what_its_members_are_alone() -> None:
    head = load_head()
    texels = texel_map(head, 32)
    moves = torch.tensor([[90.0, 100, 0], [20, 70, 10]])[:, None]
    placed = 500 * torch.stack([head.mean @ tilt(a, 0.1).T for a in (0.4, -0.6)]) + moves
    images = torch.rand(2, 3, 180, 200, generator=torch.Generator().manual_seed(0))
    together = unwrap(images, placed, head.faces, texels)
    for i in range(2):
        alone = unwrap(images[i : i + 1], placed[i : i + 1], head.faces, texels)
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a[i], b[0], atol=1e-4, rtol=1e-4)


def test_texel_map_is_what_brute_force_over_all_triangles_finds() -> None:
    head, size = load_head(), 24
    texels = texel_map(head, size, torch.ones(1, 1, dtype=torch.bool))
    a, b, c = head.uvs[head.uv_faces].double().unbind(1)
    grid = torch.cartesian_prod(torch.arange(size), torch.arange(size))
    found = {tuple(t.tolist()): k for k, t in enumerate(texels.texel)}
    for row, column in grid.tolist():
        point = torch.tensor([column + 0.5, row + 0.5], dtype=torch.float64) / size
        weights = _barycentric(point, a, b, c)
        inside = (weights.min(-1).values > -1e-9).nonzero()[:, 0]
        assert (len(inside) > 0) == ((row, column) in found)
        if len(inside):
            k = found[row, column]
            match = inside[(head.faces[inside] == texels.corners[k]).all(-1)]
            assert len(match) == 1
            torch.testing.assert_close(texels.weights[k].double(), weights[match[0]], atol=1e-4, rtol=0)


def _barycentric(point: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Coordinates (F, 3) of a point (2,) in triangles (F, 2), by solving 2x2 systems; NaN without area."""
    edges = torch.stack([b - a, c - a], -1)
    solved, failed = torch.linalg.solve_ex(edges, (point - a)[..., None])
    solved = torch.where((failed == 0)[:, None, None], solved, torch.nan)[..., 0]
    return torch.cat([1 - solved.sum(-1, keepdim=True), solved], -1)


@pytest.mark.parametrize("size", [64, 100, 256, 512])
def test_the_default_texels_are_the_skin_at_any_size(size: int) -> None:
    head = load_head()
    texels = texel_map(head, size)
    assert head.skin_vertices[texels.corners].all()
    low = texels.texel * 256 // size
    high = -(-(texels.texel + 1) * 256 // size) - 1
    for rows in (low[:, 0], high[:, 0]):
        for columns in (low[:, 1], high[:, 1]):
            assert head.skin_texels[rows, columns].all()
    torch.testing.assert_close(texels.weights.sum(-1), torch.ones(len(low)))


def test_lips_and_lids_count_and_eyes_and_the_mouth_do_not() -> None:
    head = load_head()
    seen = set(texel_map(head, 512).corners.flatten().tolist())
    triangles = head.landmarks478.triangles
    for outside in (0, 17, 61, 291, 37, 267, 84, 314, 223, 443, 230, 450, 4):
        assert seen & set(triangles[outside].tolist()), outside
    for inside in (468, 473):
        assert not seen & set(triangles[inside].tolist()), inside
    hidden = [n for n in head.part_names if n not in ("head", "neck")]
    for name in hidden:
        part = head.faces[head.face_parts == head.part_names.index(name)]
        assert not seen & set(part.flatten().tolist()), name


def test_surface_and_scatter_reproduce_positions() -> None:
    board = plane()
    texels = texel_map(board, SIDE)
    points = surface(torch.stack([board.uvs, 3 * board.uvs]), texels)
    torch.testing.assert_close(points[1], 3 * centres(texels))
    image = scatter(points.transpose(1, 2), texels)
    assert image.shape == (2, 2, SIDE, SIDE)
    expected = (torch.arange(SIDE) + 0.5) / SIDE
    torch.testing.assert_close(image[0], torch.stack(torch.meshgrid(expected, expected, indexing="xy")))


def test_sample_is_exact_on_a_linear_image_and_takes_the_border_outside() -> None:
    rows, columns = torch.meshgrid(torch.arange(20.0), torch.arange(30.0), indexing="ij")
    image = torch.stack([columns, rows, 2 * columns - rows])[None]
    points = torch.tensor([[[3.25, 7.5], [0, 0], [29, 19], [-4, 5], [31, 50]]])
    inside = torch.tensor([[3.25, 7.5], [0, 0], [29, 19], [0, 5], [29, 19]])
    x, y = inside.unbind(-1)
    torch.testing.assert_close(sample(image, points)[0], torch.stack([x, y, 2 * x - y]), atol=1e-5, rtol=1e-5)


def test_gradients_agree_with_finite_differences() -> None:
    board, generator = plane(3), torch.Generator().manual_seed(0)
    texels = texel_map(board, 5)
    values = torch.rand(2, 9, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    images = torch.rand(2, 3, 7, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: surface(v, texels), values)
    assert torch.autograd.gradcheck(lambda i, v: sample(i, 1 + 4 * surface(v, texels)), (images, values))


def test_confidence_carries_no_gradient_and_the_texture_does() -> None:
    board = plane()
    placed = (100 * board.vertices[None] + 10).requires_grad_()
    image = torch.rand(1, 3, 120, 120, generator=torch.Generator().manual_seed(0))
    texture, weight = unwrap(image, placed, board.faces, texel_map(board, SIDE))
    assert not weight.requires_grad
    texture.sum().backward()
    assert placed.grad[..., :2].abs().sum() > 0


def test_bad_shapes_are_refused() -> None:
    board = plane(3)
    texels, vertices = texel_map(board, 8), board.vertices[None]
    with pytest.raises(ValueError, match="size 0"):
        texel_map(board, 0)
    with pytest.raises(ValueError, match="bool mask"):
        texel_map(board, 8, torch.ones(4, 4))
    with pytest.raises(ValueError, match="bool mask"):
        texel_map(board, 8, torch.ones(4, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"values \(B, V, C\)"):
        surface(board.vertices, texels)
    with pytest.raises(ValueError, match=r"images \(B, C, H, W\)"):
        sample(torch.zeros(3, 8, 8), torch.zeros(1, 5, 2))
    with pytest.raises(ValueError, match=r"points \(1, N, 2\)"):
        sample(torch.zeros(1, 3, 8, 8), torch.zeros(2, 5, 2))
    with pytest.raises(ValueError, match=r"vertices \(B, V, 3\)"):
        confidence(board.vertices, board.faces, texels, (8, 8))
    with pytest.raises(ValueError, match="raster"):
        confidence(vertices, board.faces, texels, (8, 8), raster=1)
