"""Models for the processes of a service, which import this file by its name: made-up ones, some slow, some deadly."""

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from crew import load_made_up

from selftrack.tracker.clips.config import load_model

PATIENCE = 0.05
"""Seconds that a slow model takes for a frame."""


def load_real(config: object) -> object:
    """The bundled one."""
    return load_model(config)


def load_slow(config: object) -> object:
    """A model that takes some time for each frame."""
    model = load_made_up(config)
    made_up = sys.modules["made_up"]

    class SlowFollower(made_up.FakeFollower):
        def __call__(self, frame: object, at: object = None) -> object:
            time.sleep(PATIENCE)
            return super().__call__(frame)

    class SlowSource(made_up.FakeSource):
        def follower(self, config: object, places: object = None) -> object:
            return SlowFollower(self.lost)

    return replace(model, landmarks=SlowSource(set()))


def load_blind(config: object) -> object:
    """A model that finds no face."""
    model = load_made_up(config)
    return replace(model, landmarks=type(model.landmarks)(set(range(100))))


def load_deadly(config: object) -> object:
    """In a process of a service, none: that is killed. The one that loads it first has a mark to tell."""
    if os.environ.get("SERVICE_PID") != str(os.getpid()):
        with open(Path(os.environ["SERVICE_LOG"]), "a") as file:
            file.write("died\n")
        os.kill(os.getpid(), signal.SIGKILL)
    return load_made_up(config)
