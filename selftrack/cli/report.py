"""The report of a track, as `track-eval` and `track --report` print it."""

from __future__ import annotations

from pathlib import Path

from selftrack.cli.progress import Stages


def print_report(folder: Path, before: Path | None = None, points: Path | None = None) -> None:
    """Write report.html and report.json and print the verdict."""
    from selftrack.eval.report.report import write_report
    from selftrack.tracker.pipeline import REPORT

    with Stages() as stages:
        verdict = write_report(folder, before, points, stages.show)
    print(f"verdict  {verdict}\nreport   {folder / REPORT}")
