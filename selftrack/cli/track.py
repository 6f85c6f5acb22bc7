"""`track`: a face through a video."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any

import typer

from selftrack.cli import live, serve
from selftrack.cli.evaluate import print_report
from selftrack.cli.settings import (
    ROOTS,
    CalibrationOption,
    ExportOption,
    Given,
    Learning,
    Models,
    NoOverlayOption,
    OverwriteOption,
    check_clip,
    check_roots,
    listed,
    said,
    text_of,
)
from selftrack.cli.tracking import Order, show, track_one, track_several
from selftrack.command import run, verbose
from selftrack.errors import UserError
from selftrack.tracker.clips.choice import check_choice, face_or_photo
from selftrack.tracker.export import GROUPS, known
from selftrack.tracker.sources.names import is_picture

_ROOTS = (*ROOTS, "faces")
_FACE, _PHOTO = "track.detect.face", "track.person.photo"
_STYLE = "track.overlay_style."


@dataclass(frozen=True)
class _Part:
    """What of the clip is read, and how."""

    start: Annotated[float | None, typer.Option(help="Begin at this second of the clip (default 0).")] = None
    duration: Annotated[float | None, typer.Option(help="Track so many seconds (default: to the end).")] = None
    fps: Annotated[
        float | None, typer.Option(help="Pictures per second of a folder or pattern of pictures (default 24).")
    ] = None
    stream: Annotated[
        int | None,
        typer.Option(
            help="Track this video of a file with several (default: the file's own, else the largest).", min=0
        ),
    ] = None
    timecode: Annotated[
        str | None,
        typer.Option(
            help="Timecode of the clip's time 0, HH:MM:SS:FF, or HH:MM:SS;FF for drop-frame (default: the file's own)."
        ),
    ] = None

    def settings(self) -> dict[str, Any]:
        """The settings of what is read, by name."""
        return said({f"track.{name}": value for name, value in vars(self).items()})


@dataclass(frozen=True)
class _Who:
    """Who is tracked."""

    face: Annotated[
        str | None,
        typer.Option(
            help="Follow the face of this number, see --thumbnails, or the person of this photo (default 0).",
            metavar="N|PHOTO",
        ),
    ] = None
    faces: Annotated[
        str | None,
        typer.Option(
            help="Track several faces, each into a folder of its own: all, how many of the first ones (2), or numbers "
            "(0,2), see --thumbnails (default: one face).",
            metavar="all|N|N,N",
        ),
    ] = None
    thumbnails: Annotated[
        bool,
        typer.Option(
            "--thumbnails", help="Only write faces.png: who can be followed by --face and --faces (default: no)."
        ),
    ] = False

    def settings(self) -> dict[str, Any]:
        """The settings of who is tracked; `--face` is a number or a photo, each of which ends the other one."""
        settings = said({"faces": self.faces})
        if self.face is None:
            return settings
        one = face_or_photo(self.face)
        photo = None if isinstance(one, int) else str(one.resolve())
        return settings | {_FACE: 0 if photo else one, _PHOTO: photo}


@dataclass(frozen=True)
class _Reading:
    """How faces are read."""

    landmarks: Annotated[
        str | None, typer.Option(help="What finds points on the face: mediapipe, or fan (default mediapipe).")
    ] = None
    identity: Annotated[
        str | None, typer.Option(help="Fit one shape of the head to the whole clip, or one per-frame (default clip).")
    ] = None
    neutral: Annotated[
        float | None,
        typer.Option(help="The face is at rest at this second of the clip (default: where it is least active)."),
    ] = None
    calibration: CalibrationOption = None
    streams: Annotated[
        Path | None,
        typer.Option(
            help="For the paper's network: VGG-16 and FAN from this file of track-train streams (default: where their "
            "libraries keep them)."
        ),
    ] = None

    def settings(self) -> dict[str, Any]:
        """The settings of how faces are read, by name."""
        return said(
            {
                "track.landmarks": self.landmarks,
                "track.identity": self.identity,
                "track.person.neutral": self.neutral,
                "track.person.calibration": text_of(self.calibration),
                "track.streams": text_of(self.streams),
            }
        )


@dataclass(frozen=True)
class _Drawing:
    """What the overlay shows."""

    overlay: Annotated[
        str | None,
        typer.Option(
            help="Show in overlay.mp4 the frame and the mesh side by side (split), or over the frame its mesh, wire, "
            "points or texture (default split).",
            metavar="MODE",
        ),
    ] = None
    no_overlay: NoOverlayOption = False
    burn_in: Annotated[
        bool,
        typer.Option(
            "--burn-in", help="Write frame number, time, timecode and confidence into the overlay (default: no)."
        ),
    ] = False

    def settings(self) -> dict[str, Any]:
        """The settings of the overlay, by name."""
        return said(
            {
                "track.overlay": False if self.no_overlay else True if self.overlay else None,
                "track.overlay_style.mode": self.overlay,
                "track.overlay_style.burn_in": self.burn_in or None,
            }
        )

    def check(self, drawn: bool, assigned: Mapping[str, Any]) -> None:
        """Refuse options and settings of an overlay that is not drawn; its texture is that of texture.png, too."""
        asked = {f"--overlay {self.overlay}": self.overlay, "--burn-in": self.burn_in}
        style = [name for name in assigned if name.startswith(_STYLE) and not name.startswith(f"{_STYLE}texture")]
        names = [*(name for name, given in asked.items() if given), *(f"--set {name}" for name in style)]
        if names and not drawn:
            raise UserError(f"{names[0]} is how the overlay is drawn, but there is none; leave --no-overlay out")


@dataclass(frozen=True)
class _Files:
    """What is written beside the track."""

    report: Annotated[
        bool, typer.Option("--report", help="Write report.html, too, as track-eval does (default: no).")
    ] = False
    export: ExportOption = None
    character: Annotated[
        Path | None,
        typer.Option(
            metavar="RIG",
            help="Write the curves and an animated .glb of this character of your own, too, a .rig file of track-rig "
            "(default: none).",
        ),
    ] = None

    def settings(self) -> dict[str, Any]:
        """The settings of those files, by name."""
        return said({"track.character": text_of(self.character)})

    def formats(self, changes: Mapping[str, Any]) -> tuple[str, ...]:
        """The formats to write; those of a character, too, where there is one, that can be read."""
        formats = listed(changes.get("export") if self.export is None else self.export)
        character = changes.get("track.character")
        if character is not None:
            from selftrack.decoders.rigs.character import Character

            Character.load(character)
            formats.append("character")
        exports = known(formats)
        if character is None and set(exports) & set(GROUPS["character"]):
            raise UserError("--export character needs --character RIG, a file of track-rig add")
        return exports


def track(
    video: Annotated[
        str, typer.Argument(help="A video, a folder of pictures, or a pattern such as img%04d.png.", metavar="CLIP")
    ],
    others: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    *,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder of the results (default: <clip>_track).")
    ] = None,
    files: _Files,
    part: Annotated[_Part, "What of the clip is read"],
    who: Annotated[_Who, "Who is tracked"],
    reading: Annotated[_Reading, "How the face is read"],
    drawing: Annotated[_Drawing, "What overlay.mp4 shows"],
    learning: Annotated[Learning, "Adapting to the clip"],
    models: Annotated[Models, "Other models, and where they are computed"],
    given: Annotated[Given, "All settings by name, see docs/usage.md"],
    overwrite: OverwriteOption = False,
) -> None:
    """Track a face through a clip and write curves, pose, mesh and an overlay into a folder.

    Look at overlay.mp4 first. Then: track-export brings the result into other programs, track-eval says how good it
    is. From a camera to other programs, frame by frame: track live --help. As a service over HTTP: track serve --help.
    """
    groups = (part, who, reading, models, drawing, files)
    _check_alone([video, *(others or ())])
    check_clip(video)
    if reading.calibration is not None:
        check_clip(str(reading.calibration))
    from_file, assigned = given.from_file("live"), given.assigned()
    options = reduce(or_, (group.settings() for group in groups), learning.settings() | assigned)
    changes = _one_or_several(from_file, options)
    check_roots(changes, _ROOTS)
    exports, adapts = files.formats(changes), learning.adapts(from_file, assigned)
    drawing.check(changes.get("track.overlay") is not False, assigned)
    if who.thumbnails:
        if adapts or exports or files.report or who.faces is not None:
            raise UserError(
                "--thumbnails shows the faces and tracks none; leave --adapt, --export, --report and --faces out"
            )
        show(video, output, changes, overwrite)
        return
    _track(Order(video, output, changes, exports, adapts, overwrite), files.report)


def _check_alone(clips: Sequence[str]) -> None:
    """Refuse more than one clip. Raises UserError."""
    if len(clips) == 1:
        return
    if all(is_picture(Path(clip)) for clip in clips):
        raise UserError(f"got {len(clips)} pictures; for one clip of them name their folder, or a pattern in quotes")
    some = f"{shlex.join(clips[:3])}{' ...' if len(clips) > 3 else ''}"
    raise UserError(f"got {len(clips)} clips and tracks one; several are tracked by: track-batch {some} -o OUT")


def _track(order: Order, report: bool) -> None:
    """Track, and judge the results if that is asked for."""
    summary, folders = track_one(order) if order.changes.get("faces") is None else track_several(order)
    if verbose():
        print("seconds  " + ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in summary.seconds.items()))
    if report:
        for folder in folders:
            print_report(folder)


def _one_or_several(from_file: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """All changes of settings, where what is given as an option counts more than a file, also of who is tracked."""
    one, several = given.get(_PHOTO) or given.get(_FACE), given.get("faces")
    if one is not None and several is not None:
        raise UserError(f"--face {one} tracks one face and --faces {several} several; leave one of them out")
    changes = {**from_file, **given}
    if one is not None:
        changes["faces"] = None
    if (one is not None or several is not None) and _PHOTO not in given:
        changes.pop(_PHOTO, None)
    if changes.get("faces") is not None:
        changes["faces"] = check_choice(changes["faces"])
        changes[_FACE] = 0
    return changes


def main() -> None:
    """Run the console script `track`; with `live` or `serve` as its first word, that of the module of that name."""
    if sys.argv[1:2] == ["live"]:
        live.main()
    if sys.argv[1:2] == ["serve"]:
        serve.main()
    run("track", track=track)
