"""The landmark network against the runtime that it was made for, and its parts against slow twins."""

import copy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from selftrack.decoders.landmarks import MIRRORED
from selftrack.tracker.landmarks.attention_mesh import SIZE, LandmarkNet
from selftrack.tracker.landmarks.litert import LiteModule
from selftrack.tracker.landmarks.tflite import build_module, crop_matrix, read_graph, sample_affine, transform_points

DATA = Path(__file__).parents[2] / "data" / "landmarks"
EXPECTED = np.load(DATA / "expected.npz")


@pytest.fixture(scope="module")
def net() -> LandmarkNet:
    return LandmarkNet()


@pytest.fixture(scope="module")
def crops() -> Tensor:
    """Four crops (4, 3, 192, 192) of the bundled clip: neutral, blink, turned by 32 degrees, smile."""
    pictures = [cv2.imread(str(DATA / f"crop_{number}.png"))[..., ::-1] for number in range(4)]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def refine_in_torch(net: LandmarkNet, crops: Tensor) -> tuple[Tensor, Tensor]:
    """Points and presence by the path that a GPU takes."""
    mesh, *heads, presence, _, _, _ = net.network(crops)
    return net._refine(mesh, heads), presence.flatten().sigmoid()


def test_equals_the_original_runtime(net: LandmarkNet, crops: Tensor) -> None:
    for points, presence in (net(crops)[:2], refine_in_torch(net, crops)):
        from_corner = points.numpy() + (0.5, 0.5, 0)
        assert np.abs(from_corner - EXPECTED["points"]).max() < 0.01
        assert np.abs(presence.numpy() - EXPECTED["presence"]).max() < 1e-4


def test_a_batch_is_its_images(net: LandmarkNet, crops: Tensor) -> None:
    batch = refine_in_torch(net, crops)[0]
    singles = torch.cat([refine_in_torch(net, crop[None])[0] for crop in crops])
    assert torch.allclose(batch, singles, atol=1e-3)
    assert torch.equal(net(crops).points, torch.cat([net(crop[None]).points for crop in crops]))


def test_both_ways_is_the_mean_of_a_picture_and_its_mirror_image(net: LandmarkNet, crops: Tensor) -> None:
    both, alone = net.both_ways(crops), net(crops)
    mirrored = net(torch.from_numpy(np.ascontiguousarray(crops.numpy()[..., ::-1]))).points.numpy()[:, list(MIRRORED)]
    mirrored[..., 0] = SIZE - 1 - mirrored[..., 0]
    np.testing.assert_allclose(both.points, (alone.points.numpy() + mirrored) / 2, atol=1e-4)
    assert torch.equal(both.presence, alone.presence)
    assert all(torch.equal(seen, single) for seen, single in zip(both.maps, alone.maps, strict=True))


def test_no_face_no_presence(net: LandmarkNet) -> None:
    noise = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    assert (net(noise).presence < 0.01).all()


def test_features_are_the_trunk_under_both_runtimes(net: LandmarkNet, crops: Tensor) -> None:
    maps = net.features(crops)
    assert all(torch.equal(seen, alone) for seen, alone in zip(net(crops).maps, maps[1:], strict=True))
    assert [tuple(m.shape) for m in maps] == [
        (4, channels, size, size) for channels, size in zip(net.channels, (48, 24, 12, 6), strict=True)
    ]
    for fast, slow in zip(maps, net.trunk(crops), strict=True):
        assert torch.allclose(fast, slow, atol=1e-3)
        assert fast.std() > 0.1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_equals_cpu(crops: Tensor) -> None:
    on_gpu, on_cpu = LandmarkNet().cuda(), LandmarkNet()
    torch.backends.cudnn.allow_tf32 = False
    assert torch.allclose(on_gpu(crops.cuda()).points.cpu(), on_cpu(crops).points, atol=0.01)
    for there, here in zip(on_gpu.features(crops.cuda()), on_cpu.features(crops), strict=True):
        assert torch.allclose(there.cpu(), here, atol=1e-2)


def test_copies_and_state(net: LandmarkNet, crops: Tensor) -> None:
    expected = net(crops[:1]).points  # the interpreters exist from here on
    assert not net.state_dict()
    assert torch.equal(copy.deepcopy(net)(crops[:1]).points, expected)


def test_wrong_shape_is_refused(net: LandmarkNet) -> None:
    with pytest.raises(ValueError, match=r"\(1, 3, 256, 256\)"):
        net(torch.zeros(1, 3, 256, 256))
    with pytest.raises(ValueError, match=r"\(3, 192, 192\)"):
        net.features(torch.zeros(3, SIZE, SIZE))


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.tflite"
    path.write_bytes(b"PK\x03\x04 not a model")
    with pytest.raises(ValueError, match="not a .tflite model"):
        read_graph(path)


def test_any_tensor_of_the_graph_can_be_asked_for(net: LandmarkNet, crops: Tensor) -> None:
    """Outputs before, at and behind the custom operators, in both runtimes."""
    graph = net._graph
    matrix = next(op.output for op in graph.ops if op.kind == "Landmarks2TransformMatrix")
    sampled = next(op.output for op in graph.ops if op.kind == "TransformTensorBilinear")
    wanted = [graph.outputs["output_lips"], sampled, matrix]
    for slow, fast in zip(build_module(graph, wanted)(crops[:2]), LiteModule(graph, wanted)(crops[:2]), strict=True):
        assert slow.shape == fast.shape
        assert torch.allclose(slow, fast, atol=1e-3)


def sample_slowly(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """One image (C, H, W) pixel by pixel."""
    height, width = image.shape[1:]
    out = np.zeros((image.shape[0], size[1], size[0]))
    for v in range(size[1]):
        for u in range(size[0]):
            x, y = matrix[:2, :2] @ (u + 0.5, v + 0.5) + matrix[:2, 3] - 0.5
            if not (0 <= x <= width - 1 and 0 <= y <= height - 1):
                continue
            left, top = min(int(x), width - 2), min(int(y), height - 2)
            a, b = x - left, y - top
            corners = image[:, top : top + 2, left : left + 2]
            out[:, v, u] = np.einsum("cij,i,j->c", corners, (1 - b, b), (1 - a, a))
    return out


def test_sample_affine_equals_its_slow_twin() -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(size=(3, 2, 9, 12))
    matrices = np.tile(np.eye(4), (3, 1, 1))
    matrices[:, :2, :2] = rng.normal(size=(3, 2, 2))
    matrices[:, :2, 3] = rng.uniform(-2, 8, size=(3, 2))  # some of it outside
    fast = sample_affine(torch.tensor(images), torch.tensor(matrices), (7, 5))
    slow = np.stack([sample_slowly(*pair, (7, 5)) for pair in zip(images, matrices, strict=True)])
    assert (slow == 0).any() and (slow != 0).any()
    assert np.allclose(fast.numpy(), slow, atol=1e-9)


def test_crop_matrix_of_a_turned_box() -> None:
    """A box of 6 x 4 about (10, 20), turned by 0.3: corners of the crop land where the margin puts them."""
    turn = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    box = np.array([[-3, 0], [3, 0], [1, 2], [-1, -2], [0, 0]]) @ turn.T + (10, 20)
    points = torch.tensor(np.column_stack([box, np.full(5, 7.0)]))[None]
    matrix = crop_matrix(points, subset=[0, 1, 2, 3], level=(0, 1), margin=(1.5, 2.0), size=(16, 8))
    corners = torch.tensor([[[0.0, 0], [16, 0], [8, 4], [16, 8]]], dtype=torch.float64)
    expected = np.array([[-4.5, -4], [4.5, -4], [0, 0], [4.5, 4]]) @ turn.T + (10, 20)
    assert np.allclose(transform_points(corners, matrix)[0].numpy(), expected)
