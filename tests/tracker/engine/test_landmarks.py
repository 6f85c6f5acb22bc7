"""The detector's networks as ONNX files against LiteRT, on crops and pictures of the bundled clip."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from selftrack.tracker.engine.landmarks import Boxes, BoxNet, NetPoints, PointNet
from selftrack.tracker.engine.onnx_file import traced
from selftrack.tracker.landmarks.attention_mesh import SIZE, LandmarkNet
from selftrack.tracker.landmarks.boxes import SIZE as BOX_SIDE
from selftrack.tracker.landmarks.boxes import BoxDetector

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
DATA = Path(__file__).parents[2] / "data" / "landmarks"


def picture(name: str, side: int) -> np.ndarray:
    """One of the test pictures (side,side,3) uint8 RGB."""
    return np.ascontiguousarray(cv2.resize(cv2.imread(str(DATA / name)), (side, side))[..., ::-1])


def session(net: torch.nn.Module, side: int, outputs: tuple[str, ...]) -> object:
    file = traced(net.eval(), {"picture": torch.zeros(1, side, side, 3)}, outputs, 16)
    return onnxruntime.InferenceSession(file.SerializeToString(), providers=["CPUExecutionProvider"])


def test_boxes_are_those_of_litert() -> None:
    runtime, detector = session(BoxNet(), BOX_SIDE, Boxes._fields), BoxDetector()
    for name in ("box_0.png", "box_1.png"):
        tile = picture(name, BOX_SIDE)
        corners, eyes, scores = runtime.run(None, {"picture": tile[None].astype(np.float32)})
        expected = detector._run(tile, 0.0)
        np.testing.assert_allclose(corners, expected.corners, atol=1e-3)
        np.testing.assert_allclose(eyes, expected.points[:, :2], atol=1e-3)
        np.testing.assert_allclose(scores, expected.scores, atol=1e-5)
        assert scores.max() > 0.5, "there is a face"


def test_points_are_those_of_litert() -> None:
    """Neutral, blink, turned by 32 degrees, smile; and noise, in which there is no face."""
    runtime, net = session(PointNet(), SIZE, NetPoints._fields), LandmarkNet()
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    for crop in (*(picture(f"crop_{number}.png", SIZE) for number in range(4)), noise):
        points, alone, presence = runtime.run(None, {"picture": crop[None].astype(np.float32)})
        image = torch.from_numpy(crop[None] / np.float32(255)).permute(0, 3, 1, 2)
        expected = net.both_ways(image)
        np.testing.assert_allclose(alone, net(image).points[..., :2], atol=1e-3)
        np.testing.assert_allclose(points, expected.points[..., :2], atol=1e-3)
        np.testing.assert_allclose(presence, expected.presence, atol=1e-5)
