"""What is the user's in a folder of results survives everything, byte for byte."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from selftrack.adapt import verdict as verdicts
from selftrack.tracker.sources.opening import open_source

COLLIDING = {"config.yaml": "my settings", "report.html": "my report", "texture.png": "my picture"}
OTHER = {"notes.txt": "my notes", "sub/track.npz": "my other track", "clip.mp4": "my clip"}
SHORT = ("--duration", 0.2, "--no-overlay")
SETTINGS = (
    "adapt.steps=6",
    "adapt.evaluate=3",
    "adapt.texels=200",
    "adapt.texture=64",
    "adapt.groups=2",
    "track.person.samples=4",
)
QUICK = tuple(part for setting in SETTINGS for part in ("--set", setting))


def put(folder: Path, files: dict[str, str]) -> Path:
    """Write the user's files."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """All files below a folder, but for what the tracker keeps for itself."""
    files = [path for path in folder.rglob("*") if path.is_file() and ".selftrack" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("name", COLLIDING)
def test_files_of_our_names_are_refused(run: Callable, smile: Path, name: str) -> None:
    """Whatever is asked for, it ends with one line before anything is written."""
    folder = put(Path("mine"), {name: COLLIDING[name], **OTHER})
    before = content(folder)
    for more in ((), ("--overwrite",), ("--adapt",), ("--report", "--overwrite")):
        status, _, err = run("track", smile, "-o", folder, *SHORT, *more)
        assert status == 2 and f"has a file {name} that this program did not write" in err
        assert len(err.splitlines()) == 1 and content(folder) == before


def test_other_files_stay_beside_the_results(run: Callable, smile: Path, make_clip: Callable[..., Path]) -> None:
    """Through a run, another with --overwrite, one that fails, one without a face, a report and an export."""
    folder = put(Path("mine"), OTHER)
    own = content(folder)

    def theirs() -> dict[str, bytes]:
        return {name: data for name, data in content(folder).items() if name in own}

    assert run("track", smile, "-o", folder, *SHORT)[0] == 0
    assert theirs() == own and set(content(folder)) == set(own) | {"track.npz", "curves.csv", "config.yaml"}
    assert run("track", smile, "-o", folder, *SHORT, "--overwrite")[0] == 0
    after = content(folder)
    assert run("track", smile, "-o", folder, *SHORT, "--overwrite", "--start", 99)[0] == 2
    assert content(folder) == after
    black = smile.with_name("lost.mp4")  # its frames 12 to 23 show no face
    status, _, err = run("track", black, "-o", folder, "--start", 0.5, "--duration", 0.2, "--overwrite")
    assert status == 3 and "no face was found" in err.splitlines()[-1]
    assert content(folder) == after
    put(folder, {"smile.csv": "my own curves"})
    status, _, err = run("track-export", folder, "--to", "csv")
    assert status == 2 and "smile.csv" in err
    assert (folder / "smile.csv").read_text() == "my own curves" and theirs() == own


def test_clips_of_one_name_do_not_share_a_folder(run: Callable, smile: Path) -> None:
    """The refusal names the other clip and the way out; of the same clip, whatever it is, it is an earlier run."""
    for name in ("clip.mp4", "clip.mov"):
        shutil.copy(smile, name)
    with open_source(smile) as source:
        Path("shot").mkdir()
        for frame in source.frames(only=range(3)):
            cv2.imwrite(f"shot/clip{frame.index}.png", frame.image[..., ::-1])
    other = f"clip_track: holds the results of another clip, {Path('clip.mp4').resolve()}; name a folder for these "
    assert run("track", "clip.mp4", *SHORT)[0] == 0
    for clip in ("clip.mov", "shot/clip%d.png"):
        for more in ((), ("--adapt",)):
            status, _, err = run("track", clip, *SHORT, *more)
            assert status == 2 and other + "with -o" in err and len(err.splitlines()) == 1
    for clip in ("shot", "shot/clip%d.png", "shot/*.png"):
        assert run("track", clip, *SHORT, "-o", "pictures", "--overwrite")[0] == 0
        status, _, err = run("track", clip, *SHORT, "-o", "pictures")
        assert status == 2 and "pictures: has the results of an earlier run; replace them with --overwrite" in err
    status, _, err = run("track", Path("clip.mp4").resolve(), *SHORT)
    assert status == 2 and "clip_track: has the results of an earlier run; replace them with --overwrite" in err


def test_a_report_replaces_no_report_of_the_users(run: Callable, smile: Path) -> None:
    assert run("track", smile, "-o", "mine", *SHORT)[0] == 0
    put(Path("mine"), {"report.html": "my report", "annotate.html": "my page"})
    before = content(Path("mine"))
    for more in ((), ("--annotate",)):
        status, _, err = run("track-eval", "mine", *more)
        assert status == 2 and "did not write" in err.splitlines()[-1]
        assert content(Path("mine")) == before


def test_an_adaptation_waits_for_its_clip_to_be_tracked(
    run: Callable, smile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command goes on with tracking at once, says so, and gives what an uninterrupted run gives."""
    judged = verdicts._verdict  # of so short a clip it may be no better
    monkeypatch.setattr(verdicts, "_verdict", lambda *args, **named: replace(judged(*args, **named), kept=True))
    command = ("track", smile, "--adapt", "--duration", 0.4, "--no-overlay", *QUICK)
    status, out, _ = run(*command, "-o", "whole")
    assert status == 0 and "resuming" not in out and " s of adaptation" in out
    with monkeypatch.context() as patch:
        patch.setattr("selftrack.tracker.results.texture.write_texture", press)  # the last of what is written
        patch.setattr("selftrack.adapt.clips.write_texture", press)
        assert run(*command, "-o", "part")[0] == 130
    assert content(Path("part")) == {} and Path("part/.selftrack/adaptation.checkpoint").exists()
    monkeypatch.setattr("selftrack.adapt.run.read_clip", lambda *_: pytest.fail("adapts anew"))
    status, _, err = run(*command, "-o", "part")
    assert status == 0 and "resuming after the adaptation" in err
    whole, part = content(Path("whole")), content(Path("part"))
    varying = {"adapted.safetensors", "track.npz"}  # order and times within the files
    assert {n: d for n, d in part.items() if n not in varying} == {n: d for n, d in whole.items() if n not in varying}
    assert set(part) == set(whole) > varying and not Path("part/.selftrack/adaptation.checkpoint").exists()
    for folder in ("whole", "part"):
        assert stat.S_IMODE(Path(folder, "adapted.safetensors").stat().st_mode) == 0o666 & ~umask()


def press(*_: object) -> None:
    """Ctrl-C."""
    raise KeyboardInterrupt


def umask() -> int:
    """Of this process."""
    now = os.umask(0)
    os.umask(now)
    return now


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_twice(smile: Path, tmp_path: Path) -> None:
    """The first ends the adaptation with the best state so far, the next ends all; the folder is as it was.

    Two that come while one long computation runs are one to Python, so it is pressed until the process has ended.
    """
    # processes in the background of a shell ignore Ctrl-C, and so would theirs
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program += "from selftrack.cli.track import main; main()"
    folder = put(tmp_path / "mine", OTHER)
    own = content(folder)
    command = [sys.executable, "-c", program, smile, "-o", folder, "--adapt", "--duration", 0.5]
    with subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("read") and "15/15" in line:
                break
        while process.poll() is None:
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode not in (0, None) and "Traceback" not in rest, rest
    assert content(folder) == own and [path.name for path in tmp_path.iterdir()] == ["mine"]
