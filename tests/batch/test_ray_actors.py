"""Ray's actors: who does what is next, and clips whose actor is killed."""

import os
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from selftrack.batch.clips import Clip
from selftrack.batch.ray_actors import _Dispatch, run_ray
from selftrack.batch.run import run_batch
from selftrack.batch.worker import Worker


@dataclass
class MadeUp:
    """Stands in for Ray and its actors: a task is done when it is waited for, the oldest first."""

    done: list[tuple[str, str, str]] = field(default_factory=list)
    most_read: int = 0

    def actor(self, name: str) -> Any:
        def method(stage: str) -> Any:
            def remote(*arguments: Any) -> tuple[str, str, str]:
                clip = arguments[0].name if arguments else ""
                return (name, stage, clip)

            return SimpleNamespace(remote=remote)

        return _Hashable(**{stage: method(stage) for stage in ("start", "read", "adapt", "track")})

    def wait(self, references: list[Any], num_returns: int) -> tuple[list[Any], list[Any]]:
        self.done.append(references[0])
        stages = Counter(stage for _, stage, _ in self.done)
        self.most_read = max(self.most_read, stages["read"] - stages["adapt"])
        return references[:1], references[1:]

    def get(self, reference: Any) -> Any:
        return reference


class _Hashable(SimpleNamespace):
    __hash__ = object.__hash__


CLIPS = [Clip(f"{i}.mp4", f"/{i}.mp4") for i in range(12)]


def test_clips_are_read_adapted_to_and_tracked_in_turn_by_those_who_do_that() -> None:
    ray = MadeUp()
    dispatch = _Dispatch(ray, [ray.actor(f"cpu{i}") for i in range(3)], [ray.actor(f"gpu{i}") for i in range(2)])
    assert sorted(clip.name for clip, _ in dispatch.run(CLIPS)) == sorted(clip.name for clip in CLIPS)
    stages = defaultdict(list)
    for actor, stage, clip in ray.done:
        assert stage == "start" or (stage == "adapt") == actor.startswith("gpu")
        stages[clip].append(stage)
    assert all(stages[clip.name] == ["read", "adapt", "track"] for clip in CLIPS)
    assert ray.most_read <= 4
    assert {actor for actor, stage, _ in ray.done if stage == "track"} == {"cpu0", "cpu1", "cpu2"}


def test_without_adapters_clips_are_tracked_alone() -> None:
    ray = MadeUp()
    outcomes = list(_Dispatch(ray, [ray.actor("a"), ray.actor("b")], []).run(CLIPS))
    assert [clip for clip, _ in outcomes] == CLIPS
    assert Counter(stage for _, stage, _ in ray.done) == {"start": 2, "track": 12}


@pytest.fixture
def two_actors(crew: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A Ray of this machine with two cores, whose processes find the module `crew`."""
    ray = pytest.importorskip("ray")
    place = str(Path(crew.__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (place, os.environ.get("PYTHONPATH")))))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.chdir(tmp_path)  # Ray's processes would import from here
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=100 * 2**20,
        log_to_driver=False,
        logging_level="error",
    )
    yield
    ray.shutdown()


@pytest.mark.usefixtures("two_actors")
def test_a_killed_actor_loses_no_clip_and_does_none_twice(
    crew: ModuleType, make_clips: Callable[..., list[Clip]], make_worker: Callable[..., Worker]
) -> None:
    clips = make_clips("a.mp4", "b.mp4", "hangs.mp4", "c.mp4", "d.mp4")
    worker = make_worker(crew.Hanging)
    worker.out.mkdir()
    killer = threading.Thread(target=_kill, args=(worker.out / "pid",), daemon=True)
    killer.start()
    tally = run_batch(clips, worker, run_ray)
    killer.join()
    assert tally.ends == {"tracked": 5} and tally.well
    lines = (worker.out / "log.txt").read_text().splitlines()
    assert sorted(lines) == sorted(f"tracked {clip.name}" for clip in clips)
    states = {status.name: status for status in worker.status.all()}
    assert {status.state for status in states.values()} == {"done"} and len(states) == 5
    assert states["hangs.mp4"].pid != int((worker.out / "pid").read_text())


def _kill(file: Path) -> None:
    """Kill the process that has written its number there."""
    while not file.exists():
        time.sleep(0.05)
    os.kill(int(file.read_text()), signal.SIGKILL)
