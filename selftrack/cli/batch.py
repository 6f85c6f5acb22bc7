"""`track-batch`: a corpus of clips, on one machine or a cluster."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from selftrack.cli.progress import Stages
from selftrack.cli.settings import (
    ROOTS,
    ExportOption,
    Given,
    Learning,
    NoOverlayOption,
    changed,
    check_roots,
    listed,
    under,
)
from selftrack.command import quiet, run
from selftrack.errors import UserError
from selftrack.tracker.export import known, require, require_said

if TYPE_CHECKING:
    from selftrack.batch.clips import Clip
    from selftrack.batch.job import Job
    from selftrack.batch.run import Tally
    from selftrack.batch.worker import Launch, Outcome, Worker

_PATHS = (
    *("track.weights", "track.decoder", "track.streams", "track.character"),
    *("track.person.calibration", "track.person.photo"),
)
_FAILED = 1
"""Exit status where some clips have failed, or their results are those of something else."""


@dataclass(frozen=True)
class _Doing:
    """What is done with each clip."""

    no_overlay: NoOverlayOption = False
    report: Annotated[bool, typer.Option("--report", help="Write report.html of each clip, too (default: no).")] = False
    export: ExportOption = None

    def job(self, given: Given, learning: Learning) -> Job:
        """By settings of a file, of --set and of these options. Raises UserError where they cannot be."""
        from_file, assigned = given.from_file("live"), given.assigned()
        if from_file.pop("faces", None) is not None:
            raise UserError(f"faces: track-batch tracks one face of each clip; take that out of {given.config}")
        options = learning.settings() | assigned | ({"track.overlay": False} if self.no_overlay else {})
        changes = _absolute(from_file | options)
        check_roots(changes, ROOTS)
        exports = known(listed(changes.get("export") if self.export is None else self.export))
        adapts = learning.adapts(from_file, assigned)
        from selftrack.tracker.clips.config import TrackConfig

        track = changed(TrackConfig(), under(changes, "track"), "track.")
        require_said(exports, track.export_options())
        from selftrack.adapt.run import load_preset
        from selftrack.batch.job import Job
        from selftrack.decoders.registry import load_decoder
        from selftrack.decoders.rigs.character import Character

        if track.character:
            Character.load(track.character)
        decoder = load_decoder(track.decoder) if track.decoder else None
        if decoder:
            require(exports, decoder, track.export_options())
        settings = None
        if adapts:
            settings = changed(load_preset(decoder=decoder), under(changes, "adapt"), "adapt.")
        return Job(track, settings, tuple(exports), self.report)


@dataclass(frozen=True)
class _Running:
    """Which clips are tracked, and where."""

    jobs: Annotated[
        int | None,
        typer.Option(help="Run so many processes (default: one a core, as far as there is memory).", min=1),
    ] = None
    shard: Annotated[
        str | None,
        typer.Option(help="Track part I of N alone, with I from 1 to N (default: all).", metavar="I/N"),
    ] = None
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try clips again that failed earlier (default: no).")
    ] = False
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace results of other settings, or of what a clip was before (default: no)."
        ),
    ] = False
    ray: Annotated[
        str | None,
        typer.Option(
            help="Run on the Ray cluster of this address; auto: the one this machine is in; local: one of its own.",
            metavar="ADDRESS",
        ),
    ] = None
    submitit: Annotated[
        str | None,
        typer.Option(
            help="Submit an array of --shards tasks to this partition of SLURM, and end; local: run them here.",
            metavar="PARTITION",
        ),
    ] = None
    shards: Annotated[int | None, typer.Option(help="With --submitit: number of tasks.", min=1)] = None
    hours: Annotated[float | None, typer.Option(help="With --submitit: time limit of a task (default 24).")] = None

    def check(self) -> None:
        """Refuse options that would do nothing where the batch runs."""
        if self.submitit is None:
            for name, value in {"--shards": self.shards, "--hours": self.hours}.items():
                if value is not None:
                    raise UserError(f"{name} is for --submitit; leave it out, or name a partition")
            if self.ray is not None and self.shard is not None:
                raise UserError("--ray shares the clips out itself; leave --shard out")
            return
        if self.ray is not None or self.shard is not None:
            raise UserError("--submitit makes the shards itself; leave --ray and --shard out")
        if self.shards is None:
            raise UserError("--submitit needs --shards, the number of tasks")

    def array(self) -> _Array | None:
        """The array of SLURM's that is asked for, None for none."""
        if self.submitit is None or self.shards is None:
            return None
        return _Array(self.submitit, self.shards, self.jobs, 24.0 if self.hours is None else self.hours)

    def launcher(self) -> Launch:
        """What runs the clips: Ray, or processes of this machine."""
        if self.ray is not None:
            from selftrack.batch.ray_actors import run_ray

            return partial(run_ray, address=self.ray, jobs=self.jobs)
        from selftrack.batch.pool import default_jobs, run_pool

        return partial(run_pool, jobs=self.jobs or default_jobs())


def batch(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Videos, folders with all below them, patterns such as 'corpus/*.mp4', lists as @FILE.",
            metavar="INPUTS",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder of the results, one below it for each clip.")
    ] = None,
    *,
    learning: Learning,
    doing: _Doing,
    given: Given,
    running: _Running,
    summary: Annotated[
        Path | None, typer.Option(help="Only write index.html and summary.csv of this folder anew.", metavar="DIR")
    ] = None,
) -> None:
    """Track many clips, each into a folder of its own. The same command given again goes on where it was.

    index.html and summary.csv in the folder of the results show all clips, the least trusted first. The exit status is
    1 where some have failed.
    """
    if summary is not None:
        if inputs or output:
            raise UserError("--summary writes the page of what is there; leave the inputs and -o out")
        _show_summary(summary)
        return
    if not inputs or output is None:
        raise UserError("needs clips and a folder for the results; see: track-batch --help")
    running.check()
    job = doing.job(given, learning)
    from selftrack.batch.clips import Shard, find_clips
    from selftrack.batch.worker import Worker

    clips = (Shard.parse(running.shard) if running.shard else Shard()).of(find_clips(inputs, output, _note))
    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: is not a folder; name another one with -o")
    worker, array = Worker(job, output, running.retry_failed, running.overwrite), running.array()
    if array is not None:
        _submit(worker, clips, array)
        return
    tally = _run(worker, clips, running.launcher())
    if not quiet():
        _print_results(f"clips    {tally}", output)
    if not tally.well:
        raise typer.Exit(_FAILED)


def _note(line: str) -> None:
    """Show a line for the user."""
    if not quiet():
        print(f"note     {line}", file=sys.stderr)


def _absolute(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with paths that hold in any folder: processes elsewhere have another one."""
    paths = {name: changes[name] for name in _PATHS if isinstance(changes.get(name), str)}
    return {**changes, **{name: str(Path(path).absolute()) for name, path in paths.items()}}


def _run(worker: Worker, clips: Sequence[Clip], launch: Launch) -> Tally:
    """Track the clips, with a line for each that has not ended well."""
    from selftrack.batch.run import WELL, run_batch

    with Stages() as stages:

        def show(outcome: Outcome, done: int, total: int) -> None:
            if outcome.text:
                words = "note" if outcome.end in WELL else outcome.end
                stages.say(f"{words:<8} {outcome.clip.name}: {outcome.text}")
            stages.show("tracking clips", done, total)

        return run_batch(clips, worker, launch, show)


@dataclass(frozen=True)
class _Array:
    """An array of SLURM's."""

    partition: str
    shards: int
    jobs: int | None
    hours: float


def _submit(worker: Worker, clips: Sequence[Clip], array: _Array) -> None:
    """Submit an array, and say how to see what becomes of it."""
    from selftrack.batch.slurm import submit

    tasks = submit(worker, clips, array.partition, array.shards, array.jobs or 1, array.hours)
    if not quiet():
        print(f"submitted {len(tasks)} tasks for {len(clips)} clips: {', '.join(task.job_id for task in tasks)}")
        print(f"see      track-batch --summary {worker.out}")


def _show_summary(out: Path) -> None:
    from selftrack.batch.summary import write_summary

    rows = write_summary(out)
    if not quiet():
        states = {state: sum(row.state == state for row in rows) for state in ("done", "failed", "begun")}
        _print_results(f"clips    {len(rows)}: " + ", ".join(f"{n} {state}" for state, n in states.items()), out)


def _print_results(clips: str, out: Path) -> None:
    from selftrack.batch.summary import PAGE, TABLE

    print(f"{clips}\nresults  {out}: {PAGE}, {TABLE}")


def main() -> None:
    """Run the console script `track-batch`."""
    run("track-batch", batch=batch)
