"""From the lab to the wild: the figures of tracks whose errors are known, and that it is the same actor."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from selftrack.adapt.learning.trainer import AdaptConfig
from selftrack.decoders.capture import open_capture
from selftrack.decoders.head.model import load_head
from selftrack.eval.paper.lab_to_wild import WILD, figures, flrc_alone, salient_vertices, table
from selftrack.synthetic.lab import LAB, LabConfig, cast, make_studio
from selftrack.synthetic.people import face_vertices
from selftrack.synthetic.scene import Stage
from selftrack.synthetic.truth import Truth
from selftrack.tracker.geometry.crop import inter_ocular


def still(frames: int = 4) -> Truth:
    """The mean head, moving to the right by a millimetre a frame."""
    head, zeros = load_head(), np.zeros((frames, 3))
    place = np.array([0, 0, 1.0]) + np.arange(frames)[:, None] * [1e-3, 0, 0]
    vertices = head.mean.numpy()[None].repeat(frames, 0)
    curves = np.zeros((frames, 52))
    return Truth(np.arange(frames) / 30, vertices, zeros, place, 1000.0, (512, 512), curves, np.zeros(60), curves[:, 0])


def tracked(truth: Truth, shift: np.ndarray) -> SimpleNamespace:
    """A track that is the truth moved by pixels (T,2)."""
    seen = truth.in_image()
    seen[..., :2] += shift[:, None]
    model = SimpleNamespace(geometry=lambda z: torch.from_numpy(truth.vertices))
    ok = np.ones(len(truth), bool)
    return SimpleNamespace(vertices=lambda: seen, ok=ok, z=np.zeros((len(truth), 1)), model=lambda: model)


def test_figures_of_the_truth_and_of_a_shift() -> None:
    truth, head = still(), load_head()
    exact = figures(tracked(truth, np.zeros((4, 2))), truth)
    assert exact.temporal == pytest.approx(1, abs=1e-4) and exact.reprojection == 0 and exact.vertices < 1e-4
    iod = inter_ocular(head.landmarks478(torch.from_numpy(truth.in_image()[..., :2])).numpy())
    moved = figures(tracked(truth, np.array([[0.03, 0.04]]) * iod[:, None]), truth)
    assert moved.reprojection == pytest.approx(5, abs=0.01) and moved.vertices < 1e-4


def test_trembling_costs_stability() -> None:
    """1 px a frame to the right, and up and down by h: two ways of sqrt(1 + 4 h^2) for a line of 2."""
    truth, h = still(), 0.5
    up = np.array([[0, h], [0, -h], [0, h], [0, -h]])
    assert figures(tracked(truth, up), truth).temporal == pytest.approx(np.sqrt(1 + 4 * h**2), abs=0.02)


def test_salient_points_are_skin_and_no_landmarks() -> None:
    head = load_head()
    chosen = salient_vertices(head)
    at, marks = head.mean.numpy()[chosen], head.landmarks68(head.mean[None])[0].numpy()
    assert len(set(chosen)) == 5 and face_vertices(head)[chosen].all()
    assert np.linalg.norm(at[:, None] - marks, axis=2).min() > 0.01


def test_flrc_alone_looks_at_no_pixels() -> None:
    silent = dict.fromkeys(("cftc", "motc", "jitter", "shape_jitter"), 0.0)
    assert flrc_alone(AdaptConfig()).weights == AdaptConfig().weights | silent


def test_the_same_actor_in_the_lab_and_outside(tmp_path) -> None:
    make_studio(tmp_path, 3, LabConfig(frames=6, cameras=2, albedo=64))
    capture, stage = open_capture(tmp_path), Stage(WILD)
    actor = cast(Stage(LAB), 3)
    _, truth = stage.shoot(np.random.default_rng(0), 2, actor)
    face = face_vertices(stage.head)
    for row in range(2):
        acted = capture.acted.neutral + np.tensordot(truth.curves[row], capture.acted.shapes, 1)
        np.testing.assert_allclose(truth.vertices[row], acted, atol=1e-5)
    # a millimetre off the head's basis, whatever identity is fitted
    neutral = (capture.acted.neutral - stage.head.mean.numpy())[face]
    shapes = stage.head.shapes[:, face].numpy().reshape(112, -1).T
    rest = neutral.ravel() - shapes @ np.linalg.lstsq(shapes, neutral.ravel(), rcond=None)[0]
    assert 0.7 < 1000 * np.sqrt((rest.reshape(-1, 3) ** 2).sum(1).mean()) < 1.1


def test_table_averages() -> None:
    figures_of = {"temporal": 1.2, "reprojection": 2.0, "vertices": 1.0}
    twice = {name: 2 * value for name, value in figures_of.items()}
    names = ("none", "flrc", "full")
    rows = table([dict.fromkeys(names, figures_of), dict.fromkeys(names, twice)])
    assert "| reprojection | full | 2.000 | 4.000 | 3.000 |" in rows
