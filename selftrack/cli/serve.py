"""`track serve`: tracking as a service over HTTP and WebSocket."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from selftrack.cli.settings import (
    DecoderOption,
    DeviceOption,
    Given,
    NoOverlayOption,
    WeightsOption,
    changed,
    check_roots,
    said,
    under,
)
from selftrack.command import quiet, run, verbose
from selftrack.errors import UserError, of_extra

_ROOTS = ("track", "serve")
_OTHERS = ("adapt", "export", "faces", "live")  # of a result's config.yaml; each job says for itself
_OF_JOBS = (
    *("track.start", "track.duration", "track.detect.face", "track.person.photo"),
    *("track.fps", "track.stream", "track.timecode"),
)


def serve(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder in which jobs and their results are kept.")
    ] = Path("track_jobs"),
    host: Annotated[
        str, typer.Option(help="Listen at this address; one that others can reach needs --token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Listen at this port; 0: any that is free.", min=0, max=65535)] = 8000,
    workers: Annotated[
        int | None, typer.Option(help="Track so many jobs at a time, each in a process of its own (default 1).", min=1)
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            help="Serve those alone who send this token; the variable SELFTRACK_TOKEN keeps it out of the list of "
            "processes (default: none).",
            envvar="SELFTRACK_TOKEN",
            show_envvar=False,
        ),
    ] = None,
    weights: WeightsOption = None,
    decoder: DecoderOption = None,
    device: DeviceOption = None,
    no_overlay: NoOverlayOption = False,
    *,
    given: Given,
) -> None:
    """Serve tracking over HTTP: clips as jobs, one after the other, and streams of pictures by WebSocket.

    A page for a browser is at the address that is shown, its interface at /docs. Ctrl-C ends it; jobs that are not done
    go on with the next start.
    """
    named = {
        "serve.workers": workers,
        "track.weights": None if weights is None else str(weights.absolute()),
        "track.decoder": None if decoder is None else str(decoder.absolute()),
        "track.device": device,
        "track.overlay": False if no_overlay else None,
    }
    from_file = {name: value for name, value in given.from_file(*_OTHERS).items() if name not in _OF_JOBS}
    assigned = given.assigned()
    for name in assigned:
        if name in _OF_JOBS:
            raise UserError(f"--set {name}: each job says that for itself; leave it out")
    changes = from_file | assigned | said(named)
    check_roots(changes, _ROOTS)
    with of_extra("serve"):
        from selftrack.service.run import serve as run_service
    from selftrack.batch.job import Job
    from selftrack.service.limits import ServeConfig
    from selftrack.tracker.clips.config import TrackConfig

    tracking = changed(TrackConfig(), under(changes, "track"), "track.")
    limits = changed(ServeConfig(), under(changes, "serve"), "serve.")

    def say(address: str) -> None:
        if not quiet():
            print(f"serving at {address}; its jobs are in {output}; Ctrl-C ends", flush=True)

    run_service(Job(tracking), output, limits, host, port, token, log=verbose(), ready=say)


def main() -> None:
    """Run `track serve`, whose options are behind that word."""
    run("track serve", None, sys.argv[2:], serve=serve)
