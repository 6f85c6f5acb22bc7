"""The check of streams against a server whose delay is known and which leaves every other picture out."""

import asyncio
import json

import numpy as np
import pytest

from selftrack.eval.checks.service import HEADER, Load, measure

DELAY = 0.05


async def _answer(socket: object) -> None:
    number = 0
    async for _ in socket:
        if number % 2 == 0:
            await asyncio.sleep(DELAY)
            await socket.send(json.dumps({"frame": number}))
        number += 1


def test_latencies_are_counted_from_the_sending() -> None:
    websockets = pytest.importorskip("websockets.asyncio.server")

    async def run() -> Load:
        async with websockets.serve(_answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            return await measure(f"ws://127.0.0.1:{port}", [b"a", b"b"], 10, 2, 1.0, warm=0.2)

    load = asyncio.run(run())
    assert 4 <= load.sent <= 22 and len(load.latencies) * 2 == pytest.approx(load.sent, abs=2)
    assert load.latencies.min() >= DELAY


def test_a_row_of_the_table() -> None:
    """Two clients, five seconds, 20 answers of 0.1 to 2 s to 80 pictures."""
    row = Load(2, 5.0, np.arange(1, 21) / 10, 80).row()
    assert dict(zip(HEADER, row, strict=True)) == {
        "clients": "2",
        "frames/s each": "2.0",
        "frames/s all": "4.0",
        "p50, ms": "1050",
        "p95, ms": "1905",
        "left out, %": "75",
    }
    assert Load(1, 5.0, np.zeros(0), 0).row()[-1] == "-"
