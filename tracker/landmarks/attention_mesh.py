"""Dense face landmarks: MediaPipe's attention mesh (Grishchenko et al. 2020), read from its model file.

478 points of the canonical topology: 0..467 the mesh, lips and eye regions as refined by their own heads;
468..472 and 473..477 the irises (centre, right, top, left, bottom) of the eyes at points 33 and 263.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, fx, nn

from selftrack.decoders.landmarks import LEFT_IRIS, MESH_POINTS, MIRRORED, POINTS, RIGHT_IRIS
from selftrack.tracker.landmarks.litert import LiteModule
from selftrack.tracker.landmarks.tflite import TfliteGraph, build_module, read_graph

MODEL = Path(__file__).parents[1] / "assets" / "face_landmark_with_attention.tflite"
SIZE = 192
EYE_CONTOUR = 16
"""An eye's refined points begin with this many of its contour; their mean depth becomes the iris's."""

_HEADS = ("mesh_identity", "lips", "left_eye", "right_eye", "left_iris", "right_iris")


class LandmarkOutput(NamedTuple):
    """What the network says of a batch of crops."""

    points: Tensor
    """(B, 478, 3): x, y, z in pixels of the crop; the first pixel's centre is (0, 0), larger z is farther."""
    presence: Tensor
    """(B,): probability that the crop shows a face."""
    maps: list[Tensor]
    """(B, C, s, s), s = 24, 12, 6: the trunk's features."""


class LandmarkNet(nn.Module):
    """Frozen network on 192x192 crops. A GPU runs it in torch; the CPU under LiteRT, where it is faster.

    It has no entry in the state dict: the weights are those of the model file.
    """

    channels: tuple[int, ...]
    """Channels of the trunk's feature maps, which have 48, 24, 12 and 6 pixels."""
    lips: Tensor
    left_eye: Tensor
    right_eye: Tensor
    mirrored: Tensor

    def __init__(self, path: Path = MODEL) -> None:
        super().__init__()
        self._graph = read_graph(path)
        self._taps = _trunk_taps(self._graph)
        self._outputs = [self._graph.outputs[f"output_{head}"] for head in _HEADS]
        self._outputs += [self._graph.outputs["conv_faceflag"], *self._taps[1:]]
        self.channels = tuple(self._graph.shapes[tap][3] for tap in self._taps)
        self._in_torch: dict[tuple[tuple[int, ...], torch.device], fx.GraphModule] = {}
        for name, indices in _refined_indices(self._graph).items():
            self.register_buffer(name, indices, persistent=False)
        self.register_buffer("mirrored", torch.tensor(MIRRORED), persistent=False)

    @property
    def device(self) -> torch.device:
        """The device that it is on."""
        return self.lips.device

    @property
    def network(self) -> fx.GraphModule:
        """All of it in torch."""
        return self._built(self._outputs)

    @property
    def trunk(self) -> fx.GraphModule:
        """The trunk in torch."""
        return self._built(self._taps)

    def _built(self, outputs: Sequence[int]) -> fx.GraphModule:
        """The graph up to some tensors in torch, built where it is first asked for: the CPU does without."""
        key = tuple(outputs), self.device
        if key not in self._in_torch:
            self._in_torch[key] = build_module(self._graph, outputs).to(self.device)
        return self._in_torch[key]

    @cached_property
    def _lite_network(self) -> LiteModule:
        return LiteModule(self._graph, self._outputs)

    @cached_property
    def _lite_trunk(self) -> LiteModule:
        return LiteModule(self._graph, self._taps)

    @staticmethod
    def refined_points() -> list[int]:
        """Mesh indices of lips, eyes and brows, which heads of their own refine."""
        return sorted({int(i) for indices in _refined_indices(read_graph(MODEL)).values() for i in indices})

    @torch.no_grad()
    def forward(self, images: Tensor) -> LandmarkOutput:
        """images (B, 3, 192, 192), RGB in 0..1, on the network's device -> LandmarkOutput."""
        _check_images(images)
        run = self._lite_network if images.device.type == "cpu" else self.network
        outputs = list(run(images))
        (mesh, *heads), (presence, *maps) = outputs[: len(_HEADS)], outputs[len(_HEADS) :]
        return LandmarkOutput(self._refine(mesh, heads), presence.flatten().sigmoid(), maps)

    def both_ways(self, images: Tensor) -> LandmarkOutput:
        """As `forward`, but the points are the mean of those of the images and of their mirror images: left and right
        are one to a face, but not to the network."""
        count, output = len(images), self(torch.cat([images, images.flip(3)]))
        output, others = _rows(output, slice(count)), output.points[count:]
        back = others[:, self.mirrored] * others.new_tensor([-1, 1, 1]) + others.new_tensor([SIZE - 1, 0, 0])
        return output._replace(points=(output.points + back) / 2)

    @torch.no_grad()
    def features(self, images: Tensor) -> list[Tensor]:
        """images (B, 3, 192, 192), RGB in 0..1 -> maps (B, channels[i], s, s), s = 48, 24, 12, 6.

        They are of the trunk, which the mesh and all refining heads share.
        """
        _check_images(images)
        run = self._lite_trunk if images.device.type == "cpu" else self.trunk
        return list(run(images))

    def _refine(self, mesh: Tensor, heads: list[Tensor]) -> Tensor:
        """Replaces x, y of lips and eyes, appends the irises: MediaPipe's LandmarksRefinementCalculator."""
        mesh = mesh.reshape(-1, MESH_POINTS, 3)
        lips, left_eye, right_eye, left_iris, right_iris = (head.reshape(len(mesh), -1, 2) for head in heads)
        points = mesh.new_empty(len(mesh), POINTS, 3)
        points[:, :MESH_POINTS] = mesh
        points[:, self.lips, :2] = lips
        eyes = ((RIGHT_IRIS, self.left_eye, left_eye, left_iris), (LEFT_IRIS, self.right_eye, right_eye, right_iris))
        for start, indices, eye, iris in eyes:
            points[:, indices, :2] = eye
            points[:, start : start + 5, :2] = iris
            points[:, start : start + 5, 2] = mesh[:, indices[:EYE_CONTOUR], 2].mean(1, keepdim=True)
        points[..., :2] -= 0.5  # the model counts from the corner of the first pixel
        return points


def _rows(output: LandmarkOutput, rows: slice) -> LandmarkOutput:
    return LandmarkOutput(output.points[rows], output.presence[rows], [maps[rows] for maps in output.maps])


def _check_images(images: Tensor) -> None:
    if images.ndim != 4 or images.shape[1:] != (3, SIZE, SIZE):
        raise ValueError(f"expected images of shape (B, 3, {SIZE}, {SIZE}), got {tuple(images.shape)}")


def _trunk_taps(graph: TfliteGraph) -> list[int]:
    """The last tensor at each resolution of the trunk from 48 to 6: what a strided convolution reads."""
    strided = [op for op in graph.ops if op.kind == "DEPTHWISE_CONV_2D" and op.options["strideH"] == 2]
    inputs = {graph.shapes[op.inputs[0]][1]: op.inputs[0] for op in reversed(strided)}
    return [inputs[size] for size in (48, 24, 12, 6)]


def _refined_indices(graph: TfliteGraph) -> dict[str, Tensor]:
    """Mesh indices of what the heads of lips and eyes refine, in the heads' order.

    They are the points that place the heads' crops, so the model file itself has the lists.
    """
    crops = [op for op in graph.ops if op.kind == "Landmarks2TransformMatrix"]
    subsets = [torch.tensor(op.options["subset_idxs"]) for op in crops]
    return dict(zip(("lips", "left_eye", "right_eye"), subsets, strict=True))
