"""A made-up tracker whose truth is known: frames carry their number, faces are the mean head's points."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from selftrack.decoders.head.model import load_head
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.landmarks.base import Detection, Follower, LandmarkSource, Places
from selftrack.tracker.landmarks.search import DetectConfig
from selftrack.tracker.model import Model
from selftrack.tracker.network.i2znet import Codes, Features, I2ZConfig

HEAD = load_head()
MEAN_POINTS = HEAD.landmarks478(HEAD.mean[None])  # (1,478,3) metres
SMILE = HEAD.expression_names.index("mouthSmileLeft")


def true_pose(number: int) -> torch.Tensor:
    """(1,6) pose in the image of frame `number`: the head moves right, grows and tilts."""
    return torch.tensor([[5.5 + 0.01 * number, 0.0, 0.0, 0.02 * number, 60.0 + number, 50.0]])


def number_of(image: np.ndarray) -> int:
    """The number that a frame's grey level tells: level 5 (number + 1)."""
    return round(float(image.mean()) / 5) - 1


class FakeFollower(Follower):
    """Finds the mean head at its true pose in every frame but the lost ones."""

    def __init__(self, lost: set[int]) -> None:
        self.lost = lost

    def detect_once(self, frame: np.ndarray) -> Detection | None:
        """The same as following: it has no memory."""
        return self(frame)

    def reset(self) -> None:
        """There is nothing to forget."""

    def __call__(self, frame: np.ndarray, time: float | None = None) -> Detection | None:
        number = number_of(frame)
        if number in self.lost:
            return None
        points = project(MEAN_POINTS, true_pose(number))[0].numpy()
        return Detection(points[:, :2], points[:, 2], 0.9)


class FakeSource(LandmarkSource):
    """Followers of a made-up face."""

    points = 478

    def __init__(self, lost: set[int]) -> None:
        self.lost = lost

    def follower(self, config: DetectConfig, places: Places | None = None) -> FakeFollower:
        return FakeFollower(self.lost)


class FakeHeads:
    """Reads the pose back from the points in closed form; identity 0.5, or -0.5 where none is given."""

    def __init__(self) -> None:
        self.pooled: list[int] = []

    def regress(self, features: Features, subject: torch.Tensor | None = None) -> Codes:
        points = features.points
        z = torch.zeros(len(points), HEAD.size)
        z[:, HEAD.identity] = -0.5 if subject is None else subject[..., : HEAD.identity.stop]
        z[:, HEAD.expression][:, SMILE] = 0.25
        return Codes(z, torch.stack([_similarity(p) for p in points]), torch.full((len(points), 112), 0.5))

    def logits(self, features: Features) -> torch.Tensor:
        return torch.zeros(len(features.points), 112)

    def pool(self, features: Features, own: torch.Tensor) -> torch.Tensor:
        """A constant subject (1,112)."""
        self.pooled.append(len(own))
        return torch.full((1, 112), 0.5)


class FakeNetwork:
    """A network whose answers are known."""

    looks = True

    def __init__(self) -> None:
        self.frames = 0
        self.heads = FakeHeads()
        self.config = I2ZConfig()

    def features(self, crops: torch.Tensor, points: torch.Tensor) -> Features:
        assert crops.shape == (len(points), 3, 256, 256) and 0 <= crops.min() and crops.max() <= 1
        self.frames += len(crops)
        return Features(points, points, points)


def _similarity(points: torch.Tensor) -> torch.Tensor:
    """Pose (6,) without yaw and pitch of the mean head's points (478,2), by complex least squares."""
    source, target = (torch.view_as_complex(p[:, :2].contiguous()) for p in (MEAN_POINTS[0], points))
    a, b = source.mean(), target.mean()
    factor = ((source - a).conj() * (target - b)).sum() / (source - a).abs().square().sum()
    shift = b - factor * a
    zero = torch.zeros(())
    return torch.stack([factor.abs().log(), zero, zero, factor.angle(), shift.real, shift.imag])


@pytest.fixture
def fake_model() -> Callable[..., Model]:
    """`fake_model(lost={3})`: a model whose answers are known."""

    def make(lost: set[int] = frozenset()) -> Model:
        return Model(FakeNetwork(), HEAD, FakeSource(set(lost)), torch.device("cpu"), Path("none"))

    return make


@pytest.fixture
def numbered_clip(make_clip: Callable[..., Path]) -> Path:
    """Twenty frames of 120x100 that carry their numbers, at 25 frames/s."""
    images = [np.full((100, 120, 3), 5 * i + 5, np.uint8) for i in range(20)]
    return make_clip("numbered.mp4", images, crf="1")
