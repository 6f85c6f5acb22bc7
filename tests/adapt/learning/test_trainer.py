"""What adaptation learns from, and what it trains."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from selftrack.adapt.frames.clip import Clip
from selftrack.adapt.learning.held_out import held_out_error
from selftrack.adapt.learning.model import Prediction
from selftrack.adapt.learning.trainer import AdaptConfig, Trainer
from selftrack.adapt.terms import texture
from selftrack.errors import UserError
from selftrack.tracker.network.i2znet import I2ZNet


def test_held_out_frames_take_no_part(clip: Clip, network: I2ZNet, quick: AdaptConfig) -> None:
    """Not in pairs; and what their pixels and points are changes nothing that is learned from."""
    trainer = Trainer(clip, network, quick)
    held = set(trainer.select_rows.tolist()) | set(trainer.report_rows.tolist())
    assert held and not held & set(trainer.sampler.groups.flatten().tolist())
    other = replace(clip, points=clip.points.clone(), pixels=copy.deepcopy(clip.pixels))
    other.points[sorted(held)] += 20
    ends = [*clip.pixels.start[1:].tolist(), len(clip.pixels.values)]
    for row in held:
        other.pixels.values[clip.pixels.start[row] : ends[row]] = 255
    a, b = trainer.renew(), Trainer(other, network, quick).renew()
    assert torch.allclose(a.residual, b.residual, atol=1e-3) and torch.allclose(a.texture, b.texture, atol=1e-4)
    assert a.contrast == b.contrast and not a.visibility[sorted(held)].any()
    trainer.model.identity.data += 0.1  # so that no term is 0
    other_trainer = Trainer(other, network, quick)
    other_trainer.model.load_state_dict(trainer.model.state_dict())
    first, second = (t.losses(t.renew(), t.draw()) for t in (trainer, other_trainer))
    assert all(first[name].item() == pytest.approx(second[name].item(), rel=1e-3) for name in first)


def test_pairs_keep_to_their_shot_and_distance(clip: Clip, network: I2ZNet, quick: AdaptConfig) -> None:
    cut = replace(clip, shot=(np.arange(24) >= 9).astype(int))
    trainer, distances = Trainer(cut, network, quick), set()
    for _ in range(200):
        batch = trainer.draw()
        late, early = batch.rows[batch.pairs].unbind(1)
        distances |= set((late - early).tolist())
        assert not ((early < 9) & (late >= 9)).any()
    assert distances == {1, 2, 4, 5, 6}  # of 1, 2, 6, 12 and their differences, what fits into nine and ten frames


def test_the_truth_has_less_texture_loss_than_a_slide(
    clip: Clip, network: I2ZNet, quick: AdaptConfig, truth: Prediction
) -> None:
    """Against the true codes, a pose that shakes from frame to frame changes the observed texture."""
    trainer = Trainer(clip, network, quick)

    def texture_error(pose: torch.Tensor) -> float:
        trainer.model.forward = lambda clip, rows: Prediction(truth.z[rows], pose[rows], pose[rows])
        return held_out_error(trainer, torch.arange(len(clip)), []).texture

    shaken = truth.pose.clone()
    shaken[::2, 4] += 1.0
    assert texture_error(truth.pose) < 0.5 * texture_error(shaken)


def test_gradients_reach_what_is_trained_and_nothing_else(clip: Clip, with_streams: I2ZNet, quick: AdaptConfig) -> None:
    levels = [torch.rand(len(clip), level.to_z.in_features) for level in with_streams.heads.levels]
    trainer = Trainer(replace(clip, levels=levels), with_streams, quick)
    before = {k: v.clone() for k, v in with_streams.heads.state_dict().items()}
    trainer.total(trainer.losses(trainer.renew(), trainer.draw())).backward()
    model = trainer.model
    assert model.identity.grad.abs().sum() > 0 and model.colour.grad.abs().sum() > 0
    assert model.inverse_distance.grad.abs() > 0
    silent = {".".join(n.split(".")[:-1]) for n, p in model.heads.named_parameters() if p.grad is None}
    frozen = {n for n in silent if n.startswith(("first.", "levels.")) and "to_" not in n}
    assert silent == frozen | {"attention"} and {"first.0", "levels.0.compress.0", "levels.2.compress.2"} <= frozen
    assert all(torch.equal(v, before[k]) for k, v in with_streams.heads.state_dict().items())


def test_texture_gradient_is_that_of_finite_differences(
    clip: Clip, network: I2ZNet, quick: AdaptConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CFTC as a function of the identity, through the whole chain; visibility, weights and exposure held."""
    monkeypatch.setattr(texture, "match_exposure", lambda texture, target, weight: texture)
    config = replace(quick, occlusion=1e6, texels=2000)
    trainer = Trainer(clip, network, config)
    state, batch = trainer.renew(), trainer.draw()
    state.visibility = (state.visibility > 0.5).float()
    trainer.losses(state, batch)["cftc"].backward()
    slope = trainer.model.identity.grad.clone()
    direction = slope / slope.norm()
    start, values = trainer.model.identity.data.clone(), []
    for step in (-0.02, 0.02):
        trainer.model.identity.data = start + step * direction
        with torch.no_grad():
            values.append(trainer.losses(state, batch)["cftc"].item())
    assert (values[1] - values[0]) / 0.04 == pytest.approx(slope.norm().item(), rel=0.25)


def test_too_few_neighbours_are_refused(clip: Clip, network: I2ZNet, quick: AdaptConfig) -> None:
    with pytest.raises(UserError, match="too few neighbouring frames"):
        Trainer(replace(clip, shot=np.arange(len(clip))), network, quick)
