"""Captures on disk: drawn once, gone on with, and the same for the same seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from selftrack.decoders.head.model import load_head
from selftrack.synthetic.captures import Captures, detect, find_captures, load_shard, make_captures
from selftrack.synthetic.expressions import sample_expression
from selftrack.synthetic.rigs import points
from selftrack.synthetic.studio import Studio, StudioConfig
from selftrack.tracker.landmarks.attention_mesh import LandmarkNet

CONFIG = StudioConfig(picture=48, moments=2, views=2)


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three people, two moments, two views, drawn at once, in a process of its own."""
    [path] = make_captures(tmp_path_factory.mktemp("captures"), 3, seed=5, workers=1, config=CONFIG)
    return path


def assert_equal(a: Captures, b: Captures) -> None:
    for name, value in vars(a).items():
        np.testing.assert_array_equal(value, getattr(b, name), err_msg=name)


def test_a_shard_is_what_the_studio_draws(shard: Path) -> None:
    captures = load_shard(shard)
    assert captures.pictures.shape == (3, 2, 2, 48, 48, 3) and captures.points.shape == (3, 2, 2, 478, 2)
    rng = np.random.default_rng([5, 0])
    studio = Studio(load_head(), CONFIG)
    people = [studio.people.sample(rng) for _ in range(3)]
    np.testing.assert_array_equal(captures.identity, np.stack([p.identity for p in people]))
    np.testing.assert_array_equal(captures.expression[0, 0], sample_expression(rng))
    assert load_shard(shard, pictures=False).pictures is None


@pytest.mark.usefixtures("drawn_here")
def test_people_that_are_missing_are_drawn(shard: Path, tmp_path: Path) -> None:
    """Asking for three after one gives what asking for three at once gives."""
    make_captures(tmp_path, 1, seed=5, workers=1, config=CONFIG)
    [path] = make_captures(tmp_path, 3, seed=5, workers=1, config=CONFIG)
    assert_equal(load_shard(path), load_shard(shard))


@pytest.mark.usefixtures("drawn_here")
def test_a_damaged_shard_is_drawn_again(shard: Path, tmp_path: Path) -> None:
    (tmp_path / shard.name).write_bytes(shard.read_bytes()[:1000])
    [path] = make_captures(tmp_path, 3, seed=5, workers=1, config=CONFIG)
    assert_equal(load_shard(path), load_shard(shard))


def test_what_is_there_is_kept(shard: Path) -> None:
    before = shard.stat().st_mtime_ns
    for people in (3, 2):
        assert make_captures(shard.parent, people, seed=5, workers=1, config=CONFIG) == [shard]
    assert shard.stat().st_mtime_ns == before and len(load_shard(shard).identity) == 3


def test_other_settings_are_refused_by_their_names(shard: Path) -> None:
    with pytest.raises(ValueError, match=r"seed was 5 and is 6"):
        make_captures(shard.parent, 3, seed=6, workers=1, config=CONFIG)
    with pytest.raises(ValueError, match=r"views was 2 and is 4"):
        make_captures(shard.parent, 3, seed=5, workers=1, config=replace(CONFIG, views=4))


def test_a_folder_without_captures(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no captures there; make them with"):
        find_captures(tmp_path)


@pytest.mark.usefixtures("drawn_here")
def test_the_detectors_points_are_kept(tmp_path: Path) -> None:
    """Near the true ones where it sees a face, and none where it sees none."""
    [path] = make_captures(tmp_path, 2, seed=3, workers=1, config=StudioConfig(moments=2))
    captures = load_shard(path)
    seen = np.isfinite(captures.detected[..., 0, 0])
    assert seen.mean() > 0.6
    iod = np.linalg.norm(captures.points[..., 33, :] - captures.points[..., 263, :], axis=-1)
    off = np.linalg.norm(captures.detected - captures.points, axis=-1).mean(-1)
    assert np.median(off[seen] / iod[seen]) < 0.06
    assert np.isnan(detect(LandmarkNet(), np.full((192, 192, 3), 120, np.uint8))).all()


@pytest.mark.usefixtures("drawn_here")
def test_people_of_a_rig(ict: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points, "PEOPLE", 3)
    [path] = make_captures(tmp_path / "rig", 2, seed=5, workers=1, config=CONFIG, rig=ict)
    captures = load_shard(path)
    assert captures.points.shape == (2, 2, 2, 478, 2) and np.isfinite(captures.points).all()
    assert (tmp_path / "rig" / "rig_points.npz").exists()
    assert make_captures(tmp_path / "rig", 2, seed=5, workers=1, config=CONFIG, rig=ict) == [path]
    with pytest.raises(ValueError, match=r"rig was \w+ and is None"):
        make_captures(tmp_path / "rig", 2, seed=5, workers=1, config=CONFIG)


def test_captures_of_an_earlier_version_are_refused(shard: Path, tmp_path: Path) -> None:
    with np.load(shard) as data:
        np.savez(tmp_path / shard.name, **{name: data[name] for name in data.files if name != "detected"})
    with pytest.raises(ValueError, match="of an earlier version; draw them again"):
        load_shard(tmp_path / shard.name)
