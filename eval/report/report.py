"""`report.html` and `report.json`: did adaptation help on a clip, and are its curves reliable?

One page that needs nothing else, and the same figures for programs.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np

from selftrack.adapt.frames.clip import ClipConfig
from selftrack.adapt.frames.split import split_rows
from selftrack.errors import UserError
from selftrack.eval.annotate.marks import read_annotations
from selftrack.eval.compare.reference import Reference
from selftrack.eval.compare.score import cell
from selftrack.eval.metrics import METRICS, Metric, lag, landmarks, measure, skin
from selftrack.eval.metrics.registry import Better
from selftrack.eval.metrics.subject import TrackedClip, median_iod
from selftrack.eval.report import judgement, pictures, plots
from selftrack.io import OutputFolder, json_text, nested
from selftrack.tracker import load
from selftrack.tracker.clips.config import TrackConfig
from selftrack.tracker.clips.files import ADAPTATION, ADAPTED, REPORT, REPORT_DATA
from selftrack.tracker.clips.single import track_clip
from selftrack.tracker.clips.subjects import PersonConfig
from selftrack.tracker.geometry.crop import CropConfig
from selftrack.tracker.landmarks.boxes import BoxConfig
from selftrack.tracker.landmarks.search import DetectConfig
from selftrack.tracker.network.weights import load_network
from selftrack.tracker.progress import TRACKING, Progress, no_progress
from selftrack.tracker.results.confidence import LIMIT
from selftrack.tracker.results.faces import NAME as FACES
from selftrack.tracker.results.skin_points import frame_step
from selftrack.tracker.results.track_file import Track

ASSETS = files("selftrack.eval.report") / "assets"
SAME = 0.005
"""Relative changes below this are none."""


@dataclass(frozen=True)
class HeldOut:
    """One of the errors that an adaptation has measured on held-out frames; less is better."""

    key: str
    label: str
    unit: str
    meaning: str
    better: Better = "lower"
    same: float = 0.0


HELD_OUT = (
    HeldOut("skin", "Skin-point error", "% IOD", "As below."),
    HeldOut("landmarks", "Landmark distance", "% IOD", "As below."),
    HeldOut("texture", "Change of the texture", "grey levels", "Of the unwrapped skin, from frame to frame."),
)
Adaptation = dict[str, Any]
"""The content of `adaptation.json`."""
Figures = dict[str, float]
"""By the metrics' names."""


class Judgement(NamedTuple):
    """What a report comes to."""

    verdict: str
    table: list[str]
    """A line for each of the plainest figures, see `judgement.table`."""


def write_report(
    folder: Path,
    before: Path | None = None,
    points: Path | None = None,
    progress: Progress = no_progress,
) -> Judgement:
    """Write `report.html` and `report.json` into a folder that `track` has written.

    Args:
        folder: of the track.
        before: folder of the un-adapted track; without it, an adapted clip is tracked once more without adaptation.
        points: CSV of marked points, see `selftrack.eval.annotate.marks`.
        progress: called as progress(stage, done, total).

    Returns:
        The verdict, and a line for each of the plainest figures.

    Raises:
        UserError: no track there, a clip that is not where it was, tracks of different clips, marked points that do not
            hold, or a report in the folder that is the user's own.
    """
    folder = Path(folder)
    output = OutputFolder(folder)
    output.check((REPORT, REPORT_DATA), overwrite=True)
    track, adaptation = load(folder), _read_adaptation(folder)
    tracks = {"after": track}
    if before is not None:
        tracks = {"before": _same_clip(load(before), track, before), "after": track}
    elif adaptation and adaptation["kept"]:
        tracks = {"before": unadapted(track, folder, progress), "after": track}
    marks = None if points is None else read_annotations(points, len(track), track.size[::-1])
    reference = Reference.of(track, progress)
    clips = {name: reference.tracked(part, annotations=marks) for name, part in tracks.items()}
    values = {name: measure(clip) for name, clip in clips.items()}
    weakest = judgement.weakest(clips["after"])
    worst = pictures.worst_frames(skin.frame_errors(clips["after"]), landmarks.distances(clips["after"]), weakest)
    figures = summary(track, values, adaptation, weakest) | {"caveats": caveats(clips["after"], worst)}
    shown = pictures.take(tracks, reference, worst, progress=lambda n, total: progress("taking pictures", n, total))
    figures["worst_frames"] = [{"frame": bad.row, "by": bad.why, "error": bad.error} for bad in worst]
    who = pictures.file_uri(folder / FACES)
    output.add(REPORT, render(clips, values, figures, adaptation, worst, shown, who))
    output.add(REPORT_DATA, json_text(figures))
    return Judgement(figures["verdict"], judgement.table(values["after"], figures["iod_pixels"]))


def unadapted(track: Track, folder: Path, progress: Progress = no_progress) -> Track:
    """Track the clip of an adapted track again by the network as it was before.

    Raises:
        UserError: these weights are not there any more.
    """
    try:
        load_network(folder / ADAPTED)  # refuses when the weights that it was made from have changed
    except (ValueError, OSError) as error:
        raise UserError(f"{error}; or name the folder of the un-adapted track with --before") from error
    with tempfile.TemporaryDirectory() as scratch:
        track_clip(Path(track.clip), Path(scratch), _settings(track), progress=_stage("tracking unadapted", progress))
        return _same_clip(load(scratch), track, Path(track.clip))


def summary(
    track: Track, values: dict[str, Figures], adaptation: Adaptation | None, weakest: judgement.Weakest | None
) -> dict[str, Any]:
    """Collect all figures, as `report.json` has them."""
    iod = median_iod(track.landmarks)
    held_out = {name: adaptation[name] for name in ("kept", "before", "after")} if adaptation else None
    return {name: nested(figures) for name, figures in values.items()} | {
        "clip": track.clip,
        "clip_hash": track.clip_hash,
        "frames": len(track),
        "lost": int((~track.ok).sum()),
        "trusted": track.trusted(),
        "regions": _regions(track),
        "notes": list(track.notes),
        "seconds": float(track.times[-1] - track.times[0]),
        "iod_pixels": iod,
        "words": {name: word for name, metric in METRICS.items() if (word := metric.word(values["after"][name]))},
        "weakest": weakest._asdict() if weakest else None,
        "held_out": held_out,
        "settings": adaptation["settings"] if adaptation else track.settings(),
        "verdict": " ".join(
            [verdict(track, values, adaptation), *([judgement.in_words(weakest, iod)] if weakest else [])]
        ),
    }


def _regions(track: Track) -> dict[str, dict[str, float]]:
    """Mean confidence of eyes, brows, mouth and pose in frames with a face, and the share of frames that are held."""
    held, ok = track.held(), track.ok
    return {
        region: {
            "confidence": float(values[ok].mean()) if ok.any() else math.nan,
            "held": float(held[region].mean()) if region in held else math.nan,
        }
        for region, values in track.regions().items()
    }


def verdict(track: Track, values: dict[str, Figures], adaptation: Adaptation | None) -> str:
    """Say in one sentence whether the track can be used, and whether adaptation helped on this clip."""
    if not track.ok.any():
        return "No face was found in any frame of this clip."
    if track.trusted() < 0.5:
        return (
            f"Do not use this track as it is: only {100 * track.trusted():.0f} % of its frames are to be trusted "
            "(confidence 0.5 or more). Look at the worst frames, and film the face larger, sharper or in more light."
        )
    after = values["after"]
    if adaptation and not adaptation["kept"]:
        change = ", ".join(_changes(adaptation))
        return f"Adaptation did not help on this clip, so this is the un-adapted track. On held-out frames {change}."
    if "before" not in values:
        if math.isnan(after["skin.mean"]):
            return "This track was not adapted, and no skin could be followed to judge it by."
        off, iod = after["skin.mean"], median_iod(track.landmarks)
        return (
            f"This track was not adapted; on average it is {off:.2f} % IOD ({judgement.pixels(off, '% IOD', iod):.1f} "
            f"pixels) off the skin's pixels, which is {METRICS['skin.mean'].word(off)}."
        )
    doubts = [m.label.lower() for m in METRICS.values() if m.decisive and _worse(values["before"], after, m.name)]
    but = f" But on the whole clip these got worse: {', '.join(doubts)}." if doubts else ""
    if adaptation:
        return f"Adaptation helped on this clip: on frames held out from it, {_changes(adaptation)[0]}.{but}"
    a, b = values["before"]["skin.mean"], after["skin.mean"]
    word = "closer to" if b < a else "no closer to"
    return f"This track is {word} the skin's pixels than the other one: {a:.2f} before, {b:.2f} % IOD after.{but}"


def caveats(clip: TrackedClip, worst: list[pictures.Bad]) -> str:
    """Say where to look before the curves are used; `worst` are the frames that are shown."""
    errors = skin.frame_errors(clip)
    count, known = len(errors), np.isfinite(errors)
    parts = [f"{clip.lost} of {count} frames have no face and repeat the last good one." if clip.lost else ""]
    if known.any():
        share, frame = 100 * (errors[known] < LIMIT).mean(), next((bad for bad in worst if bad.by_skin), None)
        at = f"; the worst is frame {frame.row} with {frame.error:.2f} %" if frame else ""
        parts.append(f"In {share:.0f} % of the frames the skin-point error is under {LIMIT:g} % IOD{at}.")
    else:
        parts.append("No corner of the skin could be followed, so nothing but the detector speaks for these curves.")
    late = lag.of_clip(clip).value()
    if abs(late) > lag.NOTICEABLE:
        parts.append(f"The mesh is {abs(late):.2f} frames {'late' if late > 0 else 'early'}.")
    return " ".join(part for part in parts if part)


def render(
    clips: dict[str, TrackedClip],
    values: dict[str, Figures],
    figures: dict[str, Any],
    adaptation: Adaptation | None,
    worst: list[pictures.Bad],
    shown: pictures.Pictures,
    who: str = "",
) -> str:
    """Fill the page's template; `who` is a picture of the clip's faces, for the page."""
    after = clips["after"].track
    assert after is not None
    loader = jinja2.FunctionLoader(lambda name: (ASSETS / name).read_text(encoding="utf-8"))
    pages = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    history = adaptation["history"] if adaptation else []
    rows = {metric.name: metric for metric in METRICS.values()}
    iod = figures["iod_pixels"]
    return pages.get_template("report.html").render(
        css=(ASSETS / "report.css").read_text(encoding="utf-8"),
        figures=figures,
        names=list(clips),
        title=Path(after.clip).name,
        rows=_table({name: metric for name, metric in rows.items() if metric.headline}, values, iod),
        more=_table({name: metric for name, metric in rows.items() if not metric.headline}, values, iod),
        held_out=_table({row.key: row for row in HELD_OUT}, _grey_levels(adaptation), iod) if adaptation else [],
        kept=adaptation["kept"] if adaptation else None,
        held_note=_held_note(len(after), frame_step(after.times)),
        over_time=plots.over_time(clips, _held(after) if adaptation else np.zeros(len(after), bool)),
        curves=plots.curves(clips),
        reliability=plots.reliability(clips) if math.isfinite(values["after"]["confidence.ece"]) else "",
        limit=LIMIT,
        after=values["after"],
        losses=plots.losses(history) if len(history) > 1 else "",
        worst=[(bad, after.times[bad.row], shown.faces[bad.row]) for bad in worst],
        shown=shown,
        who=who,
        colours=plots.COLOURS,
        settings=json.dumps(figures["settings"], indent=1),
    )


def _table(rows: Mapping[str, Metric | HeldOut], values: dict[str, Figures], iod: float) -> list[dict[str, Any]]:
    """What the page shows of figures by "before" and "after": those that could be measured, in words where they have a
    scale, and in pixels of a face of that IOD."""
    out = []
    for key, row in rows.items():
        cells = [part.get(key, math.nan) for part in values.values()]
        if not any(map(math.isfinite, cells)):
            continue
        text = [cell(value, 2) for value in cells]
        change, better = "", None
        if len(cells) == 2 and all(map(math.isfinite, cells)):
            better = _better(row, *cells)
            a, b = cells
            change = f"{100 * (b / a - 1):+.0f} %".replace("-", "−") if row.better != "zero" and a else ""
        word, scale = (row.word(cells[-1]), judgement.scale(row)) if isinstance(row, Metric) else ("", "")
        size = judgement.pixels(cells[-1], row.unit, iod)
        known = {"word": word, "scale": scale, "pixels": f"{size:.1f}" if math.isfinite(size) else ""}
        out.append({"row": row, "cells": text, "change": change, "better": better, **known})
    return out


def _better(row: Metric | HeldOut, before: float, after: float) -> bool | None:
    """Whether a change is for the better; None where it is none, or neither is better."""
    if row.better == "zero":
        before, after = abs(before), abs(after)
    if row.better == "neither" or math.isclose(before, after, rel_tol=SAME, abs_tol=row.same):
        return None
    return after > before if row.better == "higher" else after < before


def _changes(adaptation: Adaptation) -> list[str]:
    """Held-out errors in words, those that could be measured."""
    a, b = _grey_levels(adaptation).values()
    known = [row for row in HELD_OUT if math.isfinite(a[row.key]) and math.isfinite(b[row.key])]
    return [
        f"the {row.label[0].lower()}{row.label[1:]} {'fell' if b[row.key] < a[row.key] else 'did not fall'}"
        f" ({a[row.key]:.2f} to {b[row.key]:.2f} {row.unit})"
        for row in known
    ] or ["nothing could be measured"]


def _grey_levels(adaptation: Adaptation) -> dict[str, Figures]:
    """Held-out errors, NaN where there are none, the texture's in grey levels of 255."""

    def of(errors: dict[str, float | None]) -> dict[str, float]:
        values = {name: math.nan if value is None else value for name, value in errors.items()}
        return values | {"texture": 255 * values["texture"]}

    return {name: of(adaptation[name]) for name in ("before", "after")}


def _worse(before: Figures, after: Figures, name: str) -> bool:
    return _better(METRICS[name], before[name], after[name]) is False


def _held(track: Track) -> np.ndarray:
    """(T,) bool, frames held out from adaptation; not known for long clips, of which a part is learned from."""
    held = np.zeros(len(track), bool)
    if len(track) <= ClipConfig.frames:
        _, select, report = split_rows(len(track), frame_step(track.times))
        held[np.r_[select, report]] = True
    return held


def _held_note(count: int, step: float) -> str:
    _, select, report = split_rows(count, step)
    if np.array_equal(select, report):
        return "The clip is short: the frames that judged also chose when to stop, so these figures are a little kind."
    return "Nothing was learned from the frames that judged, and nothing was chosen by them."


def _read_adaptation(folder: Path) -> Adaptation | None:
    path = folder / ADAPTATION
    try:
        adaptation: Adaptation = json.loads(path.read_text(encoding="utf-8"))
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
        raise UserError(f"{path}: not a track of the same frames of the same clip; track those anew for --before")
    return before


def _settings(track: Track) -> TrackConfig:
    """The settings with which a clip was tracked, without an overlay."""
    settings = track.settings()
    detect = settings["detect"]
    detect |= {"box": BoxConfig(**detect["box"]), "region": CropConfig(**detect["region"])}
    earlier = {"samples": settings.pop("samples")} if "samples" in settings else {}  # of a track of version 3 or 4
    person = PersonConfig(**settings.get("person", earlier))
    nested = {"detect": DetectConfig(**detect), "crop": CropConfig(**settings["crop"]), "person": person}
    return TrackConfig(**settings | nested | {"overlay": False})


def _stage(name: str, progress: Progress) -> Progress:
    """Progress of a pass within another command, under one name."""
    return lambda stage, done, total: progress(name, done, total) if stage == TRACKING else None
