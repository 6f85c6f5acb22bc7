"""Training of the deep appearance model, on a tiny capture."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from selftrack.decoders.capture import open_capture
from selftrack.decoders.dam.model import Dam
from selftrack.decoders.dam.networks import DamConfig
from selftrack.decoders.head.model import load_head
from selftrack.errors import UserError
from selftrack.training.dam import CameraColours, DamTraining, Reconstruction, head_curves, split_frames, train_dam

TINY = DamTraining(DamConfig(texture=32, hidden=32), steps=2, batch=2)


def stop_at(last: int) -> Callable[[int, int, dict[str, float]], None]:
    """Progress that interrupts the run at a step."""

    def progress(step: int, steps: int, losses: dict[str, float]) -> None:
        if step == last:
            raise KeyboardInterrupt

    return progress


def test_cameras_do_not_drift_together() -> None:
    """Whatever is learned, the mean gain is 1 and the mean bias 0: the model's own colours stay the capture's."""
    colours = CameraColours(4)
    torch.nn.init.uniform_(colours.gain, 0.5, 3)
    torch.nn.init.uniform_(colours.bias, 0, 1)
    texture = torch.rand(1, 3, 2, 2).expand(4, -1, -1, -1)
    torch.testing.assert_close(colours(texture, torch.arange(4)).mean(0), texture[0])


def test_held_out_frames() -> None:
    learn, held = split_frames(80)
    assert held.tolist() == [*range(32, 40), *range(72, 80)] and not set(learn) & set(held)
    assert [len(part) for part in split_frames(5)] == [4, 1]


def test_two_steps_on_a_capture_in_multifaces_layout(multiface: Callable, tmp_path: Path) -> None:
    steps = []
    out = tmp_path / "dam.safetensors"
    errors = train_dam(open_capture(multiface().folder), out, TINY, lambda step, of, losses: steps.append(losses))
    assert set(steps[-1]) == {"vertices", "texture", "kl"} and np.isfinite(list(steps[-1].values())).all()
    assert errors.frames == 2 and Dam.load(out).geometry(torch.zeros(1, 128)).shape == (1, 81, 3)
    assert not list(tmp_path.glob("*.checkpoint*"))


def test_training_learns_held_out_meshes(multiface: Callable, tmp_path: Path) -> None:
    """The dome moves in one way only: a few hundred steps must find it."""
    settings = replace(TINY, steps=300, batch=4, rate=2e-3)
    errors = train_dam(open_capture(multiface(40).folder), tmp_path / "dam.safetensors", settings)
    assert errors.vertices < 0.5 * errors.mean_vertices
    assert errors.texture > 25


def test_an_interrupted_run_ends_as_one_that_was_not(multiface: Callable, tmp_path: Path) -> None:
    capture, settings = open_capture(multiface().folder), replace(TINY, steps=40, checkpoint_every=20)
    whole, resumed = tmp_path / "whole.safetensors", tmp_path / "resumed.safetensors"
    train_dam(capture, whole, settings)
    with pytest.raises(KeyboardInterrupt):
        train_dam(capture, resumed, settings, stop_at(40))
    steps: list[int] = []
    train_dam(capture, resumed, replace(settings, workers=1), lambda step, of, losses: steps.append(step))
    assert steps == [40]
    once, twice = load_file(whole), load_file(resumed)
    for name, value in once.items():
        assert torch.equal(value, twice[name]), name


def test_another_run_does_not_go_on(multiface: Callable, tmp_path: Path) -> None:
    """Neither with other settings nor on another capture; the message says what differs."""
    settings, out = replace(TINY, steps=40, checkpoint_every=20), tmp_path / "dam.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train_dam(open_capture(multiface().folder), out, settings, stop_at(40))
    with pytest.raises(UserError, match=r"rate was 0\.0005 and is 0\.001\)"):
        train_dam(open_capture(multiface().folder), out, replace(settings, rate=1e-3))
    with pytest.raises(UserError, match=r"other settings \(capture was \w+ and is \w+\)"):
        train_dam(open_capture(multiface(11, "other").folder), out, settings)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"texture": 24.0}, "that it learned from (texture 24.0 dB, the mean's 24.0); it was written"),
        ({"vertices": 0.61}, "(vertices 0.61 mm, the mean's 0.60); it was written all the same; train it longer"),
        ({"texture": 23.95, "vertices": 1.0}, "(vertices 1.00 mm, the mean's 0.60; texture 23.9 dB, the mean's 24.0)"),
    ],
)
def test_a_model_no_better_than_the_mean_says_so(changes: dict[str, float], words: str) -> None:
    errors = Reconstruction(0.5, 0.6, 25.0, 24.0, 24.5, 8)
    doubt = replace(errors, **changes).doubt()
    assert words in doubt and bool(doubt) == bool(changes) and "\n" not in doubt


def test_too_short_a_capture(multiface: Callable, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too short"):
        train_dam(open_capture(multiface(4).folder), tmp_path / "dam.safetensors", TINY)


def test_curves_of_meshes_in_the_heads_topology() -> None:
    """Of a person with an identity, acting: the values come back."""
    head, z = load_head(), torch.zeros(6, 128)
    z[:, head.identity] = torch.randn(60, generator=torch.Generator().manual_seed(1)) * 0.5
    jaw, smile = (head.expression.start + head.expression_names.index(n) for n in ("jawOpen", "mouthSmileLeft"))
    z[1:4, jaw] = torch.tensor([0.3, 0.6, 0.9])
    z[4:, smile] = torch.tensor([0.5, 1.0])
    curves = head_curves(head.geometry(z))
    torch.testing.assert_close(curves[:, jaw - 60], z[:, jaw], atol=0.1, rtol=0)
    torch.testing.assert_close(curves[:, smile - 60], z[:, smile], atol=0.15, rtol=0)
