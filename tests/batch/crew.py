"""Workers with a made-up model for processes of their own, which import this file by its name."""

import os
import sys
import time
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from mortal import log

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
