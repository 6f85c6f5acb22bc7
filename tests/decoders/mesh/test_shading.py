"""Normals and shading of a sphere, whose normals are its radii."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from selftrack.decoders.head.model import Head
from selftrack.decoders.mesh.normals import vertex_normals
from selftrack.decoders.mesh.shading import lambert, shade

Mesh = tuple[Tensor, Tensor]


def test_normals_of_a_sphere_are_its_radii(sphere: Mesh) -> None:
    vertices, faces = sphere
    normals = vertex_normals(torch.stack([vertices, 50 * vertices + 7]), faces)
    assert (normals - vertices).norm(dim=-1).max() < 0.02


def test_normals_are_weighted_by_area() -> None:
    # a corner where a triangle of area 2 in the xy plane meets one of area 1 in the xz plane
    vertices = torch.tensor([[[0.0, 0, 0], [2, 0, 0], [0, 2, 0], [1, 0, 0], [0, 0, 2], [9, 9, 9]]])
    faces = torch.tensor([[0, 2, 1], [0, 4, 3]])
    normals = vertex_normals(vertices, faces)[0]
    expected = torch.tensor([0.0, 1, -2]) / math.sqrt(5)
    # (0,2,0) x (2,0,0) = (0,0,-4), towards the camera; (0,0,2) x (1,0,0) = (0,2,0), downwards
    torch.testing.assert_close(normals[0], expected)
    torch.testing.assert_close(normals[1], torch.tensor([0.0, 0, -1]))
    assert normals[5].abs().max() == 0


def test_normals_have_gradients(sphere: Mesh) -> None:
    _, faces = sphere
    faces = faces[:2]
    vertices = torch.rand(1, int(faces.max()) + 1, 3, dtype=torch.float64, requires_grad=True)
    used = faces.unique()
    assert torch.autograd.gradcheck(lambda v: vertex_normals(v, faces)[:, used], vertices)


@pytest.mark.parametrize("degrees", [0.0, 30.0, 60.0, 89.0, 120.0])
def test_lambert_is_the_cosine(degrees: float) -> None:
    angle = math.radians(degrees)
    normal = torch.tensor([math.sin(angle), 0.0, -math.cos(angle)])
    expected = max(0.0, math.cos(angle))
    assert lambert(normal, torch.tensor([0.0, 0.0, -3.0])).item() == pytest.approx(expected, abs=1e-6)


def test_shaded_sphere_follows_the_closed_form(sphere: Mesh) -> None:
    vertices, faces = sphere
    radius, centre = 40.0, torch.tensor([60.0, 50.0, 5.0])
    light, colour, ambient = torch.tensor([1.0, -1.0, -2.0]), torch.tensor([0.9, 0.6, 0.3]), 0.2
    picture = shade((radius * vertices + centre)[None], faces, (100, 130), colour, (1, -1, -2), ambient)[0]
    assert picture.shape == (100, 130, 4) and picture.dtype == torch.float32
    y, x = torch.meshgrid(torch.arange(100.0), torch.arange(130.0), indexing="ij")
    u, v = (x - centre[0]) / radius, (y - centre[1]) / radius
    distance = (u * u + v * v).sqrt()
    normal = torch.stack([u, v, -(1 - distance**2).clamp(min=0).sqrt()], -1)
    diffuse = (normal @ light / light.norm()).clamp(min=0)
    expected = (ambient + (1 - ambient) * diffuse)[..., None] * colour
    inside = distance < 0.95
    assert (picture[inside][:, :3] - expected[inside]).abs().max() < 0.02
    assert (picture[inside][:, 3] == 1).all() and picture[distance > 1].abs().max() == 0


def test_colour_per_vertex(sphere: Mesh) -> None:
    vertices, faces = sphere
    placed = (20 * vertices + 25)[None]
    single = torch.tensor([0.2, 0.5, 0.7])
    shared = shade(placed, faces, (50, 50), single)
    torch.testing.assert_close(shade(placed, faces, (50, 50), single.expand(len(vertices), 3)), shared)
    red_left = torch.where(vertices[:, :1] < 0, torch.tensor([[1.0, 0, 0]]), torch.tensor([[0.0, 0, 1]]))
    picture = shade(placed, faces, (50, 50), red_left)[0]
    assert picture[25, 12, 0] > 0.2 and picture[25, 12, 2] == 0 and picture[25, 38, 0] == 0


def test_wrong_shapes_are_refused(sphere: Mesh) -> None:
    with pytest.raises(ValueError, match="expected vertices"):
        vertex_normals(sphere[0], sphere[1])
    with pytest.raises(ValueError, match="expected normals"):
        lambert(sphere[0], torch.zeros(2))


def test_head_faces_the_camera() -> None:
    head = Head()
    vertices = head.forward(torch.zeros(1, head.size)).vertices
    tip = head.landmarks478(vertices)[0, :, 2].argmin()  # of the nose: the point nearest to the camera
    assert head.landmarks478(vertex_normals(vertices, head.faces))[0, tip, 2] < -0.7
