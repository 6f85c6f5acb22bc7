"""An adaptation beside a stream: what it is given, what comes of its answers, and that it ends with the stream."""

from __future__ import annotations

import copy
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from selftrack.adapt.learning.trainer import AdaptConfig
from selftrack.adapt.live.background import BackgroundAdaptation
from selftrack.adapt.live.process import Job
from selftrack.errors import UserError
from selftrack.tracker.clips.config import TrackConfig
from selftrack.tracker.live.capture import Shot
from selftrack.tracker.live.session import LiveSession
from selftrack.tracker.model import Model
from selftrack.tracker.network.weights import save_heads
from selftrack.tracker.rows import NoRows
from selftrack.tracker.sources.base import Frame
from selftrack.tracker.sources.opening import open_source
from selftrack.tracker.tracker import Tracker


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The stand-ins, as the processes import them."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    import beside

    yield beside
    sys.modules.pop("beside")


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.load()


@pytest.fixture(scope="module")
def frames(smile: Path) -> list[Frame]:
    """The first second of the bundled clip."""
    with open_source(smile, duration=1.0) as source:
        return list(source)


@pytest.fixture(scope="module")
def other(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a network that says four fifths of how the head moves."""
    heads = copy.deepcopy(model.network.heads)
    heads.linear.pose.weight.data *= 0.8
    path = tmp_path_factory.mktemp("weights") / "other.safetensors"
    save_heads(path, model.network, heads.state_dict(), {})
    return path


class Stream:
    """A stream of frames again and again, 30 a second, and the lines that it says."""

    def __init__(self, model: Model, frames: list[Frame]) -> None:
        self.said: list[str] = []
        self.session = LiveSession(Tracker(model, rows=NoRows()), {}, say=self.said.append)
        self.frames, self.count = frames, 0

    def run(self, adaptation: BackgroundAdaptation, until: Callable[[], object]) -> None:
        """Give frames until something holds, without hurry."""
        while not until():
            shot = Shot(self.count / 30, time.monotonic(), self.frames[self.count % len(self.frames)].image)
            self.count += 1
            adaptation.watch(shot, self.session.frame(shot))
            time.sleep(0.1)


def job(weights: Path | None = None, **settings: int) -> Job:
    return Job(TrackConfig(weights=str(weights) if weights else None), AdaptConfig(**settings))


def test_better_weights_are_used(
    beside: ModuleType, model: Model, frames: list[Frame], other: Path, tmp_path: Path
) -> None:
    """From the frame after the answer on; what is learned from is the seconds that were asked for. Their file can be
    written as soon as they are used, also when the process has ended."""
    stream = Stream(model, frames)
    with BackgroundAdaptation(job(other), stream.session, stream.said.append, 0.5, beside.better) as adaptation:
        assert stream.session.tracker.model is model
        adaptation.save(tmp_path)
        assert not list(tmp_path.iterdir())
        stream.run(adaptation, lambda: stream.said)
    adaptation.save(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"adapted.safetensors": other.read_bytes()}
    (line,) = stream.said
    first, last = (
        float(part) for part in line.removeprefix("adapted in the background: ").split(" s")[0].split(" to ")
    )
    assert 0.3 < last - first < 0.501 and line.endswith("s of (360, 640, 3), (60,), rest 0.00")
    used = stream.session.tracker.model
    assert used.base is model and used.fit is None and used.refiner is model.refiner
    pose = used.network.heads.linear.pose.weight
    np.testing.assert_allclose(pose, 0.8 * model.network.heads.linear.pose.weight, rtol=1e-2)


def test_weights_that_are_no_better_change_nothing(
    beside: ModuleType, model: Model, frames: list[Frame], other: Path, tmp_path: Path
) -> None:
    stream = Stream(model, frames)
    with BackgroundAdaptation(job(other), stream.session, stream.said.append, 0.2, beside.no_better) as adaptation:
        stream.run(adaptation, lambda: stream.said)
    adaptation.save(tmp_path)
    assert len(stream.said) == 1 and stream.session.tracker.model is model and not list(tmp_path.iterdir())


def test_nothing_is_learned_before_the_rest_is_known(
    beside: ModuleType, model: Model, frames: list[Frame], other: Path
) -> None:
    """The person goes with the rest that the stream has found."""
    stream = Stream(model, frames)
    stream.session.calibrate(0.4)
    with BackgroundAdaptation(job(other), stream.session, stream.said.append, 0.2, beside.no_better) as adaptation:
        stream.run(adaptation, lambda: len(stream.said) == 3)
    rest = stream.session.tracker.rest.sum()
    line = stream.said[2]
    assert rest > 0 and line.endswith(f"rest {rest:.2f}")
    assert float(line.removeprefix("adapted in the background: ").split(" ")[0]) > 0.4


def test_a_process_that_dies_is_no_harm(beside: ModuleType, model: Model, frames: list[Frame]) -> None:
    stream = Stream(model, frames)
    with BackgroundAdaptation(job(), stream.session, stream.said.append, 60.0, beside.dies) as adaptation:
        stream.run(adaptation, lambda: stream.said)
    assert stream.said == ["adapted in the background: its process has died; the stream goes on as before"]
    assert stream.session.tracker.model is model


def test_it_ends_with_the_stream(beside: ModuleType, model: Model, frames: list[Frame], tmp_path: Path) -> None:
    """A process that takes nothing holds nobody up, whatever there is to be given to it."""
    stream, note = Stream(model, frames), tmp_path / "pid"
    with BackgroundAdaptation(job(note), stream.session, stream.said.append, 60.0, beside.works_for_ever) as adaptation:
        stream.run(adaptation, lambda: note.exists() and note.read_text() and stream.count > 20)
    assert stream.said == ["adapting in the background: the stream ended before that was done"]
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


def test_a_stream_adapts(
    beside: ModuleType, model: Model, frames: list[Frame], other: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The process itself, in few steps: it judges, the stream goes by that, and nothing is left on disk. The file of
    what it has learned says the same again."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    off = Model.load(other)
    stream, quick = Stream(off, frames), job(other, steps=4, groups=2, texels=200, texture=64, refresh=2, evaluate=2)
    with BackgroundAdaptation(quick, stream.session, stream.said.append, 0.5, beside.at_usual_priority) as adaptation:
        stream.run(adaptation, lambda: stream.said)
    (line,) = stream.said
    assert line.startswith("adapted in the background: held-out frames: ")
    used = stream.session.tracker.model
    assert (used is not off) == line.endswith("; used from now on")
    assert not list(tmp_path.glob("selftrack*"))
    adaptation.save(tmp_path)
    assert (tmp_path / "adapted.safetensors").exists() == (used is not off)
    if used is not off:
        again = Model.load(tmp_path / "adapted.safetensors")
        assert again.fit is not None and again.fit.trained
        for name, values in used.network.heads.state_dict().items():
            torch.testing.assert_close(again.network.heads.state_dict()[name], values, rtol=0, atol=0)


def test_a_personal_model_is_refused(fake_stream: Callable[[], LiveSession]) -> None:
    with pytest.raises(UserError, match="a personal model is adapted to a recorded clip"):
        BackgroundAdaptation(job(), fake_stream(), print)


@pytest.fixture
def fake_stream(model: Model) -> Callable[[], LiveSession]:
    """A stream of a face model that has no ARKit shapes."""
    return lambda: LiveSession(Tracker(replace(model, refiner=None), rows=NoRows()), {})
