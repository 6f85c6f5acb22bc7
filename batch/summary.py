"""One page and one table of a batch, from the status files of all its clips, the least trusted first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2

from selftrack.batch.status import Status, StatusFolder
from selftrack.errors import UserError
from selftrack.io import csv_table, write_text
from selftrack.tracker.clips.files import REPORT
from selftrack.tracker.results import contact_sheet

PAGE, TABLE = "index.html", "summary.csv"
_CLAIM = "summary"
COLUMNS = ("name", "state", "trusted", "frames", "lost", "seconds", "adaptation", "error", "clip")


def write_summary(out: Path) -> list[Status]:
    """Write `index.html` and `summary.csv` into the folder of a batch, in place of earlier ones; returns the rows.

    Shards that do so at one time wait for each other, so that the last one has seen all.

    Raises:
        UserError: no batch has written there, or the folder cannot be written.
    """
    folder = StatusFolder(out)
    if not folder.path.is_dir():
        raise UserError(f"{out}: no batch has written there; make one with: track-batch INPUTS -o {out}")
    with folder.claim(_CLAIM, wait=True):
        rows = sorted(folder.all(), key=_order)
        write_text(out / TABLE, csv_table(COLUMNS, map(_cells, rows)))
        write_text(out / PAGE, render(rows, out))
    return rows


def _order(status: Status) -> tuple[bool, float, str]:
    """Those without results first, then those that can be trusted least."""
    return status.state == "done", status.trusted, status.name


def _cells(status: Status) -> list[Any]:
    """A row of the table; figures are empty where there are no results."""
    done = status.state == "done"
    figures = [f"{status.trusted:.4f}", status.frames, status.lost] if done else ["", "", ""]
    seconds = f"{status.seconds:.1f}" if status.ended else ""
    return [status.name, status.state, *figures, seconds, status.adaptation, status.error, status.clip]


def render(rows: Sequence[Status], out: Path) -> str:
    """The page of rows; its links are relative to the folder `out`."""
    template = (files("selftrack.batch") / "assets" / PAGE).read_text(encoding="utf-8")
    pages = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    done = [row for row in rows if row.state == "done"]
    linked = [(row, _links(row, out)) for row in rows]
    return pages.from_string(template).render(
        title=out.resolve().name,
        rows=linked,
        pictures=any(links["sheet"] for _, links in linked),
        states=Counter(row.state for row in rows),
        frames=sum(row.frames for row in done),
        trusted=sum(row.frames * row.trusted for row in done),
        texts=any(row.adaptation or row.error for row in rows),
        minutes=sum(row.seconds for row in rows) / 60,
    )


def _links(row: Status, out: Path) -> dict[str, str]:
    """Relative URLs of a clip's folder, report and contact sheet, empty of what is not there."""
    names = {"folder": "", "report": REPORT, "sheet": contact_sheet.NAME}
    urls = {what: quote(f"{row.name}/{name}") for what, name in names.items()}
    return {what: url if (out / row.name / names[what]).exists() else "" for what, url in urls.items()}
