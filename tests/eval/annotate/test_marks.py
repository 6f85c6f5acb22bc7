"""The file of marked points: what is read, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from selftrack.errors import UserError
from selftrack.eval.annotate.marks import read_annotations

SIZE, COUNT = (240, 320), 10


def test_reads_the_table_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "marks.csv"
    path.write_text("frame,name,x,y\n7,chin,10,20.5\n2,mole,1,2\n\n0,chin,9.25,20\n")
    marks = read_annotations(path, COUNT, SIZE)
    assert set(marks) == {"chin", "mole"} and marks["chin"].rows.tolist() == [0, 7]
    assert marks["chin"].points.tolist() == [[9.25, 20], [10, 20.5]]


@pytest.mark.parametrize(
    "text,words",
    [
        ("", "first line"),
        ("x,y\n", "first line must be frame,name,x,y"),
        ("frame,name,x,y\n1,a,2\n", "line 2: expected"),
        ("frame,name,x,y\n1,a,2,b\n", "line 2: expected"),
        ("frame,name,x,y\n0,a,2,2\n10,a,2,3\n", r"line 3: frame 10 is not in 0\.\.9"),
        ("frame,name,x,y\n1,a,321,3\n", "outside of the 320x240 frame"),
        ("frame,name,x,y\n1,a,nan,3\n", "outside of the 320x240 frame"),
        ("frame,name,x,y\n1,a,2,3\n1,a,2,4\n", "line 3: a is marked twice in frame 1"),
    ],
)
def test_refuses(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=words):
        read_annotations(tmp_path / "a.csv", COUNT, SIZE)


@pytest.mark.parametrize("content", [None, b"\x89PNG\r\n\xff", b"frame,name,x,y\n0," + b"a" * 200_000 + b",2,2\n"])
def test_what_is_no_table(tmp_path: Path, content: bytes | None) -> None:
    """No file, a picture, and a cell that is longer than the reader takes."""
    if content is not None:
        (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(UserError, match="a.csv: cannot be read as text .*; name a CSV that annotate.html has saved"):
        read_annotations(tmp_path / "a.csv", COUNT, SIZE)
