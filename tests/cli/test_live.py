"""`track live` as a user types it, by the bundled clip and receivers in this process."""

import io
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import numpy as np
import pytest
import yaml

from selftrack.adapt.live import background
from selftrack.adapt.live.process import Job
from selftrack.tracker import load
from selftrack.tracker.frame_result import FrameResult
from selftrack.tracker.live.capture import Shot
from selftrack.tracker.live.session import LiveSession, Say
from selftrack.tracker.network.weights import WEIGHTS
from selftrack.tracker.results.track_file import Track


class Receiver:
    """Counts what comes to a port of this machine."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.1)
        self.port, self.packets, self._over = self._socket.getsockname()[1], [], False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while not self._over:
            try:
                self.packets.append(self._socket.recv(65535))
            except TimeoutError:
                continue

    def close(self) -> list[bytes]:
        """All that came."""
        time.sleep(0.3)
        self._over = True
        self._thread.join()
        self._socket.close()
        return self.packets


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def test_a_clip_is_sent_and_recorded(run: Callable, smile: Path, receiver: Receiver) -> None:
    """Each frame once; the recording is an ordinary one, of the same curves as the packets."""
    where = f"livelink=127.0.0.1:{receiver.port}"
    status, out, err = run("track", "live", "--source", smile, "--duration", "0.5", "--send", where, "-o", "rec")
    assert (status, err) == (0, f"tracking: sent to {where}, recorded into rec; Ctrl-C ends\n")
    packets = receiver.close()
    assert len(packets) == 15 and "frames   15, lost 0, dropped 0" in out and "95 % under" in out and where in out
    assert {path.name for path in Path("rec").iterdir()} == {"track.npz", "curves.csv", "config.yaml", ".selftrack"}
    track = load("rec")
    assert track.ok.all() and track.size == (640, 360) and Path(track.clip) == smile.resolve()
    sent = np.array([np.frombuffer(packet[-244:], ">f4") for packet in packets])
    assert all(packet[-245] == 61 for packet in packets)
    np.testing.assert_allclose(sent[:, :52], track.curve_values, atol=1e-6)
    np.testing.assert_allclose(sent[:, 52], np.radians(track.pose()["yaw"]), atol=1e-5)
    status, out, _ = run("track-export", "rec", "--to", "vmc")
    assert status == 0 and Path("rec/smile_vmc.jsonl").read_text().count("\n") == 15


def test_at_its_own_speed_and_smoothed(run: Callable, smile: Path, receiver: Receiver) -> None:
    """Frames may be dropped; then the recording is of no clip that could be read again."""
    where = f"osc=127.0.0.1:{receiver.port}"
    status, out, _ = run(
        "track", "live", "--source", smile, "--realtime", "--smooth", "--send", where, "-o", "rec", "--duration", "1"
    )
    assert status == 0 and out.startswith("frames   ")
    track = load("rec")
    assert 1 <= len(track) <= 30 and track.clip == "smile"
    np.testing.assert_allclose(track.times * 30, np.round(track.times * 30), atol=0.01)
    settings = yaml.safe_load(Path("rec/config.yaml").read_text())
    assert settings["live"]["smooth"] is True and settings["track"]["duration"] == 1.0
    assert len(receiver.close()) >= len(track)
    judged, out, err = run("track-eval", "rec")
    assert (judged, out) == (2, "") and len(err.splitlines()) == 1 and not Path("rec/report.html").exists()
    assert "recorded live, from smile" in err and "film into a file and track that" in err and "put it back" not in err
    again = run("track", "live", "--source", smile, "--config", "rec/config.yaml", "-o", "again", "--duration", "0.1")
    assert again[0] == 0 and len(load("again")) == 3
    assert run("track", smile, "--config", "rec/config.yaml", "-o", "tracked", "--duration", "0.1")[0] == 0


def test_settings_of_several_faces(run: Callable, smile: Path) -> None:
    """A stream follows one face: what of a config.yaml is of several is nothing to it."""
    Path("mine.yaml").write_text("faces: all\ntrack: {duration: 0.1}\n")
    assert run("track", "live", "--source", smile, "--config", "mine.yaml", "-o", "rec")[0] == 0
    assert len(load("rec")) == 3


def test_the_rest_of_the_first_seconds(run: Callable, smile: Path) -> None:
    """The bundled clip begins at rest: half a second of that is taken, said, and kept with the track."""
    status, _, err = run("track", "live", "--source", smile, "--rest", "0.5", "--duration", "0.8", "-o", "rec")
    assert status == 0
    assert err.splitlines() == [
        "calibrating: keep a relaxed face for 0.5 s",
        "tracking: recorded into rec; Ctrl-C ends",
        "calibrated: the face at rest is known",
    ]
    track = load("rec")
    assert track.rest.any()
    status, _, err = run("track", "live", "--source", smile, "--calibration", "rec", "--duration", "0.1", "-o", "known")
    assert (status, err) == (0, "tracking: recorded into known; Ctrl-C ends\n")
    np.testing.assert_array_equal(load("known").rest, track.rest)


class _Keys(io.StringIO):
    """A terminal at which nobody types."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("rest", "unknown"), [("0", "no rest was taken; "), ("0.5", "")])
def test_a_terminal_is_told_of_the_key(
    run: Callable, smile: Path, monkeypatch: pytest.MonkeyPatch, rest: str, unknown: str
) -> None:
    """And whether there is a rest without it."""
    monkeypatch.setattr(sys, "stdin", _Keys())
    _, _, err = run("track", "live", "--source", smile, "--rest", rest, "--duration", "0.1", "-o", "rec")
    assert err.splitlines()[-1] == f"{unknown}Enter calibrates: it takes the face of the next seconds for its rest"


def test_what_was_learned_is_recorded(run: Callable, smile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a stand-in that has learned the bundled weights as soon as it has been shown a frame."""

    class Learns:
        def __init__(self, job: Job, session: LiveSession, say: Say) -> None:
            self._frames = 0

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *exc: object) -> None:
            assert self._frames == 3

        def watch(self, shot: Shot, result: FrameResult) -> None:
            self._frames += result.ok

        def save(self, folder: Path) -> None:
            (folder / "adapted.safetensors").write_bytes(WEIGHTS.read_bytes())

    monkeypatch.setattr(background, "BackgroundAdaptation", Learns)
    short = ("--source", smile, "--duration", "0.1")
    status, out, _ = run("track", "live", *short, "--adapt-in-background", "-o", "rec")
    assert status == 0 and "rec: track.npz, curves.csv, config.yaml, adapted.safetensors" in out
    assert run("track", "live", *short, "--weights", "rec/adapted.safetensors", "-o", "again")[0] == 0
    np.testing.assert_array_equal(load("again").curve_values, load("rec").curve_values)


def test_a_stream_that_ends_before_it_was_adapted_to(run: Callable, smile: Path) -> None:
    """It says so, its process ends, and what was tracked is there."""
    status, _, err = run("track", "live", "--source", smile, "--adapt-in-background", "--duration", "0.1", "-o", "rec")
    assert status == 0
    assert err.splitlines()[1:] == ["adapting in the background: the stream ended before that was done"]
    assert len(load("rec")) == 3 and not multiprocessing.active_children()


def test_ctrl_c_ends_it_and_keeps_the_recording(run: Callable, smile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from selftrack.tracker.tracker import Tracker

    before, handler, call = [], signal.getsignal(signal.SIGINT), Tracker.__call__

    def interrupted(self: Tracker, *arguments: object) -> object:
        before.append(1)
        if len(before) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return call(self, *arguments)

    monkeypatch.setattr(Tracker, "__call__", interrupted)
    status, out, _ = run("track", "live", "--source", smile, "-o", "rec")
    assert status == 0 and "frames   4, lost 0" in out and len(load("rec")) == 4
    assert signal.getsignal(signal.SIGINT) == handler


@pytest.mark.parametrize(
    "arguments, why",
    [
        ([], "nothing would come of it; name a place with --send"),
        (["--send", "vmc="], "--send takes KIND or KIND=HOST:PORT, such as livelink=127.0.0.1:11111; got 'vmc='"),
        (["--send", "tv=host:1"], "there is no kind 'tv'; there are livelink, osc, vmc, ws"),
        (["--source", "no.mp4", "-o", "rec"], "--source no.mp4: no such file; name a video"),
        (["--source", "3", "-o", "rec"], "--source 3: no such file; a camera is named with --camera 3"),
        (["--camera", "1", "--source", "CLIP", "-o", "rec"], "--camera and --source exclude each other"),
        (["--realtime", "-o", "rec"], "--realtime is how a file is played"),
        (["--set", "track.start=2", "-o", "rec"], "track.start: a camera has no such setting"),
        (["--source", "CLIP", "--set", "track.overlay=true", "-o", "rec"], "pictures are not kept"),
        (["--source", "CLIP", "--set", "live.smoothly=true", "-o", "rec"], "there is no setting live.smoothly"),
        (["--source", "CLIP", "--set", "adapt.steps=3", "-o", "rec"], "settings begin with track, live"),
        (
            ["--source", "CLIP", "-o", "rec", "--adapt-in-background", "--set", "track.identity=per-frame"],
            "--adapt-in-background learns one identity",
        ),
        (["--source", "CLIP", "-o", "rec", "--adapt-in-background", "--set", "adapt.step=3"], "no setting adapt.step"),
        (["--camera", "77", "-o", "rec"], "camera77: cannot be opened; is it connected"),
        (["--play", "no.jsonl"], "--play needs a place to send to"),
        (
            ["--play", "no.jsonl", "--send", "osc=127.0.0.1"],
            "no.jsonl: cannot be read (No such file or directory); name a file of --to osc or --to vmc",
        ),
        (["--play", "CLIP", "--send", "osc=127.0.0.1"], "smile.mp4: "),
        (["--play", "no.jsonl", "--send", "ws=127.0.0.1"], "can be sent to osc and vmc alone"),
        (["--play", "no.jsonl", "--send", "osc=127.0.0.1", "--camera", "0"], "--play sends what was tracked before"),
        (["--play", "no.jsonl", "--send", "osc=127.0.0.1", "--rest", "0"], "--play sends what was tracked before"),
        (["--source", "CLIP", "-o", "rec", "--rest", "-1"], "rest must be seconds, 0 or more; got -1.0"),
        (["--source", "CLIP", "-o", "rec", "--rest", "inf"], "rest must be seconds, 0 or more; got inf"),
        (
            ["--source", "CLIP", "-o", "rec", "--set", "live.recalibration=nan"],
            "recalibration must be seconds, 0 or more",
        ),
        (["--source", "none/*.png", "-o", "rec"], "--source none/*.png: no such file; name a video"),
        (["--source", "CLIP", "-o", "full"], "full: has a file track.npz that this program did not write"),
    ],
)
def test_bad_input_in_one_line(run: Callable, smile: Path, arguments: list[str], why: str) -> None:
    Path("full").mkdir()
    Path("full/track.npz").write_text("mine")
    status, _, err = run("track", "live", *(smile if argument == "CLIP" else argument for argument in arguments))
    assert status == 2 and len(err.strip().splitlines()) == 1 and err.startswith("track live: ") and why in err
    assert {path.name for path in Path().iterdir()} == {"full"} and Path("full/track.npz").read_text() == "mine"


def test_a_file_of_messages_is_played(run: Callable, make_track: Callable[..., Track], receiver: Receiver) -> None:
    handler = signal.getsignal(signal.SIGINT)
    make_track([2.0, 2.04, 2.08], {"jawOpen": 0.5}).save(Path())
    assert run("track-export", ".", "--to", "osc", "-o", "take.jsonl")[0] == 0
    where = f"osc=127.0.0.1:{receiver.port}"
    status, out, err = run("track", "live", "--play", "take.jsonl", "--send", where)
    assert (status, err) == (0, "") and out == f"frames   3\nsent     {where}\n"
    assert sum(b"/frame/time" in packet for packet in receiver.close()) == 3
    assert signal.getsignal(signal.SIGINT) == handler


def test_a_clip_that_is_called_live(run: Callable, smile: Path) -> None:
    Path("live").symlink_to(smile)
    assert run("track", "./live", "--duration", "0.1", "--no-overlay")[0] == 0
    assert len(load("live_track")) == 3


def test_no_display(run: Callable, smile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    status, _, err = run("track", "live", "--source", smile, "--preview", "--duration", "0.1")
    assert status == 0 and err.startswith("no preview: there is no display here")
