"""A metric is one file and one registration; tables, reports and files of figures have it then."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from selftrack.eval.compare.score import score_files, table, write_json
from selftrack.eval.metrics import METRICS, TrackedClip, measure, metric
from selftrack.eval.metrics.registry import Better, Ratio, Scale, once
from selftrack.eval.metrics.subject import Mesh
from selftrack.eval.report.report import write_report

TOY = '''
import numpy as np
from selftrack.eval.metrics import TrackedClip, metric

@metric("toy.width", "Width of the mesh", "pixels", "Extent of the mesh in x, mean over frames.", better="higher")
def width(clip: TrackedClip) -> np.ndarray:
    """Measure every frame."""
    return np.ptp(clip.mesh.vertices(slice(None))[..., 0], axis=1).astype(float)
'''


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Leave the registry as it was."""
    before = dict(METRICS)
    yield
    METRICS.clear()
    METRICS.update(before)


def test_a_toy_metric_shows_everywhere(plain_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "toy.py").write_text(TOY)
    spec = importlib.util.spec_from_file_location("toy", tmp_path / "toy.py")
    assert spec and spec.loader
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    folder = Path(shutil.copytree(plain_folder, tmp_path / "track"))
    scores = score_files([folder, plain_folder])
    width = scores[str(folder)]["toy.width"]
    assert 100 < width < 640
    header, _, row, _ = table(scores).splitlines()
    column = header.removesuffix(" |").split(" | ").index("toy.width")
    assert row.removesuffix(" |").split(" | ")[column] == f"{width:.3f}"
    write_json(scores, tmp_path / "scores.json")
    assert json.loads((tmp_path / "scores.json").read_text())[str(folder)]["toy"]["width"] == width
    write_report(folder)
    assert json.loads((folder / "report.json").read_text())["after"]["toy"]["width"] == pytest.approx(width)
    page = (folder / "report.html").read_text()
    assert "Extent of the mesh in x, mean over frames." in page  # in the table of figures
    assert "Width of the mesh, pixels" in page  # over time


def clip(**known: object) -> TrackedClip:
    shapes = np.arange(4.0)[:, None, None] + np.eye(3)
    mesh = Mesh(lambda rows: shapes[rows], np.array([[0, 1, 2]]), np.ones(4, bool))
    landmarks = np.random.default_rng(0).uniform(size=(4, 478, 2))
    return TrackedClip(mesh, [], landmarks, (10, 10), 0, **known)


def test_numbers_sums_and_values_by_frame() -> None:
    frames = np.array([1.0, np.nan, 3.0, 5.0])
    metric("toy.number", "", "", "")(lambda clip: 7)
    metric("toy.sums", "", "", "")(lambda clip: Ratio(1, 4))
    metric("toy.frames", "", "", "")(lambda clip: frames)
    metric("toy.nowhere", "", "", "")(lambda clip: frames[1:2])
    values = measure(clip())
    assert (values["toy.number"], values["toy.sums"], values["toy.frames"]) == (7, 0.25, 3)
    assert np.isnan(values["toy.nowhere"])
    assert METRICS["toy.number"].frames(clip()) is None and METRICS["toy.frames"].frames(clip()) is frames


def test_what_a_metric_needs_and_a_clip_lacks_is_not_asked() -> None:
    def fails(clip: TrackedClip) -> float:
        raise AssertionError

    metric("toy.needy", "", "", "", needs=("track", "truth"))(fails)
    assert np.isnan(measure(clip())["toy.needy"]) and METRICS["toy.needy"].frames(clip()) is None


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match="skin.mean"):
        metric("skin.mean", "", "", "")(lambda clip: 0)


def test_what_metrics_share_is_computed_once_for_a_clip() -> None:
    calls: list[TrackedClip] = []
    count = once(lambda clip: calls.append(clip) or len(calls))
    first, second = clip(), clip()
    assert (count(first), count(first), count(second)) == (1, 1, 2)


def test_every_metric_explains_itself() -> None:
    for known in METRICS.values():
        assert known.meaning.endswith(".") and known.meaning[0].isupper() and known.unit and known.label, known.name


def test_the_page_has_every_metric_in_its_own_words() -> None:
    page = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    for known in METRICS.values():
        row = f"| `{known.name}` | {known.unit} | {known.better} | {known.meaning} |"
        end = "from" if known.better == "higher" else "to"
        ends = [f"{end} {limit:g}" for limit in known.scale] if known.scale else ["", ""]
        assert f"{row} {ends[0]} | {ends[1]} |" in page, known.name


@pytest.mark.parametrize(
    ("better", "values"),
    [
        ("lower", {0.1: "excellent", 0.5: "excellent", 0.51: "usual", 1.0: "usual", 1.01: "poor"}),
        ("zero", {-0.5: "excellent", 0.6: "usual", -0.6: "usual", -1.1: "poor"}),
        ("higher", {2.5: "excellent", 2.0: "excellent", 1.9: "usual", 0.5: "usual", 0.49: "poor"}),
    ],
)
def test_a_scale_in_words(better: Better, values: dict[float, str]) -> None:
    """Limits belong to the better word; the smaller limit is the worse one of what should be high."""
    scale = Scale(2.0, 0.5) if better == "higher" else Scale(0.5, 1.0)
    assert {value: scale.word(value, better) for value in values} == values
    assert scale.word(float("nan"), better) == ""


def test_words_go_by_what_is_shown() -> None:
    assert Scale(0.6, 1.3).word(0.604, "lower") == "excellent" and Scale(0.6, 1.3).word(0.606, "lower") == "usual"


def test_a_place_on_a_scale() -> None:
    scale = Scale(0.5, 1.5)
    assert [scale.place(value) for value in (0, 0.25, 0.5, 1.0, 1.5, 3.0)] == pytest.approx([0, 0.5, 1, 1.5, 2, 3])


def test_scales_go_the_way_that_is_better() -> None:
    for known in METRICS.values():
        if known.scale:
            assert (known.scale.excellent > known.scale.usual) == (known.better == "higher"), known.name
            assert known.better != "neither"
