"""The registry of loss terms: names, default weights, and the settings that belong to one term alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor

from selftrack.errors import UserError

if TYPE_CHECKING:
    from selftrack.adapt.terms.context import ClipContext, StepContext

_Made = TypeVar("_Made", bound=Callable[..., Any])


@dataclass(frozen=True)
class Term:
    """One term of the loss."""

    name: str
    weight: float
    """Default weight."""
    make: Callable[..., Any]
    """A function of a step, and of the settings if there are any; or a class that is made from the clip, and from the
    settings, and whose objects are functions of a step."""
    settings: type | None = None
    """A frozen dataclass whose fields all have defaults."""

    def prepare(self, clip: ClipContext, settings: object) -> Callable[[StepContext], Tensor]:
        """Make the function of a step: its value () has no weight yet."""
        known = {} if self.settings is None else {"settings": settings}
        made: Callable[[StepContext], Tensor]
        made = self.make(clip, **known) if isinstance(self.make, type) else partial(self.make, **known)
        return made


TERMS: dict[str, Term] = {}
"""All terms by name, in the order in which they are computed."""


def term(name: str, weight: float, settings: type | None = None) -> Callable[[_Made], _Made]:
    """Register a term of the loss; see `Term`.

    Raises:
        ValueError: there is one of that name already.
    """

    def register(make: _Made) -> _Made:
        if name in TERMS:
            raise ValueError(f"there is a loss term {name!r} already")
        TERMS[name] = Term(name, weight, make, settings)
        return make

    return register


def complete_weights(weights: Mapping[str, float]) -> dict[str, float]:
    """Fill in the default weights of terms that are not named.

    Raises:
        UserError: there is no such term, or its weight is no number.
    """
    _check_names(weights)
    for name, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not weight >= 0:
            raise UserError(f"the weight of the loss term {name} must be a number of at least 0, got {weight!r}")
    return {name: float(weights.get(name, known.weight)) for name, known in TERMS.items()}


def complete_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in the default settings of terms that are not named; what is a mapping becomes the term's dataclass.

    Raises:
        UserError: there is no such term, or it has no such setting.
    """
    _check_names(settings)
    out = {}
    for name, known in TERMS.items():
        named = settings.get(name, {})
        if known.settings is None:
            if named:
                raise UserError(f"the loss term {name} has no settings but its weight, got {named!r}")
        else:
            out[name] = named if isinstance(named, known.settings) else _made(name, known.settings, named)
    return out


def _made(name: str, settings: type, named: object) -> object:
    fields = [field.name for field in dataclasses.fields(settings)]
    if not isinstance(named, Mapping) or not set(named) <= set(fields):
        raise UserError(f"settings of the loss term {name} are {', '.join(fields)}; got {named!r}")
    return settings(**named)


def _check_names(names: Mapping[str, object]) -> None:
    for name in names:
        if name not in TERMS:
            raise UserError(f"there is no loss term {name!r}; the terms are {', '.join(TERMS)}")
