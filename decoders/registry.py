"""The kinds of decoders, and how the kind of a file is found."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import TypeVar

from selftrack.decoders.base import Decoder
from selftrack.errors import UserError

Kind = TypeVar("Kind", bound=type[Decoder])
_BUILT_IN = ("selftrack.decoders.head.model", "selftrack.decoders.dam.model")
"""Modules that register the package's own kinds when they are imported."""
_KINDS: dict[str, type[Decoder]] = {}


def register_decoder(kind: Kind) -> Kind:
    """Make a kind of decoder known to `load_decoder`; a class decorator.

    Raises:
        ValueError: the class is not complete, or its name is taken.
    """
    if inspect.isabstract(kind) or not hasattr(kind, "name"):
        missing = sorted(getattr(kind, "__abstractmethods__", ())) or ["name"]
        raise ValueError(f"{kind.__name__} is not complete: it lacks {', '.join(missing)}")
    if _KINDS.get(kind.name, kind).__qualname__ != kind.__qualname__:
        raise ValueError(f"there is a kind of decoder {kind.name} already: {_KINDS[kind.name].__qualname__}")
    _KINDS[kind.name] = kind
    return kind


def decoder_kinds() -> dict[str, type[Decoder]]:
    """Return the known kinds by name."""
    for module in _BUILT_IN:
        import_module(module)
    return dict(_KINDS)


def load_decoder(path: Path | str | None = None) -> Decoder:
    """Read a decoder from its file, of whatever kind, or the bundled head.

    Nothing is shared: each call gives a new one, on the CPU, its parameters frozen.

    Raises:
        UserError: no such file, one of no known kind, or a damaged one.
    """
    kinds = decoder_kinds()
    if path is None:
        from selftrack.decoders.head.model import load_head

        return load_head()
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; make a person's own model with track-train dam")
    for kind in kinds.values():
        if kind.reads(path):
            return kind.load(path)
    raise UserError(
        f"{path}: a decoder of no known kind ({', '.join(kinds)}); make a person's own model with track-train dam"
    )
