"""Services with the made-up model, which listen at a free port of this machine."""

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn

from selftrack.batch.job import Job
from selftrack.service.app import Service
from selftrack.service.jobs import JobStore
from selftrack.service.limits import ServeConfig
from selftrack.service.run import server_config
from selftrack.tracker.clips.config import TrackConfig


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module of that name, which processes that are started import, too."""
    for folder in (Path(__file__).parent, Path(__file__).parents[1] / "batch"):
        monkeypatch.syspath_prepend(str(folder))
    import models

    yield models
    for name in ("models", "crew", "mortal"):
        sys.modules.pop(name, None)


class Running:
    """A service that runs, and a client of it."""

    def __init__(self, service: Service, token: str | None) -> None:
        self.service = service
        listening = socket.create_server(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        self._server = uvicorn.Server(server_config(service, token))
        self._thread = threading.Thread(target=self._server.run, args=([listening],))
        self._thread.start()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=30)
        until(lambda: self._server.started)

    def close(self) -> None:
        """End it, as Ctrl-C does."""
        self.http.close()
        self._server.should_exit = True
        self._thread.join()
        self.service.store.close()

    def post(self, clip: Path, name: str = "take.mp4", **fields: str) -> httpx.Response:
        """Send a clip."""
        with open(clip, "rb") as file:
            return self.http.post("/jobs", files={"clip": (name, file)}, data=fields)

    def job(self, id: str) -> dict[str, Any]:
        """What is shown of a job."""
        answer = self.http.get(f"/jobs/{id}")
        assert answer.status_code == 200
        return answer.json()

    def ended(self, id: str) -> dict[str, Any]:
        """A job when it has ended."""
        until(lambda: self.job(id)["state"] in ("done", "failed"))
        return self.job(id)


def until(condition: Callable[[], object]) -> None:
    """Wait for something that happens."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.03)


@pytest.fixture(name="until")
def _until() -> Callable[[Callable[[], object]], None]:
    """`until(condition)`."""
    return until


@pytest.fixture
def serve(models: ModuleType, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """`serve(load="load_slow", token="secret", queued=1)`: a service; limits by name."""
    running = []

    def start(load: str = "load_made_up", token: str | None = None, **limits: Any) -> Running:
        function = getattr(models, load)
        base = Job(TrackConfig(overlay=False), load=function)
        service = Service(ServeConfig(**limits), base, function(base.track), JobStore(tmp_path / "jobs"))
        running.append(Running(service, token))
        return running[-1]

    yield start
    for one in running:
        one.close()


class _Here:
    """Does in a thread of this process what a `Process` does in another one."""

    died = ""

    def __init__(self, worker: Callable[[Any], Any]) -> None:
        self._worker = worker

    def give(self, item: Any) -> None:
        self._item = item

    def take(self) -> Any:
        return self._worker(self._item)

    def stop(self) -> None:
        """A short job ends by itself."""

    end = stop


@pytest.fixture
def tracked_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs run in this process: others would have to load everything first, and do the same."""
    monkeypatch.setattr("selftrack.service.queue._Worker", _Here)


@pytest.fixture
def tiny(make_clip: Callable[..., Path]) -> Path:
    """Four frames of 120x100 at 25 frames/s that carry their numbers."""
    return make_clip("tiny.mp4", [np.full((100, 120, 3), 5 * i + 5, np.uint8) for i in range(4)], crf="1")


@pytest.fixture
def long(make_clip: Callable[..., Path]) -> Path:
    """Forty of them."""
    return make_clip("long.mp4", [np.full((100, 120, 3), 5 * i + 5, np.uint8) for i in range(40)], crf="1")
