"""Functions as commands: `track` and its kin, and what is run as `python -m selftrack.eval.*`."""

from __future__ import annotations

import copy
import gc
import inspect
import logging
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass
from importlib.metadata import version
from typing import Annotated, Any, NoReturn, get_type_hints

import typer
from typer.core import TyperCommand

from selftrack.errors import UserError

_QUIET, _PLAIN, _VERBOSE = logging.ERROR, logging.WARNING, logging.INFO
_INTERRUPTED = 130
"""Exit status after Ctrl-C."""
_OBJECTS = 50_000
"""Python looks for cycles to free after so many new objects, for its own 700: modules that load make hundreds of
thousands, all to stay, and to look through them again and again takes a third of a second."""
_log = logging.getLogger("selftrack")
_Misuse: Any = typer.BadParameter.__mro__[1]
"""click's UsageError, under whatever name this version of typer has it: an option or argument that is not known,
missing, or not of its type."""


def quiet() -> bool:
    """Whether the user wants no progress and no summary."""
    return _log.level >= _QUIET


def verbose() -> bool:
    """Whether the user wants details."""
    return _PLAIN > _log.level > logging.NOTSET


def run(
    name: str, about: str | None = None, arguments: Sequence[str] | None = None, /, **commands: Callable[..., None]
) -> None:
    """Run a command, or one of several by their names.

    What the user can mend is one line on stderr and the exit status of the error, 2 in general.

    Options and help texts are those of the functions' annotations, shown as they are, see `parameters`; `about` is the
    help text of several, and `arguments` are those of the process unless given. All have --help, --version, --verbose
    and --quiet; scripts also install completions of the shell.
    """
    app = typer.Typer(
        add_completion=" " not in name,  # `python -m ...` is no script that a shell could complete
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # markup would take what is in brackets for its own
        no_args_is_help=False,
        help=about,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    if len(commands) > 1:
        app.callback()(_of_several)
    for command, function in commands.items():
        app.command(command, cls=_Command)(_with_common_options(function))
    before = _log.level
    try:
        with warnings.catch_warnings(), _cleaned_up(), _seldom_searched():
            status = app(arguments, prog_name=name, standalone_mode=False)
    except UserError as error:
        _refuse(name, str(error), error.status)
    except _Misuse as error:
        command = error.ctx.command_path if error.ctx else name
        message = error.format_message().rstrip(".")
        _refuse(name, f"{message[0].lower()}{message[1:]}; see: {command} --help")
    finally:
        _log.setLevel(before)
    if status == _INTERRUPTED:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # pressed again, Ctrl-C would break what is ending
    sys.exit(status)


@contextmanager
def _cleaned_up() -> Iterator[None]:
    """Let a command that is terminated, or whose terminal is closed, remove what it has half-written."""
    known = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows lacks one
    signals = known if threading.current_thread() is threading.main_thread() else []
    before = {number: signal.getsignal(number) for number in signals}
    for number in (number for number, handler in before.items() if handler is signal.SIG_DFL):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _seldom_searched() -> Iterator[None]:
    """Let Python look for cycles of objects less often."""
    before = gc.get_threshold()
    gc.set_threshold(_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _refuse(name: str, why: str, status: int = UserError.status) -> NoReturn:
    """End a command with one line that says why."""
    print(f"{name}: {' '.join(why.split())}", file=sys.stderr)
    sys.exit(status)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"selftrack {version('selftrack')}")
        raise typer.Exit


_Version = Annotated[
    bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
]
_COMMON: dict[str, Any] = {
    "verbose": Annotated[bool, typer.Option("-v", "--verbose", help="Also show details and what libraries report.")],
    "quiet": Annotated[bool, typer.Option("-q", "--quiet", help="Show no progress and no summary, only errors.")],
    "version": _Version,
}


def _of_several(version: _Version = False) -> None:
    """Take the options that come before the name of one of several commands."""


class _Command(TyperCommand):
    """Its help lists the options of a group with a heading under that, after all others, and no hidden argument."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """List what the line of usage has."""
        shown = (one for one in self.get_params(ctx) if not getattr(one, "hidden", False))
        return [self.options_metavar or "", *(piece for one in shown for piece in one.get_usage_pieces(ctx))]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write what options there are, section by section."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
            if record is not None:
                sections.setdefault(getattr(parameter, "rich_help_panel", None) or usual, []).append(record)
        for heading, records in ((heading, records) for heading, records in sections.items() if records):
            with formatter.section(heading):
                formatter.write_dl(records)


def parameters(function: Callable[..., None]) -> list[inspect.Parameter]:
    """List the arguments and options of a command.

    They are the parameters of the function; one whose annotation is a dataclass, a group of options, stands for that
    one's fields. Annotated with a text, that is the heading of the group in the help.
    """
    hints = get_type_hints(function, include_extras=True)
    listed: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        group = _group(hints[name])
        listed += _of_group(group, hints[name]) if group else [parameter.replace(annotation=hints[name])]
    return [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in listed]


def _group(hint: Any) -> type | None:
    """The dataclass that an annotation names, if it names one."""
    kind = getattr(hint, "__origin__", hint)
    return kind if isinstance(kind, type) and is_dataclass(kind) else None


def _of_group(group: type, hint: Any) -> list[inspect.Parameter]:
    """The fields of a group as parameters, under its heading if the annotation has one."""
    heading: str | None = next(iter(getattr(hint, "__metadata__", ())), None)
    listed = []
    for field, annotation in zip(fields(group), get_type_hints(group, include_extras=True).values(), strict=True):
        option = copy.copy(annotation.__metadata__[0])  # that of a type which others share
        option.rich_help_panel = heading
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        listed.append(
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=default,
                annotation=Annotated[annotation.__origin__, option],
            )
        )
    return listed


def _with_common_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that all commands have; the function itself does not get them, and gets groups of its own as what
    they are."""
    own = parameters(function)
    kind = inspect.Parameter.KEYWORD_ONLY
    common = [inspect.Parameter(name, kind, default=False, annotation=hint) for name, hint in _COMMON.items()]
    hints = get_type_hints(function)
    groups = {name: group for name, hint in hints.items() if (group := _group(hint))}

    def command(verbose: bool = False, quiet: bool = False, version: bool = False, **arguments: Any) -> None:
        if verbose and quiet:
            raise UserError("--verbose and --quiet exclude each other: name one of them")
        _log.setLevel(_VERBOSE if verbose else _QUIET if quiet else _PLAIN)
        logging.basicConfig(level=_log.level, format="%(name)s: %(message)s", force=True)
        warnings.simplefilter("default" if verbose else "ignore")
        made = {
            name: group(**{field.name: arguments.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        function(**arguments, **made)

    command.__signature__ = inspect.Signature([*own, *common])  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in (*own, *common)} | {"return": None}
    command.__name__, command.__doc__ = function.__name__, function.__doc__
    return command
