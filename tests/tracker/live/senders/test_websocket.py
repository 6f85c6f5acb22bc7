"""The WebSocket server, by the library's own client and by one that does not read."""

import json
import socket
import time
from collections.abc import Callable

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from selftrack.errors import UserError
from selftrack.tracker.live.senders import websocket
from selftrack.tracker.live.senders.registry import Target
from selftrack.tracker.live.senders.websocket import WebSocket


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def server() -> object:
    sender = WebSocket(Target("ws", "127.0.0.1", free_port()), "")
    yield sender
    sender.close()


def until_heard(server: WebSocket, client: object, frame: object) -> dict:
    """Send a frame until the client, which may not be served yet, has one."""
    for _ in range(100):
        server.send(frame)
        try:
            return json.loads(client.recv(timeout=0.05))
        except TimeoutError:
            continue
    raise AssertionError("nothing came")


def test_each_client_gets_the_frame(server: WebSocket, shown: Callable) -> None:
    url, frame = f"ws://127.0.0.1:{server._target.port}", shown(yaw=3.5)
    with connect(url) as one, connect(url) as other:
        for client in (one, other):
            read = until_heard(server, client, frame)
            assert (read["time"], read["ok"], read["confidence"]) == (1.5, True, 0.75)
            assert read["curves"] == frame.curves and read["head"] == frame.pose
    with connect(url) as late:
        assert until_heard(server, late, shown(ok=False))["ok"] is False


def test_the_end_closes_clients(shown: Callable) -> None:
    sender = WebSocket(Target("ws", "127.0.0.1", free_port()), "")
    with connect(f"ws://127.0.0.1:{sender._target.port}") as client:
        until_heard(sender, client, shown())
        sender.close()
        with pytest.raises(ConnectionClosed):
            while True:
                client.recv(timeout=5)


def test_who_does_not_read_is_dropped_and_not_waited_for(
    shown: Callable, monkeypatch: pytest.MonkeyPatch, server: WebSocket
) -> None:
    monkeypatch.setattr(websocket, "SLOW", 0.2)
    monkeypatch.setattr(websocket, "as_json", lambda frame: "x" * 500_000)  # fills the socket's buffers soon
    lazy = socket.create_connection(("127.0.0.1", server._target.port))
    lazy.sendall(
        b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert lazy.recv(12).endswith(b"101")
    for _ in range(500):
        server.send(shown())
        time.sleep(0.01)
        if not server._clients:
            break
    assert not server._clients
    lazy.close()


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match="cannot listen there .*name an address of this machine, a free port"):
            WebSocket(Target("ws", "127.0.0.1", taken.getsockname()[1]), "")
