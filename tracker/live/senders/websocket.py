"""A WebSocket server (RFC 6455): each client gets the newest frame as JSON, as fast as it reads.

    {"time": 1.5, "ok": true, "confidence": 0.9, "curves": {"jawOpen": 0.2, ...}, "head": {"yaw": -3.1, ...}}

"time" is in seconds of the stream, curves are 0..1, and "head" has yaw, pitch and roll in degrees, scale in pixels per
metre, tx and ty in pixels. Without a face "ok" is false and the rest as it was last.
"""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING

from selftrack.errors import UserError, of_extra
from selftrack.tracker.live.performance import Performance
from selftrack.tracker.live.senders.registry import Sender, Target, sender

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection

SLOW = 2.0
"""Seconds after which a client that does not take a frame is dropped."""
_HELD = 4096  # bytes that may wait beside the socket's own buffers
_DIGITS = 5


def as_json(shown: Performance, **more: int) -> str:
    """Put a frame into a message, with more numbers by name."""
    return json.dumps(
        {
            "time": round(shown.time, 6),
            "ok": shown.ok,
            "confidence": round(shown.confidence, _DIGITS),
            "curves": {name: round(value, _DIGITS) for name, value in shown.curves.items()},
            "head": {name: round(value, _DIGITS) for name, value in shown.pose.items()},
            **more,
        }
    )


class _Client:
    """What one client is to get next: the newest message alone, or None: there is no more."""

    def __init__(self) -> None:
        self._message: str | None = None
        self._ready = asyncio.Event()

    def put(self, message: str | None) -> None:
        self._message = message
        self._ready.set()

    async def next(self) -> str | None:
        await self._ready.wait()
        self._ready.clear()
        return self._message


@sender("ws", 8765)
class WebSocket(Sender):
    """To clients that connect; HOST is the address to listen at, 0.0.0.0 for all those of this machine."""

    def __init__(self, target: Target, subject: str) -> None:
        with of_extra("live"):
            import websockets.asyncio.server  # noqa: F401  before anything is opened
        self._target, self._clients = target, set[_Client]()
        self._loop = asyncio.new_event_loop()
        self._listening, self._over = threading.Event(), asyncio.Event()
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._serve, name="websocket", daemon=True)
        self._thread.start()
        self._listening.wait()
        if self._error is not None:
            self._thread.join()
            why = self._error.strerror or self._error
            raise UserError(
                f"--send {target}: cannot listen there ({why}); name an address of this machine, a free port"
            )

    def send(self, shown: Performance) -> None:
        """See `Sender.send`; clients are served in a thread."""
        self._loop.call_soon_threadsafe(self._put, as_json(shown))

    def close(self) -> None:
        """See `Sender.close`."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join()

    def _put(self, message: str | None) -> None:
        for client in self._clients:
            client.put(message)

    def _serve(self) -> None:
        try:
            self._loop.run_until_complete(self._listen())
        except OSError as error:
            self._error = error
        finally:
            self._loop.close()
            self._listening.set()

    async def _listen(self) -> None:
        from websockets.asyncio.server import serve

        # what a client has not taken is held back here, not in the socket's buffers: it would come late
        async with serve(
            self._attend,
            self._target.host,
            self._target.port,
            compression=None,
            write_limit=_HELD,
            close_timeout=SLOW,
        ):
            self._listening.set()
            await self._over.wait()
            self._put(None)

    async def _attend(self, connection: ServerConnection) -> None:
        """Give a client the newest frames until it goes, or does not take one in time."""
        from websockets.exceptions import ConnectionClosed

        client = _Client()
        self._clients.add(client)
        try:
            while (message := await client.next()) is not None:
                await asyncio.wait_for(connection.send(message), SLOW)
        except (ConnectionClosed, TimeoutError):
            connection.transport.abort()
        finally:
            self._clients.discard(client)
