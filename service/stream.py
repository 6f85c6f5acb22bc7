"""A stream of pictures by WebSocket (RFC 6455): each connection has a tracker of its own, all have one model.

A client sends binary messages, a JPEG or PNG picture each, and gets one text message for each that is tracked: JSON as
of `selftrack.tracker.live.senders.websocket`, with "frame", the number of the picture counted from 0, and "dropped",
how many were left out so far, since newer ones came before they could be begun. A text message {"time": 1.5} before a
picture is its time in seconds; without it, it is that of its arrival. What cannot be tracked is answered by
{"error": ...} with the same two numbers, and the stream goes on.
"""

from __future__ import annotations

import asyncio
import io
import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image
from starlette.websockets import WebSocket, WebSocketDisconnect

from selftrack.errors import UserError
from selftrack.service.limits import MEGA, ServeConfig
from selftrack.tracker.clips.config import TrackConfig
from selftrack.tracker.live.performance import Performance
from selftrack.tracker.live.senders.websocket import as_json
from selftrack.tracker.model import Model
from selftrack.tracker.rows import NoRows
from selftrack.tracker.tracker import Tracker

_ENDED, _TOO_SLOW = 1000, 1008
"""Status of a close (RFC 6455, 7.4.1)."""


class Shot(NamedTuple):
    """A picture as it came."""

    number: int
    data: bytes
    """A JPEG or PNG file."""
    time: float
    """Seconds."""


class Newest:
    """Holds the newest picture until it is taken, and counts those that it replaced."""

    def __init__(self) -> None:
        self.dropped = 0
        self._held: Shot | None = None
        self._there = asyncio.Event()

    def put(self, shot: Shot) -> None:
        """Hold a picture in place of the one before."""
        self.dropped += self._held is not None
        self._held = shot
        self._there.set()

    async def take(self) -> Shot:
        """Wait for a picture."""
        await self._there.wait()
        self._there.clear()
        shot, self._held = self._held, None
        assert shot is not None
        return shot


def decode(data: bytes, megapixels: float) -> np.ndarray:
    """Read a picture (H,W,3) uint8 RGB from a JPEG or PNG file. Raises UserError where it is none, or too large."""
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:  # which reads no more than the size
            if image.width * image.height > megapixels * MEGA:
                raise UserError(f"a picture may have {megapixels:g} megapixels; got {image.width}x{image.height}")
            return np.asarray(image.convert("RGB"))
    except UserError:
        raise
    except Exception as error:  # libraries have many
        raise UserError("a binary message is a JPEG or PNG picture; this one cannot be read") from error


class Face:
    """Tracks the pictures of one connection. It is for one thread at a time."""

    def __init__(self, model: Model, tracking: TrackConfig, config: ServeConfig) -> None:
        self._model, self._tracking, self._config = model, tracking, config
        self._tracker: Tracker | None = None
        self._size: tuple[int, ...] = ()
        self._last = -math.inf

    def __call__(self, shot: Shot) -> Performance:
        """Track a picture. Raises UserError where that cannot be."""
        image = decode(shot.data, self._config.pixels)
        if shot.time < self._last:
            raise UserError(
                f"the time of a picture is not before the last one's, {self._last:g} s; got {shot.time:g} s"
            )
        if self._tracker is None or image.shape != self._size:  # a camera that was turned: the face is found anew
            self._tracker = Tracker(self._model, self._tracking, rows=NoRows())
            self._size = image.shape
        result = self._tracker(image, shot.time)
        self._last = shot.time
        return Performance.of(result, time.time())


@dataclass(frozen=True)
class Connection:
    """One client's."""

    socket: WebSocket
    """Accepted."""
    face: Face
    threads: ThreadPoolExecutor
    """Do the work of all connections."""
    idle: float
    """Seconds without a picture, or in which the client takes no answer, after which it is ended."""

    async def serve(self) -> None:
        """Answer pictures until the client goes, or does nothing any more."""
        newest = Newest()
        tasks = [asyncio.create_task(self._receive(newest)), asyncio.create_task(self._answer(newest))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except WebSocketDisconnect:
            return
        except TimeoutError:
            why = f"nothing came, or was taken, for {self.idle:g} s"
            await self.socket.close(_TOO_SLOW, json.dumps({"error": why}))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _receive(self, newest: Newest) -> None:
        """Take pictures in. Raises WebSocketDisconnect when the client goes, TimeoutError when it sends nothing."""
        number, began, at = 0, time.monotonic(), None
        while True:
            message = await asyncio.wait_for(self.socket.receive(), self.idle)
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", _ENDED))
            if message.get("text") is not None:
                try:
                    at = read_time(message["text"])
                except UserError as error:
                    await self._send(json.dumps({"error": str(error), "frame": number, "dropped": newest.dropped}))
                continue
            newest.put(Shot(number, message["bytes"], time.monotonic() - began if at is None else at))
            number, at = number + 1, None

    async def _answer(self, newest: Newest) -> None:
        """Track pictures. Raises TimeoutError where the client takes no answer."""
        loop = asyncio.get_running_loop()
        while True:
            shot = await newest.take()
            try:
                shown = await loop.run_in_executor(self.threads, self.face, shot)
            except UserError as error:
                text = json.dumps({"error": str(error), "frame": shot.number, "dropped": newest.dropped})
            else:
                text = as_json(shown, frame=shot.number, dropped=newest.dropped)
            await self._send(text)

    async def _send(self, text: str) -> None:
        await asyncio.wait_for(self.socket.send_text(text), self.idle)


def read_time(text: str) -> float:
    """The seconds of a message {"time": 1.5}. Raises UserError of any other."""
    try:
        value = json.loads(text)["time"]
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        pass
    raise UserError(f'a text message is the time of the next picture, such as {{"time": 1.5}}; got {text[:80]!r}')
