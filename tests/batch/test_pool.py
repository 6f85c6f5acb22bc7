"""Processes of one machine: one that dies takes its clip with it and no other."""

from pathlib import Path
from types import ModuleType

import pytest

from selftrack.batch.clips import Clip
from selftrack.batch.pool import default_jobs, run_pool
from selftrack.batch.process import cores

NAMES = ("a", "b", "deadly", "c", "once", "d")


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_killed_process_fails_only_its_clip(mortal: ModuleType, tmp_path: Path, jobs: int) -> None:
    clips = [Clip(name, f"/{name}") for name in NAMES]
    ends = {clip.name: end for clip, end in run_pool(mortal.Mortal(tmp_path), clips, jobs)}
    assert "SIGKILL" in ends.pop("deadly")
    assert ends == dict.fromkeys(("a", "b", "c", "once", "d"), "tracked")
    lines = (tmp_path / "log.txt").read_text().splitlines()
    threads = max(1, cores() // jobs)
    assert sorted(lines) == sorted(f"{threads} {name}" for name in (*NAMES, "deadly", "once"))


def test_processes_end_with_the_iterator(mortal: ModuleType, tmp_path: Path) -> None:
    outcomes = run_pool(mortal.Mortal(tmp_path), [Clip(name, f"/{name}") for name in "abcdef"], 1)
    assert next(outcomes) == (Clip("a", "/a"), "tracked")
    outcomes.close()
    assert len((tmp_path / "log.txt").read_text().splitlines()) <= 2


def test_there_is_a_process_at_least_and_one_a_core_at_most() -> None:
    assert 1 <= default_jobs() <= cores()
