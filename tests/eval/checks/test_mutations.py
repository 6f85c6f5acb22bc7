"""Broken files: made as they are said to be, and each of a sample ends in a result or in one line."""

from pathlib import Path

import numpy as np
import pytest

from selftrack.eval.checks import mutations
from selftrack.eval.checks.mutations import (
    BAD,
    GOOD,
    KINDS,
    WAYS,
    Ending,
    Kind,
    _judged,
    cut,
    flipped,
    mutated,
    read_all,
    read_to_the_end,
    small_clip,
    table,
)

RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(6)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_broken_file_is_read_or_refused_in_one_line(kind: Kind, tmp_path: Path) -> None:
    whole = small_clip(kind, IMAGES, tmp_path)
    assert read_to_the_end(whole).about.startswith(f"{len(IMAGES)} frames")
    for way in WAYS:
        for number in range(4):
            rng = np.random.default_rng([number, *way.encode()])
            broken = mutated(whole, way, rng, tmp_path / f"{way}_{number}_{kind.name}")
            ending = read_to_the_end(broken)
            assert ending.outcome in GOOD, (broken, ending)


def test_bits_are_flipped_and_parts_are_cut() -> None:
    data = RNG.bytes(5000)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        bits = np.unpackbits(np.frombuffer(flipped(data, rng), np.uint8)) != np.unpackbits(
            np.frombuffer(data, np.uint8)
        )
        assert 0 < bits.sum() <= 64
        assert cut(data, rng) != data


def test_crashes_and_hangs_are_told_and_the_next_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = small_clip(KINDS[0], IMAGES, tmp_path)
    crash, hang = tmp_path / "crash.mp4", tmp_path / "hang.mp4"
    script = """
import os, time
from selftrack.eval.checks import mutations
real = mutations.read_to_the_end
def read(path):
    if path.stem == "crash":
        os.abort()
    if path.stem == "hang":
        time.sleep(60)
    return real(path)
mutations.read_to_the_end, mutations._READ_LIMIT = read, 1
mutations._serve()
"""
    monkeypatch.setattr(mutations, "_READER", script)
    endings = list(read_all([clip, crash, hang, clip], tmp_path / "log"))
    assert [ending.outcome for ending in endings] == ["read", "crash", "hang", "read"]
    assert 10 < endings[0].memory < mutations.MEMORY and "SIGABRT" in endings[1].about or "Abort" in endings[1].about


@pytest.mark.parametrize(
    ("status", "said", "written", "peak", "outcome"),
    [
        (0, "", True, 500, "read"),
        (2, "track: a.mp4: not a video\n", False, 500, "refused in one line"),
        (3, "track: a.mp4: no face\n", False, 500, "refused in one line"),
        (2, "libpng error\ntrack: a.png: cut off\n", False, 500, "several lines"),
        (1, "Traceback (most recent call last):\n...", False, 500, "traceback"),
        (2, "track: full\n", True, 500, "half a result"),
        (0, "", False, 500, "half a result"),
        (0, "", True, 2500, "too much memory"),
        (-11, "", False, 500, "crash"),
        (None, "", False, 500, "hang"),
    ],
)
def test_a_run_is_judged(
    status: int | None, said: str, written: bool, peak: float, outcome: str, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    if written:
        output.mkdir()
        (output / "track.npz").touch()
    assert _judged(status, said, output, peak) == outcome and outcome in (*GOOD, *BAD)
    (tmp_path / ".out-abcdefgh.selftrack").mkdir()
    if status is not None and status >= 0 and "Traceback" not in said:
        assert _judged(status, said, output, peak) == "half a result"


def test_the_table_counts() -> None:
    endings = [("a.mp4", Ending("read", "", 100)), ("a.mp4", Ending("hang", "", 0)), ("b", Ending("read", "", 300))]
    lines = table(endings, "kind").splitlines()
    assert lines[0] == "| kind | read | hang | MB at most |"
    assert lines[2:] == ["| a.mp4 | 1 | 1 | 100 |", "| b | 1 | 0 | 300 |", "| **all** | 2 | 1 | 300 |"]
