"""Comparisons of the CPU with a GPU, their tolerances, and the table that says them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from selftrack.io import markdown_table

LOSSES = 0.02
"""Tolerance of a loss, and of a gradient, relative to it."""


@dataclass(frozen=True)
class Check:
    """One comparison of the CPU with the GPU."""

    name: str
    difference: float
    tolerance: float
    unit: str

    @property
    def passed(self) -> bool:
        """NaN does not pass."""
        return self.difference <= self.tolerance


@dataclass(frozen=True)
class Figure:
    """What was measured on each, such as how often per second it does something."""

    name: str
    cpu: float
    """NaN where it was not measured."""
    gpu: float
    goal: str = ""
    """Of the GPU."""


def relative(name: str, a: float, b: float, tolerance: float) -> Check:
    """Compare two numbers relatively; one near 0 counts absolutely."""
    return Check(name, abs(a - b) / max(abs(a), 1e-3), tolerance, "of it")


def loss_checks(what: str, a: dict[str, float], b: dict[str, float], tolerance: float = LOSSES) -> list[Check]:
    """Compare losses by name."""
    return [relative(f"{what}, {name}", a[name], b[name], tolerance) for name in a]


def gradient_check(name: str, a: np.ndarray, b: np.ndarray, tolerance: float = LOSSES) -> Check:
    """Compare gradients (N,): the length of their difference, relative to the first."""
    length = max(float(np.linalg.norm(a)), 1e-12)
    return Check(name, float(np.linalg.norm(a - b)) / length, tolerance, "of it")


def table(checks: list[Check], figures: list[Figure], machine: str) -> str:
    """Write Markdown."""
    rows = [
        [
            check.name,
            f"{check.difference:.3g} {check.unit}".strip(),
            f"{check.tolerance:g} {check.unit}".strip(),
            "same" if check.passed else "**differs**",
        ]
        for check in checks
    ]
    compared = markdown_table(["CPU against GPU", "difference", "tolerance", ""], rows)
    measured = [[figure.name, _cell(figure.cpu), _cell(figure.gpu), figure.goal] for figure in figures]
    return f"{machine}\n\n{compared}\n{markdown_table(['measured', 'CPU', 'GPU', 'goal'], measured)}"


def _cell(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.1f}"
