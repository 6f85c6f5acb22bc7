"""Settings by file, by --set and by options of their own; what a result says of itself reproduces it."""

import json
from collections.abc import Callable
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml

from selftrack.adapt.run import load_preset
from selftrack.cli.settings import changed, read_assignments, read_config, under
from selftrack.cli.tracking import Order
from selftrack.errors import UserError
from selftrack.io import flat
from selftrack.tracker import load
from selftrack.tracker.clips.config import TrackConfig
from selftrack.training.dam import DamTraining
from selftrack.training.i2znet import TrainConfig

QUICK = (
    "--set",
    "adapt.steps=6",
    "--set",
    "adapt.evaluate=3",
    "--set",
    "adapt.texels=200",
    "--set",
    "adapt.texture=64",
    "--set",
    "adapt.groups=2",
    "--set",
    "track.person.samples=4",
)


def test_every_setting_can_be_set() -> None:
    """To the value that it has: the tree is the same, with all its types."""
    for settings in (TrackConfig(), load_preset("thorough"), TrainConfig(), DamTraining()):
        again = changed(settings, flat(json.loads(json.dumps(asdict(settings)))))
        assert again == settings
        for field in fields(settings):
            assert type(getattr(again, field.name)) is type(getattr(settings, field.name)), field.name


def test_one_setting_changes_and_no_other() -> None:
    before = TrackConfig()
    after = changed(before, {"crop.slack": "0.4", "detect.box.levels": 2, "duration": 3}, "track.")
    assert (after.crop.slack, after.detect.box.levels, after.duration) == (0.4, 2, 3.0)
    expected = flat(asdict(before)) | {"crop.slack": 0.4, "detect.box.levels": 2, "duration": 3.0}
    assert flat(asdict(after)) == expected and before == TrackConfig()
    assert is_dataclass(after.crop) and type(after) is TrackConfig


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"crop.slak": 1}, r"no setting track\.crop\.slak; did you mean track\.crop\.slack"),
        ({"slack": 1}, r"did you mean .*track\.crop\.slack"),
        ({"crop": 1}, r"track\.crop is a group of settings: track\.crop\.size, "),
        ({"crop.slack": "much"}, r"track\.crop\.slack: .*valid number.*; got 'much'"),
        ({"person.samples": 1.5}, r"track\.person\.samples: .*integer.*; got 1\.5"),
        ({"identity": "both"}, "identity must be one of clip, per-frame; got 'both'"),
    ],
)
def test_wrong_settings_are_one_line(changes: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        changed(TrackConfig(), changes, "track.")


def test_assignments_are_values_of_yaml() -> None:
    read = read_assignments(["a.b=0.5", "c=null", "d=[1, 2]", "e=x=y", "f=true", "g="])
    assert read == {"a.b": 0.5, "c": None, "d": [1, 2], "e": "x=y", "f": True, "g": None}
    for wrong, words in (("a", "KEY=VALUE"), ("=1", "KEY=VALUE"), ("a={", "no value that YAML knows")):
        with pytest.raises(UserError, match=words):
            read_assignments([wrong])


@pytest.mark.parametrize("text", ["10:00:00:00", "10:00:00;12", "01:00:00", "1:30.5", "2026-11-29", "-1:30"])
def test_timecode_and_dates_are_text(text: str, tmp_path: Path) -> None:
    """YAML 1.1 has numbers to the base of 60, such as 10:00:00:00 for 2160000."""
    assert read_assignments([f"track.timecode={text}"]) == {"track.timecode": text}
    (tmp_path / "mine.yaml").write_text(f"track: {{start: 1_000.5, timecode: {text}, face: -3}}\n")
    assert read_config(str(tmp_path / "mine.yaml")) == {
        "track.start": 1000.5,
        "track.timecode": text,
        "track.face": -3,
    }
    changes = {"timecode": text}
    assert changed(TrackConfig(), changes, "track.").timecode == text


def test_files_and_presets(tmp_path: Path) -> None:
    assert read_config(None) == {} and read_config("adapt_fast") == {"adapt.steps": 600}
    (tmp_path / "mine.yaml").write_text("track:\n  crop: {slack: 0.4}\n")
    assert read_config(str(tmp_path / "mine.yaml")) == {"track.crop.slack": 0.4}
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "broken.yaml").write_text("a: [\n")
    for name, words in (
        ("nosuch", "bundled are .*adapt_fast"),
        ("list.yaml", "no settings"),
        ("broken.yaml", "YAML"),
    ):
        with pytest.raises(UserError, match=words):
            read_config(name if name == "nosuch" else str(tmp_path / name))


def test_a_result_is_reproduced_by_its_config(run: Callable, smile: Path) -> None:
    """Un-adapted: an option of its own, --set and a file count in this order."""
    Path("mine.yaml").write_text("track: {duration: 9.0, crop: {slack: 0.3}, person: {samples: 3}}\nexport: [csv]\n")
    first = ("track", smile, "-o", "a", "--config", "mine.yaml", "--set", "track.crop.slack=0.4", "--duration", 0.2)
    assert run(*first, "--no-overlay")[0] == 0
    written = yaml.safe_load(Path("a/config.yaml").read_text())
    assert written["track"]["crop"]["slack"] == 0.4 and written["track"]["duration"] == 0.2
    assert (written["track"]["person"]["samples"], written["adapt"], written["export"]) == (3, None, ["csv"])
    assert set(flat(written["track"])) == set(flat(asdict(TrackConfig())))
    assert run("track", smile, "-o", "b", "--config", "a/config.yaml")[0] == 0
    for name in ("config.yaml", "curves.csv", "smile.csv"):
        assert Path("a", name).read_bytes() == Path("b", name).read_bytes(), name
    np.testing.assert_array_equal(load("a").z, load("b").z)
    assert not Path("b/overlay.mp4").exists()


def test_an_adapted_result_is_reproduced_by_its_config(run: Callable, smile: Path) -> None:
    assert run("track", smile, "-o", "a", "--adapt", "--duration", 0.4, "--no-overlay", *QUICK)[0] == 0
    written = yaml.safe_load(Path("a/config.yaml").read_text())
    assert written["adapt"]["steps"] == 6 and written["adapt"]["weights"]["cftc"] == 510
    assert run("track", smile, "-o", "b", "--config", "a/config.yaml")[0] == 0
    for name in ("config.yaml", "adaptation.json", "curves.csv"):
        assert Path("a", name).read_bytes() == Path("b", name).read_bytes(), name
    np.testing.assert_array_equal(load("a").z, load("b").z)
    assert run("track", smile, "-o", "c", "--config", "a/config.yaml", "--no-adapt", "--duration", 0.1)[0] == 0
    assert not Path("c/adaptation.json").exists()


def test_thorough_counts_more_than_a_file_and_less_than_set(
    run: Callable, smile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An option does something, also beside the config.yaml of an adaptation that was not thorough."""
    Path("mine.yaml").write_text("adapt: {steps: 6, texels: 300, seed: 3}\n")
    orders = list[Order]()
    monkeypatch.setattr("selftrack.cli.track._track", lambda order, report: orders.append(order))
    for more in ([], ["--thorough"], ["--thorough", "--set", "adapt.steps=9"]):
        assert run("track", smile, "--config", "mine.yaml", *more)[0] == 0
    settings = [changed(load_preset(), under(order.changes, "adapt"), "adapt.") for order in orders]
    thorough = load_preset("thorough")
    assert [found.steps for found in settings] == [6, thorough.steps, 9]
    assert [found.texels for found in settings] == [300, thorough.texels, thorough.texels]
    assert all(order.adapts for order in orders) and {found.seed for found in settings} == {3}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "adapt.steps=3"], "add --adapt"),
        (["--set", "adapt.steps=3", "--no-adapt"], "add --adapt"),
        (["--thorough"], "--thorough lengthens the adaptation, but there is none; add --adapt"),
        (["--thorough", "--no-adapt"], "add --adapt"),
        (["--overlay", "wire", "--no-overlay"], "--overlay wire is how the overlay is drawn, but there is none"),
        (["--burn-in", "--set", "track.overlay=false"], "--burn-in is how the overlay is drawn, but there is none"),
        (["--overlay", "lines"], 'unknown overlay mode "lines": choose one of split, mesh, wire, points, texture'),
        (["--no-overlay", "--set", "track.overlay_style.opacity=1"], "leave --no-overlay out"),
        (["--fps", "25"], "only a sequence of pictures"),
        (["--streams", "nowhere.safetensors"], "reads neither VGG-16 nor FAN; leave --streams out"),
        (["--adapt", "--set", "adapt.step=3"], "did you mean adapt.steps"),
        (["--set", "track.qqq=3"], "no setting track.qqq; see docs/usage.md"),
        (["--adapt", "--set", "adapt.weights.nosuch=3"], "no setting adapt.weights.nosuch"),
        (["--set", "tracks.start=3"], "settings begin with track, adapt, export"),
        (["--set", "track.overlay_style.mode=lines"], 'unknown overlay mode "lines"'),
        (["--config", "nosuch.yaml"], "nosuch.yaml: no such file of settings"),
        (["--export", "mp3"], "unknown format 'mp3'"),
    ],
)
def test_wrong_settings_end_a_command(run: Callable, smile: Path, arguments: list[str], words: str) -> None:
    status, out, err = run("track", smile, *arguments)
    assert (status, out) == (2, "") and len(err.splitlines()) == 1 and words in err, err
    assert list(Path().iterdir()) == []
