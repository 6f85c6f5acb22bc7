"""Shards as tasks of an array; submitit runs them on this machine."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType

import pytest

from selftrack.batch.clips import Clip
from selftrack.batch.slurm import ShardTask, submit
from selftrack.batch.worker import Worker
from selftrack.errors import UserError


class Recorded:
    """Stands in for submitit's executor: what is submitted to it comes back."""

    def __init__(self, folder: Path, cluster: str) -> None:
        self.update_parameters = lambda **settings: None
        self.batch = nullcontext
        self.submit = lambda task: task


def test_a_shard_runs_as_a_task(
    crew: ModuleType,
    make_clips: Callable[..., list[Clip]],
    make_worker: Callable[..., Worker],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of two clips by submitit itself; shards without clips have no task."""
    pytest.importorskip("submitit")
    monkeypatch.setenv("PYTHONPATH", str(Path(crew.__file__).parent), prepend=":")
    clips, worker = make_clips("a.mp4", "b.mp4"), make_worker()
    (task,) = submit(worker, clips, "local", shards=2, jobs=1)
    assert task.result() == "2: 2 tracked"
    assert {status.name: status.state for status in worker.status.all()} == {c.name: "done" for c in clips}
    assert len((worker.out / "summary.csv").read_text().splitlines()) == 1 + 2


def test_each_clip_is_in_one_task(make_worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch) -> None:
    submitit = pytest.importorskip("submitit")
    monkeypatch.setattr(submitit, "AutoExecutor", Recorded)
    clips = [Clip(f"{number}.mp4", f"/{number}.mp4") for number in range(20)]
    tasks = submit(make_worker(), clips, "local", shards=3, jobs=1)
    assert len(tasks) == 3 and sorted(clip.name for task in tasks for clip in task.clips) == sorted(
        c.name for c in clips
    )


def test_a_task_whose_time_is_over_goes_on_in_another(make_worker: Callable[..., Worker]) -> None:
    pytest.importorskip("submitit")
    task = ShardTask(make_worker(), (Clip("a.mp4", "/a.mp4"),), 1)
    assert task.checkpoint().function is task


def test_without_slurm_it_is_one_line(make_worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="sbatch is not found"):
        submit(make_worker(), [], "gpu", 4, 1)
