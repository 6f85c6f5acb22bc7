"""The terms of the adaptation loss (Yoon et al. 2019, Eq. 5), a registry: each is a function of a step, with a weight.

A term is added by `@term(name, weight)` on a function of a `StepContext`, or on a class where it prepares itself on the
clip, in a module that is imported here. A test is in the file of the same name under tests/adapt/terms.
"""

from selftrack.adapt.terms import anchors, curves, landmarks, steadiness, texture
from selftrack.adapt.terms.context import ClipContext, StepContext
from selftrack.adapt.terms.registry import TERMS, Term, term

__all__ = [
    "TERMS",
    "ClipContext",
    "StepContext",
    "Term",
    "anchors",
    "curves",
    "landmarks",
    "steadiness",
    "term",
    "texture",
]
