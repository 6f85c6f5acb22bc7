"""Batches of tiny clips by the made-up model, whose frames carry their numbers."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from selftrack.batch.clips import Clip
from selftrack.batch.job import Job
from selftrack.batch.worker import Worker
from selftrack.tracker.clips.config import TrackConfig


@pytest.fixture
def crew(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module of that name, which processes that are started import, too."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import crew

    yield crew
    for name in ("crew", "mortal"):
        sys.modules.pop(name)


@pytest.fixture
def mortal(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module of that name, likewise."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import mortal

    yield mortal
    sys.modules.pop("mortal")


@pytest.fixture
def make_clips(make_clip: Callable[..., Path], tmp_path: Path) -> Callable[..., list[Clip]]:
    """`make_clips("a.mp4", ...)`: clips of four grey frames each."""

    def make(*names: str) -> list[Clip]:
        images = [np.full((100, 120, 3), 5 * i + 5, np.uint8) for i in range(4)]
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        return [Clip(name, str(make_clip(name, images, crf="1"))) for name in names]

    return make


@pytest.fixture
def make_worker(crew: ModuleType, tmp_path: Path) -> Callable[..., Worker]:
    """`make_worker(duration=0.1, overwrite=True)`: a worker with the made-up model, settings of `track` by name."""

    def make(
        cls: type[Worker] = Worker, retry_failed: bool = False, overwrite: bool = False, **track: object
    ) -> Worker:
        config = TrackConfig(**{"overlay": False} | track)
        return cls(Job(config, load=crew.load_made_up), tmp_path / "out", retry_failed, overwrite)

    return make
