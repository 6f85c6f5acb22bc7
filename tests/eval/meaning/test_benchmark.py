"""The benchmark of meaning, from a rig to its table."""

from pathlib import Path

import numpy as np
import pytest

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.eval.meaning import benchmark
from selftrack.synthetic.rigs.performance import Performance


def recording(path: Path) -> Path:
    """A jaw that opens and shuts twice a second, as a CSV."""
    times = np.arange(0, 1, 1 / 60)
    rows = [
        ["time", *ARKIT_NAMES],
        *(
            [f"{t:.4f}", *(f"{0.4 - 0.4 * np.cos(4 * np.pi * t) if n == 'jawOpen' else 0}" for n in ARKIT_NAMES)]
            for t in times
        ),
    ]
    path.write_text("\n".join(",".join(row) for row in rows))
    return path


def test_from_a_rig_to_the_table(ict: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    takes, out = recording(tmp_path / "jaw.csv"), tmp_path / "out"
    benchmark.main(ict, takes, out, clips=1, seconds=0.2)
    text = (out / "meaning.md").read_text()
    assert "| jawOpen |" in text and "| r |" in text and "turn" in capsys.readouterr().out
    (row,) = benchmark.measure(out, lambda name: None)
    figures = benchmark.figures([row])
    jaw = ARKIT_NAMES.index("jawOpen")
    assert row.sums.correlation()[jaw] > 0.5 and figures["curves"] == 1
    assert figures["turn"] < 15 and 0 < figures["shape"] < 6
    made = (out / "clip00.mp4").stat().st_mtime_ns
    benchmark.main(ict, takes, out, clips=1, seconds=0.2)  # what is there is not made again
    assert (out / "clip00.mp4").stat().st_mtime_ns == made


def test_the_head_turns_against_the_ray_through_it() -> None:
    """A head that looks into a camera which it is beside the axis of looks frontal."""
    angle = 0.3
    position = np.array([[np.sin(angle), 0.0, np.cos(angle)]])
    performance = Performance(
        times=np.zeros(1),
        curves=np.zeros((1, 52)),
        known=np.ones(52, bool),
        angles=np.array([[0.0, angle, 0.0]]),
        position=position,
        focal=500.0,
        size=(64, 64),
        neutral=np.zeros((3, 3)),
        faces=np.zeros((1, 3), int),
    )
    assert np.abs(benchmark.apparent(performance).as_rotvec()).max() < 1e-9
