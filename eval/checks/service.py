"""How many streams a service tracks at a time, and how late their answers are.

    python -m selftrack.eval.checks.service CLIP

starts `track serve` on this machine and sends it the clip's frames as JPEG at their own rate, by 1, 2, 4 and 8 clients
at a time, who run on the same cores. A latency is the time from sending a picture to reading its answer.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from selftrack.command import run
from selftrack.errors import UserError, of_extra
from selftrack.io import markdown_table
from selftrack.tracker.sources.opening import open_source

_START = "from selftrack.cli.track import main; main()"
_MOST = 300
"""Pictures that are sent again and again."""
_WARM = 3.0
"""Seconds before anything is measured: a stream's first picture takes longer."""


@dataclass(frozen=True)
class Load:
    """What some clients at a time got."""

    clients: int
    seconds: float
    latencies: np.ndarray
    """(N,) seconds, of all answers."""
    sent: int
    """Pictures."""

    def row(self) -> list[str]:
        """A row of the table."""
        answers = len(self.latencies)
        p50, p95 = np.percentile(self.latencies, [50, 95]) if answers else (np.nan, np.nan)
        per_client = answers / self.seconds / self.clients
        return [
            str(self.clients),
            f"{per_client:.1f}",
            f"{per_client * self.clients:.1f}",
            f"{1000 * p50:.0f}",
            f"{1000 * p95:.0f}",
            f"{100 * (1 - answers / self.sent):.0f}" if self.sent else "-",
        ]


HEADER = ("clients", "frames/s each", "frames/s all", "p50, ms", "p95, ms", "left out, %")


def pictures_of(clip: Path, quality: int = 90) -> tuple[list[bytes], float]:
    """The first frames of a clip as JPEG files, and how many are shown a second. Raises UserError as `open_source`."""
    with open_source(clip) as source:
        frames = itertools.islice(source.frames(), _MOST)
        swapped = [cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR) for frame in frames]
        encoded = [cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1] for image in swapped]
        return [picture.tobytes() for picture in encoded], float(source.info.rate)


async def measure(
    address: str, pictures: Sequence[bytes], rate: float, clients: int, seconds: float, warm: float = _WARM
) -> Load:
    """Send pictures by several clients at a time.

    Args:
        address: ws://HOST:PORT/stream.
        pictures: JPEG files, sent in a circle.
        rate: how many are sent a second by each client.
        clients: their number.
        seconds: how long is measured.
        warm: seconds before that.
    """
    began = time.monotonic()
    single = [_client(address, pictures, rate, began + warm, began + warm + seconds) for _ in range(clients)]
    results = await asyncio.gather(*single)
    latencies = np.array([latency for one, _ in results for latency in one])
    return Load(clients, seconds, latencies, sum(sent for _, sent in results))


async def _client(
    address: str, pictures: Sequence[bytes], rate: float, first: float, last: float
) -> tuple[list[float], int]:
    """Latencies of the answers to what is sent between two times, and how many pictures that were."""
    from websockets.asyncio.client import connect

    sent: dict[int, float] = {}
    latencies = []

    async with connect(address, compression=None, max_queue=None) as socket:

        async def send() -> None:
            due = time.monotonic()
            for number, picture in enumerate(itertools.cycle(pictures)):
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                if time.monotonic() >= last:
                    return
                sent[number] = time.monotonic()
                await socket.send(picture)
                due = max(due + 1 / rate, time.monotonic() - 1 / rate)

        async def read() -> None:
            while True:
                frame = json.loads(await socket.recv())["frame"]
                if first <= sent[frame] < last:
                    latencies.append(time.monotonic() - sent[frame])

        reading = asyncio.create_task(read())
        await send()
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(reading), 2)
        reading.cancel()
    return latencies, sum(first <= at < last for at in sent.values())


@contextmanager
def served(connections: int) -> Iterator[str]:
    """The address of the streams of a service that is started and ended here. Raises UserError where it does not
    start."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["serve", "-o", folder, "--port", "0", "--set", f"serve.connections={connections}"]
        process = subprocess.Popen([sys.executable, "-c", _START, *options], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            words = process.stdout.readline().split()
            if words[:2] != ["serving", "at"]:
                raise UserError("track serve has not started; what it says is above")
            yield words[2].rstrip(";").replace("http://", "ws://") + "stream"
        finally:
            process.terminate()
            process.wait()


def main(
    clip: Annotated[Path, typer.Argument(help="A video with a face.", metavar="CLIP")],
    clients: Annotated[str, typer.Option(help="Numbers of clients at a time.")] = "1,2,4,8",
    seconds: Annotated[float, typer.Option(help="Seconds that each number is measured.", min=1)] = 10.0,
) -> None:
    """Measure the streams of a service on this machine, and print a table."""
    try:
        numbers = [int(text) for text in clients.split(",")]
    except ValueError as error:
        raise UserError(f"--clients takes numbers such as 1,2,4,8; got {clients!r}") from error
    if min(numbers) < 1 or max(numbers) > 64:
        raise UserError(f"--clients takes numbers from 1 to 64; got {clients!r}")
    with of_extra("serve"):
        import websockets.asyncio.client  # noqa: F401
    pictures, rate = pictures_of(clip)
    with served(max(numbers)) as address:
        loads = [asyncio.run(measure(address, pictures, rate, number, seconds)) for number in numbers]
    size = sum(map(len, pictures)) / len(pictures) / 1000
    print(f"{len(pictures)} pictures of {size:.0f} kB, {rate:g} a second from each client\n")
    print(markdown_table(HEADER, [load.row() for load in loads]), end="")


if __name__ == "__main__":
    run("python -m selftrack.eval.checks.service", service=main)
