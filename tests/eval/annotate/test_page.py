"""The page in which points are marked, in a browser."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from selftrack.errors import UserError
from selftrack.eval.annotate.marks import read_annotations
from selftrack.eval.annotate.page import FRAMES, write_page
from selftrack.tracker import load


@pytest.fixture
def folder(plain_folder: Path, tmp_path: Path) -> Path:
    """A copy to write into."""
    return Path(shutil.copytree(plain_folder, tmp_path / "track"))


CLICK = """
<script>
at("name").value = "mole, big";
for (const step of [1, 1]) {  // all at once: that pictures load and decode meanwhile must not matter
  const box = at("picture").getBoundingClientRect();
  const place = { clientX: box.left + 0.25 * box.width, clientY: box.top + 0.5 * box.height };
  at("picture").dispatchEvent(new MouseEvent("click", place));
  go(step);
}
document.body.dataset.csv = csv();
</script>"""


def test_a_click_is_a_mark_in_pixels_of_the_clip(folder: Path, browse: Callable, tmp_path: Path) -> None:
    page = write_page(folder)
    text = page.read_text()
    frames = json.loads(re.search(r"const frames = (\[.*?\]);\n", text).group(1))
    track = load(folder)
    assert len(frames) == FRAMES and frames[0]["row"] == 0 and frames[-1]["row"] == len(track) - 1
    page.write_text(text.replace("</body>", CLICK + "</body>"))
    dom, console = browse(page)
    assert console == []
    (tmp_path / "marks.csv").write_text(unescape(re.search(r'data-csv="([^"]*)"', dom).group(1)))
    marks = read_annotations(tmp_path / "marks.csv", len(track), track.size[::-1])["mole  big"]
    assert marks.rows.tolist() == [frames[0]["row"], frames[1]["row"]]
    for row, point in zip(*marks, strict=True):
        low, high = track.landmarks[row].min(0), track.landmarks[row].max(0)
        half = 0.72 * (high - low).max()
        np.testing.assert_allclose(point, (low + high) / 2 + [-half / 2, 0], atol=0.8)
    assert list(csv.reader(io.StringIO((tmp_path / "marks.csv").read_text())))[0] == ["frame", "name", "x", "y"]


def test_without_a_face_there_is_nothing_to_mark(folder: Path) -> None:
    track = load(folder)
    replace(track, ok=np.zeros(len(track), bool)).save(folder)
    with pytest.raises(ValueError, match="nothing to mark"):
        write_page(folder)
    assert not (folder / "annotate.html").exists()


def test_a_page_of_the_users_own_stays(folder: Path) -> None:
    (folder / "annotate.html").write_text("mine")
    with pytest.raises(UserError, match="did not write"):
        write_page(folder)
    assert (folder / "annotate.html").read_text() == "mine"
    (folder / "annotate.html").unlink()
    write_page(folder)
    assert write_page(folder).read_text() != "mine"  # ours may be written again
