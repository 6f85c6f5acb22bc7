"""A batch as an array of SLURM's: each task is a shard, with processes of its own."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from selftrack.batch.clips import Clip, Shard
from selftrack.batch.pool import run_pool
from selftrack.batch.run import run_batch
from selftrack.batch.worker import Outcome, Worker
from selftrack.errors import UserError, of_extra

LOCAL = "local"
"""The partition that is no partition: tasks run on this machine."""
LOGS = ".submitit"
"""Of a batch's folder, where submitit keeps what the tasks say."""
_GIGABYTES = 2
"""Memory that is asked for, for each process."""


@dataclass(frozen=True)
class ShardTask:
    """What one task of the array does; returns the tally in one line."""

    worker: Worker
    clips: tuple[Clip, ...]
    jobs: int

    def __call__(self) -> str:
        """Track the clips of the shard and renew the page of all."""

        def launch(worker: Worker, clips: Sequence[Clip]) -> Any:
            return run_pool(worker, clips, self.jobs)

        def show(outcome: Outcome, done: int, total: int) -> None:
            print(f"{done}/{total} {outcome.clip.name}: {outcome.end} {outcome.text}", flush=True)

        return str(run_batch(self.clips, self.worker, launch, show))

    def checkpoint(self) -> Any:
        """Go on in another task where this one is preempted or its time is over, as submitit asks."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def submit(
    worker: Worker, clips: Sequence[Clip], partition: str, shards: int, jobs: int, hours: float = 24.0
) -> list[Any]:
    """Submit the shards of a batch as one array.

    Args:
        worker: tracks the clips; with --device cuda, each task gets a GPU.
        clips: of all shards.
        partition: of SLURM; "local" runs the tasks on this machine, all at one time.
        shards: number of tasks; those without clips are left out.
        jobs: processes of each task, for which it gets cores and memory.
        hours: time limit of a task.

    Returns:
        submitit's jobs.

    Raises:
        UserError: no SLURM, or no submitit.
    """
    with of_extra("cluster"):
        import submitit
    if partition != LOCAL and shutil.which("sbatch") is None:
        raise UserError("there is no SLURM here (sbatch is not found); run this on a machine that submits to it")
    parts = [tuple(Shard(number, shards).of(clips)) for number in range(1, shards + 1)]
    tasks = [ShardTask(worker, part, jobs) for part in parts if part]
    executor = submitit.AutoExecutor(worker.out / LOGS, cluster=LOCAL if partition == LOCAL else "slurm")
    settings = {"name": "track-batch", "timeout_min": max(1, round(60 * hours)), "cpus_per_task": jobs}
    settings |= {"mem_gb": _GIGABYTES * jobs, "gpus_per_node": int(worker.job.track.device == "cuda")}
    if partition != LOCAL:
        settings |= {"slurm_partition": partition, "slurm_array_parallelism": len(tasks)}
    executor.update_parameters(**settings)
    with executor.batch():
        return [executor.submit(task) for task in tasks]
