"""Synthetic clips: the picture shows what the truth says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from selftrack.decoders.head.model import load_head
from selftrack.synthetic.clips import make_clip
from selftrack.synthetic.scene import Stage, SyntheticConfig
from selftrack.synthetic.truth import Truth, find_clips, load_truth
from selftrack.tracker.geometry.crop import inter_ocular
from selftrack.tracker.landmarks.detectors import AttentionMesh
from selftrack.tracker.landmarks.search import DetectConfig
from selftrack.tracker.sources.opening import open_source

HEAD = load_head()
FEATURES = [33, 133, 362, 263, 61, 291, 0, 17, 468, 473]  # corners of eyes and mouth, lips, irises


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    """Three frames of an actor."""
    path = tmp_path_factory.mktemp("clips") / "clip03.mp4"
    return path, make_clip(path, 0, 3, 3, SyntheticConfig(exposures=1, occluder=0))


def test_an_independent_detector_finds_the_landmarks_where_the_truth_has_them(clip: tuple[Path, Truth]) -> None:
    path, truth = clip
    points = HEAD.landmarks478(torch.from_numpy(truth.in_image()))[..., :2].numpy()
    with open_source(path) as reader:
        frames = [frame.image for frame in reader]
    assert len(frames) == len(truth) == 3 and frames[0].shape == (512, 512, 3)
    found = AttentionMesh(torch.device("cpu")).follower(DetectConfig())(frames[1])
    assert found is not None
    apart = np.linalg.norm(found.points - points[1], axis=1)[FEATURES] / inter_ocular(points[1])
    assert apart.mean() < 0.06


def test_clips_are_found_with_their_truth_and_are_the_same_for_a_seed(clip: tuple[Path, Truth], tmp_path: Path) -> None:
    path, truth = clip
    [(video, file)] = find_clips(path.parent)
    stored = load_truth(file)
    assert video == path and stored.size == (512, 512) and stored.focal == truth.focal
    assert stored.vertices == pytest.approx(truth.vertices)
    again = make_clip(tmp_path / "clip03.mp4", 0, 3, 3, SyntheticConfig(exposures=1, occluder=0))
    assert (tmp_path / "clip03.mp4").read_bytes() == path.read_bytes()
    assert again.in_image() == pytest.approx(truth.in_image())
    other = make_clip(tmp_path / "clip04.mp4", 0, 4, 2, SyntheticConfig(exposures=1, occluder=0))
    assert np.abs(other.identity - truth.identity).max() > 0.1


def test_a_hand_hides_a_share_of_the_head() -> None:
    config = SyntheticConfig(exposures=1, occluder=1.0)
    scene, _ = Stage(config).shoot(np.random.default_rng(5), 90)
    hidden = [scene.frame(row)[1] for row in (0, int(scene.sweep[:, 1].argmin()))]
    assert hidden[0] == 0 and 0.03 < hidden[1] < 0.9
