"""Workers for processes of their own, which import this file by its name: made-up ones, some of which die."""

import os
import signal
import sys
import time
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from selftrack.batch.clips import Clip
from selftrack.batch.worker import Outcome, Worker

MADE_UP = Path(__file__).parents[1] / "tracker" / "conftest.py"


def load_made_up(config: object) -> object:
    """The model whose answers are known."""
    spec = spec_from_file_location("made_up", MADE_UP)
    module = sys.modules.setdefault("made_up", module_from_spec(spec))
    if not hasattr(module, "FakeNetwork"):
        spec.loader.exec_module(module)
    cpu = __import__("torch").device("cpu")
    return module.Model(module.FakeNetwork(), module.HEAD, module.FakeSource(set()), cpu, Path("none"))


def log(out: Path, line: str) -> None:
    """Add a line to the log of a folder, all at once."""
    with open(Path(out) / "log.txt", "a") as file:
        file.write(f"{line}\n")


@dataclass
class Mortal:
    """Tracks nothing; clips named "deadly" kill its process, those named "once" the first time only."""

    out: Path

    def __call__(self, clip: Clip) -> tuple[Clip, str]:
        log(self.out, f"{os.environ['OMP_NUM_THREADS']} {clip.name}")
        tried = self.out / f"{clip.name}.tried"
        if clip.name == "deadly" or (clip.name == "once" and not tried.exists()):
            tried.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return clip, "tracked"

    def lost(self, clip: Clip, why: str) -> tuple[Clip, str]:
        """What the pool says of a clip whose process has died twice."""
        return clip, why


@dataclass
class Hanging(Worker):
    """A worker that notes what it has tracked; the first time that it gets "hangs.mp4", it waits to be killed."""

    def __call__(self, clip: Clip) -> Outcome:
        mark = self.out / "pid"
        if clip.name == "hangs.mp4" and not mark.exists():
            with self.status.claim(clip.name):
                (self.out / "pid.part").write_text(str(os.getpid()))
                (self.out / "pid.part").rename(mark)
                time.sleep(120)
        outcome = super().__call__(clip)
        log(self.out, f"{outcome.end} {clip.name}")
        return outcome
