"""The loop on a synthetic clip, with a network that errs."""

from __future__ import annotations

import copy
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from selftrack.adapt.frames.clip import Clip
from selftrack.adapt.learning.loop import Adaptation
from selftrack.adapt.learning.trainer import AdaptConfig, Trainer
from selftrack.errors import UserError
from selftrack.tracker.network.i2znet import I2ZNet


def test_adaptation_improves_and_repeats_itself(
    clip: Clip, network: I2ZNet, quick: AdaptConfig, tmp_path: Path
) -> None:
    """A network that places the head off comes closer on held-out frames, and two runs agree to the bit."""
    off, ends = copy.deepcopy(network), []
    off.heads.pose[-1].bias.data += torch.tensor([0.3, 0, 0, 0, 0.3, -0.3])
    for name in ("a", "b"):
        run = Adaptation(Trainer(clip, off, replace(quick, steps=12)), [])
        run(lambda step, steps, figures: None, tmp_path / name, {})
        ends.append(run)
    first, last = ends[0].history[0], ends[0].history[-1]
    assert last["landmarks"] < 0.8 * first["landmarks"]
    for a, b in zip(*(run.trainer.model.state_dict().values() for run in ends), strict=True):
        assert torch.equal(a, b)


def test_interrupted_and_continued_is_as_never_interrupted(
    clip: Clip, network: I2ZNet, quick: AdaptConfig, tmp_path: Path
) -> None:
    whole = Adaptation(Trainer(clip, network, quick), [])
    whole(lambda *a: None, tmp_path / "whole", {})
    first = Adaptation(Trainer(clip, network, quick), [])

    def stop(step: int, steps: int, figures: dict[str, float]) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first._run(stop, tmp_path / "part", {"x": 1})
    second = Adaptation(Trainer(clip, network, quick), [])
    assert not second.resume(tmp_path / "part", {"x": 2})  # other settings begin anew
    assert second.resume(tmp_path / "part", {"x": 1}) and second.step == 3
    second(lambda *a: None, tmp_path / "part", {"x": 1})
    assert second.step == quick.steps and second.history[-1]["step"] == quick.steps
    for name in ("texture", "landmarks"):
        assert second.history[-1][name] == whole.history[-1][name]
    for a, b in zip(*(run.trainer.model.state_dict().values() for run in (second, whole)), strict=True):
        assert torch.equal(a, b)


def test_a_checkpoint_holds_what_is_trained_and_nothing_else(
    clip: Clip, network: I2ZNet, quick: AdaptConfig, tmp_path: Path
) -> None:
    """In the midst: weights, two moments each, and the best ones where they are others; at the end the best alone."""
    run = Adaptation(Trainer(clip, network, quick), [])
    trained = sum(4 * p.numel() for p in run.trainer.model.parameters() if p.requires_grad)
    sizes: list[int] = []

    def look(step: int, steps: int, figures: dict[str, float]) -> None:
        if (tmp_path / "c").exists():
            sizes.append((tmp_path / "c").stat().st_size)

    run(look, tmp_path / "c", {})
    assert 2 * trained < max(sizes) < 4.01 * trained
    assert (tmp_path / "c").stat().st_size < 1.01 * trained


def test_what_has_ended_stays_so(clip: Clip, network: I2ZNet, quick: AdaptConfig, tmp_path: Path) -> None:
    """Ctrl-C before the first checkpoint, and again while the end is written: the next run resumes at the end."""
    first = Adaptation(Trainer(clip, network, quick), [])

    shown: list[int] = []

    def stop(step: int, steps: int, figures: dict[str, float]) -> None:
        shown.append(step)
        if shown == [1, 2]:
            raise KeyboardInterrupt

    save = first.save

    def press(path: Path, settings: dict[str, object]) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        save(path, settings)

    first.save = press
    with pytest.raises(KeyboardInterrupt):
        first(stop, tmp_path / "c", {"x": 1})
    second = Adaptation(Trainer(clip, network, quick), [])
    assert second.resume(tmp_path / "c", {"x": 1}) and second.ended and second.step == 2
    second(lambda *a: pytest.fail("adapts anew"), tmp_path / "c", {"x": 1})
    assert second.step == 2 and len(second.history) == 1
    assert all(torch.equal(v, first.best[k]) for k, v in second.trainer.model.state_dict().items())


def test_a_damaged_checkpoint_is_one_line(clip: Clip, network: I2ZNet, quick: AdaptConfig, tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(b"no checkpoint")
    with pytest.raises(UserError, match="(?s)c: is damaged .*delete it to adapt anew"):
        Adaptation(Trainer(clip, network, quick), []).resume(tmp_path / "c", {})


def test_ctrl_c_leaves_the_best_so_far(clip: Clip, network: I2ZNet, quick: AdaptConfig, tmp_path: Path) -> None:
    run = Adaptation(Trainer(clip, network, quick), [])

    calls: list[int] = []

    def stop(step: int, steps: int, figures: dict[str, float]) -> None:
        calls.append(step)
        if calls == [1, 2, 3, 4]:
            raise KeyboardInterrupt

    run(stop, tmp_path / "c", {})
    assert run.step == 4
    best = run.best
    assert all(torch.equal(v, best[k]) for k, v in run.trainer.model.state_dict().items())
