"""`track-batch` as a user types it, with the real network."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from selftrack.tracker import load


@pytest.fixture
def corpus(smile: Path, run: Callable) -> Path:
    """Two videos of one name and a broken one, in the folder of the command."""
    folder = Path("corpus")
    (folder / "b").mkdir(parents=True)
    shutil.copy(smile, folder / "smile.mp4")
    shutil.copy(smile, folder / "b" / "smile.mp4")
    (folder / "broken.mp4").write_bytes(smile.read_bytes()[:5000])
    return folder


def test_a_corpus_is_tracked_and_tracked_once(run: Callable, corpus: Path) -> None:
    command = ("track-batch", "corpus", "-o", "out", "--set", "track.duration=0.1", "--no-overlay")
    command += ("--export", "livelink", "--report", "--jobs", 1)  # several: tests/batch
    status, out, err = run(*command)
    assert status == 1 and "clips    3: 2 tracked, 1 failed" in out and "failed   broken.mp4: not a video file" in err
    assert "Traceback" not in err
    for name in ("smile.mp4", "b/smile.mp4"):
        files = {path.name for path in (Path("out") / name).iterdir()}
        assert files >= {"track.npz", "report.html", "smile_livelink.csv"} and "overlay.mp4" not in files
    one, other = (load(Path("out") / name) for name in ("smile.mp4", "b/smile.mp4"))
    np.testing.assert_array_equal(one.curve_values, other.curve_values)
    assert Path("out/index.html").exists() and len(Path("out/summary.csv").read_text().splitlines()) == 4
    age = Path("out/smile.mp4/track.npz").stat().st_mtime_ns
    status, out, err = run(*command)
    assert status == 1 and "clips    3: 2 done before, 1 failed before (--retry-failed tries these again)" in out
    assert "failed before broken.mp4: not a video file" in err
    Path("corpus/broken.mp4").unlink()
    status, out, _ = run(*command[:3], "out", "--no-overlay")
    assert status == 1 and "2 differs" in out
    assert run(*command)[0] == 0
    assert Path("out/smile.mp4/track.npz").stat().st_mtime_ns == age
    status, out, _ = run("track-batch", "--summary", "out")
    assert status == 0 and "clips    3: 2 done, 1 failed, 0 begun" in out


@pytest.mark.parametrize(
    "arguments,words",
    [
        ([], "needs clips and a folder"),
        (["corpus"], "needs clips and a folder"),
        (["gone.mp4", "-o", "out"], "gone.mp4: no such file or folder"),
        (["corpus", "-o", "out", "--shard", "3/2"], "I from 1 to N"),
        (["corpus", "-o", "out", "--jobs", "0"], "greater than or equal to 1"),
        (["corpus", "-o", "out", "--export", "gif"], "unknown format 'gif'"),
        (["corpus", "-o", "out", "--export", "flame"], "format flame needs --flame FILE and --flame-landmarks FILE"),
        (["corpus", "-o", "out", "--export", "csv,character"], "format character-csv needs --character RIG"),
        (["corpus", "-o", "out", "--set", "track.character=gone.rig"], "cwd/gone.rig: no such file"),
        (["corpus", "-o", "out", "--config", "corpus/several.yaml"], "faces: track-batch tracks one face of each clip"),
        (["corpus", "-o", "out", "--thorough"], "add --adapt"),
        (["corpus", "-o", "out", "--set", "track.size=3"], "there is no setting track.size"),
        (["corpus", "-o", "out", "--set", "track.weights=gone"], "cwd/gone: cannot be read"),
        (["corpus", "-o", "corpus/broken.mp4"], "is not a folder"),
        (["corpus", "-o", "corpus/broken.mp4/out"], "cannot write there"),
        (["corpus", "-o", "out", "--submitit", "gpu"], "--submitit needs --shards"),
        (["corpus", "-o", "out", "--shards", "3"], "--shards is for --submitit"),
        (["corpus", "-o", "out", "--ray", "local", "--shard", "1/2"], "leave --shard out"),
        (["corpus", "--summary", "out"], "leave the inputs"),
        (["--summary", "out"], "no batch has written there"),
    ],
)
def test_bad_input_is_one_line(run: Callable, corpus: Path, arguments: list[str], words: str) -> None:
    Path("corpus/several.yaml").write_text("faces: all\ntrack: {duration: 0.1}\n")
    status, out, err = run("track-batch", *arguments)
    assert status == 2 and out == "" and len(err.splitlines()) == 1 and words in err
    assert not Path("out").exists()


def test_help_lists_the_formats_that_a_batch_can_write(run: Callable) -> None:
    listed = run("track-batch", "--help")[1].split("Known are")[1].split(".")[0]
    names = {name.strip() for name in listed.split(",")}
    assert "livelink" in names and not names & {"flame", "reenact", "character-csv", "character-glb"}


def test_settings_of_a_recorded_stream(run: Callable, corpus: Path) -> None:
    """What is of the stream alone, and of one face in place of several, is nothing to a batch."""
    Path("mine.yaml").write_text("faces: null\nlive: {rest: 2.0}\ntrack: {duration: 0.1, overlay: false}\n")
    Path("corpus/broken.mp4").unlink()
    shutil.rmtree("corpus/b")
    assert run("track-batch", "corpus", "-o", "out", "--jobs", 1, "--config", "mine.yaml")[0] == 0
    assert len(load("out/smile.mp4")) == 3


def test_shards_share_a_corpus_out(run: Callable, corpus: Path) -> None:
    """Of clips that are there already, so that none is tracked."""
    for file in corpus.rglob("*.mp4"):
        file.write_bytes(b"broken")
    assert run("track-batch", "corpus", "-o", "out", "--jobs", 1)[0] == 1
    tallies = [run("track-batch", "corpus", "-o", "out", "--shard", f"{i}/3")[1] for i in (1, 2, 3)]
    assert sum(int(tally.split()[1].rstrip(":")) for tally in tallies) == 3
    names = {json.loads(file.read_text())["name"] for file in Path("out/.status").rglob("*.json")}
    assert names == {"smile.mp4", "b/smile.mp4", "broken.mp4"}
