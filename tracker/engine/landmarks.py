"""The detector's networks as modules of fixed shapes that take pictures as a browser has them, for ONNX files."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from selftrack.decoders.landmarks import LEFT_IRIS, MESH_POINTS, MIRRORED, POINTS, RIGHT_IRIS
from selftrack.tracker.landmarks import attention_mesh, boxes
from selftrack.tracker.landmarks.attention_mesh import LandmarkNet
from selftrack.tracker.landmarks.tflite import build_module, read_graph


class Boxes(NamedTuple):
    """What the box detector says of a picture, before it is told which boxes are of one face."""

    corners: Tensor
    """(896,4) left, top, right, bottom: pixels from the picture's corner."""
    eyes: Tensor
    """(896,2,2) the eye on the image's left, and the one on its right."""
    scores: Tensor
    """(896,) in 0..1."""


class BoxNet(nn.Module):
    """A picture (1,128,128,3), RGB in 0..255 -> `Boxes`; see `boxes.decode`."""

    origin: Tensor

    def __init__(self) -> None:
        super().__init__()
        graph = read_graph(boxes.MODEL)
        self.network = build_module(graph, [graph.outputs["regressors"], graph.outputs["classificators"]])
        origin = torch.from_numpy(boxes.SIZE * boxes.anchors()).float()
        self.register_buffer("origin", origin, persistent=False)

    def forward(self, picture: Tensor) -> Boxes:
        """Find faces."""
        values, logits = self.network(picture.permute(0, 3, 1, 2) / 127.5 - 1)
        pairs = values.reshape(-1, 8, 2)
        centre, half = pairs[:, 0] + self.origin, pairs[:, 1] / 2
        corners = torch.cat([centre - half, centre + half], 1)
        return Boxes(corners, pairs[:, 2:4] + self.origin[:, None], logits.reshape(-1).sigmoid())


class NetPoints(NamedTuple):
    """What the landmark network says of a picture."""

    points: Tensor
    """(1,478,2) pixels, the mean of those of the picture and of its mirror image."""
    alone: Tensor
    """(1,478,2) those of the picture alone."""
    presence: Tensor
    """(1,) probability of a face."""


class PointNet(nn.Module):
    """A picture (1,192,192,3), RGB in 0..255 -> `NetPoints`; see `LandmarkNet.both_ways`."""

    rows: Tensor
    mirrored: Tensor
    back: Tensor

    def __init__(self) -> None:
        super().__init__()
        net = LandmarkNet()
        self.network = net.network
        rows, start = torch.arange(POINTS), MESH_POINTS
        irises = (torch.arange(first, first + 5) for first in (RIGHT_IRIS, LEFT_IRIS))
        for refined in (net.lips, net.left_eye, net.right_eye, *irises):
            rows[refined] = torch.arange(start, start + len(refined))
            start += len(refined)
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("mirrored", torch.tensor(MIRRORED), persistent=False)
        side = attention_mesh.SIZE
        self.register_buffer("back", torch.arange(side - 1, -1, -1), persistent=False)

    def forward(self, picture: Tensor) -> NetPoints:
        """Find the points."""
        image = picture.permute(0, 3, 1, 2) / 255
        mesh, *heads, presence = self.network(torch.cat([image, image[..., self.back]]))[:7]
        parts = [mesh.reshape(2, -1, 3)[..., :2], *(head.reshape(2, -1, 2) for head in heads)]
        points = torch.cat(parts, 1)[:, self.rows] - 0.5  # the model counts from the corner of the first pixel
        other = points[1:, self.mirrored]
        other = torch.cat([len(self.back) - 1 - other[..., :1], other[..., 1:]], 2)
        return NetPoints((points[:1] + other) / 2, points[:1], presence[:1].reshape(-1).sigmoid())
