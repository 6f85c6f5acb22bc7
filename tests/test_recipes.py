"""The recipes of CONTRIBUTING.md, executed as they are written there; what they add is used as anybody would use it."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from selftrack.adapt.run import adapt, load_preset
from selftrack.adapt.terms import TERMS
from selftrack.decoders import registry as decoders
from selftrack.decoders.registry import load_decoder
from selftrack.errors import UserError
from selftrack.eval.compare.score import score_files
from selftrack.eval.metrics import METRICS
from selftrack.io import file_hash
from selftrack.tracker.clips.config import TrackConfig
from selftrack.tracker.clips.single import track_clip
from selftrack.tracker.clips.subjects import PersonConfig
from selftrack.tracker.export import FORMATS, known, write
from selftrack.tracker.landmarks.base import LANDMARK_SOURCES
from selftrack.tracker.model import Model
from selftrack.tracker.results.painter import MeshPainter, OverlayConfig
from selftrack.tracker.results.texture import TextureConfig, clip_texture
from selftrack.tracker.results.track_file import Track, load
from selftrack.tracker.sources.opening import open_source
from selftrack.tracker.tracker import Tracker

PAGE = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"^### (.+?)\n.*?^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    """Leave the registries as they were."""
    decoders.decoder_kinds()  # else the built-in ones would be registered during the first test only
    known_before = [(all_known, dict(all_known)) for all_known in _registries()]
    yield
    for all_known, before in known_before:
        all_known.clear()
        all_known.update(before)


def _registries() -> tuple[dict, ...]:
    return decoders._KINDS, TERMS, FORMATS, LANDMARK_SOURCES, METRICS


@pytest.fixture
def add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`add("A loss")` makes the recipe's code block a file and imports it; it registers one thing in one registry."""

    def run(title: str) -> None:
        before = [len(all_known) for all_known in _registries()]
        file = tmp_path / "recipe.py"
        file.write_text(RECIPES[title], encoding="utf-8")
        spec = importlib.util.spec_from_file_location("recipe", file)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "recipe", module)
        spec.loader.exec_module(module)
        assert sum(len(all_known) for all_known in _registries()) == sum(before) + 1

    return run


def test_there_are_five_recipes() -> None:
    assert list(RECIPES) == ["A decoder", "A loss", "An exporter", "A detector", "A metric"]


def test_a_decoder(add: Callable[[str], None], make_track: Callable[..., Track], smile: Path, tmp_path: Path) -> None:
    """From its file to vertices in pixels, an overlay, its texture and the formats that it can fill."""
    add("A decoder")
    path = tmp_path / "sheet.json"
    path.write_text('{"cloth": 1.5}')
    decoder = load_decoder(path)
    decoded = decoder(torch.tensor([[0.0, 2.0, 0.3]]))
    torch.testing.assert_close(decoded.vertices[0, 2], torch.tensor([-0.15, 0.25, 0.0]))
    assert (decoded.texture == 0.3).all()

    z = np.array([[0.2, 0, 0.7], [0.2, 1, 0.7]], np.float32)
    own = {"decoder": decoder.name, "decoder_hash": decoder.hash, "decoder_path": str(path), "identity": z[0, :1]}
    track = replace(make_track([0.0, 0.04], f=np.log(300.0), tx=320.0, ty=180.0), **own).with_codes(z)
    # (0.1 * 1.5 + 0.2 * 0.1) * 300 pixels to each side, 0.1 * 1.5 * 300 up and down, 0.05 * 300 for the drop
    corners = np.array([[-51, -45], [51, -45], [-51, 45], [51, 45]])
    expected = np.stack([corners, corners + [[0, 0], [0, 0], [0, 15], [0, 15]]]) + [320, 180]
    np.testing.assert_allclose(track.vertices()[..., :2], expected, atol=1e-3)
    painter = MeshPainter(track.model(), OverlayConfig(colour=(1.0, 1.0, 1.0), ambient=1.0, opacity=1.0))
    picture = painter(np.zeros((360, 640, 3), np.uint8), track.vertices()[1])
    rows, columns = np.nonzero(picture.any(axis=2))
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == pytest.approx((269, 371, 135, 240), abs=1)
    filmed = replace(track, clip=str(smile), clip_hash=file_hash(smile))
    assert clip_texture(filmed, TextureConfig(size=64)).isfinite().all()  # it has neither skin nor teeth
    header, *lines = write(track, "csv", tmp_path / "curves.csv").read_text().splitlines()
    column = header.split(",").index("drop")
    assert [line.split(",")[column] for line in lines] == ["0.00000", "1.00000"]
    with pytest.raises(UserError, match="needs ARKit's curves"):
        write(track, "livelink", tmp_path / "no.csv")


def test_a_loss(add: Callable[[str], None], smile: Path) -> None:
    """Two steps of an adaptation have it, with its weight; without a weight it is not computed."""
    add("A loss")
    model = Model.load(device="cpu")
    config = load_preset().changed(steps=2, evaluate=1, refresh=2, groups=2, texels=200)
    assert config.weights["upright"] == 2.5
    few = PersonConfig(samples=4)
    with open_source(smile, duration=0.5) as source:
        _, verdict = adapt(model, source, config, person=few)
        _, without = adapt(model, source, config.changed(weights={"upright": 0.0}), person=few)
    assert 0 < verdict.history[-1]["upright"] < 0.5  # the subject holds the head within 40 degrees of upright
    assert "upright" not in without.history[-1]


def test_an_exporter(add: Callable[[str], None], make_track: Callable[..., Track], tmp_path: Path) -> None:
    add("An exporter")
    assert known(["blinks"]) == ("blinks",)
    lids = np.array([0, 0.9, 0.8, 0, 0.6, 0.9])
    track = make_track(np.arange(6) / 10, {"eyeBlinkLeft": lids, "eyeBlinkRight": lids * [1, 1, 1, 1, 0, 1]})
    assert json.loads(write(track, "blinks", tmp_path / "b.json").read_text()) == pytest.approx([0.1, 0.5])


def test_a_detector(add: Callable[[str], None], smile: Path) -> None:
    """The tracker reads the points that this detector finds, frame by frame."""
    add("A detector")
    model = Model.load(landmarks="anew", device="cpu")
    tracker, detector = Tracker(model), model.landmarks.follower(Tracker(model).config.detect)
    with open_source(smile, duration=0.2) as source:
        for frame in source:
            found = detector.detect_once(frame.image)
            assert found is not None
            np.testing.assert_array_equal(tracker(frame).landmarks, found.points)
    track = tracker.finish()
    assert len(track) == 6 and track.ok.all()
    assert not np.array_equal(track.landmarks, _by_mediapipe(smile).landmarks)  # that one follows


def _by_mediapipe(clip: Path) -> Track:
    tracker = Tracker(Model.load(device="cpu"))
    with open_source(clip, duration=0.2) as source:
        for frame in source:
            tracker(frame)
    return tracker.finish()


def test_a_metric(add: Callable[[str], None], smile: Path, tmp_path: Path) -> None:
    add("A metric")
    track_clip(smile, tmp_path / "out", TrackConfig(overlay=False, duration=0.5, device="cpu"))
    figures = score_files([tmp_path / "out"])[str(tmp_path / "out")]
    at = load(tmp_path / "out").H_image[:, 4:6].astype(float)
    assert figures["head.steps"] == pytest.approx(np.hypot(*(at[1:] - at[:-1]).T).mean(), rel=1e-5)
