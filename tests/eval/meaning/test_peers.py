"""The curves of other trackers, against films whose curves are known."""

from pathlib import Path

import numpy as np
import pytest

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.errors import UserError
from selftrack.eval.meaning import peers
from selftrack.synthetic.rigs.performance import SUFFIX, Performance


def test_half_of_every_curve_is_a_gain_of_a_half(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At the tracker's own times, twice as many as there are frames."""
    rng = np.random.default_rng(0)
    films, tables = tmp_path / "films", tmp_path / "tables"
    for folder in (films, tables):
        folder.mkdir()
    for name in ("clip00", "clip01"):
        times, curves = np.arange(9) / 30, rng.uniform(0, 1, (9, 52))
        Performance(
            times=times,
            curves=curves,
            known=np.ones(52, bool),
            angles=np.zeros((9, 3)),
            position=np.zeros((9, 3)),
            focal=500.0,
            size=(64, 64),
            neutral=np.zeros((3, 3)),
            faces=np.zeros((1, 3), int),
        ).save(films / (name + SUFFIX))
        between = np.arange(17) / 60
        half = np.stack([np.interp(between, times, column) / 2 for column in curves.T], 1)
        rows = [["time", *ARKIT_NAMES], *([t, *row] for t, row in zip(between, half, strict=True))]
        (tables / f"{name}.csv").write_text("\n".join(",".join(map(str, row)) for row in rows))
    values = peers.judge_tables(films, tables)
    assert values["gain"] == pytest.approx(0.5) and values["r"] == pytest.approx(1.0)
    peers.main(films, tables)
    assert "| gain | 0.500 |" in capsys.readouterr().out.replace("  ", " ")
    (tables / "clip01.csv").unlink()
    with pytest.raises(UserError, match="clip01.csv: no recording"):
        peers.judge_tables(films, tables)
    with pytest.raises(UserError, match="no films; make them with"):
        peers.judge_tables(tables, films)
