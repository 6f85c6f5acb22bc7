"""Clips of rigs, and the recordings that drive them."""

from pathlib import Path

import av
import numpy as np
import pytest

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import load_head
from selftrack.errors import UserError
from selftrack.synthetic.cameras import project, rotation_matrix
from selftrack.synthetic.rigs.film import Film, FilmConfig, film_clip
from selftrack.synthetic.rigs.ict import read_ict
from selftrack.synthetic.rigs.performance import SUFFIX, Performance, Take, read_takes

SMALL = FilmConfig(size=96)


def take(seconds: float = 2.0) -> Take:
    times = np.arange(0, seconds, 1 / 60)
    curves = np.zeros((len(times), 52))
    curves[:, ARKIT_NAMES.index("jawOpen")] = 0.5 - 0.5 * np.cos(2 * np.pi * times)
    return Take("chew", times, curves)


def test_a_clip_and_what_is_in_it(ict: Path, tmp_path: Path) -> None:
    film = Film(read_ict(ict, load_head()), SMALL)
    path = tmp_path / "clip00.mp4"
    made = film_clip(path, film, take(), 0.2, seed=1, number=0)
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == len(made) == 6 and frames[0].shape == (96, 96, 3)
    kept = Performance.load(tmp_path / f"clip00{SUFFIX}")
    np.testing.assert_array_equal(kept.curves, made.curves)
    assert kept.size == (96, 96) and kept.known.sum() == 11
    # the head is where the performance says: its pixels differ from the picture's border
    placed = kept.neutral @ rotation_matrix(kept.angles[0]).T + kept.position[0]
    x, y, _ = project(placed, kept.focal, kept.size).mean(0)
    assert 20 < x < 76 and 20 < y < 76


def test_films_are_the_same_again_and_people_differ(ict: Path) -> None:
    film = Film(read_ict(ict, load_head()), SMALL)
    times, curves = np.arange(2) / 30, np.zeros((2, 52))

    def first(seed: int) -> np.ndarray:
        return next(iter(film.shoot(np.random.default_rng(seed), curves, times)[1]))

    np.testing.assert_array_equal(first(1), first(1))
    assert np.abs(first(1).astype(int) - first(2)).mean() > 5


def test_takes_from_csv_and_npz(tmp_path: Path) -> None:
    header = ["Timecode", "BlendShapeCount", *(name[0].upper() + name[1:] for name in ARKIT_NAMES)]
    rows = [["t", "61", *(f"{0.01 * i + 0.001 * k}" for i in range(52))] for k in range(3)] + [["t", "0"] + ["0"] * 52]
    (tmp_path / "app.csv").write_text("\n".join(",".join(row) for row in [header, *rows]))
    (app,) = read_takes(tmp_path / "app.csv")
    assert app.name == "app" and app.curves.shape == (3, 52) and app.times[1] == pytest.approx(1 / 60)
    assert app.curves[2, 5] == pytest.approx(0.052)
    reverse = ARKIT_NAMES[::-1]
    np.savez(tmp_path / "all.npz", names=reverse, a_curves=app.curves[:, ::-1], a_seconds=np.array([5, 5.5, 6]))
    (other,) = read_takes(tmp_path / "all.npz")
    np.testing.assert_allclose(other.curves, app.curves)
    np.testing.assert_allclose(other.at(np.array([0.25])), app.curves[:2].mean(0, keepdims=True))
    (tmp_path / "poor.csv").write_text("time,jawOpen\n0,1\n")
    with pytest.raises(UserError, match="poor.csv: no recording"):
        read_takes(tmp_path / "poor.csv")


def test_another_file_is_no_performance(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.rig.npz", a=1)
    with pytest.raises(UserError, match="not the performance"):
        Performance.load(tmp_path / "x.rig.npz")
