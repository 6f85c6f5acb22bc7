"""The commands of selftrack.eval.paper.tables on tiny data, and the parts that need none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from selftrack.decoders.head.model import load_head
from selftrack.eval.checks import benchmark
from selftrack.eval.compare.reference import skin_windows
from selftrack.eval.metrics import TrackedClip, measure
from selftrack.eval.paper import resolution, tables, variants
from selftrack.eval.paper.held_out_people import (
    DISTORTIONS,
    NONE,
    PERTURBATIONS,
    Booth,
    Shots,
    held_out_shots,
    lowered,
    similarity,
)
from selftrack.eval.paper.tables import markdown, means
from selftrack.eval.paper.variants import VARIANTS, landmark_error, texture_distance, vertex_distance
from selftrack.synthetic.expressions import sample_expression
from selftrack.synthetic.studio import StudioConfig
from selftrack.tracker import load
from selftrack.tracker.clips.config import TrackConfig
from selftrack.tracker.clips.subjects import PersonConfig
from selftrack.tracker.geometry.crop import apply, face_similarity
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.network.i2znet import Codes, I2ZNet
from selftrack.tracker.network.streams import MeshTrunk, ScratchTrunk
from selftrack.tracker.network.weights import load_network, save_heads
from selftrack.tracker.refinement.refiner import Refiner

HEAD = load_head()
TWO_SAMPLES = partial(TrackConfig, person=PersonConfig(samples=2))


def test_rows_without_figures_say_why() -> None:
    text = markdown({"a": {"x": 1.0, "y": float("nan")}, "b": "no weights"}, {"x": "X", "y": "Y"}, "net")
    assert text.splitlines()[0] == "| net | X | Y |"
    assert text.splitlines()[2:] == ["| a | 1.000 | – |", "| b | not run: no weights |  |"]


def test_means_are_over_the_clips_that_have_a_figure() -> None:
    nan = float("nan")
    clips = {"a": {"v": {"x": 1.0, "y": nan, "z": nan}}, "b": {"v": {"x": 3.0, "y": 5.0, "z": nan}}}
    mean = means(clips)["v"]
    assert mean["x"] == 2 and mean["y"] == 5 and np.isnan(mean["z"])


def test_distances_of_codes() -> None:
    a = torch.zeros(2, 128)
    b = a.clone()
    b[0, 60 + HEAD.expression_names.index("jawOpen")] = 1
    assert vertex_distance(a, a) == 0 and texture_distance(a, b) == 0
    moved = vertex_distance(a, b)
    assert 1 < moved < 20 and vertex_distance(a[:1], b[:1]) == pytest.approx(2 * moved)
    b[:, HEAD.appearance] = 1
    assert texture_distance(a, b) > 0.01


def test_landmark_error_is_in_shares_of_the_eyes_distance() -> None:
    z, pose = torch.zeros(1, 128), torch.tensor([[6.9, 0, 0, 0, 127.5, 127.5]])
    points = project(HEAD.landmarks478(HEAD.geometry(z)), pose)[..., :2].numpy()
    codes = Codes(z, pose, z)
    assert landmark_error(codes, points) == pytest.approx(0, abs=1e-3)
    iod = np.linalg.norm(points[0, 33] - points[0, 263])
    assert landmark_error(codes, points + [3, 4]) == pytest.approx(500 / iod, rel=1e-3)


def test_a_similarity_about_the_middle() -> None:
    middle = np.full((1, 2), 191.5)
    assert apply(similarity(1.1, 0.3, np.array([5.0, -7])), middle) == pytest.approx(np.array([[132.5, 120.5]]))
    right = apply(similarity(2, np.pi / 2, np.zeros(2)), middle + [1, 0])  # y is down: a quarter turn is clockwise
    assert right == pytest.approx(np.array([[127.5, 129.5]]))


def test_a_lower_resolution_keeps_means_and_loses_detail() -> None:
    fine = np.kron(np.indices((64, 64)).sum(0) % 2, np.ones((4, 4)))[None, ..., None].repeat(3, 3)
    picture = (200 * fine).astype(np.uint8)
    assert lowered(picture, 256) is picture
    assert lowered(picture, 32).std() < 5 < 20 < lowered(picture, 64).std()
    assert lowered(picture, 32).mean() == pytest.approx(picture.mean(), abs=1)


def test_points_stay_on_the_face_when_it_is_disturbed() -> None:
    """A marked point is found again in every disturbed picture; only the crop's jitter moves it."""
    rng = np.random.default_rng(0)
    picture, points = np.full((384, 384, 3), 90, np.uint8), rng.uniform(150, 230, (478, 2))
    cv2.circle(picture, (200, 170), 3, (255, 255, 255), -1)
    points[4] = 200, 170
    for name, distort in DISTORTIONS.items():
        out, at = distort(np.random.default_rng(1), picture, points)
        x, y = at[4]
        near = out[:, :, 1].astype(float)[round(y) - 6 : round(y) + 7, round(x) - 6 : round(x) + 7]
        weight = near - near.min()
        centre = (weight.sum(0) @ np.arange(13), weight.sum(1) @ np.arange(13)) / weight.sum()
        assert centre == pytest.approx([x - round(x) + 6, y - round(y) + 6], abs=0.7), name
        assert (np.abs(at - (points - 64)).max() > 1) == (name == "jitter")


def test_views_of_a_moment_share_all_but_the_camera() -> None:
    rng = np.random.default_rng(3)
    booth = Booth(np.random.default_rng(4))
    person, expression = booth.people.sample(rng), sample_expression(rng)
    a, b = (booth.shoot(np.random.default_rng(5), person, expression) for _ in range(2))
    assert np.abs(a.points - b.points).max() > 5
    # in both the face fills two thirds of the wide picture's middle, as the tracker's crop would have it
    for shot in (a, b):
        assert face_similarity(shot.points)[:, :2] == pytest.approx(1.5 * np.eye(2), abs=1e-3)


@pytest.fixture(scope="module")
def few() -> dict[str, Shots]:
    return held_out_shots(2, 1, 0)


def test_shots_are_seeded_and_their_points_are_near_the_detectors(few: dict[str, Shots]) -> None:
    assert set(few) == {NONE, *PERTURBATIONS}
    again = held_out_shots(1, 1, 0)
    for name, shots in few.items():
        assert (again[name].pictures[0] == shots.pictures[0]).all()
        assert (shots.codes == few[NONE].codes).all()
        if name != "view":  # that one may be a profile
            assert np.linalg.norm(shots.points - shots.detected, axis=2).mean() < 10


def test_variants_differ_in_one_part_each() -> None:
    networks = {name: I2ZNet(config, pretrained=False) for name, config in VARIANTS.items()}
    pyramid, paper = [24, 12, 6], [64, 32, 16, 8]
    assert [networks[n].sizes for n in VARIANTS] == [[6], [6], *[pyramid] * 4, *[paper] * 2]
    assert isinstance(networks["frozen"].perceptual, MeshTrunk) and networks["skip_key"].landmarks is not None
    assert networks["scratch"].heads.levels[0].to_z.in_features == networks["frozen"].heads.levels[0].to_z.in_features
    images = torch.rand(2, 3, 256, 256)
    for name in ("scratch", "frozen", "skip", "skip_key", "imagenet_skip", "imagenet_skip_key"):
        network = networks[name]
        network.train()(images, torch.rand(2, 478, 2)).z.sum().backward()
        trunk = [p for p in network.perceptual.parameters() if p.grad is not None and p.grad.abs().sum() > 0]
        assert bool(trunk) == (name == "scratch"), name


def test_a_trained_trunk_is_saved_and_loaded(tmp_path: Path) -> None:
    network = I2ZNet(VARIANTS["scratch"]).eval()
    save_heads(tmp_path / "w.safetensors", network, network.heads.state_dict(), {})
    loaded = load_network(tmp_path / "w.safetensors")
    assert isinstance(loaded.perceptual, ScratchTrunk)
    images = torch.rand(1, 3, 256, 256)
    a, b = (n.perceive(images)[-1] for n in (network, loaded))
    assert torch.allclose(a, b, atol=0.02 * float(a.abs().max())) and a.std() > 0.01


def test_tables_2_and_3_end_to_end(
    few: dict[str, Shots], draw_captures: Callable, tmp_path: Path, smile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two people to train on, two to test on, two steps, two variants. What is there is not made again."""
    captures = tmp_path / "captures"
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    for module in (tables, variants):
        monkeypatch.setattr(module, "VARIANTS", {name: VARIANTS[name] for name in ("scratch", "skip_key", "vgg_skip")})
    monkeypatch.setattr(tables, "held_out_shots", lambda people, moments, seed, perturbations=(): few)
    draw_captures(captures, 2, config=replace(StudioConfig(), moments=1))
    monkeypatch.setattr(tables, "stability", lambda weights, clip, folder, streams: 1.5)
    tables.table2(captures, tmp_path / "out", 2, 1, smile, 0, True)
    text = (tmp_path / "out" / "table2.md").read_text()
    assert "| frozen + skip + key |" in text and text.count("not run") == 1 and "nan" not in text
    assert "| VGG-16 + skip | not run: vgg16-397923af.pth: not in " in text
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "i2znet").glob("*.safetensors")}
    assert len(times) == 2
    tables.table3(captures, tmp_path / "out", 2, 1, 0, True)
    assert times == {p: p.stat().st_mtime_ns for p in times}
    assert (tmp_path / "out" / "table3.md").read_text().count("| scratch |") == 4
    next(iter(p for p in times if p.stem == "scratch")).unlink()
    tables.table2(captures, tmp_path / "out", 2, 1, smile, 0, False)
    assert "| scratch | not run: not trained in the time there was |" in (tmp_path / "out" / "table2.md").read_text()


def test_table_1_end_to_end(tmp_path: Path, short_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "TrackConfig", TWO_SAMPLES)
    monkeypatch.setattr(Refiner, "of", lambda *_: None)  # of networks alone, to save time
    tables.table1(tmp_path, [short_clip], "fast", 1, False, 0)
    text = (tmp_path / "table1.md").read_text()
    assert "| short: full |" in text and "| PRNet | not run" in text
    row = next(line for line in text.splitlines() if line.startswith("| short: no adaptation"))
    track = load(tmp_path / "no_adaptation" / "short")
    figures = measure(TrackedClip.of(track, skin_windows(track)))
    expected = [f"{figures[name]:.3f}" for name in tables.TABLE1[:-1]]
    assert [cell.strip() for cell in row.split("|")[2:-1]] == [*expected, "–", "–"]  # no truth, nothing to keep


def test_figure_10_end_to_end(tmp_path: Path, short_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolution, "TrackConfig", TWO_SAMPLES)
    monkeypatch.setattr(Refiner, "of", lambda *_: None)
    tables.figure10(tmp_path, 1, short_clip, 0)
    text = (tmp_path / "figure10.md").read_text()
    rows = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in text.splitlines() if line}
    moved = [float(rows[str(side)][0]) for side in (256, 192, 64)]
    assert moved[0] == 0 and 0 < moved[1] < moved[2]
    picture = cv2.imread(str(tmp_path / "resolution.png"))
    assert picture.shape[1] > 400 and (tmp_path / "resolution.png").stat().st_size < 100_000
