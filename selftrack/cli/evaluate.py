"""`track-eval`: is a track good, and which of several is better."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from selftrack.cli.progress import Stages
from selftrack.command import run
from selftrack.errors import UserError


def print_report(folder: Path, before: Path | None = None, points: Path | None = None) -> None:
    """Write report.html and report.json of a track and print the verdict, as `track --report` does, too."""
    from selftrack.eval.report.report import write_report
    from selftrack.tracker.clips.files import REPORT

    with Stages() as stages:
        judged = write_report(folder, before, points, stages.show)
    print(f"verdict  {judged.verdict}")
    for line in judged.table:
        print(f"figure   {line}")
    print(f"report   {folder / REPORT}")


def evaluate(
    paths: Annotated[list[Path], typer.Argument(help="A folder of `track`; or tracks to compare.", metavar="PATHS")],
    before: Annotated[
        Path | None, typer.Option(help="Folder of the un-adapted track (default: the clip is tracked anew).")
    ] = None,
    points: Annotated[
        Path | None, typer.Option(help="Measure points marked by hand, too: a CSV with frame,name,x,y (default: none).")
    ] = None,
    annotate: Annotated[
        bool,
        typer.Option("--annotate", help="Write annotate.html, in which to mark them, and no report (default: no)."),
    ] = False,
    filters: Annotated[
        bool,
        typer.Option(
            "--filters",
            help="Compare the first track, smoothed until it is as steady as the second, too (default: no).",
        ),
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Write the figures of a comparison to this file, too.")] = None,
) -> None:
    """Judge a track: report.html and report.json in its folder. Or compare trackers: [CLIP] TRACK TRACK ...

    A TRACK is a folder of `track`, or an .npz with verts (T,V,3) in pixels and faces (F,3) of any tracker; CLIP is
    needed where there is no folder. An adapted clip is tracked again without adaptation, unless --before names that.
    """
    from selftrack.tracker.results.track_file import folder_of

    folder = folder_of(paths[0])
    alone = len(paths) == 1 and folder.is_dir()
    of_one = {"--before": before is not None, "--annotate": annotate}
    of_several = {"--filters": filters, "--json": json is not None}
    _check_together(alone, of_one, of_several)
    for name, given in (("--before", before), ("--points", points)):
        if given and annotate:
            raise UserError(f"{name} is for a report, and --annotate writes none; leave one of them out")
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: no such file or folder; name a folder that track has written, or an .npz")
    if annotate:
        from selftrack.eval.annotate.page import write_page

        with Stages() as stages:
            print(write_page(folder, stages.show))
    elif alone:
        print_report(folder, before, points)
    else:
        _compare(paths, points, filters, json)


def _check_together(alone: bool, of_one: dict[str, bool], of_several: dict[str, bool]) -> None:
    """Refuse options, which are given or not, of one folder with several tracks, and the other way round."""
    wrong = [name for name, given in (of_several if alone else of_one).items() if given]
    if wrong:
        goes, instead = ("several tracks", "them") if alone else ("one folder of `track`", "one folder")
        raise UserError(f"{wrong[0]} goes with {goes}; leave it out, or name {instead}")


def _compare(paths: list[Path], points: Path | None, filters: bool, json: Path | None) -> None:
    """Print a table of several tracks."""
    from selftrack.eval.compare import score

    with Stages() as stages:
        scores = score.score_files(paths, filters, points, stages.show)
    print(score.table(scores), end="")
    if json:
        score.write_json(scores, json)


def main() -> None:
    """Run the console script `track-eval`."""
    run("track-eval", evaluate=evaluate)
