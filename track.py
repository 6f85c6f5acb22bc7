"""The commands: parse, call the library, print."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def track(
    video: Annotated[Path, typer.Argument(help="The clip.", metavar="VIDEO")],
    output: Annotated[Path | None, typer.Option("-o", help="Folder of the results [<stem>_track].")] = None,
    start: Annotated[float, typer.Option(help="Where to begin, seconds.")] = 0.0,
    duration: Annotated[float | None, typer.Option(help="How much to track, seconds [all].")] = None,
    face: Annotated[int, typer.Option(help="Which face: 0 the largest, 1 the next.", min=0)] = 0,
    landmarks: Annotated[str, typer.Option(help="mediapipe or fan.")] = "mediapipe",
    identity: Annotated[str, typer.Option(help="clip: one for all frames; or per-frame.")] = "clip",
    weights: Annotated[Path | None, typer.Option(help="File of I2ZNet weights [bundled].")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    overlay: Annotated[bool, typer.Option("--overlay/--no-overlay", help="Write overlay.mp4.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace earlier results.")] = False,
) -> None:
    """Track a face through a video: track.npz, curves.csv and overlay.mp4 in the output folder."""
    from tracker.detect import DetectConfig
    from tracker.pipeline import TrackConfig, track_video

    config = TrackConfig(
        start=start,
        duration=duration,
        landmarks=landmarks,
        identity=identity,
        weights=None if weights is None else str(weights),
        device=device,
        overlay=overlay,
        detect=DetectConfig(face=face),
    )
    with _Bars() as bars:
        summary = track_video(video, output or Path(f"{video.stem}_track"), config, overwrite, bars.show)
    print(summary)


def export(
    folder: Annotated[Path, typer.Argument(help="Folder that `track` has written.", metavar="DIR")],
    to: Annotated[str, typer.Option(help="Format: vertices.")],
    output: Annotated[Path, typer.Option("-o", help="The file to write.")],
) -> None:
    """Write a track in the format of another tool."""
    from tracker import export as exports

    print(exports.export(folder, to, output))


class _Bars:
    """One progress bar per stage, with the time left, on stderr."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description:>9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._tasks: dict[str, int] = {}

    def __enter__(self) -> "_Bars":
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def show(self, stage: str, done: int, total: int) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total)
        self._progress.update(self._tasks[stage], completed=done, total=total)


def _run(command: Callable, name: str) -> None:
    """Run a command; what the user can mend is one line on stderr and exit status 2, without a traceback."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    try:
        app(prog_name=name)
    except (ValueError, OSError) as error:
        print(f"{name}: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


def main() -> None:
    """Console script `track`."""
    _run(track, "track")


def export_main() -> None:
    """Console script `track-export`."""
    _run(export, "track-export")


def train_main() -> None:
    """Console script `track-train`."""
    from tracker.train import main as train

    train()


if __name__ == "__main__":
    main()
