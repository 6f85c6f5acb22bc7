"""`track serve` as a user starts it, with the real network."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

# processes in the background of a shell ignore Ctrl-C, and so would theirs
START = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
START += "from selftrack.cli.track import main; main()"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen, httpx.Client]]]:
    """`start()`: a process that serves in a folder, and a client of it."""
    processes = []

    def start() -> tuple[subprocess.Popen, httpx.Client]:
        command = [sys.executable, "-c", START, "serve", "--port", "0", "--set", "track.overlay=false"]
        process = subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        processes.append(process)
        found = re.match(
            r"serving at (http://127\.0\.0\.1:\d+/); its jobs are in track_jobs", process.stdout.readline()
        )
        return process, httpx.Client(base_url=found[1], timeout=60)

    yield start
    for process in processes:
        process.kill()
        process.wait()


def test_a_killed_service_goes_on_where_it_was(start: Callable, smile: Path) -> None:
    process, client = start()
    with client, open(smile, "rb") as clip:
        form = {"duration": "0.3", "exports": "livelink"}
        id = client.post("/jobs", files={"clip": ("smile.mp4", clip)}, data=form).json()["id"]
        state = ""
        while state != "running":
            state = client.get(f"/jobs/{id}").json()["state"]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    process, client = start()
    with client:
        deadline = time.monotonic() + 120
        while (job := client.get(f"/jobs/{id}").json())["state"] in ("queued", "running"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert job["state"] == "done" and job["clip"] == "smile.mp4"
        assert job["summary"]["frames"] == 9 and job["summary"]["lost"] == 0
        assert client.get(f"/jobs/{id}/results/clip_livelink.csv").text.count("\n") == 10
        assert client.get("/health").json()["jobs"]["done"] == 1
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in said


@pytest.mark.parametrize(
    "arguments,words",
    [
        (["--host", "0.0.0.0"], "protect it with --token"),
        (["--host", "192.0.2.1", "--token", "secret"], "192.0.2.1:8000: cannot listen there"),
        (["--token", "two words"], "without spaces"),
        (["--port", "70000"], "less than or equal to 65535"),
        (["--workers", "0"], "greater than or equal to 1"),
        (["--set", "serve.upload=0"], "serve.upload must be more than 0"),
        (["--set", "serve.uploads=1"], "did you mean serve.upload?"),
        (["--set", "track.start=1"], "each job says that for itself"),
        (["--set", "adapt.steps=1"], "settings begin with track, serve"),
        (["--weights", "gone.safetensors"], "gone.safetensors"),
        (["-o", "file"], "file: cannot write there"),
        (["clip.mp4"], "unexpected extra argument"),
    ],
)
def test_bad_input_is_one_line(run: Callable, arguments: list[str], words: str) -> None:
    Path("file").touch()
    status, out, err = run("track", "serve", *arguments)
    assert status == 2 and out == "" and len(err.splitlines()) == 1 and words in err
    assert not Path("track_jobs").exists() or not list(Path("track_jobs").glob("[!.]*"))
