"""Streams of pictures with the made-up model, whose face is where the picture's grey level says."""

import json
import math
import re
import textwrap
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from selftrack.errors import UserError
from selftrack.service.stream import Newest, Shot, decode, read_time
from selftrack.tracker.rows import NoRows
from selftrack.tracker.sources.opening import open_source
from selftrack.tracker.tracker import Tracker


def picture(number: int, kind: str = ".png", size: tuple[int, int] = (100, 120)) -> bytes:
    """A file of a picture of which the made-up model knows the number."""
    return cv2.imencode(kind, np.full((*size, 3), 5 * number + 5, np.uint8))[1].tobytes()


@contextmanager
def stream(service: object) -> Iterator[ClientConnection]:
    """A connection."""
    with connect(f"ws://127.0.0.1:{service.port}/stream") as socket:
        yield socket


def ask(socket: ClientConnection, *messages: str | bytes) -> dict:
    """Send messages, and read an answer."""
    for message in messages:
        socket.send(message)
    return json.loads(socket.recv(timeout=30))


@pytest.mark.parametrize("kind", [".png", ".jpg"])
def test_each_picture_is_answered_by_its_curves(serve: Callable, kind: str) -> None:
    with stream(serve()) as socket:
        for number in range(4):
            said = ask(socket, json.dumps({"time": number / 25}), picture(number, kind))
            assert set(said) == {"time", "ok", "confidence", "curves", "head", "frame", "dropped"}
            assert (said["time"], said["frame"], said["dropped"], said["ok"]) == (number / 25, number, 0, True)
            assert len(said["curves"]) == 52 and said["curves"]["mouthSmileLeft"] == 0.25
            # the true pose of conftest's `true_pose`
            assert said["head"]["tx"] == pytest.approx(60 + number, abs=0.1)
            assert said["head"]["scale"] == pytest.approx(math.exp(5.5 + 0.01 * number), rel=1e-3)
            assert said["head"]["roll"] == pytest.approx(math.degrees(0.02 * number), abs=0.1)


def test_what_is_no_picture_is_answered_by_a_line(serve: Callable) -> None:
    with stream(serve(pixels=0.02)) as socket:
        for message, words in (
            (b"GIF89a", "JPEG or PNG"),
            (picture(1)[:60], "JPEG or PNG"),
            (b"", "JPEG or PNG"),
            (picture(1, size=(200, 200)), "0.02 megapixels; got 200x200"),
            ("rubbish", "is the time of the next picture"),
            ('{"time": NaN}', "is the time of the next picture"),
            ('{"time": true}', "is the time of the next picture"),
        ):
            said = ask(socket, message)
            assert set(said) == {"error", "frame", "dropped"} and words in said["error"]
            assert "\n" not in said["error"]
        assert ask(socket, '{"time": 5}', picture(1))["ok"]
        assert "before the last one's" in ask(socket, '{"time": 4}', picture(2))["error"]
        assert ask(socket, '{"time": 5}', picture(2, size=(120, 100)))["ok"]  # the camera was turned


def test_each_connection_has_a_tracker_of_its_own(serve: Callable) -> None:
    service = serve(connections=2)
    with stream(service) as one, stream(service) as other:
        for number in (3, 0, 2):
            assert ask(one, picture(number))["head"]["tx"] == pytest.approx(60 + number, abs=0.1)
            assert ask(other, picture(5, size=(90, 110)))["head"]["tx"] == pytest.approx(65, abs=0.1)
        assert service.http.get("/health").json()["streams"] == 2
        with pytest.raises(InvalidStatus) as refused, stream(service):
            pass
        assert refused.value.response.status_code == 503
        assert json.loads(refused.value.response.body)["error"].startswith("2 streams are open")


def test_streams_at_a_time_have_the_curves_of_a_tracker_alone(serve: Callable, smile: Path) -> None:
    """With the real network, whose interpreters are one a thread: the frames of each in turn, asked for at once."""
    service = serve("load_real")
    with open_source(smile, start=1.0, duration=0.2) as source:
        frames = [(frame.time, frame.image) for frame in source]
    orders = (frames, [(time, image[:, ::-1]) for time, image in frames])
    with ExitStack() as stack:
        sockets = [stack.enter_context(stream(service)) for _ in orders]
        trackers = [Tracker(service.service.model, rows=NoRows()) for _ in orders]
        for pair in zip(*orders, strict=True):
            for socket, (time, image) in zip(sockets, pair, strict=True):
                socket.send(json.dumps({"time": time}))
                socket.send(cv2.imencode(".png", image[..., ::-1])[1].tobytes())
            for socket, tracker, (time, image) in zip(sockets, trackers, pair, strict=True):
                said, alone = json.loads(socket.recv(timeout=60)), tracker(np.ascontiguousarray(image), time)
                assert said["ok"] and alone.ok
                assert said["curves"] == pytest.approx(alone.curves, abs=1e-4)


def test_odd_pictures_end_no_stream(serve: Callable) -> None:
    """With the real network: grey, four channels, 16 bits, a size of almost nothing."""
    with stream(serve("load_real")) as socket:
        for image in (
            np.zeros((1, 1), np.uint8),
            np.zeros((1, 900, 3), np.uint8),
            np.zeros((64, 64, 4), np.uint8),
            np.full((48, 64), 40_000, np.uint16),
        ):
            assert ask(socket, cv2.imencode(".png", image)[1].tobytes())["ok"] is False


def test_a_place_is_free_again(serve: Callable, until: Callable) -> None:
    service = serve(connections=1)
    for _ in range(3):
        with stream(service) as socket:
            assert ask(socket, picture(1))["ok"]
        until(lambda: service.http.get("/health").json()["streams"] == 0)


def test_the_newest_picture_wins(serve: Callable) -> None:
    """All at once: those that were left out are counted, and the last one is answered."""
    with stream(serve("load_slow")) as socket:
        for number in range(10):
            socket.send(picture(number))
        answers = []
        while not answers or answers[-1]["frame"] < 9:
            answers.append(json.loads(socket.recv(timeout=30)))
    frames = [said["frame"] for said in answers]
    assert frames == sorted(frames) and frames[-1] == 9
    assert answers[-1]["dropped"] == 10 - len(answers) > 0
    assert [said["head"]["tx"] for said in answers] == pytest.approx([60 + n for n in frames], abs=0.1)


def test_newest_counts_what_it_leaves_out() -> None:
    newest = Newest()
    for number in range(3):
        newest.put(Shot(number, b"", 0.0))
    assert newest.dropped == 2


def test_a_message_that_is_too_large_ends_the_stream(serve: Callable) -> None:
    with stream(serve(picture=0.01)) as socket:
        socket.send(bytes(20_000))
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=30)
    assert closed.value.rcvd.code == 1009


def test_an_idle_stream_is_ended(serve: Callable) -> None:
    with stream(serve(idle=0.3)) as socket, pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout=30)
    assert closed.value.rcvd.code == 1008 and "0.3 s" in json.loads(closed.value.rcvd.reason)["error"]


def test_a_bomb_is_not_unpacked() -> None:
    """A small PNG of many pixels is refused by its head alone."""
    small = picture(1)
    head = small[12:16] + (8_000).to_bytes(4, "big") * 2 + small[24:29]
    with pytest.raises(UserError, match="9 megapixels; got 8000x8000"):
        decode(small[:12] + head + zlib.crc32(head).to_bytes(4, "big") + small[33:], 9)


def test_the_client_of_the_documentation_runs(
    serve: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "service.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^    import asyncio.*?^    asyncio\.run.*?$", page, re.M | re.S)
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    (tmp_path / "frames").mkdir()
    for number in range(3):
        (tmp_path / "frames" / f"{number}.jpg").write_bytes(picture(number, ".jpg"))
    monkeypatch.chdir(tmp_path)
    exec(textwrap.dedent(code).replace(":8000", f":{serve().port}"), {})
    assert capsys.readouterr().out == "0.0\n" * 3


@pytest.mark.parametrize("text", ["", "[]", '{"time": "1"}', '{"time": null}', '{"time": 1e999}', "{", "1", "[" * 9999])
def test_times_are_numbers(text: str) -> None:
    with pytest.raises(UserError, match="is the time of the next picture"):
        read_time(text)
    assert read_time('{"time": 2}') == 2.0
