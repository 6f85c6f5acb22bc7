"""Named expressions, laid over a performance with an intensity.

A file of them is YAML, by their names and the names of curves, from 0 to 1; one without Left or Right is for both:

    grin: {mouthSmile: 0.9, mouthUpperUp: 0.5, jawOpen: 0.1}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.errors import UserError, reason
from selftrack.tracker.export.curve_range import both_sides

if TYPE_CHECKING:
    from selftrack.tracker.results.track_file import Track

BUNDLED = Path(__file__).parents[1] / "assets" / "presets.yaml"
_ROUNDING = 1e-6


def read_presets(path: Path | None = None) -> dict[str, np.ndarray]:
    """Read the bundled expressions and those of a file, which count before them: curves (52,) by name.

    Raises:
        UserError: it cannot be read, names what is no curve, or has curves that no face shows together.
    """
    return _read(BUNDLED) | (_read(path) if path else {})


def _read(path: Path) -> dict[str, np.ndarray]:
    import yaml
    from pydantic import TypeAdapter, ValidationError

    try:
        read: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as YAML ({reason(error)}); name a file of expressions") from error
    try:
        named = TypeAdapter(dict[str, dict[str, float]]).validate_python(read, strict=True)
    except ValidationError as error:
        where = ": ".join(str(part) for part in error.errors()[0]["loc"])
        raise UserError(
            f"{path}: {where or 'the file'} is not as it must be; an expression is written as grin: {{mouthSmile: 0.9}}"
        ) from error
    return {name: _curves(values, f"{path}: {name}") for name, values in named.items()}


def _curves(values: Mapping[str, float], where: str) -> np.ndarray:
    """Curves (52,) of values by name."""
    curves = np.zeros(len(ARKIT_NAMES))
    for name, value in both_sides(values, where).items():
        if not 0 <= value <= 1:
            raise UserError(f"{where}: {name} must be from 0 to 1; got {value:g}")
        curves[ARKIT_NAMES.index(name)] = value
    away = np.abs(_to_curves(_to_axes(curves)) - curves)
    if away.max() > _ROUNDING:
        raise UserError(
            f"{where}: no face shows {ARKIT_NAMES[away.argmax()]} with the others; of a smile and a frown, brows down "
            "and up, eyes wide and shut, left and right one must be 0, mouthClose at most jawOpen, and both eyes look "
            "at one point"
        )
    return curves


@dataclass(frozen=True)
class Expression:
    """What is laid over a performance."""

    curves: np.ndarray  # (52,) that a face can show
    alone: bool = False
    """Whether it is shown in place of the performance's curves; the head moves on."""

    @classmethod
    def of(cls, wanted: Mapping[str, float], presets: Mapping[str, np.ndarray], alone: bool = False) -> Expression:
        """Add up presets, each with an intensity from 0 to 1.

        Raises:
            UserError: one of them is not known, or an intensity is out of range.
        """
        axes = np.zeros_like(_to_axes(np.zeros(len(ARKIT_NAMES))))
        for name, intensity in wanted.items():
            if name not in presets:
                raise UserError(f"--preset: there is no expression {name!r}; known are {', '.join(presets)}")
            if not 0 <= intensity <= 1:
                raise UserError(f"--preset {name}: the intensity must be from 0 to 1; got {intensity:g}")
            axes += intensity * _to_axes(presets[name])
        return cls(_to_curves(axes), alone)

    def over(self, track: Track) -> Track:
        """Lay it over a track. It fills what room the performance leaves: a blink stays shut, and a full smile full.

        Of two that exclude one another, such as a smile and a frown, the stronger remains, by as much as it is
        stronger. Curves that it does not move stay as they are.

        Raises:
            UserError: the decoder's expressions are not ARKit's shapes.
        """
        from selftrack.tracker.refinement.controls import UPPER

        decoder = track.model()
        if not (decoder.has_arkit_curves and decoder.has_blendshapes):
            raise UserError(
                "--preset is for ARKit's curves as weights of shapes, which this track's decoder does not have; "
                "leave it out"
            )
        z, added = track.z.copy(), _to_axes(self.curves)
        own = z[:, decoder.expression].astype(float) * (not self.alone)
        axes = _to_axes(own)
        edited = _to_curves(axes + (1 - np.abs(axes) / UPPER) * added)
        z[:, decoder.expression] = np.where(_moved(added), edited, own)
        return track.with_codes(z)


def page_arithmetic() -> dict[str, Any]:
    """The bundled expressions, and what lays them over curves, in numbers for the script of a page (`expressions.js`).

    Matrices are lists of columns, and these of pairs of a row and its entry, where that is not 0.
    """
    from selftrack.tracker.refinement import controls

    def columns(matrix: np.ndarray) -> list[list[tuple[int, float]]]:
        rounded = matrix.round(12)  # of an inverse whose zeros are 1e-17
        return [[(int(row), float(column[row])) for row in np.flatnonzero(column)] for column in rounded.T]

    return {
        "presets": {
            name: {ARKIT_NAMES[at]: float(curves[at]) for at in np.flatnonzero(curves)}
            for name, curves in read_presets().items()
        },
        "means": columns(controls.MEANS),
        "turns": columns(controls.TURNS),
        "exclusive": controls.EXCLUSIVE.tolist(),
        "lower": controls.LOWER.tolist(),
        "upper": controls.UPPER.tolist(),
        "parted": controls.PARTED,
        "behind": controls.BEHIND,
    }


def _to_axes(curves: np.ndarray) -> np.ndarray:
    """Controls (...,47) of curves (...,52), in which of two that exclude one another the first has the difference."""
    from selftrack.tracker.refinement.controls import EXCLUSIVE, to_controls

    axes = to_controls(curves)
    first, second = EXCLUSIVE.T
    axes[..., first] -= axes[..., second]
    axes[..., second] = 0
    return axes


def _to_curves(axes: np.ndarray) -> np.ndarray:
    """Curves (...,52) in 0..1 of axes (...,47), which are cut off at their bounds."""
    from selftrack.tracker.refinement.controls import EXCLUSIVE, to_curves, within

    first, second = EXCLUSIVE.T
    controls = axes.copy()
    controls[..., second] = -axes[..., first]
    return to_curves(within(controls))


def _moved(axes: np.ndarray) -> np.ndarray:
    """Which curves (52,) axes (47,) move; jawOpen and mouthClose go together."""
    from selftrack.tracker.refinement.controls import BEHIND, EXCLUSIVE, PARTED, TURNS

    moved = np.abs(axes) > _ROUNDING
    for pair in (*EXCLUSIVE, [PARTED, BEHIND]):
        moved[pair] = moved[pair].any()
    return TURNS[moved].any(0)
