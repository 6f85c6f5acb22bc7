"""The rasterizers against a slow twin, against each other and against known coverage; gradients."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from selftrack.decoders.head.model import Head
from selftrack.decoders.mesh.rasterizer import (
    Fragments,
    barycentric_at,
    interpolate,
    interpolate_numba,
    pixel_grid,
    rasterize,
    rasterize_numba,
    rasterize_pytorch3d,
)
from selftrack.errors import UserError

Mesh = tuple[Tensor, Tensor]
TIE = 1e-3
"""Pixels from an edge, or difference in depth, within which single precision may choose either triangle."""


def random_triangles(seed: int, size: tuple[int, int], count: int = 40, images: int = 2) -> Mesh:
    """Triangles without shared vertices, of both orientations, some partly outside: (B, 3 F, 3), (F, 3)."""
    generator = torch.Generator().manual_seed(seed)
    vertices = torch.rand(images, 3 * count, 3, generator=generator) * 1.6 - 0.3
    return vertices * torch.tensor([size[1], size[0], 20.0]), torch.arange(3 * count).view(count, 3)


def turned_sphere(sphere: Mesh, size: tuple[int, int]) -> Mesh:
    """Two ellipsoids in general position, taller than the image is wide."""
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0))).Q
    ellipsoid = sphere[0] * torch.tensor([0.35, 0.55, 0.4]) @ rotation.T * min(size)
    centre = torch.tensor([size[1] / 2 + 0.3, size[0] / 2 - 0.2, -7.0])
    return torch.stack([ellipsoid + centre, 0.5 * ellipsoid + centre + 3]), sphere[1]


def posed_head(size: tuple[int, int]) -> Mesh:
    """Two heads of different people, smiling, turned by 25 degrees, filling the image."""
    head = Head()
    codes = torch.randn(2, head.size, generator=torch.Generator().manual_seed(1))
    codes[:, head.expression] = codes[:, head.expression].clamp(0, 0.5)
    cos, sin = np.cos(np.radians(25)), np.sin(np.radians(25))
    rotation = torch.tensor([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]], dtype=torch.float32)
    vertices = head.forward(codes).vertices @ rotation.T
    low, high = vertices.amin((0, 1)), vertices.amax((0, 1))
    scale = min(size) / (high - low)[:2].max()
    return (vertices - (low + high) / 2) * scale + torch.tensor([size[1] / 2, size[0] / 2, 0]), head.faces


def slow_rasterize(vertices: np.ndarray, faces: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Twin for one image: a linear system for each triangle, all pixels; index, barycentric, depth."""
    rows, columns = np.indices(size)
    points = np.stack([columns, rows, np.ones(size)]).reshape(3, -1)
    index, depth = np.full(points.shape[1], -1), np.full(points.shape[1], np.inf)
    weights = np.zeros((points.shape[1], 3))
    for face, corners in enumerate(vertices[faces].astype(np.float64)):
        inside = np.linalg.solve(np.stack([corners[:, 0], corners[:, 1], np.ones(3)]), points)
        z = corners[:, 2] @ inside
        nearer = (inside > 0).all(0) & (z < depth)
        index[nearer], depth[nearer], weights[nearer] = face, z[nearer], inside[:, nearer].T
    return index.reshape(size), weights.reshape(*size, 3), depth.reshape(size)


def edge_distance(vertices: Tensor, faces: Tensor, pixel: Tensor) -> float:
    """Pixels from a point (2,) to the nearest edge of any triangle of one image."""
    start = vertices[faces, :2].double().reshape(-1, 2)
    along = vertices[faces.roll(-1, 1), :2].double().reshape(-1, 2) - start
    where = ((pixel - start) * along).sum(-1) / along.square().sum(-1).clamp(min=1e-30)
    return float((start + where.clamp(0, 1)[:, None] * along - pixel).norm(dim=-1).min())


def assert_same(vertices: Tensor, faces: Tensor, first: Fragments, second: Fragments) -> None:
    """Equal indices but for few pixels, all of them ties; equal values where the indices are equal."""
    differ = first.face_index != second.face_index
    assert differ.float().mean() <= 2e-3, f"{int(differ.sum())} pixels differ"
    for image, row, column in differ.nonzero().tolist():
        gap = (first.depth - second.depth)[image, row, column].abs()
        edge = edge_distance(vertices[image], faces, torch.tensor([column, row], dtype=torch.float64))
        assert edge < TIE or gap < TIE, f"pixel {(image, row, column)}: edge {edge}, depth {gap}"
    torch.testing.assert_close(first.barycentric[~differ], second.barycentric[~differ], atol=2e-3, rtol=0)
    torch.testing.assert_close(first.depth[~differ], second.depth[~differ], atol=2e-3, rtol=1e-4)


@pytest.mark.parametrize("size", [(37, 53), (53, 37), (1, 1), (1, 40)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_numba_equals_slow_twin(seed: int, size: tuple[int, int]) -> None:
    vertices, faces = random_triangles(seed, size)
    fragments = rasterize(vertices, faces, size)
    assert fragments.face_index.dtype == torch.int64
    assert fragments.barycentric.dtype == fragments.depth.dtype == torch.float32
    for image in range(2):
        index, weights, depth = slow_rasterize(vertices[image].numpy(), faces.numpy(), size)
        np.testing.assert_array_equal(fragments.face_index[image], index)
        np.testing.assert_allclose(fragments.barycentric[image], weights, atol=1e-6)
        np.testing.assert_allclose(fragments.depth[image], depth, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("step", [1, 3])
def test_shared_edges_are_drawn_exactly_once(flip: bool, step: int) -> None:
    # a lattice on pixel centres: all its edges, the diagonals too, run through pixels
    count = 12 // step
    rows, columns = np.indices((count + 1, count + 1)) * step
    points = np.stack([columns, rows, 0 * rows], -1).reshape(-1, 3) + [2, 3, 0]
    corner = np.arange(count * (count + 1)).reshape(count, count + 1)[:, :-1].ravel()
    down = corner + count + 1
    upper, lower = np.stack([corner, corner + 1, down], -1), np.stack([corner + 1, down, down + 1], -1)
    triangles = np.concatenate([upper[:, ::-1] if flip else upper, lower])
    vertices = torch.tensor(points, dtype=torch.float32)[None]
    covered = sum(
        (rasterize(vertices, torch.tensor(triangle)[None], (20, 20)).face_index[0] == 0).int() for triangle in triangles
    )
    expected = torch.zeros(20, 20, dtype=torch.int32)
    expected[3:15, 2:14] = 1  # the top and left border belong to the lattice, bottom and right do not
    torch.testing.assert_close(covered, expected)


def test_nearest_triangle_wins_then_the_lower_index() -> None:
    square = torch.tensor([[-1.0, -1, 0], [20, -1, 0], [-1, 20, 0]])
    depths = torch.tensor([3.0, -5.0, -5.0, 1e6])
    vertices = torch.cat([square + torch.tensor([0, 0, depth]) for depth in depths])[None]
    fragments = rasterize(vertices, torch.arange(12).view(4, 3), (8, 8))
    assert (fragments.face_index == 1).all() and (fragments.depth == -5).all()


def test_useless_triangles_are_skipped() -> None:
    good = torch.tensor([[0.0, 0, 1], [9, 0, 1], [0, 9, 1]])
    line = torch.tensor([[0.0, 0, 0], [4, 4, 0], [8, 8, 0]])
    broken = [good.clone() for _ in range(3)]
    broken[0][0, 0], broken[1][1, 1], broken[2][2, 2] = torch.nan, torch.inf, torch.nan
    far = good * torch.tensor([1, 1, 0]) + torch.tensor([1e30, -1e30, 0])
    vertices = torch.cat([line, *broken, far, good])[None]
    fragments = rasterize(vertices, torch.arange(18).view(6, 3), (6, 6))
    alone = rasterize(good[None], torch.tensor([[0, 1, 2]]), (6, 6)).face_index
    assert alone.unique().tolist() == [-1, 0]  # it covers all but a corner
    assert torch.equal(fragments.face_index, torch.where(alone == 0, 5, -1))
    empty = rasterize(vertices, torch.zeros(0, 3, dtype=torch.int64), (6, 6))
    assert (empty.face_index == -1).all() and empty.depth.isinf().all() and (empty.barycentric == 0).all()


def test_barycentric_sums_to_one_and_reproduces_the_pixel(sphere: Mesh) -> None:
    size = (70, 61)
    vertices, faces = turned_sphere(sphere, size)
    fragments = rasterize(vertices, faces, size)
    seen = fragments.face_index >= 0
    assert 0.2 < seen.float().mean() < 0.9
    assert (fragments.barycentric[seen].sum(-1) - 1).abs().max() < 1e-6
    place = interpolate(vertices, faces, fragments)
    assert (place[..., :2] - pixel_grid(size, vertices))[seen].abs().max() < 1e-4
    assert (place[..., 2] - fragments.depth)[seen].abs().max() < 1e-4
    again = barycentric_at(vertices, faces, fragments.face_index)
    torch.testing.assert_close(again, fragments.barycentric, atol=1e-3, rtol=0)
    assert (place[~seen] == 0).all() and (again[~seen] == 0).all()


@pytest.mark.parametrize("size", [(30, 44), (44, 30), (32, 32)])
def test_numba_equals_pytorch3d_on_random_triangles(size: tuple[int, int]) -> None:
    pytest.importorskip("pytorch3d")
    vertices, faces = random_triangles(3, size)
    reference = rasterize_pytorch3d(vertices, faces, size)
    assert_same(vertices, faces, rasterize_numba(vertices, faces, size), reference)


@pytest.mark.parametrize("mesh", ["sphere", "head"])
def test_numba_equals_pytorch3d_on_meshes(mesh: str, sphere: Mesh) -> None:
    pytest.importorskip("pytorch3d")
    size = (56, 40)
    vertices, faces = turned_sphere(sphere, size) if mesh == "sphere" else posed_head(size)
    reference = rasterize_pytorch3d(vertices, faces, size)
    assert_same(vertices, faces, rasterize_numba(vertices, faces, size), reference)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("mesh", ["random", "sphere", "head"])
@pytest.mark.parametrize("size", [(256, 256), (360, 640)])
def test_numba_equals_cuda(mesh: str, size: tuple[int, int], sphere: Mesh) -> None:
    pytest.importorskip("pytorch3d")
    if mesh == "random":
        vertices, faces = random_triangles(4, size)
    else:
        vertices, faces = turned_sphere(sphere, size) if mesh == "sphere" else posed_head(size)
    fragments = rasterize(vertices.cuda(), faces.cuda(), size)
    assert fragments.face_index.is_cuda
    on_cpu = Fragments(*(field.cpu() for field in fragments))
    assert_same(vertices, faces, rasterize_numba(vertices, faces, size), on_cpu)


@pytest.mark.parametrize("shared", [False, True])
def test_interpolation_has_exact_gradients(shared: bool) -> None:
    size = (6, 7)
    vertices, faces = random_triangles(5, size, count=5)
    fragments = rasterize(vertices, faces, size)
    generator = torch.Generator().manual_seed(6)
    attributes = torch.rand(*(() if shared else (2,)), 15, 2, generator=generator, dtype=torch.float64)

    def picture(vertices: Tensor, attributes: Tensor) -> Tensor:
        barycentric = barycentric_at(vertices, faces, fragments.face_index)
        return interpolate(attributes, faces, fragments._replace(barycentric=barycentric))

    inputs = vertices.double().requires_grad_(), attributes.requires_grad_()
    assert torch.autograd.gradcheck(picture, inputs, eps=1e-6, atol=1e-5)
    expanded = attributes.detach().expand(2, -1, -1)
    torch.testing.assert_close(picture(inputs[0].detach(), expanded), picture(*inputs).detach())


def test_gradients_follow_the_rendered_picture(sphere: Mesh) -> None:
    # finite differences through the rasterizer itself, where the triangle stays the same
    size = (40, 40)
    vertices, faces = turned_sphere(sphere, size)
    colours = torch.rand(len(sphere[0]), 3, generator=torch.Generator().manual_seed(7))
    motion = torch.randn(vertices.shape, generator=torch.Generator().manual_seed(8))
    step = 5e-3

    def rendered(sign: int) -> tuple[Tensor, Tensor]:
        fragments = rasterize(vertices + sign * step * motion, faces, size)
        return interpolate(colours, faces, fragments), fragments.face_index

    (ahead, index_ahead), (behind, index_behind) = rendered(1), rendered(-1)
    fragments = rasterize(vertices, faces, size)

    def picture(vertices: Tensor) -> Tensor:
        barycentric = barycentric_at(vertices, faces, fragments.face_index)
        return interpolate(colours, faces, fragments._replace(barycentric=barycentric))

    _, slope = torch.func.jvp(picture, (vertices,), (motion,))
    broad = triangle_area(vertices, faces, fragments.face_index) > 0.5  # not seen at a grazing angle
    same = (fragments.face_index == index_ahead) & (fragments.face_index == index_behind) & broad
    assert same.sum() > 200
    expected = (ahead - behind)[same] / (2 * step)
    assert (slope[same] - expected).abs().max() < 0.02 * expected.abs().max()


def triangle_area(vertices: Tensor, faces: Tensor, face_index: Tensor) -> Tensor:
    """Area in square pixels of the triangle at each pixel, 0 where there is none."""
    a, b, c = (vertices[:, faces[:, corner], :2] for corner in range(3))
    edge, other = b - a, c - a
    areas = (edge[..., 0] * other[..., 1] - edge[..., 1] * other[..., 0]).abs() / 2
    found = areas.gather(1, face_index.clamp(min=0).flatten(1)).view_as(face_index)
    return found.where(face_index >= 0, 0)


def test_barycentric_at_free_points() -> None:
    vertices = torch.tensor([[[0.0, 0, 0], [4, 0, 0], [0, 4, 0]]])
    points = torch.tensor([[1.0, 1.0], [4.0, 0.0], [5.0, -0.5]])
    weights = barycentric_at(vertices, torch.tensor([[0, 1, 2]]), torch.tensor([[0, 0, -1]]), points)
    torch.testing.assert_close(weights[0], torch.tensor([[0.5, 0.25, 0.25], [0, 1, 0], [0, 0, 0]]))


@pytest.mark.parametrize("shared", [False, True])
def test_interpolation_by_numba_equals_its_slow_twin(shared: bool) -> None:
    vertices, faces = random_triangles(3, (23, 31))
    fragments = rasterize(vertices, faces, (23, 31))
    assert 0 < (fragments.face_index < 0).sum() < fragments.face_index.numel()
    attributes = torch.rand(*vertices.shape[:2], 5, generator=torch.Generator().manual_seed(0))
    attributes = attributes[0] if shared else attributes
    slow = interpolate(attributes, faces, fragments)
    torch.testing.assert_close(interpolate_numba(attributes, faces, fragments), slow, rtol=0, atol=1e-6)
    assert not interpolate_numba(attributes, faces, fragments)[fragments.face_index < 0].any()
    seen = Fragments(*(values[:, 4:5] for values in fragments))  # not contiguous
    torch.testing.assert_close(interpolate_numba(attributes, faces, seen), slow[:, 4:5], rtol=0, atol=1e-6)


def test_wrong_inputs_are_refused() -> None:
    vertices, faces = random_triangles(0, (4, 4))
    for wrong in (
        (vertices[0], faces, (4, 4)),
        (vertices, faces.int(), (4, 4)),
        (vertices, faces + 1, (4, 4)),
        (vertices, faces - 1, (4, 4)),
        (vertices, faces, (0, 4)),
    ):
        with pytest.raises(ValueError):
            rasterize(*wrong)
    with pytest.raises(ValueError, match="3 sets of attributes for 2 images"):
        interpolate(torch.zeros(3, 5, 1), faces, rasterize(vertices, faces, (4, 4)))
    with pytest.raises(ValueError, match="3 sets of attributes for 2 images"):
        interpolate_numba(torch.zeros(3, 5, 1), faces, rasterize(vertices, faces, (4, 4)))


def test_missing_pytorch3d_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch3d.renderer.mesh.rasterize_meshes", None)
    with pytest.raises(UserError, match=r"pytorch3d.*pip install 'selftrack\[pytorch3d\]'"):
        rasterize_pytorch3d(*random_triangles(0, (4, 4)), (4, 4))
