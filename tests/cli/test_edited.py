"""`track-export --curves` as it is typed."""

from collections.abc import Callable
from pathlib import Path

from selftrack.tracker.results.curves import write_curves
from selftrack.tracker.results.track_file import Track


def test_a_table_that_was_edited_comes_back(run: Callable, wink: Track) -> None:
    wink.save(Path())
    table = write_curves(wink, Path()).rename("edited.csv")
    lines = table.read_text().splitlines()
    jaw = lines[0].split(",").index("jawOpen")
    rows = [line.split(",") for line in lines[1:]]
    text = "\n".join([lines[0], *(",".join([*row[:jaw], "0.5", *row[jaw + 1 :]]) for row in rows)])
    table.write_text(text)
    status, _, err = run("track-export", ".", "--to", "csv", "-o", "a.csv", "--curves", "edited.csv")
    assert status == 0, err
    header, *written = (line.split(",") for line in Path("a.csv").read_text().splitlines())
    assert {float(row[header.index("jawOpen")]) for row in written} == {0.5}
    assert [row[header.index("eyeBlinkLeft")] for row in written] == [
        "0.00000",
        "0.00000",
        "0.75000",
        "0.00000",
        "0.00000",
    ]


def test_bad_input_is_one_line(run: Callable, wink: Track) -> None:
    wink.save(Path())
    status, out, err = run("track-export", ".", "--to", "csv", "--curves", "nowhere.csv")
    assert status == 2 and out == "" and len(err.splitlines()) == 1
    assert "nowhere.csv: cannot be read as CSV (No such file or directory);" in err
    assert [path.name for path in Path().iterdir()] == ["track.npz"]
