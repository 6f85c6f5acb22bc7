"""Strength of a mesh's motion, against its closed form and an independent implementation."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from selftrack.decoders.head.model import load_head
from selftrack.errors import UserError
from selftrack.eval.meaning.strength import main, mean_strength, mesh_points, strength, upright
from selftrack.tracker.results.track_file import Track

HEAD = load_head()
BENCH = Path(__file__).parents[4] / "shared" / "bench" / "strength.py"


def faces(opening: np.ndarray, raise_: np.ndarray) -> np.ndarray:
    """Points (T,478,2) of the mean head, metres, with jaw and brows."""
    points = HEAD.landmarks478(HEAD.mean[None])[0].numpy()
    index = HEAD.expression_names.index
    jaw, brow = (HEAD.landmarks478(HEAD.blendshapes[index(n)][None])[0].numpy() for n in ("jawOpen", "browInnerUp"))
    return (points + opening[:, None, None] * jaw + raise_[:, None, None] * brow)[..., :2]


def moved(points: np.ndarray) -> np.ndarray:
    """The same under another similarity in each frame."""
    rng = np.random.default_rng(0)
    out = []
    for frame in points:
        a, s = rng.normal(0, 0.3), rng.uniform(800, 1500)
        turn = s * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
        out.append(frame @ turn.T + rng.uniform(0, 500, 2))
    return np.stack(out)


TIMES = np.linspace(0, 6 * np.pi, 90)
TRUE = faces(0.3 + 0.3 * np.sin(TIMES), 0.5 + 0.5 * np.cos(TIMES))


def test_half_the_motion_is_a_slope_of_a_half_under_any_similarity() -> None:
    half = faces(0.3 + 0.15 * np.sin(TIMES), 0.5 + 0.25 * np.cos(TIMES))
    found = strength(moved(half), moved(TRUE), np.ones(90, bool))
    for name in ("lip gap", "chin", "right brow"):
        assert found[name].slope == pytest.approx(0.5, abs=0.03) and found[name].r > 0.99
        assert found[name].range > 2
    assert strength(moved(TRUE), TRUE, np.ones(90, bool))["lip gap"].slope == pytest.approx(1)


def test_frames_that_are_lost_do_not_count() -> None:
    detected, ok = TRUE.copy(), np.ones(90, bool)
    detected[3], ok[5] = np.nan, False
    mesh = TRUE.copy()
    mesh[[3, 5]] = 1e3 * np.random.default_rng(0).normal(size=(2, 478, 2))
    assert mean_strength(strength(mesh, detected, ok)) == pytest.approx((1, 1))


def test_upright_points_have_their_eye_corners_on_the_axis() -> None:
    points = upright(moved(TRUE))
    np.testing.assert_allclose(points[:, 33], np.tile([-50, 0], (90, 1)), atol=1e-6)
    np.testing.assert_allclose(points[:, 263], np.tile([50, 0], (90, 1)), atol=1e-6)


def test_the_command(make_track: Callable[..., Track], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    track = make_track(np.arange(6) / 30, {"jawOpen": np.linspace(0, 1, 6)})
    track.save(tmp_path)
    np.save(tmp_path / "own.npy", mesh_points(track) + np.random.default_rng(0).normal(0, 0.01, (6, 478, 2)))
    main(tmp_path, tmp_path / "own.npy")
    assert "| mean of those that move |" in capsys.readouterr().out
    np.save(tmp_path / "short.npy", np.zeros((5, 478, 2)))
    with pytest.raises(UserError, match="expected points \\(6,478,2\\), got \\(5, 478, 2\\)"):
        main(tmp_path, tmp_path / "short.npy")
    np.savez(tmp_path / "many.npz", clip=np.zeros((6, 478, 2)))
    with pytest.raises(UserError, match=r"many.npz: holds several arrays \(clip\)"):
        main(tmp_path, tmp_path / "many.npz")


@pytest.mark.skipif(not BENCH.exists(), reason="the independent scorer is not in the repository")
def test_an_independent_scorer_says_the_same() -> None:
    spec = importlib.util.spec_from_file_location("bench_strength", BENCH)
    assert spec is not None and spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    mesh, ok = moved(faces(0.3 + 0.2 * np.sin(TIMES + 0.2), 0.4 + 0.3 * np.cos(TIMES))), np.ones(90, bool)
    each, mean = bench.strength(mesh, moved(TRUE), ok)
    mine = strength(mesh, moved(TRUE), ok)
    assert sorted(round(one.slope, 6) for one in mine.values()) == sorted(round(o["slope"], 6) for o in each.values())
    assert mean_strength(mine) == pytest.approx((mean["slope"], mean["r"]))
