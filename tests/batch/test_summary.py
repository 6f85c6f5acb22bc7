"""The page and the table of a batch."""

import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from selftrack.batch.clips import Clip
from selftrack.batch.summary import write_summary
from selftrack.batch.worker import Worker
from selftrack.errors import UserError

MakeClips = Callable[..., list[Clip]]
MakeWorker = Callable[..., Worker]
ODD = "b&b/50% <i>new</i> #1?.mp4"


class Page(HTMLParser):
    """Texts of the rows, and all that the page links to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.rows: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append("")
        self.links += [value for name, value in attributes if name in ("href", "src") and value]

    def handle_data(self, data: str) -> None:
        if self.rows:
            self.rows[-1] += data


def test_the_page_shows_every_clip_the_least_trusted_first(make_clips: MakeClips, make_worker: MakeWorker) -> None:
    clips = make_clips("good.mp4", ODD, "bad.mp4", "late.mp4")
    worker = make_worker(overlay=True)
    Path(clips[2].path).write_bytes(b"no video")
    ends = [worker(clip).end for clip in clips]
    assert ends == ["tracked", "tracked", "failed", "tracked"]
    low = replace(worker.status.read(ODD), trusted=0.25, lost=3, adaptation="held-out frames: a < b")
    worker.status.write(low)
    worker.status.write(replace(worker.status.read("late.mp4"), state="begun", ended=""))
    (worker.out / "good.mp4" / "report.html").write_text("")
    write_summary(worker.out)
    rows = list(csv.DictReader((worker.out / "summary.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["name"] for row in rows] == ["bad.mp4", "late.mp4", ODD, "good.mp4"]
    assert [row["state"] for row in rows] == ["failed", "begun", "done", "done"]
    assert (rows[2]["trusted"], rows[2]["lost"], rows[2]["adaptation"]) == ("0.2500", "3", low.adaptation)
    assert (rows[0]["trusted"], rows[0]["frames"], rows[1]["seconds"]) == ("", "", "")
    text = (worker.out / "index.html").read_text(encoding="utf-8")
    page = Page(text)
    shown = [" ".join(row.split()) for row in page.rows[1:]]
    assert [next(row["name"] for row in rows if row["name"] in line) for line in shown] == [r["name"] for r in rows]
    assert "not a video file" in shown[0] and "not ended" in shown[1] and "25 %" in shown[2]
    assert low.adaptation in shown[2] and "<i>new" not in text
    links = [link for link in page.links if not link.startswith("data:")]
    assert len(links) == 2 * 4 + 1 + 1  # folder and twice the contact sheet of each of three results, and a report
    for link in links:
        assert not re.match(r"[a-z]+:|/", link) and (worker.out / unquote(link)).exists()


def test_an_empty_column_is_left_out(make_clips: MakeClips, make_worker: MakeWorker) -> None:
    """A batch without overlays has no contact sheets, one without adaptation and errors nothing to say of
    them; where one clip has it, all have the column."""
    clips = make_clips("a.mp4", "b.mp4")
    worker = make_worker()
    for clip in clips:
        worker(clip)
    write_summary(worker.out)
    plain = (worker.out / "index.html").read_text(encoding="utf-8")
    assert (
        'class="sheet"' not in plain and plain.count("<th") - plain.count("<thead") == 5 and plain.count("<td") == 2 * 5
    )
    (worker.out / "b.mp4" / "contact_sheet.png").write_bytes(b"")
    write_summary(worker.out)
    text = (worker.out / "index.html").read_text(encoding="utf-8")
    assert text.count('<td class="sheet"') == 2 and text.count("<img") == 1 and text.count("<td") == 2 * 6


def test_it_can_be_renewed_after_shards(make_clips: MakeClips, make_worker: MakeWorker) -> None:
    clips, worker = make_clips("a.mp4", "b.mp4"), make_worker()
    for count, clip in enumerate(clips, 1):
        worker(clip)
        assert len(write_summary(worker.out)) == count
    assert {path.name for path in worker.status.path.iterdir()} == {"a.mp4.json", "b.mp4.json"}
    assert json.loads((worker.status.path / "a.mp4.json").read_text())["version"]


def test_a_folder_without_a_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no batch has written there"):
        write_summary(tmp_path)
    assert not list(tmp_path.iterdir())
