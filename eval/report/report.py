"""`report.html` and `report.json`: did adaptation help on a clip, and can its curves be trusted?

One page that needs nothing else, and the same figures for programs.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import jinja2
import numpy as np

from selftrack.adapt.clip import ClipConfig
from selftrack.adapt.split import split_rows
from selftrack.errors import UserError
from selftrack.eval.annotate.marks import AnnotationError, annotation_error, read_annotations
from selftrack.eval.checks.confidence import Reliability, auroc
from selftrack.eval.compare.score import Reference
from selftrack.eval.metrics.clip import Details, track_details
from selftrack.eval.metrics.neutral import Mesh
from selftrack.eval.report import pictures, plots
from selftrack.io import json_text, nested, write_text
from selftrack.tracker import load
from selftrack.tracker.geometry.crop import CropConfig, inter_ocular
from selftrack.tracker.landmarks.boxes import BoxConfig
from selftrack.tracker.landmarks.follower import DetectConfig
from selftrack.tracker.network.weights import load_network
from selftrack.tracker.pipeline import ADAPTATION, ADAPTED, REPORT, REPORT_DATA, TrackConfig, track_clip
from selftrack.tracker.results.confidence import LIMIT
from selftrack.tracker.results.track_file import Track

ASSETS = files("selftrack.eval.report") / "assets"
SAME = 0.005  # relative changes below this are none
LATE = 0.25  # frames; less lag is none, short clips tell no better
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Study:
    """One track and its figures."""

    track: Track
    details: Details
    annotated: AnnotationError | None

    def values(self) -> dict[str, float]:
        """All figures by name."""
        lines = plots.Lines(self.track, self.details)
        values = self.details.total().values() | {"skin.points": self.details.skin.used}
        values |= {f"skin.p{p}": _percentile(self.details.frames, p) for p in (50, 90)}
        values["landmarks.worst"] = _percentile(self.details.landmarks, 100)
        confidence, good = lines.judged()
        if len(good):
            error = Reliability.of(confidence, good).error()
            values |= {"confidence.mean": float(confidence.mean()), "confidence.good": float(good.mean())}
            values |= {"confidence.ece": error, "confidence.auroc": auroc(confidence, good)}
        return values | (self.annotated.values() if self.annotated else {})


@dataclass(frozen=True)
class Row:
    """One figure of the table: name, unit, what it means."""

    key: str
    label: str
    unit: str
    meaning: str
    same: float = 0.0
    """Absolute changes up to this are none."""


ROWS = (
    Row("skin.mean", "Skin-point error", "% IOD", "mesh against corners of the skin, which their pixels alone lead"),
    Row("skin.p90", "Skin-point error, 90th percentile", "% IOD", "over frames"),
    Row("landmarks.mean", "Landmark distance", "% IOD", "mesh against the detector's points"),
    Row("annotated.mean", "Distance to your marks", "% IOD", "mesh against the points that were marked by hand"),
    Row("stability.screen.ratio", "Steadiness in the picture", "ratio", "Eq. 10 as ratio of sums; 1 is perfect"),
    Row("stability.local.ratio", "Steadiness of the face", "ratio", "the same without the rigid motion of the head"),
    Row("stability.screen.mean", "Steadiness in the picture, paper's mean", "ratio", "harsh on faces that rest"),
    Row("stability.local.mean", "Steadiness of the face, paper's mean", "ratio", "the same"),
    Row("stability.screen.acceleration", "Acceleration in the picture", "% IOD/frame²", "jitter, and motion itself"),
    Row("stability.local.acceleration", "Acceleration of the face", "% radius/frame²", "the same without rigid motion"),
    Row("lag.frames", "Lag after the pixels", "frames", "0 is none; filters without look-ahead have some", LATE),
)
HELD_OUT = (
    Row("skin", "Skin-point error", "% IOD", "as below"),
    Row("landmarks", "Landmark distance", "% IOD", "as below"),
    Row("texture", "Change of the texture", "grey levels", "of the unwrapped skin, from frame to frame"),
)


def write_report(
    folder: Path,
    before: Path | None = None,
    points: Path | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> str:
    """Write `report.html` and `report.json` into a folder that `track` has written.

    Args:
        folder: of the track.
        before: folder of the un-adapted track; without it, an adapted clip is tracked once more without adaptation.
        points: CSV of marked points, see `selftrack.eval.annotate.marks`.
        progress: called as progress(stage, done, total).

    Returns:
        The verdict.

    Raises:
        UserError: the clip is not where it was.
        ValueError: no track there, tracks of different clips, or marked points that do not hold.
    """
    folder = Path(folder)
    track, adaptation = load(folder), _read_adaptation(folder)
    studies = {"after": track}
    if before is not None:
        studies = {"before": _same_clip(load(before), track, before), "after": track}
    elif adaptation and adaptation["kept"]:
        studies = {"before": unadapted(track, folder, progress), "after": track}
    marks = None if points is None else read_annotations(points, len(track), track.size[::-1])
    reference = Reference.of(track, progress)
    done = {name: _study(part, reference, marks) for name, part in studies.items()}
    figures = summary(done, adaptation)
    worst = pictures.worst_frames(done["after"].details, pictures.PictureConfig())
    shown = pictures.look(studies, reference, worst, progress=lambda n, total: progress("pictures", n, total))
    figures["worst_frames"] = [{"frame": bad.row, "by": bad.why, "error": bad.error} for bad in worst]
    page = render(done, figures, adaptation, worst, shown)
    write_text(folder / REPORT, page)
    write_text(folder / REPORT_DATA, json_text(figures))
    return figures["verdict"]


def unadapted(track: Track, folder: Path, progress: Progress = lambda stage, done, total: None) -> Track:
    """The clip of an adapted track, tracked again by the network as it was before.

    Raises:
        ValueError: these weights are not there any more.
    """
    try:
        load_network(folder / ADAPTED)  # refuses when the weights that it was made from have changed
    except (ValueError, OSError) as error:
        raise UserError(f"{error}; or name the folder of the un-adapted track with --before") from error
    with tempfile.TemporaryDirectory() as scratch:
        track_clip(Path(track.clip), Path(scratch), _settings(track), progress=_stage("before", progress))
        return _same_clip(load(scratch), track, Path(track.clip))


def summary(studies: dict[str, Study], adaptation: dict | None) -> dict:
    """All figures, as `report.json` has them."""
    track = studies["after"].track
    held_out = {name: adaptation[name] for name in ("kept", "before", "after")} if adaptation else None
    figures = {name: nested(study.values()) for name, study in studies.items()}
    figures |= {
        "clip": track.clip,
        "clip_hash": track.clip_hash,
        "frames": len(track),
        "lost": int((~track.ok).sum()),
        "seconds": float(track.times[-1] - track.times[0]),
        "iod_pixels": float(np.nanmedian(inter_ocular(track.landmarks))) if track.ok.any() else None,
        "held_out": held_out,
        "settings": adaptation["settings"] if adaptation else track.settings(),
    }
    return figures | {"verdict": verdict(studies, adaptation), "trust": trust(studies["after"])}


def verdict(studies: dict[str, Study], adaptation: dict | None) -> str:
    """One sentence: did adaptation help on this clip?"""
    if not studies["after"].track.ok.any():
        return "No face was found in any frame of this clip."
    values = {name: study.values() for name, study in studies.items()}
    after = values["after"]
    if adaptation and not adaptation["kept"]:
        change = ", ".join(_changes(adaptation))
        return f"Adaptation did not help on this clip, so this is the un-adapted track. On held-out frames {change}."
    if "before" not in values:
        if math.isnan(after["skin.mean"]):
            return "This track was not adapted, and no skin could be followed to judge it by."
        return f"This track was not adapted; on average it is {after['skin.mean']:.2f} % IOD off the skin's pixels."
    doubts = [row.label.lower() for row in ROWS if row.key in _DOUBTS and _worse(values["before"], after, row.key)]
    but = f" But on the whole clip these got worse: {', '.join(doubts)}." if doubts else ""
    if adaptation:
        return f"Adaptation helped on this clip: on frames held out from it, {_changes(adaptation)[0]}.{but}"
    a, b = values["before"]["skin.mean"], after["skin.mean"]
    word = "closer to" if b < a else "no closer to"
    return f"This track is {word} the skin's pixels than the other one: {a:.2f} before, {b:.2f} % IOD after.{but}"


_DOUBTS = {"skin.mean", "landmarks.mean", "stability.screen.ratio", "stability.local.ratio"}


def trust(study: Study) -> str:
    """Where to look before the curves are used."""
    track, errors = study.track, study.details.frames
    lost, known = int((~track.ok).sum()), np.isfinite(errors)
    parts = [f"{lost} of {len(track)} frames have no face and repeat the last good one." if lost else ""]
    if known.any():
        share, worst = 100 * (errors[known] < LIMIT).mean(), int(np.nanargmax(errors))
        parts.append(
            f"In {share:.0f} % of the frames the skin-point error is under {LIMIT:g} % IOD; "
            f"the worst is frame {worst} with {errors[worst]:.2f} %."
        )
    else:
        parts.append("No corner of the skin could be followed, so nothing but the detector speaks for these curves.")
    late = study.details.lag
    if abs(late.value()) > LATE:
        parts.append(f"The mesh is {abs(late.value()):.2f} frames {'late' if late.value() > 0 else 'early'}.")
    return " ".join(part for part in parts if part)


def render(
    studies: dict[str, Study], figures: dict, adaptation: dict | None, worst: list[pictures.Bad], shown: pictures.Look
) -> str:
    """The page."""
    after = studies["after"].track
    lines = {name: plots.Lines(study.track, study.details) for name, study in studies.items()}
    values = {name: study.values() for name, study in studies.items()}
    loader = jinja2.FunctionLoader(lambda name: (ASSETS / name).read_text(encoding="utf-8"))
    pages = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    history = adaptation["history"] if adaptation else []
    return pages.get_template("report.html").render(
        css=(ASSETS / "report.css").read_text(encoding="utf-8"),
        figures=figures,
        names=list(studies),
        title=Path(after.clip).name,
        rows=_table(ROWS, values),
        held_out=_table(HELD_OUT, _grey_levels(adaptation)) if adaptation else [],
        kept=adaptation["kept"] if adaptation else None,
        held_note=_held_note(len(after)),
        over_time=plots.over_time(lines, _held(after) if adaptation else np.zeros(len(after), bool)),
        curves=plots.curves(lines),
        reliability=plots.reliability(lines) if "confidence.ece" in values["after"] else "",
        limit=LIMIT,
        after=values["after"],
        losses=plots.losses(history) if len(history) > 1 else "",
        worst=[(bad, after.times[bad.row], shown.faces[bad.row]) for bad in worst],
        shown=shown,
        colours=plots.COLOURS,
        settings=json.dumps(figures["settings"], indent=1),
    )


def _study(track: Track, reference: Reference, marks: dict | None) -> Study:
    annotated = annotation_error(marks, Mesh.of(track), reference.landmarks, reference.size) if marks else None
    return Study(track, track_details(track, reference.windows), annotated)


def _table(rows: tuple[Row, ...], values: dict[str, dict[str, float]]) -> list[dict]:
    """What the page shows of figures by "before" and "after": those that could be measured."""
    out = []
    for row in rows:
        cells = [part.get(row.key, math.nan) for part in values.values()]
        if not any(map(math.isfinite, cells)):
            continue
        text = [f"{cell:.2f}" if math.isfinite(cell) else "–" for cell in cells]
        change, better = "", None
        if len(cells) == 2 and all(map(math.isfinite, cells)):
            a, b = map(abs, cells)
            better = None if math.isclose(a, b, rel_tol=SAME, abs_tol=row.same) else b < a
            change = f"{100 * (b / a - 1):+.0f} %".replace("-", "−") if row.unit != "frames" and a else ""
        out.append({"row": row, "cells": text, "change": change, "better": better})
    return out


def _changes(adaptation: dict) -> list[str]:
    """Held-out errors in words, those that could be measured."""
    a, b = _grey_levels(adaptation).values()
    known = [row for row in HELD_OUT if math.isfinite(a[row.key]) and math.isfinite(b[row.key])]
    return [
        f"the {row.label[0].lower()}{row.label[1:]} {'fell' if b[row.key] < a[row.key] else 'did not fall'}"
        f" ({a[row.key]:.2f} to {b[row.key]:.2f} {row.unit})"
        for row in known
    ] or ["nothing could be measured"]


def _grey_levels(adaptation: dict) -> dict[str, dict[str, float]]:
    """Held-out errors, NaN where there are none, the texture's in grey levels of 255."""

    def of(errors: dict[str, float | None]) -> dict[str, float]:
        values = {name: math.nan if value is None else value for name, value in errors.items()}
        return values | {"texture": 255 * values["texture"]}

    return {name: of(adaptation[name]) for name in ("before", "after")}


def _worse(before: dict[str, float], after: dict[str, float], key: str) -> bool:
    return after[key] > before[key] * (1 + SAME)


def _held(track: Track) -> np.ndarray:
    """(T,) bool, frames held out from adaptation; not known for long clips, of which a part is learned from."""
    held = np.zeros(len(track), bool)
    if len(track) <= ClipConfig.frames:
        _, select, report = split_rows(len(track))
        held[np.r_[select, report]] = True
    return held


def _held_note(count: int) -> str:
    _, select, report = split_rows(count)
    if np.array_equal(select, report):
        return "The clip is short: the frames that judged also chose when to stop, so these figures are a little kind."
    return "Nothing was learned from the frames that judged, and nothing was chosen by them."


def _percentile(values: np.ndarray, percent: float) -> float:
    """NaN without any value."""
    values = values[np.isfinite(values)]
    return float(np.percentile(values, percent)) if len(values) else math.nan


def _read_adaptation(folder: Path) -> dict | None:
    path = folder / ADAPTATION
    try:
        adaptation = json.loads(path.read_text(encoding="utf-8"))
        missing = {"kept", "before", "after", "history", "settings"} - set(adaptation)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: not what --adapt writes; adapt again") from error
    if missing:
        raise UserError(f"{path}: lacks {', '.join(sorted(missing))}; adapt again")
    return adaptation


def _same_clip(before: Track, track: Track, path: Path) -> Track:
    if (before.clip_hash, len(before)) != (track.clip_hash, len(track)):
        raise UserError(f"{path}: not a track of the same frames of the same clip")
    return before


def _settings(track: Track) -> TrackConfig:
    """The settings with which a clip was tracked, without an overlay."""
    settings = track.settings()
    detect = settings["detect"]
    detect |= {"box": BoxConfig(**detect["box"]), "region": CropConfig(**detect["region"])}
    nested = {"detect": DetectConfig(**detect), "crop": CropConfig(**settings["crop"])}
    return TrackConfig(**settings | nested | {"overlay": False})


def _stage(name: str, progress: Progress) -> Progress:
    """Progress of a pass within another command, under one name."""
    return lambda stage, done, total: progress(name, done, total) if stage == "track" else None
