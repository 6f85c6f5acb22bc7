"""The command that makes the figures of docs/results.md, end to end on short clips."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

import pytest

from selftrack.eval import results
from selftrack.eval.compare.reference import skin_windows
from selftrack.eval.metrics import METRICS, TrackedClip, measure
from selftrack.io import flat
from selftrack.synthetic.clips import make_clip
from selftrack.synthetic.scene import SyntheticConfig
from selftrack.tracker import load
from selftrack.tracker.clips.config import TrackConfig
from selftrack.tracker.clips.subjects import PersonConfig
from selftrack.tracker.refinement.refiner import Refiner

PAGE = Path(__file__).parents[2] / "docs" / "results.md"


@pytest.fixture(scope="module")
def out(short_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command has written of two short clips, with two steps of adaptation, of networks alone."""
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "BUNDLED", short_clip)
        patch.setattr(results, "TrackConfig", partial(TrackConfig, person=PersonConfig(samples=2)))
        patch.setattr(results, "make_clip", partial(make_clip, config=SyntheticConfig(exposures=1)))
        patch.setattr(Refiner, "of", lambda *_: None)
        results.main(folder, clips=1, frames=16, steps=2)
    return folder


def test_figures_are_those_of_the_tracks(out: Path) -> None:
    figures = json.loads((out / "figures.json").read_text())
    assert set(figures) == {"short", "synthetic0"} and set(figures["short"]) == {"un-adapted", "adapted"}
    track = load(out / "tracks" / "synthetic0" / "un-adapted")
    expected = measure(TrackedClip.of(track, skin_windows(track)))
    known = flat(figures["synthetic0"]["un-adapted"])
    assert {name: known[name] for name in METRICS} == pytest.approx(
        {name: value if value == value else None for name, value in expected.items()}
    )
    assert known["truth.vertices"] is not None and figures["short"]["un-adapted"]["truth"]["vertices"] is None
    assert (out / "tracks" / "short" / "adapted" / "adaptation.json").exists()


def test_the_page_has_a_row_for_every_track(out: Path) -> None:
    page = (out / "results.md").read_text()
    figures = json.loads((out / "figures.json").read_text())
    skin = figures["short"]["un-adapted"]["skin"]["mean"]
    assert f"| short | un-adapted | {skin:.2f} |" in page and "| **mean** | adapted |" in page
    above, below = page.split("against their truth")
    assert "synthetic0" in above and "synthetic0" in below and "short" not in below


def test_what_is_there_is_not_made_again(
    out: Path, short_clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    page = (out / "results.md").read_text()
    monkeypatch.setattr(results, "BUNDLED", short_clip)
    results.main(out, clips=1, frames=16, steps=2)
    changed = {path.name for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert changed == {"results.md", "figures.json"} and (out / "results.md").read_text() == page


def test_docs_show_what_the_command_writes(out: Path) -> None:
    """The tables of docs/results.md have the command's columns."""
    headers = re.findall(r"^\| clip \|.*$", (out / "results.md").read_text(), re.MULTILINE)
    assert len(headers) == 2 and all(header in PAGE.read_text(encoding="utf-8") for header in headers)


def test_the_readme_has_the_table_of_the_results() -> None:
    readme = (PAGE.parents[1] / "README.md").read_text(encoding="utf-8")
    section = readme.split("## How good is it")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    assert len(rows) > 4 and set(rows) <= set(PAGE.read_text(encoding="utf-8").splitlines())
