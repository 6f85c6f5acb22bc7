"""The custom operators in NumPy against their twins in torch, which are tested against slower ones."""

import numpy as np
import pytest
import torch

from selftrack.tracker.landmarks import operators, tflite


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def matrix_of(rng: np.random.Generator) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:2, :2] = rng.normal(size=(2, 2))
    matrix[:2, 3] = rng.uniform(-2, 8, size=2)
    return matrix


def test_sampling_equals_its_twin_inside_and_outside_of_the_image(rng: np.random.Generator) -> None:
    shares = []
    for _ in range(20):
        image, matrix = rng.normal(size=(9, 12, 3)), matrix_of(rng)
        fast = operators.sample_affine(image, matrix, (7, 5))
        slow = tflite.sample_affine(torch.tensor(image.transpose(2, 0, 1))[None], torch.tensor(matrix)[None], (7, 5))
        assert fast.shape == (5, 7, 3)
        assert np.allclose(fast, slow[0].permute(1, 2, 0).numpy(), atol=1e-9)
        shares.append((fast == 0).mean())
    assert 0 < np.mean(shares) < 1


@pytest.mark.parametrize("level", [(0, 1), (3, 9), (4, 4)])
def test_the_matrix_of_a_crop_equals_its_twin(rng: np.random.Generator, level: tuple[int, int]) -> None:
    """Also where the two points that are to be level are one."""
    points = rng.normal(size=(12, 3)) * 20 + 30
    settings = {"subset": [0, 3, 5, 7, 9], "level": level, "margin": (1.5, 2.0), "size": (16, 8)}
    slow = tflite.crop_matrix(torch.tensor(points)[None], **settings)[0]
    assert np.allclose(operators.crop_matrix(points, **settings), slow.numpy())


def test_moved_points_equal_their_twin(rng: np.random.Generator) -> None:
    points, matrix = rng.normal(size=(6, 2)), matrix_of(rng)
    slow = tflite.transform_points(torch.tensor(points)[None], torch.tensor(matrix)[None])[0]
    assert np.allclose(operators.transform_points(points, matrix), slow.numpy())
