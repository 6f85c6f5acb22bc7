"""What the process beside a stream keeps of it."""

from __future__ import annotations

from multiprocessing import Pipe
from pathlib import Path

import numpy as np

from selftrack.adapt.live import process
from selftrack.tracker.refinement.subject import Person
from selftrack.tracker.sources.opening import open_source


def test_pictures_of_another_size_are_left_out(tmp_path: Path) -> None:
    """A camera that changes its size does not end the process: frames of the first size are kept at their times."""
    theirs, ours = Pipe()
    person = Person(np.zeros(60), np.zeros(52), 0.0)
    for number, size in enumerate([(48, 64), (48, 64), (24, 32), (48, 64)]):
        ours.send(process.Seen(5 + number / 10, np.full((*size, 3), 40 * number, np.uint8)))
    ours.send(person)
    kept = process._keep(theirs, tmp_path / "stream.mp4")
    np.testing.assert_array_equal(kept.identity, person.identity)
    with open_source(tmp_path / "stream.mp4") as source:
        times = [frame.time for frame in source.frames()]
    np.testing.assert_allclose(times, [0, 0.1, 0.3], atol=1e-3)
