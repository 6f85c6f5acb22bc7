"""The formats by name: what each is called, what it needs, and its writer, which registers itself with `exporter`."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from selftrack.errors import UserError
from selftrack.tracker.export.options import METAVARS

if TYPE_CHECKING:
    from selftrack.decoders.base import Decoder
    from selftrack.tracker.export.options import ExportOptions
    from selftrack.tracker.results.track_file import Track

    Writer = Callable[[Track, Path, ExportOptions], None]


class Need(Enum):
    """A capability of the track's decoder, by its attribute; a format without any takes every decoder."""

    ARKIT_CURVES = "has_arkit_curves"
    BLENDSHAPES = "has_blendshapes"
    LANDMARKS = "has_landmarks"


_WORDS = {
    Need.ARKIT_CURVES: "ARKit's curves",
    Need.BLENDSHAPES: "fixed blend shapes",
    Need.LANDMARKS: "the places of the landmarks on the mesh",
}


@dataclass(frozen=True)
class Format:
    """One file format."""

    name: str
    file: str
    """The file's own name, {clip} standing for the stem of the clip's name."""
    write: Writer
    """Writes the file; the path has a temporary name, so nothing may be read from it."""
    needs: tuple[Need, ...] = ()
    package: str = ""
    """A package that the writer imports."""
    install: str = ""
    """What to give to pip for that package; empty where it is an extra of its own, of the format's name."""
    focal: bool = False
    """Whether the focal length of the clip's camera counts."""
    timecode: bool = False
    """Whether the clip's timecode is in it."""
    asks: tuple[str, ...] = ()
    """Fields of `ExportOptions` without which it cannot be written."""
    takes: tuple[str, ...] = ()
    """Further fields that are for it alone."""

    def missing(self, decoder: Decoder) -> list[Need]:
        """List what the format needs and the decoder does not have."""
        return [need for need in self.needs if not getattr(decoder, need.value)]


FORMATS: dict[str, Format] = {}
GROUPS = {"character": ("character-csv", "character-glb")}
"""Names that stand for several formats."""


def exporter(
    name: str,
    file: str,
    needs: Iterable[Need] = (),
    package: str = "",
    install: str = "",
    focal: bool = False,
    timecode: bool = False,
    asks: Iterable[str] = (),
    takes: Iterable[str] = (),
) -> Callable[[Writer], Writer]:
    """Register a function as the writer of a format; the arguments are the fields of `Format`.

    Raises:
        ValueError: the name is taken.
    """
    if name in FORMATS:
        raise ValueError(f"there is a format {name} already")

    def register(write: Writer) -> Writer:
        lists = tuple(asks), tuple(takes)
        FORMATS[name] = Format(name, file, write, tuple(needs), package, install, focal, timecode, *lists)
        return write

    return register


def taking(field: str) -> tuple[str, ...]:
    """List the formats that ask for or take a field of `ExportOptions`; those of `GROUPS` by the group's name."""
    of_group = {name: group for group, names in GROUPS.items() for name in names}
    takers = (name for name, format_ in FORMATS.items() if field in (*format_.asks, *format_.takes))
    return tuple(dict.fromkeys(of_group.get(name, name) for name in takers))


def known(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names, once each and in small letters; one text may hold several with commas between them, and those
    of `GROUPS` stand for several.

    Raises:
        UserError: one of them is no format, or needs a package that is not installed.
    """
    single = [name.strip().lower() for several in names for name in several.split(",")]
    names = tuple(dict.fromkeys(one for name in single if name for one in GROUPS.get(name, (name,))))
    for name in names:
        if name not in FORMATS:
            close = difflib.get_close_matches(name, (*FORMATS, *GROUPS), 1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(sorted((*FORMATS, *GROUPS)))}"
            raise UserError(f"unknown format {name!r}; {hint}")
        package = FORMATS[name].package
        if package and not find_spec(package):
            what = FORMATS[name].install or f"'selftrack[{name}]'"
            raise UserError(f"format {name} needs {package}; install it with: pip install {what}")
    return names


def require(names: Iterable[str], decoder: Decoder, options: ExportOptions | None = None) -> None:
    """Make sure that tracks by a decoder can be written in the formats of these names with these options.

    Raises:
        UserError: as `known`; or a format needs what the decoder does not have, or what the options do not say.
    """
    names = known(names)
    for name in names:
        missing = FORMATS[name].missing(decoder)
        if missing:
            others = ", ".join(sorted(other.name for other in FORMATS.values() if not other.missing(decoder)))
            raise UserError(
                f"format {name} needs {' and '.join(_WORDS[need] for need in missing)}, which the decoder of this "
                f"track ({decoder.name}) does not have; these can be written: {others}"
            )
    require_said(names, options)


def require_said(names: Iterable[str], options: ExportOptions | None = None) -> None:
    """Make sure that options say what the formats of these names ask for.

    Raises:
        UserError: as `known`; or one of them is not said.
    """
    for name in known(names):
        unsaid = [
            f"--{field.replace('_', '-')} {METAVARS.get(field, 'FILE')}"
            for field in FORMATS[name].asks
            if not getattr(options, field, None)
        ]
        if unsaid:
            raise UserError(f"format {name} needs {' and '.join(unsaid)}, an option of track-export")
