"""Dense face landmarks: MediaPipe's attention mesh (Grishchenko et al. 2020), its weights read from the model file.

478 points of the canonical topology: 0..467 the mesh, with lips and eye regions as refined by their own heads,
468..472 and 473..477 the irises (centre, right, top, left, bottom) of the eyes at points 33 and 263.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tracker.tflite import TfliteGraph, build_module, read_graph

MODEL = Path(__file__).parent / "assets" / "face_landmark_with_attention.tflite"
SIZE = 192
MESH_POINTS = 468
POINTS = 478
EYE_CONTOUR = 16  # an eye's refined points begin with its contour, whose mean depth becomes that of the iris


class LandmarkOutput(NamedTuple):
    """points (B, 478, 3): x, y in pixels of the crop, the centre of its first pixel (0, 0), z in the same unit,
    larger is farther; presence (B,): probability that the crop shows a face."""

    points: Tensor
    presence: Tensor


class LandmarkNet(nn.Module):
    """Frozen network on 192x192 crops; batches, any device.

    `channels` are those of the trunk's feature maps, at 48, 24, 12 and 6 pixels.
    """

    def __init__(self, path: Path = MODEL) -> None:
        super().__init__()
        graph = read_graph(path)
        taps = _trunk_taps(graph)
        self.channels = tuple(graph.shapes[tap][3] for tap in taps)
        names = ("mesh_identity", "lips", "left_eye", "right_eye", "left_iris", "right_iris")
        heads = [graph.outputs[f"output_{name}"] for name in names]
        self.network = build_module(graph, [*heads, graph.outputs["conv_faceflag"]])
        self.trunk = build_module(graph, taps)
        for name, indices in zip(("lips", "left_eye", "right_eye"), _refined_indices(graph), strict=True):
            self.register_buffer(name, indices, persistent=False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> LandmarkOutput:
        """images (B, 3, 192, 192), RGB in 0..1 -> LandmarkOutput."""
        _check_images(images)
        mesh, *heads, presence = self.network(images.contiguous(memory_format=torch.channels_last))
        return LandmarkOutput(self._refine(mesh, heads), presence.flatten().sigmoid())

    @torch.no_grad()
    def features(self, images: Tensor) -> list[Tensor]:
        """images (B, 3, 192, 192), RGB in 0..1 -> the trunk's maps (B, channels[i], s, s), s = 48, 24, 12, 6."""
        _check_images(images)
        return list(self.trunk(images.contiguous(memory_format=torch.channels_last)))

    def _refine(self, mesh: Tensor, heads: list[Tensor]) -> Tensor:
        """Replaces x, y of lips and eyes and appends the irises, as MediaPipe's LandmarksRefinementCalculator."""
        mesh = mesh.reshape(-1, MESH_POINTS, 3)
        lips, left_eye, right_eye, left_iris, right_iris = (head.reshape(len(mesh), -1, 2) for head in heads)
        points = mesh.new_empty(len(mesh), POINTS, 3)
        points[:, :MESH_POINTS] = mesh
        points[:, self.lips, :2] = lips
        eyes = ((self.left_eye, left_eye, left_iris), (self.right_eye, right_eye, right_iris))
        for start, (indices, eye, iris) in zip((468, 473), eyes, strict=True):
            points[:, indices, :2] = eye
            points[:, start : start + 5, :2] = iris
            points[:, start : start + 5, 2] = mesh[:, indices[:EYE_CONTOUR], 2].mean(1, keepdim=True)
        points[..., :2] -= 0.5  # the model counts from the corner of the first pixel
        return points


def _check_images(images: Tensor) -> None:
    if images.ndim != 4 or images.shape[1:] != (3, SIZE, SIZE):
        raise ValueError(f"expected images of shape (B, 3, {SIZE}, {SIZE}), got {tuple(images.shape)}")


def _trunk_taps(graph: TfliteGraph) -> list[int]:
    """The last tensor at each of the trunk's resolutions from 48 to 6: those that a strided convolution reads."""
    strided = [op for op in graph.ops if op.kind == "DEPTHWISE_CONV_2D" and op.options["strideH"] == 2]
    inputs = {graph.shapes[op.inputs[0]][1]: op.inputs[0] for op in reversed(strided)}
    return [inputs[size] for size in (48, 24, 12, 6)]


def _refined_indices(graph: TfliteGraph) -> list[Tensor]:
    """Mesh indices of the points of the lips' and the eyes' heads, in the heads' order.

    They are the points that place the heads' crops, so the model file itself has the lists.
    """
    crops = [op for op in graph.ops if op.kind == "Landmarks2TransformMatrix"]
    return [torch.tensor(op.options["subset_idxs"]) for op in crops]
