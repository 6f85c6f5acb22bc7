"""The command that says what a lamp that moves costs, on a short clip."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from selftrack.adapt.learning.trainer import AdaptConfig
from selftrack.eval import light, results
from selftrack.eval.results import Figures
from selftrack.synthetic.truth import load_truth
from selftrack.tracker.sources.opening import open_source


def made_up(clip: Path, folder: Path, model: object, adaptation: AdaptConfig | None) -> Figures:
    """In place of tracking: every figure is 2, a quarter more under moving light, or half more where it is adapted."""
    factor = 1.0 if "constant" in clip.stem else 1.25 if adaptation is None else 1.5
    folder.mkdir(parents=True)
    return {name: 2 * factor for name in light.SHOWN} | {results.KEPT: 1.0}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command has written of a performance of 24 frames; tests/eval/test_results.py tracks and measures."""
    folder = tmp_path_factory.mktemp("light")
    plain = {name: replace(config, exposures=1, occluder=0) for name, config in light.LIGHTS.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(light, "LIGHTS", plain)
        patch.setattr(results, "load_model", lambda config: None)
        patch.setattr(results, "track_and_measure", made_up)
        light.main(folder, clips=1, frames=24, steps=2)
    return folder


def test_the_performance_is_the_same_and_the_light_is_not(out: Path) -> None:
    truths = [load_truth(out / "clips" / f"{name}0.truth.npz") for name in light.LIGHTS]
    for name in ("vertices", "angles", "position", "curves", "identity"):
        np.testing.assert_allclose(*(getattr(truth, name) for truth in truths), atol=1e-6)
    pictures = []
    for name in light.LIGHTS:
        with open_source(out / "clips" / f"{name}0.mp4") as source:
            pictures.append(np.stack([frame.image.astype(float) for frame in source]))
    constant, moving = (np.log(sides(picture)) for picture in pictures)
    assert np.ptp(moving - constant) > 0.05  # from one side to the other


def sides(pictures: np.ndarray) -> np.ndarray:
    """How much brighter the left half of the middle of pictures (T,H,W,3) is than the right one (T,)."""
    height, width = pictures.shape[1:3]
    middle = pictures[:, height // 3 : -height // 3]
    return middle[:, :, width // 3 : width // 2].mean((1, 2, 3)) / middle[:, :, width // 2 : -width // 3].mean(
        (1, 2, 3)
    )


def test_the_page_has_every_track_and_what_moving_light_changes(out: Path) -> None:
    page = (out / "light.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")]
    names = [row[0] for row in rows[1:]]
    assert names == 2 * ["constant0"] + 2 * ["moving0"] + 2 * ["**moving over constant**"]
    assert [float(cell) for row in rows[1:5] for cell in row[2:]] == 10 * [2.0] + 5 * [2.5] + 5 * [3.0]
    assert [row[1] for row in rows[5:]] == ["un-adapted", "adapted"]
    assert [float(cell) for row in rows[5:] for cell in row[2:]] == 5 * [1.25] + 5 * [1.5]
