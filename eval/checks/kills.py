"""Is a run that was killed taken up again? `track`, killed at random times, against one that nothing disturbed.

    python -m selftrack.eval.checks.kills CLIP OUT --duration 2
    python -m selftrack.eval.checks.kills CLIP OUT --duration 2 --adapt

When is told by the CPU time that it has taken, which other work on the machine does not change. Each time the same
command is given again, and has to end with the same bytes. Meanwhile the folder of results may hold
none of the results, or all, no process may outlive the one that was killed, and at the end no checkpoint is left.
Linux alone: the CPU time of a process is read from /proc.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer

from selftrack.adapt import checkpoint
from selftrack.command import run
from selftrack.errors import UserError
from selftrack.io import PRIVATE, file_hash, markdown_table
from selftrack.tracker.clips.files import ADAPTED
from selftrack.tracker.results import curves, track_file

RESULTS = (curves.NAME, track_file.NAME, ADAPTED)
_ADAPT = ("--adapt", *(f"--set=adapt.{setting}" for setting in ("steps=24", "refresh=8", "evaluate=8")))
_RESUMED = re.compile(r"resuming (at step \d+|after the adaptation)")
_POLL = 0.02  # seconds between looks at a process
_PATIENCE = 1.0  # seconds that processes of a group may take to end


class Killed(NamedTuple):
    """What a run that was killed has left, and how the next one ended."""

    second: float
    """Of CPU time when it was killed; NaN where it had ended before."""
    left: str
    """Which results were there: none, all or some."""
    orphans: bool
    """Whether a process lived on."""
    again: str
    """Of the same command: same, other bytes, or its exit status."""
    resumed: str = "from the beginning"
    """Where the same command went on."""

    @property
    def good(self) -> bool:
        """Whether all is as it should be."""
        return self.left != "some" and not self.orphans and self.again == "same"


def hashes(folder: Path) -> dict[str, str]:
    """Hash those of `RESULTS` that a folder has, by their names."""
    return {name: file_hash(folder / name) for name in RESULTS if (folder / name).exists()}


def kill_and_repeat(command: Sequence[str], folder: Path, second: float, expected: Mapping[str, str]) -> Killed:
    """Start a command that writes into a folder, kill it after some seconds of CPU time, and give it again.

    `expected` are the `hashes` of the results of a run that nothing disturbed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    silent = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=silent, stderr=silent, start_new_session=True) as process:
        while process.poll() is None and _seconds(process.pid) < second:
            time.sleep(_POLL)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        else:
            second = float("nan")
    orphans, there = _lives_on(process.pid), hashes(folder)
    if there.keys() == expected.keys():
        return Killed(second, "all", orphans, "same" if there == expected else "other bytes")
    left = "some" if there else "none"
    status, words = _run(command)
    said = _RESUMED.search(words)
    resumed = said[1] if said else "from the beginning"
    if status != 0:
        return Killed(second, left, orphans, f"status {status}", resumed)
    if list(folder.parent.glob(f".{folder.name}-*{PRIVATE}")) or (folder / PRIVATE / checkpoint.NAME).exists():
        return Killed(second, left, orphans, "files left", resumed)
    return Killed(second, left, orphans, "same" if hashes(folder) == expected else "other bytes", resumed)


def _seconds(process: int) -> float:
    """CPU time that a process has taken."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def _run(command: Sequence[str]) -> tuple[int, str]:
    """Run a command to its end: its exit status, and what it said."""
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return ended.returncode, ended.stdout


def _lives_on(group: int) -> bool:
    """Whether a process of a group still lives after a while."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(_PATIENCE / 10)
    return True


def main(
    clip: Annotated[Path, typer.Argument(help="Video that shows a face.", metavar="CLIP")],
    output: Annotated[Path, typer.Argument(help="Folder for the tracks.", metavar="OUT")],
    duration: Annotated[float, typer.Option(help="Track so many seconds of it (default 2).")] = 2.0,
    adapt: Annotated[bool, typer.Option("--adapt", help="Adapt first, in 24 steps with three checkpoints.")] = False,
    times: Annotated[int, typer.Option(help="Kill it so often (default 10).", min=1)] = 10,
    seed: Annotated[int, typer.Option(help="Random seed of when (default 0).", min=0)] = 0,
) -> None:
    """Kill `track` at random times, repeat it, and compare; status 1 where something differs."""
    output.mkdir(parents=True, exist_ok=True)
    settings = [f"--duration={duration}", "--no-overlay", *(_ADAPT if adapt else ())]
    command = [sys.executable, "-m", "selftrack", str(clip), *settings, "-o"]
    whole, folder = output / "whole", output / "killed"
    shutil.rmtree(whole, ignore_errors=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    status, words = _run([*command, str(whole)])
    after, rows = resource.getrusage(resource.RUSAGE_CHILDREN), []
    if status != 0:
        raise UserError(f"{clip}: cannot be tracked, not even undisturbed; name another clip: {words[-300:]!r}")
    if adapt and ADAPTED not in hashes(whole):
        raise UserError(f"{clip}: its adaptation was no better and not kept; name another clip")
    needed = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    for share in np.random.default_rng(seed).random(times).tolist():
        rows.append(kill_and_repeat([*command, str(folder)], folder, share * needed, hashes(whole)))
        print(*rows[-1], flush=True)
    cells = [[f"{row.second:.1f}", row.left, "yes" if row.orphans else "no", row.resumed, row.again] for row in rows]
    heads = ["killed after s of CPU time", "results there", "processes left", "the same command went on", "its results"]
    print(markdown_table(heads, cells))
    sys.exit(not all(row.good for row in rows))


if __name__ == "__main__":
    run("python -m selftrack.eval.checks.kills", kills=main)
