"""Are the deviations of a character's sliders true? Drawn people whose sliders are known, read from pictures of them.

    python -m selftrack.eval.characters OUT                  # 20 people: a table
    python -m selftrack.eval.characters OUT --measure 340 --real me.mp4 --real you.jpg ...

The second measures anew how pictures tell of shapes, on others who are drawn and on real people, and writes
OUT/makehuman.npz, which is `tracker/assets/makehuman.npz`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from scipy.optimize import brentq

from selftrack.command import run
from selftrack.decoders.head.model import load_head
from selftrack.decoders.makehuman.sliders import SLIDERS, Sliders, population
from selftrack.errors import UserError
from selftrack.io import atomic_path, markdown_table, write_text
from selftrack.synthetic.cameras import CameraConfig
from selftrack.synthetic.expressions import sample_expression
from selftrack.synthetic.rigs.makehuman import MakeHumanPopulation
from selftrack.synthetic.studio import Studio, StudioConfig
from selftrack.tracker.clips.subjects import PersonConfig, find_face
from selftrack.tracker.geometry.crop import face_crop
from selftrack.tracker.identity.descriptor import Sample
from selftrack.tracker.landmarks.search import DetectConfig
from selftrack.tracker.makehuman.character import SEEN
from selftrack.tracker.makehuman.fit import Fitted, ShapeEvidence, fit_sliders, of_points
from selftrack.tracker.makehuman.reading import MANY, PARTS, Reading, ShapeCodes, evidence_of
from selftrack.tracker.model import Crops, Model
from selftrack.tracker.sources.opening import open_source
from selftrack.tracker.tracker import TrackerConfig

STUDIO = StudioConfig(picture=256, camera=CameraConfig((0.5, 3.0), yaw=0.25, pitch=0.12, roll=0.1), occluder=0.0)
"""People are seen from about the front, as in a photo."""
STREAM = 905_114
"""Second word of the seeds here, so that nobody trained a network."""
FIRST_MEASURED = 100
"""Seeds below are of people who are checked."""
LEAST_MEASURED = 60
"""As many drawn people as there are codes of a shape."""
_LEAST_REAL = 2
_SINGLE = (0, 5)
"""Pictures that are read by themselves, too."""
_RIDGES = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
_SHRINK = 0.2
"""By how much the covariance of errors is drawn to its diagonal."""
_NOISE = 0.01
"""Error of true points, in distances of the eyes' outer corners."""


class Drawn(NamedTuple):
    """Somebody who was drawn, and the identity that was tracked."""

    sliders: np.ndarray
    """(K,)"""
    single: np.ndarray
    """(P,60) of single pictures."""
    many: np.ndarray
    """(60,) of all pictures."""


class Real(NamedTuple):
    """Somebody real, and the identity that was tracked."""

    single: np.ndarray
    """(P,60) of single pictures."""
    many: np.ndarray | None
    """(60,) of `MANY` pictures or more; None where there are less."""


@dataclass(frozen=True)
class Agreement:
    """How N people's sliders agree with what was found."""

    within: float
    """Share of the true values within one deviation; 0.68 of errors as they are said."""
    explained: float
    """Share of the sliders' variance that is explained."""
    seen: float
    """Mean number of sliders that were seen."""
    explained_seen: float
    """Share of their variance that is explained."""


def draw(model: Model, studio: Studio, seed: int) -> Drawn | None:
    """Draw somebody, and read pictures of them; None where too few show a face."""
    rng = np.random.default_rng([seed, STREAM])
    person, faces = studio.people.sample(rng), []
    for _ in range(2 * MANY):
        image = studio.shoot(rng, person, sample_expression(rng)).picture
        found = model.landmarks.faces(image, DetectConfig())
        faces += [face_crop(image, found[0].points)] if found else []
        if len(faces) == MANY:
            break
    else:
        return None
    single = [_identity(model, [faces[row]]) for row in _SINGLE]
    return Drawn(person.sliders, np.stack(single), _identity(model, faces))


def measure(true: np.ndarray, tracked: np.ndarray) -> Reading:
    """Measure how tracked shapes tell of true ones, both (M,N) codes: least squares, drawn to one gain for all codes
    by as much as people left out are told of best."""
    offsets = true.mean(0), tracked.mean(0)
    x, y = true - offsets[0], tracked - offsets[1]
    usual = (x * y).sum() / (x**2).sum() * np.eye(x.shape[1])

    def fitted(ridge: float) -> tuple[np.ndarray, np.ndarray]:
        """The gain, and the errors of each person by a gain that is measured without."""
        inverse = np.linalg.inv(x.T @ x + ridge * np.eye(x.shape[1]))
        gain = (y.T @ x + ridge * usual) @ inverse
        share = np.einsum("mi,ij,mj->m", x, inverse, x) + 1 / len(x)
        return gain, (y - x @ gain.T) / (1 - share)[:, None]

    gain, errors = min((fitted(ridge) for ridge in _RIDGES), key=lambda found: float((found[1] ** 2).sum()))
    covariance = errors.T @ errors / len(errors)
    covariance += _SHRINK * (np.diag(covariance.diagonal()) - covariance)
    return Reading(gain, offsets[1] - gain @ offsets[0], covariance)


def agreement(true: np.ndarray, fitted: Sequence[Fitted]) -> Agreement:
    """Compare true sliders (N,K) with those that were found."""
    values, deviations = np.array([one.values for one in fitted]), np.array([one.deviations for one in fitted])
    off, away = (true - values) ** 2, (true - population()[0]) ** 2
    seen = deviations < SEEN * np.sqrt(population()[1].diagonal())
    explained = 1 - off[seen].sum() / away[seen].sum() if seen.any() else float("nan")
    return Agreement(
        float((off < deviations**2).mean()), float(1 - off.sum() / away.sum()), float(seen.sum(1).mean()), explained
    )


def read_again(people: Sequence[Drawn], sliders: Sliders, codes: ShapeCodes) -> dict[str, list[Fitted]]:
    """Find the sliders of drawn people from true points, one picture and many."""
    alone, together = (Reading.load(pictures, drawn=True) for pictures in (1, MANY))
    found: dict[str, list[Fitted]] = {name: [] for name in ("true points", "one picture", f"{MANY} pictures")}
    rng = np.random.default_rng(0)
    for one in people:
        found["true points"].append(fit_sliders(sliders, true_points(sliders, codes, one.sliders, rng)))
        found["one picture"].append(fit_sliders(sliders, evidence_of(one.single[0], alone, codes, sliders)))
        found[f"{MANY} pictures"].append(fit_sliders(sliders, evidence_of(one.many, together, codes, sliders)))
    return found


def true_points(sliders: Sliders, codes: ShapeCodes, values: np.ndarray, rng: np.random.Generator) -> ShapeEvidence:
    """Tell what the detector's points of a head by sliders (K,) say, where each has an error of `_NOISE`."""
    deviation = _NOISE * codes.iod
    points = codes.points(sliders.vertices(values))
    seen = points + rng.normal(0, deviation, points.shape)
    return of_points(seen, codes.points(sliders.base), codes.points(sliders.targets), deviation)


def main(
    folder: Annotated[Path, typer.Argument(help="Folder of the results.", metavar="OUT")],
    people: Annotated[int, typer.Option(help="Draw so many people to check.", min=2, max=FIRST_MEASURED)] = 20,
    measured: Annotated[
        int | None,
        typer.Option(
            "--measure",
            help="Draw so many others, and measure by them how pictures tell of shapes (default: do not).",
            min=LEAST_MEASURED,
        ),
    ] = None,
    real: Annotated[
        list[Path] | None,
        typer.Option(
            help="With --measure: a photo or clip of real people; may be given several times.", metavar="CLIP"
        ),
    ] = None,
) -> None:
    """Check the deviations of characters on drawn people whose sliders are known."""
    if measured and not real:
        raise UserError("--measure needs photos and clips of real people, too; name them with --real")
    if real and not measured:
        raise UserError("--real is what --measure compares drawn people with; add --measure N, or leave --real out")
    head, sliders = load_head(), Sliders.load()
    model, codes = Model.load(device="cpu"), ShapeCodes(head)
    studio = Studio(head, STUDIO, MakeHumanPopulation(head, sliders))
    folder.mkdir(parents=True, exist_ok=True)
    if real and measured:
        seen = [one for path in real for one in read_real(model, path)]
        check_real(seen)
        others = _drawn(model, studio, range(FIRST_MEASURED, FIRST_MEASURED + measured))
        save_readings(others, seen, sliders, codes, folder / "makehuman.npz")
    drawn = _drawn(model, studio, range(people))
    true = np.array([one.sliders for one in drawn])
    header = ("read from", "true within one deviation", "variance explained", "sliders seen", "of these explained")
    rows = [
        (name, *(f"{value:.3f}" for value in vars(agreement(true, found)).values()))
        for name, found in read_again(drawn, sliders, codes).items()
    ]
    table = markdown_table(header, rows)
    write_text(folder / "characters.md", f"{len(drawn)} drawn people, {len(SLIDERS)} sliders.\n\n{table}")
    print(table)


def read_real(model: Model, path: Path) -> list[Real]:
    """Track the people of a photo or clip as `track` does."""
    with open_source(path) as source:
        faces = find_face(source, model, TrackerConfig(), PersonConfig()).everyone
    found = []
    for face in faces:
        rows = (0, len(face.samples) // 2) if len(face.samples) > 1 else (0,)
        single = [_identity(model, [face.samples[row]]) for row in rows]
        found.append(Real(np.stack(single), _identity(model, face.samples) if len(face.samples) >= MANY else None))
    return found


def check_real(seen: Sequence[Real]) -> None:
    """Make sure that there are real people enough to differ from each other. Raises UserError where there are not."""
    many = sum(one.many is not None for one in seen)
    if many < _LEAST_REAL:
        raise UserError(
            f"--real: {many} of {len(seen)} people are seen in {MANY} frames or more; it takes {_LEAST_REAL} to tell "
            "how real people differ; name more clips"
        )


def save_readings(
    people: Sequence[Drawn], real: Sequence[Real], sliders: Sliders, codes: ShapeCodes, path: Path
) -> None:
    """Measure how one picture and many tell of people's shapes, and write the asset."""
    base, targets = codes.of_sliders(sliders)
    true = np.array([base + sliders.weights(one.sliders) @ targets for one in people])
    one = measure(np.repeat(true, len(_SINGLE), axis=0), np.concatenate([one.single for one in people]))
    many = measure(true, np.array([one.many for one in people]))
    readings = {
        "one": (one, gap(one, true, np.array([one.single.mean(0) for one in real]))),
        "many": (many, gap(many, true, np.array([one.many for one in real if one.many is not None]))),
    }
    arrays: dict[str, Any] = {
        f"{of}_{part}": np.asarray(value, np.float32)
        for of, (reading, other) in readings.items()
        for part, value in zip(PARTS, (*vars(reading).values(), *other), strict=True)
    }
    with atomic_path(path) as part:
        np.savez_compressed(part, **arrays)


def gap(reading: Reading, true: np.ndarray, tracked: np.ndarray) -> tuple[np.ndarray, float]:
    """Measure by how much (N,) real people are tracked elsewhere than drawn ones, and how many times larger their
    errors are.

    The average real person is taken for the average drawn one. Errors are as large as it takes for each real person to
    be as far from the average of the others as their shapes and errors say, in the mean.

    Args:
        reading: of drawn people.
        true: (M,N) codes of drawn people.
        tracked: (P,N) identities of real ones, two at least.
    """
    count = len(tracked)
    shapes = reading.gain @ np.cov(true.T) @ reading.gain.T
    away = (tracked - tracked.mean(0)) * count / (count - 1)

    def excess(factor: float) -> float:
        usual = (shapes + factor * reading.covariance) * count / (count - 1)
        return float(np.einsum("pn,pn->", away, np.linalg.solve(usual, away.T).T)) / away.size - 1

    factor = float(brentq(excess, 1.0, 100.0)) if excess(1.0) > 0 else 1.0
    return tracked.mean(0) - (reading.gain @ true.mean(0) + reading.offset), factor


def _identity(model: Model, faces: Sequence[Sample]) -> np.ndarray:
    return model.subject(Crops.of(faces)).identity.double().numpy()


def _drawn(model: Model, studio: Studio, seeds: range) -> list[Drawn]:
    found = (draw(model, studio, seed) for seed in seeds)
    return [one for one in found if one is not None]


if __name__ == "__main__":
    run("python -m selftrack.eval.characters", main=main)
