"""A term is added in one place; names and settings that do not exist are refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from selftrack.adapt.frames.clip import Clip
from selftrack.adapt.learning.loop import Adaptation
from selftrack.adapt.learning.trainer import AdaptConfig, Trainer
from selftrack.adapt.terms import TERMS, ClipContext, StepContext, term
from selftrack.errors import UserError
from selftrack.tracker.network.i2znet import I2ZNet


@pytest.fixture
def upright() -> Iterator[str]:
    """A toy loss, added as anybody's is: heads should be upright."""

    @term("upright", weight=2.5)
    def upright(step: StepContext) -> Tensor:
        return step.prediction.pose_image[:, 3].square().mean()

    yield "upright"
    del TERMS["upright"]


def renewed(config: AdaptConfig, **weights: float) -> AdaptConfig:
    """The settings with the terms that there are now."""
    kept = {name: value for name, value in vars(config).items() if name not in ("weights", "terms")}
    return AdaptConfig(**kept, weights=weights)


def test_a_toy_loss_is_in_the_total_and_in_the_history(
    clip: Clip, network: I2ZNet, quick: AdaptConfig, upright: str, tmp_path: Path
) -> None:
    config = renewed(quick)
    assert config.weights[upright] == 2.5
    trainer = Trainer(clip, network, config)
    state, batch = trainer.renew(), trainer.draw()
    losses = {name: loss.double() for name, loss in trainer.losses(state, batch).items()}
    rolls = trainer.model(clip, batch.rows).pose_image[:, 3]
    assert losses[upright].item() == pytest.approx(rolls.square().mean().item(), rel=1e-4) and losses[upright] > 0
    others = {name: loss for name, loss in losses.items() if name != upright}
    share = trainer.total(losses) - trainer.total(others)
    assert share.item() == pytest.approx(2.5 * losses[upright].item(), rel=1e-6)
    run = Adaptation(trainer, [])
    run(lambda step, steps, figures: None, tmp_path / "checkpoint", {})
    assert run.history[-1][upright] > 0


def test_a_term_without_weight_is_not_computed(clip: Clip, network: I2ZNet, quick: AdaptConfig) -> None:
    trainer = Trainer(clip, network, quick.changed(weights=dict.fromkeys(set(TERMS) - {"flrc", "motc"}, 0.0)))
    assert set(trainer.losses(trainer.renew(), trainer.draw())) == {"flrc", "motc"}


def test_a_class_with_settings_prepares_itself_on_the_clip(clip: Clip, network: I2ZNet, quick: AdaptConfig) -> None:
    @dataclass(frozen=True)
    class DriftConfig:
        power: float = 1.0

    try:

        @term("drift", weight=1.0, settings=DriftConfig)
        class Drift:
            def __init__(self, clip: ClipContext, settings: DriftConfig) -> None:
                self.mean, self.power = clip.unadapted.z.mean(0), settings.power

            def __call__(self, step: StepContext) -> Tensor:
                return (step.prediction.z - self.mean).abs().pow(self.power).mean()

        trainer = Trainer(clip, network, replace(renewed(quick), terms={"drift": {"power": 2.0}}))
        batch = trainer.draw()
        z = trainer.model(clip, batch.rows).z
        expected = (z - trainer.model.predict_all(clip).z.mean(0)).square().mean()
        assert torch.allclose(trainer.losses(trainer.renew(), batch)["drift"], expected, rtol=1e-4)
    finally:
        TERMS.pop("drift", None)


def test_a_name_is_used_once() -> None:
    with pytest.raises(ValueError, match="there is a loss term 'cftc' already"):
        term("cftc", weight=1.0)(lambda step: torch.zeros(()))


def test_weights_and_settings_that_are_not_named_have_their_defaults() -> None:
    config = AdaptConfig(weights={"cftc": 100}, terms={"opening": {"touch": 1.5}})
    assert config.weights == {name: known.weight for name, known in TERMS.items()} | {"cftc": 100.0}
    assert config.terms["opening"].touch == 1.5 and config.terms["opening"].contact == 12.0
    assert config.terms["damping"].tolerance == 0.15


def test_changes_leave_what_they_do_not_name() -> None:
    config = AdaptConfig(steps=7, weights={"cftc": 100}, terms={"opening": {"touch": 1.5}})
    changed = config.changed(seed=3, weights={"motc": 0.0}, terms={"opening": {"contact": 1.0}})
    assert changed.weights == config.weights | {"motc": 0.0} and (changed.steps, changed.seed) == (7, 3)
    assert (changed.terms["opening"].touch, changed.terms["opening"].contact) == (1.5, 1.0)


def test_settings_survive_being_written_down() -> None:
    """What a result's config holds makes the same settings again."""
    config = AdaptConfig(weights={"cftc": 100}, terms={"opening": {"touch": 1.5}}, offsets=(0, 1))
    assert AdaptConfig(**asdict(config)) == config
    assert AdaptConfig(**asdict(config) | {"offsets": [0, 1]}) == config  # YAML knows no tuples


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"weights": {"cftx": 1.0}}, "no loss term 'cftx'; the terms are .*cftc, motc"),
        ({"weights": {"cftc": "much"}}, "weight of the loss term cftc must be a number of at least 0, got 'much'"),
        ({"weights": {"cftc": -1.0}}, "at least 0, got -1.0"),
        ({"weights": {"cftc": float("nan")}}, "at least 0, got nan"),
        ({"terms": {"open": {}}}, "no loss term 'open'"),
        ({"terms": {"opening": {"width": 1.0}}}, "settings of the loss term opening are contact, touch"),
        ({"terms": {"cftc": {"touch": 1.0}}}, "cftc has no settings but its weight"),
    ],
)
def test_what_does_not_exist_is_refused_by_name(wrong: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        AdaptConfig(**wrong)


def test_nothing_to_adapt_by(clip: Clip, network: I2ZNet, quick: AdaptConfig) -> None:
    with pytest.raises(UserError, match="all terms of the loss have weight 0"):
        Trainer(clip, network, quick.changed(weights=dict.fromkeys(TERMS, 0.0)))
