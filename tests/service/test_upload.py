"""What is refused before it is a job: by its size, kind, length and fields, each with a status and one line."""

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pytest


def told(answer: httpx.Response, status: int) -> str:
    """The line of a refusal with that status."""
    assert answer.status_code == status, answer.text
    said = answer.json()
    assert list(said) == ["error"] and "\n" not in said["error"]
    return said["error"]


@pytest.fixture
def empty(serve: Callable, tmp_path: Path) -> Iterator:
    """A service of narrow limits, in which nothing is left of what it refuses."""
    service = serve(upload=0.1, length=0.5, pixels=0.02, idle=0.5)
    yield service
    assert {path.name for path in (tmp_path / "jobs").iterdir()} == {".lock"}
    assert service.http.get("/jobs").json() == []


def test_bad_forms_are_one_line_each(empty: object, tiny: Path, long: Path, make_clip: Callable) -> None:
    wide = make_clip("wide.mp4", [np.full((200, 200, 3), 90, np.uint8)] * 2)
    text = tiny.with_name("text.mp4")
    text.write_text("no video")
    assert "is no video by its name" in told(empty.post(tiny, "take.exe"), 415)
    assert "is no video by its name" in told(empty.post(tiny, "../../take"), 415)
    assert told(empty.post(text, "my.mp4"), 415).startswith("my.mp4: ")
    assert "0.02 megapixels" in told(empty.post(wide), 422)
    assert "0.5 s may be tracked, not 1.6" in told(empty.post(long), 422)
    for field, value, words in (
        ("adapt", "perhaps", "boolean"),
        ("start", "-1", "greater than or equal to 0"),
        ("start", "nan", "finite"),
        ("start", "9", "take.mp4"),
        ("duration", "0", "greater than 0"),
        ("face", "1.5", "integer"),
        ("exports", "gif", "unknown format 'gif'"),
        ("weights", "/etc/passwd", "there is no field 'weights'; there are clip, adapt"),
    ):
        assert words in told(empty.post(tiny, **{field: value}), 422), field
    assert "longer than" in told(empty.post(tiny, exports="x" * 5000), 413)
    assert "multipart/form-data" in told(empty.http.post("/jobs", json={"clip": "a.mp4"}), 415)
    assert "has no clip" in told(empty.http.post("/jobs", files={"other": (None, "1")}), 422)
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    assert "is no form" in told(empty.http.post("/jobs", content=b"rubbish", headers=kind), 422)
    part = b'--x\r\nContent-Disposition: form-data; name="clip"; filename="a.mp4"\r\n\r\n'
    assert "has no end" in told(empty.http.post("/jobs", content=part + b"half", headers=kind), 422)


def test_a_clip_that_is_too_large_is_not_kept(empty: object, tmp_path: Path) -> None:
    """Neither where its size is said before, nor where it comes in pieces of which nobody says how many."""
    head = b'--x\r\nContent-Disposition: form-data; name="clip"; filename="a.mp4"\r\n\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    with socket.create_connection(("127.0.0.1", empty.port)) as raw:
        said = f"POST /jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind['Content-Type']}\r\n"
        raw.sendall(f"{said}Content-Length: 5000000000\r\n\r\n".encode())
        assert raw.recv(1000).startswith(b"HTTP/1.1 413 ")
    sent = most = 0

    def pieces() -> Iterator[bytes]:
        nonlocal sent, most
        yield head
        while sent < 3_000_000:
            sent += 10_000
            yield bytes(10_000)
            with suppress(FileNotFoundError):  # it may be gone between the two
                most = max([most, *(file.stat().st_size for file in (tmp_path / "jobs").glob("*/clip.mp4"))])

    assert "0.1 MB" in told(empty.http.post("/jobs", content=pieces(), headers=kind), 413)
    assert most <= 120_000


def test_a_slow_upload_is_ended(empty: object) -> None:
    with socket.create_connection(("127.0.0.1", empty.port)) as raw:
        raw.sendall(
            b"POST /jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            b"Content-Length: 1000\r\n\r\n--x\r\n"
        )
        answer = b""
        while not answer.endswith(b"}"):
            answer += raw.recv(1000)
        assert answer.startswith(b"HTTP/1.1 408 ") and b"nothing came for 0.5 s" in answer


def test_a_clip_is_streamed_to_the_disk(serve: Callable, tiny: Path, tmp_path: Path, until: Callable) -> None:
    """Half of it is there, under a name that is not the user's, before the other half has been sent."""
    service = serve()
    folder = tmp_path / "jobs"

    def on_disk() -> list[Path]:
        return list(folder.glob("*/clip.mp4"))

    data = tiny.read_bytes()
    half = len(data) // 2

    def pieces() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="clip"; filename="../../up.MP4"\r\n\r\n' + data[:half]
        until(on_disk)
        yield data[half:] + b"\r\n--x--\r\n"

    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    made = service.http.post("/jobs", content=pieces(), headers=kind)
    assert made.status_code == 201 and made.json()["clip"] == "up.MP4"
    (clip,) = on_disk()
    assert clip.read_bytes() == data and clip.parent.name == made.json()["id"]


def test_only_so_many_jobs_wait(serve: Callable, long: Path, tiny: Path, until: Callable) -> None:
    service = serve("load_slow", queued=1, kept=3)
    first = service.post(long).json()["id"]
    until(lambda: service.job(first)["state"] == "running")
    second = service.post(tiny).json()["id"]
    assert "1 jobs wait" in told(service.post(tiny), 429)
    service.http.delete(f"/jobs/{first}")
    assert service.ended(second)["state"] == "done"
    for _ in range(2):
        assert service.ended(service.post(tiny).json()["id"])["state"] == "done"
    assert "3 jobs are kept" in told(service.post(tiny), 503)
