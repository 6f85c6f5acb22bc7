"""Every preset of the architecture is trained, tracks and adapts; streams whose weights are not here are random, and
layers between them as narrow as they can be where they are the paper's."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch

from selftrack.adapt.frames.clip import ClipConfig
from selftrack.adapt.learning.trainer import AdaptConfig
from selftrack.adapt.run import adapt
from selftrack.decoders.landmarks import IBUG_68
from selftrack.synthetic.studio import StudioConfig
from selftrack.tracker.clips.subjects import PersonConfig
from selftrack.tracker.landmarks.base import Detection, Follower, LandmarkSource, Places
from selftrack.tracker.landmarks.detectors import AttentionMesh
from selftrack.tracker.landmarks.search import DetectConfig
from selftrack.tracker.model import Model
from selftrack.tracker.network.i2znet import I2ZConfig
from selftrack.tracker.network.published import VGG16, Published, State
from selftrack.tracker.network.streams import LANDMARK_STREAMS, Fan, Vgg16, stream_hash
from selftrack.tracker.network.weights import load_network
from selftrack.tracker.refinement.refiner import Refiner
from selftrack.tracker.sources.opening import open_source
from selftrack.tracker.tracker import Tracker
from selftrack.training.dataset import Shards
from selftrack.training.i2znet import TrainConfig, train

SMILE = Path(__file__).parents[1] / "data" / "smile.mp4"
PRESETS = sorted(p.name.removesuffix(".yaml") for p in files("selftrack.configs").iterdir() if "i2znet" in p.name)


class Fewer(LandmarkSource):
    """The 68 points among the attention mesh's, in place of FAN's, whose weights are not here."""

    points = 68

    def __init__(self) -> None:
        self._mesh = AttentionMesh(torch.device("cpu"))

    def follower(self, config: DetectConfig, places: Places | None = None) -> Follower:
        return _FewerFollower(self._mesh.follower(config, places))


class _FewerFollower(Follower):
    def __init__(self, follower: Follower) -> None:
        self._follower = follower

    def reset(self) -> None:
        self._follower.reset()

    def detect_once(self, frame: np.ndarray) -> Detection | None:
        return self._fewer(self._follower.detect_once(frame))

    def __call__(self, frame: np.ndarray, time: float | None = None) -> Detection | None:
        return self._fewer(self._follower(frame, time))

    @staticmethod
    def _fewer(found: Detection | None) -> Detection | None:
        rows = list(IBUG_68)
        return None if found is None else replace(found, points=found.points[rows], depth=found.depth[rows])


@pytest.fixture(scope="module")
def shard(draw_captures: Callable, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One person, one moment, two views."""
    config = StudioConfig(moments=1, views=2)
    return draw_captures(tmp_path_factory.mktemp("person"), people=1, seed=1, config=config)


@pytest.fixture
def random_streams(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """VGG-16 and FAN with random weights, the same each time; FAN has one of its four hourglasses, to save time."""

    def find(published: Published, packed: Path | None = None) -> State:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return Vgg16().features.state_dict() if published is VGG16 else Fan().network.state_dict()

    def first_hourglass() -> Fan:
        stream = Fan()
        stream.network.num_modules = 1
        return stream

    monkeypatch.setattr(Published, "find", find)
    monkeypatch.setitem(LANDMARK_STREAMS, "fan", first_hourglass)
    yield


@pytest.mark.parametrize("preset", PRESETS)
def test_it_is_trained_tracks_and_adapts(preset: str, shard: list[Path], random_streams: None, tmp_path: Path) -> None:
    architecture = I2ZConfig.load(preset)
    if preset == "i2znet_paper":  # all but a tenth of its 300 MB, which take longer to draw and write than to train
        architecture = replace(architecture, vector=8, hidden=8)
    seen: list[dict[str, float]] = []
    config = TrainConfig(architecture, steps=1, people=1)
    path = train(Shards(shard), tmp_path / "net.safetensors", config, lambda *a: seen.append(a[-1]))
    assert len(seen) and np.isfinite(list(seen[-1].values())).all()
    network = load_network(path)
    before = {name: stream_hash(s) for name, s in network.named_children() if name in ("perceptual", "landmarks")}
    model = Model.load(path) if architecture.points == 478 else _of_fewer_points(path)

    with open_source(SMILE, duration=0.03) as source:
        tracker = Tracker(model)
        results = [tracker(frame) for frame in source]
    assert all(result.ok and np.isfinite(result.z).all() for result in results)

    tiny = AdaptConfig(steps=2, groups=2, texels=200, texture=64, refresh=1, evaluate=1, clip=ClipConfig(frames=80))
    with open_source(SMILE, duration=0.33) as source:
        _, verdict = adapt(model, source, tiny, person=PersonConfig(samples=2))
    assert [row["step"] for row in verdict.history] == [0, 1, 2]
    assert all(np.isfinite(value) for name, value in verdict.history[-1].items() if name != "skin")  # too short a clip
    assert verdict.history[-1]["landmarks"] != verdict.history[0]["landmarks"]  # the heads have moved
    after = {name: stream_hash(s) for name, s in model.network.named_children() if name in before}
    assert after == before  # the streams stay as they were


def _of_fewer_points(path: Path) -> Model:
    model = Model.load()
    return replace(model, network=load_network(path), landmarks=Fewer(), refiner=Refiner.of(model.decoder, 68))
