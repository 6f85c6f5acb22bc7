"""The range of a rig's curves: where each is at rest, and how much of it the rig's 1 is.

A file of them is JSON, by the names of the curves; what is left out is neutral 0, gain 1, max 1:

    {"jawOpen": {"neutral": 0.05, "gain": 1.25}, "mouthSmileLeft": {"max": 0.8}}
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.errors import UserError, reason
from selftrack.io import atomic_path
from selftrack.tracker.results.curves import check_rest, rows_around

if TYPE_CHECKING:
    from selftrack.tracker.results.track_file import Track

_LEAST = 0.1  # by which a curve has to be above rest where it is said to be full
_SIDES = ("Left", "Right")
_ONE_LOOK = {
    f"eyeLook{a}{one}": f"eyeLook{b}{other}"
    for a, b in (("Up", "Up"), ("Down", "Down"), ("In", "Out"), ("Out", "In"))
    for one, other in (_SIDES, _SIDES[::-1])
}
"""For each curve of the gaze the one by which the other eye looks the same way."""


@dataclass(frozen=True)
class CurveRange:
    """What becomes of a curve: clip((value - neutral) * gain, 0, max)."""

    neutral: float = 0.0
    """The curve's value at rest, which becomes 0."""
    gain: float = 1.0
    """Above 1 for a face that shows less than the rig's 1, below 1 for a rig whose shape is larger than ARKit's."""
    max: float = 1.0
    """The most that the rig gets."""

    def __post_init__(self) -> None:
        if not (0 <= self.neutral < 1 and 0 < self.gain < float("inf") and 0 < self.max <= 1):
            raise UserError(
                f"neutral must be from 0 to below 1, gain above 0 and max above 0 and at most 1; got {asdict(self)}"
            )

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Map values of any shape."""
        return ((values - self.neutral) * self.gain).clip(0, self.max)


def read_ranges(path: Path) -> dict[str, CurveRange]:
    """Read the ranges of a file, by curve.

    Raises:
        UserError: it cannot be read, names what is no curve or setting, or a value that cannot be; or it would turn the
            two eyes differently.
    """
    from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

    try:
        read = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({reason(error)}); make one with track-range") from error
    if not isinstance(read, dict):
        raise UserError(f'{path}: must hold curves by name, such as {{"jawOpen": {{"gain": 1.2}}}}')
    check_curves(read, str(path))
    adapter = TypeAdapter(with_config(ConfigDict(extra="forbid"))(CurveRange))
    ranges = {}
    for name, value in read.items():
        try:
            ranges[name] = adapter.validate_python(value)
        except ValidationError as error:
            first = error.errors()[0]
            what = ".".join([name, *map(str, first["loc"])])
            why = first.get("ctx", {}).get("error", first["msg"])
            raise UserError(f"{path}: {what}: {why}; a curve has neutral, gain and max, all numbers") from error
    for name, other in _ONE_LOOK.items():
        if ranges.get(name) != ranges.get(other):
            raise UserError(f"{path}: {name} and {other} turn both eyes to one side; give both the same, or neither")
    return ranges


def write_ranges(ranges: Mapping[str, CurveRange], path: Path) -> None:
    """Write a file that `read_ranges` reads, one curve a line."""
    lines = [f"  {json.dumps(name)}: {json.dumps(asdict(one))}" for name, one in ranges.items()]
    with atomic_path(path) as part:
        part.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def in_range(track: Track, ranges: Mapping[str, CurveRange]) -> Track:
    """The track whose curves are mapped by their ranges, and where they are weights of shapes the mesh with them.

    Raises:
        UserError: its curves are not ARKit's.
    """
    decoder = track.model()
    if not decoder.has_arkit_curves:
        raise UserError("--range is for ARKit's curves, which this track's decoder does not have; leave it out")
    columns = [ARKIT_NAMES.index(name) for name in ranges]
    mapped = track.curve_values.copy()
    for column, one in zip(columns, ranges.values(), strict=True):
        mapped[:, column] = one(mapped[:, column])
    if not decoder.has_blendshapes:
        return replace(track, curve_values=mapped)
    z = track.z.copy()
    z[:, decoder.expression][:, columns] = mapped[:, columns]
    return track.with_codes(z)


def learn_ranges(track: Track, neutral: float | None, full: Mapping[str, float]) -> dict[str, CurveRange]:
    """Find the ranges from moments of a take.

    Args:
        neutral: second at which the face rests: what its curves show there (but the gaze) becomes 0; None: 0 is rest.
        full: by curve, seconds at which the face does what the rig's 1 does; a name without Left or Right is for both.

    Raises:
        UserError: its curves are not ARKit's, there is no such curve, no face at a moment, a face that does not rest,
            or a curve that is not up at the moment where it is full.
    """
    if track.curve_names != ARKIT_NAMES:
        raise UserError("ranges are of ARKit's curves, which this track's decoder does not have")
    rest = dict.fromkeys(ARKIT_NAMES, 0.0) if neutral is None else _at_rest(track, neutral)
    gains = {}
    for name, seconds in both_sides(full, "--full").items():
        seen = _seen(track, seconds, f"--full {name}")
        value = (seen[name] + seen[_ONE_LOOK.get(name, name)]) / 2
        if value - rest[name] < _LEAST:
            raise UserError(
                f"--full {name}={seconds:g}: {name} is {value:.2f} there, and {rest[name]:.2f} at rest; "
                "name a second at which it is up"
            )
        gains[name] = gains[_ONE_LOOK.get(name, name)] = 1 / (value - rest[name])
    ranges = {
        name: CurveRange(round(rest[name], 4), round(gains.get(name, 1 / (1 - rest[name])), 4)) for name in ARKIT_NAMES
    }
    return {name: one for name, one in ranges.items() if one != CurveRange()}


def _at_rest(track: Track, second: float) -> dict[str, float]:
    """What the curves but the gaze show around a moment of rest."""
    seen = {name: 0.0 if name in _ONE_LOOK else value for name, value in _seen(track, second, "--neutral").items()}
    check_rest(seen, second)
    return seen


def both_sides(values: Mapping[str, float], where: str) -> dict[str, float]:
    """Give values by curve; a name that ARKit has for two sides alone is both.

    Raises:
        UserError: a name is none of a curve.
    """
    sided = {name.removesuffix(_SIDES[0]) for name in ARKIT_NAMES if name.endswith(_SIDES[0])} - set(ARKIT_NAMES)
    names = {name: [f"{name}{side}" for side in _SIDES] if name in sided else [name] for name in values}
    check_curves([one for several in names.values() for one in several], where)
    return {one: value for name, value in values.items() for one in names[name]}


def check_curves(names: Iterable[str], where: str) -> None:
    """Make sure that all of them are names of curves.

    Raises:
        UserError: one is not; `where` says where it stands.
    """
    for name in names:
        if name not in ARKIT_NAMES:
            close = difflib.get_close_matches(name, ARKIT_NAMES, 2)
            hint = f"did you mean {' or '.join(close)}?" if close else "names are ARKit's, as in curves.csv"
            raise UserError(f"{where}: there is no curve {name!r}; {hint}")


def _seen(track: Track, second: float, option: str) -> dict[str, float]:
    """The curves around a moment, medians of the frames that show a face."""
    rows = rows_around(track, second, option)
    return {name: float(np.median(values[rows])) for name, values in track.curves().items()}
