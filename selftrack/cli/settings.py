"""Settings from files and from `--set`: read, checked by name and type, and put into the dataclasses they belong to."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
import yaml

from selftrack.errors import UserError
from selftrack.io import flat, nested
from selftrack.tracker.export import FORMATS
from selftrack.tracker.sources.names import check_there, place_of

Settings = TypeVar("Settings")

ROOTS = ("track", "adapt", "export")
"""What the names of the settings of `track` and `track-batch` begin with."""
ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Take settings from a YAML file, such as the config.yaml beside a track.npz, or from a bundled one by "
        "its name (default: none).",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one setting by its full name, such as track.crop.slack=0.4; may be given several times. It counts "
        "more than --config.",
    ),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option(
        help="Use this trained network, such as the adapted.safetensors of an earlier run (default: bundled)."
    ),
]
DecoderOption = Annotated[
    Path | None, typer.Option(help="Use this personal model, made by track-train dam (default: the bundled head).")
]
DeviceOption = Annotated[
    str | None, typer.Option(help="Compute on cpu, cuda, or auto: cuda where there is one (default auto).")
]
CalibrationOption = Annotated[
    Path | None,
    typer.Option(help="Take the person's face and rest from this clip or earlier track of the same person."),
]
NoOverlayOption = Annotated[
    bool, typer.Option("--no-overlay", help="Write no overlay.mp4 and no contact_sheet.png (default: write them).")
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace the results of an earlier run (default: no).")
]
_FORMATS = ", ".join(sorted(name for name, format_ in FORMATS.items() if not format_.asks))
ExportOption = Annotated[
    list[str] | None,
    typer.Option(help=f"Write these formats, too, such as livelink,glb (default: none). Known are {_FORMATS}."),
]


@dataclass(frozen=True)
class Given:
    """Settings by their full names, in a file and one by one."""

    config: ConfigOption = None
    set: SetOption = None

    def from_file(self, *others: str) -> dict[str, Any]:
        """Those of the file, without those of other commands, whose names begin with one of `others`: the config.yaml
        of a result has such. Raises UserError as `read_config`."""
        return {name: value for name, value in read_config(self.config).items() if name.split(".")[0] not in others}

    def assigned(self) -> dict[str, Any]:
        """Those given one by one. Raises UserError as `read_assignments`."""
        return read_assignments(self.set)


@dataclass(frozen=True)
class Models:
    """The models that read faces, and what computes them."""

    weights: WeightsOption = None
    decoder: DecoderOption = None
    device: DeviceOption = None

    def settings(self) -> dict[str, Any]:
        """The settings of models and device that were given, by name."""
        return said(
            {
                "track.weights": None if self.weights is None else str(self.weights),
                "track.decoder": text_of(self.decoder),
                "track.device": self.device,
            }
        )


@dataclass(frozen=True)
class Learning:
    """Whether a clip is learned from first."""

    adapt: Annotated[
        bool | None,
        typer.Option("--adapt/--no-adapt", help="Fine-tune the tracker on the clip itself first (default: no)."),
    ] = None
    thorough: Annotated[
        bool, typer.Option("--thorough", help="With --adapt: learn in more steps, about twice as long (default: no).")
    ] = False

    def settings(self) -> dict[str, Any]:
        """The settings that --thorough stands for, by name."""
        return read_config("adapt_thorough") if self.thorough else {}

    def adapts(self, from_file: Mapping[str, Any], assigned: Mapping[str, Any]) -> bool:
        """Whether there is an adaptation.

        Args:
            from_file: settings by name, of which those of an adaptation ask for one.
            assigned: those given one by one, which do not.

        Raises:
            UserError: settings are of an adaptation that was not asked for.
        """
        adapts = bool(under(from_file, "adapt")) if self.adapt is None else self.adapt
        changes = bool(under(assigned, "adapt"))
        for given, words in ((changes, "--set changes"), (self.thorough, "--thorough lengthens")):
            if given and not adapts:
                raise UserError(f"{words} the adaptation, but there is none; add --adapt")
        return adapts


def said(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those settings for which there is a value."""
    return {name: value for name, value in values.items() if value is not None}


def text_of(path: Path | None) -> str | None:
    """An absolute path as settings have it."""
    return None if path is None else str(path.resolve())


def read_config(name: str | None) -> dict[str, Any]:
    """Read settings by their full names, such as "track.crop.slack", from a YAML file or a bundled one.

    Raises:
        UserError: there is none of that name, or it holds no settings.
    """
    if name is None:
        return {}
    bundled = {p.name.removesuffix(".yaml"): p for p in files("selftrack.configs").iterdir() if p.name.endswith("yaml")}
    place = Path(name) if Path(name).is_file() else bundled.get(name)
    if place is None:
        raise UserError(f"{name}: no such file of settings; bundled are {', '.join(sorted(bundled))}")
    try:
        read = _read_yaml(place.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{name}: cannot be read as YAML ({error}); see docs/usage.md for an example") from error
    if not isinstance(read, Mapping) or not all(isinstance(key, str) for key in flat(read)):
        raise UserError(
            f"{name}: holds no settings by name; name a file such as the config.yaml that track has written"
        )
    return flat(read)


def read_assignments(assignments: Iterable[str] | None) -> dict[str, Any]:
    """Read settings by their full names from `KEY=VALUE`, with values as in YAML.

    Raises:
        UserError: one has another form.
    """
    read = {}
    for assignment in assignments or ():
        key, separator, value = assignment.partition("=")
        if not separator or not key.strip():
            raise UserError(f"--set takes KEY=VALUE; got {assignment!r}")
        try:
            read[key.strip()] = _read_yaml(value)
        except yaml.YAMLError as error:
            raise UserError(f"--set {key}: {value!r} is no value that YAML knows; put it into quotes") from error
    return read


class _Loader(yaml.SafeLoader):
    """YAML without numbers to the base of 60 and without dates, as YAML 1.2 has none: timecode is the text as
    written."""

    def resolve(self, kind: type, value: Any, implicit: Any) -> str:
        """Name the tag of a node."""
        tag: str = super().resolve(kind, value, implicit)
        number = tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
        if tag == "tag:yaml.org,2002:timestamp" or (number and ":" in value):
            return "tag:yaml.org,2002:str"
        return tag


def _read_yaml(text: str) -> Any:
    return yaml.load(text, _Loader)


def under(changes: Mapping[str, Any], root: str) -> dict[str, Any]:
    """Those of the settings whose names begin with `root.`, without that."""
    return {key.removeprefix(f"{root}."): value for key, value in changes.items() if key.startswith(f"{root}.")}


def check_roots(changes: Mapping[str, Any], roots: Iterable[str]) -> None:
    """Make sure that each name begins with one of the roots. Raises UserError where one does not."""
    known = tuple(roots)
    for key in changes:
        if key.partition(".")[0] not in known:
            raise UserError(f"there is no setting {key!r}; settings begin with {', '.join(known)}")


def changed(settings: Settings, changes: Mapping[str, Any], root: str = "") -> Settings:
    """Return a dataclass of settings with changes by name, such as "crop.slack", checked against its types.

    Args:
        settings: may hold further dataclasses.
        changes: values by name.
        root: what the names begin with for the user, such as "track.".

    Raises:
        UserError: there is no such setting, or a value that it cannot have.
    """
    from pydantic import TypeAdapter, ValidationError

    known = flat(asdict(settings))  # type: ignore[call-overload]
    for key in changes:
        _check_name(key, known, root)
    tree = nested(known | dict(changes))
    try:
        made: Settings = TypeAdapter(type(settings)).validate_python(tree)
        return made
    except ValidationError as error:
        first = error.errors()[0]
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, UserError):
            raise cause from error
        name = root + ".".join(str(part) for part in first["loc"])
        raise UserError(f"{name}: {first['msg'][0].lower()}{first['msg'][1:]}; got {first['input']!r}") from error


def _check_name(key: str, known: Mapping[str, Any], root: str) -> None:
    if key in known:
        return
    within = [name for name in known if name.startswith(f"{key}.")]
    if within:
        raise UserError(f"{root}{key} is a group of settings: {', '.join(root + name for name in within)}")
    last = key.rpartition(".")[2]
    close = difflib.get_close_matches(key, known, 3) or [name for name in known if name.rpartition(".")[2] == last]
    hint = (
        f"did you mean {' or '.join(root + name for name in close)}?"
        if close
        else "see docs/usage.md for what can be set"
    )
    raise UserError(f"there is no setting {root}{key}; {hint}")


def listed(value: object) -> list[str]:
    """A setting of none, one or several texts."""
    if value is None:
        return []
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


def check_clip(video: str) -> None:
    """Refuse a clip that is not there before anything is loaded: that takes seconds."""
    place_of(video)  # refuses a URL
    check_there(Path(video), video)
