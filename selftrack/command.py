"""Functions as commands: `track` and its kin, and what is run as `python -m selftrack.eval.*`."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from selftrack.errors import UserError


def run(name: str, about: str | None = None, /, **commands: Callable[..., None]) -> None:
    """Run a command, or one of several by their names; what the user can mend is one line on stderr and exit status 2.

    Options and help texts are those of the functions' annotations; `about` is the help text of several.
    """
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=about)
    for command, function in commands.items():
        app.command(command)(function)
    try:
        app(prog_name=name)
    except UserError as error:
        print(f"{name}: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
