"""What selftrack.eval.checks.gpu calls the same, and what it does where there is no GPU."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from selftrack.decoders.mesh.rasterizer import Fragments, rasterize
from selftrack.eval.checks import gpu
from selftrack.eval.checks.agreement import Check, Figure, gradient_check, loss_checks, table
from selftrack.eval.checks.gpu import compare, edge_distance, track_checks, wrong_pixels
from selftrack.eval.checks.gpu_training import compare_training
from selftrack.tracker import load
from selftrack.tracker.clips.config import TrackConfig, load_model
from selftrack.tracker.clips.subjects import PersonConfig
from selftrack.tracker.model import Model

SQUARE = torch.tensor([[[1.0, 1, 5], [9, 1, 5], [9, 9, 5], [1, 9, 5]]])  # its diagonal runs through pixel centres
HALVES = torch.tensor([[0, 1, 2], [0, 2, 3]])


def test_distance_to_an_edge() -> None:
    assert edge_distance(SQUARE[0], HALVES, torch.tensor([4.0, 4.0])) == pytest.approx(0)
    assert edge_distance(SQUARE[0], HALVES, torch.tensor([5.0, 4.0])) == pytest.approx(0.5**0.5)
    assert edge_distance(SQUARE[0], HALVES, torch.tensor([12.0, 5.0])) == pytest.approx(3)


def test_ties_are_no_errors_and_other_triangles_are() -> None:
    a = rasterize(SQUARE, HALVES, (12, 12))
    assert wrong_pixels(SQUARE, HALVES, a, a) == 0
    other = a.face_index.clone()
    other[0, 5, 5] = 1 - other[0, 5, 5]  # on the diagonal
    assert wrong_pixels(SQUARE, HALVES, a, Fragments(other, a.barycentric, a.depth)) == 0
    other[0, 3, 6], depth = -1, a.depth.clone()
    depth[0, 3, 6] = torch.inf
    assert wrong_pixels(SQUARE, HALVES, a, Fragments(other, a.barycentric, depth)) == 1


def test_tracks_differ_where_they_differ(plain_folder: Path) -> None:
    track = load(plain_folder)
    assert all(check.difference == 0 and check.passed for check in track_checks(track, track))
    z, pose, ok = track.z.copy(), track.H_image.copy(), track.ok.copy()
    z[3, 70] += 0.05
    pose[5, 4] += 0.5
    ok[7] = False
    checks = track_checks(track, replace(track.with_codes(z), H_image=pose, ok=ok))
    assert not any(check.passed for check in checks)
    frames, codes, pixels = (check.difference for check in checks)
    assert frames == 1 and codes == pytest.approx(0.05, abs=1e-5) and pixels >= 0.49
    z[3, 70] += 9
    ok[3] = False  # a frame that only one has is not compared
    assert track_checks(track, replace(track.with_codes(z), ok=ok))[1].difference == 0


def test_losses_are_relative() -> None:
    a = {"cftc": 2.0, "anchor": 0.0}
    near, far = loss_checks("", a, {"cftc": 2.02, "anchor": 1e-6}), loss_checks("", a, {"cftc": 2.2, "anchor": 1e-3})
    assert [c.passed for c in near] == [True, True] and near[0].difference == pytest.approx(0.01)
    assert [c.passed for c in far] == [False, False]
    assert not loss_checks("", a, {"cftc": np.nan, "anchor": 0.0})[0].passed
    slope = np.array([3.0, 4.0])
    assert gradient_check("", slope, slope + [0.05, 0]).difference == pytest.approx(0.01)
    assert not gradient_check("", slope, -slope).passed


def test_the_table_names_machine_and_failures() -> None:
    text = table(
        [Check("a", 0.5, 1, "px"), Check("b", 2, 1, "")], [Figure("frames/s", np.nan, 300, "1000")], "GPU 9000; 2 x CPU"
    )
    assert text.startswith("GPU 9000")
    assert "| a | 0.5 px | 1 px | same |" in text and "| b | 2 | 1 | **differs** |" in text
    assert "| frames/s | - | 300.0 | 1000 |" in text


def test_without_a_gpu_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], smile: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as end:
        gpu.main(smile)
    said = capsys.readouterr()
    assert end.value.code == 2 and not said.out and said.err.count("\n") == 1 and "no CUDA GPU" in said.err


def test_the_cpu_agrees_with_itself(smile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks alone, with few samples of the person and few crops to time."""

    def alone(config: TrackConfig) -> Model:
        return replace(load_model(config), refiner=None)

    monkeypatch.setattr(gpu, "TrackConfig", partial(TrackConfig, person=PersonConfig(samples=2)))
    monkeypatch.setattr(gpu, "crops_per_second", partial(gpu.crops_per_second, count=2, times=1))
    # of a shorter stretch, in which nothing moves, the slopes are next to nothing and jump with every texel
    checks, figures = compare(smile, 2, ("cpu", "cpu"), alone, duration=0.8)
    assert {check.difference for check in checks if "finite" not in check.name} == {0}
    assert all(check.passed for check in checks), checks
    assert all(figure.cpu > 0 and figure.gpu > 0 for figure in figures)


@pytest.mark.usefixtures("drawn_here")
def test_trainings_agree_with_themselves(tmp_path: Path) -> None:
    checks, figures = compare_training(tmp_path, ("cpu", "cpu"), ["i2znet_small"], people=1, texture=64, steps=1)
    assert {check.difference for check in checks} == {0} and len(checks) == 6
    assert all(figure.gpu > 0 for figure in figures)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_agrees_with_the_cpu(smile: Path) -> None:
    pytest.importorskip("pytorch3d")
    checks, _ = compare(smile, 4, duration=1.0)
    assert all(check.passed for check in checks), [check for check in checks if not check.passed]
