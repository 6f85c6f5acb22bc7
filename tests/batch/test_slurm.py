"""Shards as tasks of an array; submitit runs them on this machine."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from selftrack.batch.clips import Clip
from selftrack.batch.slurm import ShardTask, submit
from selftrack.batch.worker import Worker
from selftrack.errors import UserError


def test_shards_run_as_tasks(
    crew: ModuleType,
    make_clips: Callable[..., list[Clip]],
    make_worker: Callable[..., Worker],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PYTHONPATH", str(Path(crew.__file__).parent), prepend=":")
    clips, worker = make_clips("a.mp4", "b.mp4", "c.mp4"), make_worker()
    tasks = submit(worker, clips, "local", shards=2, jobs=1)
    tallies = [task.result() for task in tasks]
    assert len(tasks) == 2 and sorted(tallies) == ["1: 1 tracked", "2: 2 tracked"]
    assert {status.name: status.state for status in worker.status.all()} == {c.name: "done" for c in clips}
    assert len((worker.out / "summary.csv").read_text().splitlines()) == 1 + 3


def test_a_task_whose_time_is_over_goes_on_in_another(make_worker: Callable[..., Worker]) -> None:
    pytest.importorskip("submitit")
    task = ShardTask(make_worker(), (Clip("a.mp4", "/a.mp4"),), 1)
    assert task.checkpoint().function is task


def test_without_slurm_it_is_one_line(make_worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="sbatch is not found"):
        submit(make_worker(), [], "gpu", 4, 1)
