"""Drawn occluders, and a short training on people behind them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from selftrack.training.visibility import occluders
from selftrack.training.visibility.occluders import occlude
from selftrack.training.visibility.train import (
    VisibilityConfig,
    draw_examples,
    hidden_loss,
    intersection_over_union,
)

FACE = np.stack(np.meshgrid(np.linspace(50, 140, 20), np.linspace(40, 150, 24)), -1).reshape(-1, 2)[:478]
POINTS = np.concatenate([FACE, FACE[: 478 - len(FACE)]])


@pytest.mark.parametrize("draw", occluders._KINDS)
def test_what_is_hidden_is_what_has_changed(draw: occluders._KINDS[0]) -> None:
    rng = np.random.default_rng(3)
    mask, colour = draw(rng, POINTS, 192)
    assert mask.shape == (192, 192) and colour.shape == (192, 192, 3)
    assert mask.min() >= 0 and mask.max() <= 1 and 0 <= colour.min() and colour.max() <= 1


def test_pictures_change_where_they_are_hidden_alone() -> None:
    picture = np.full((192, 192, 3), 0.5, np.float32)
    nothing = 0
    for seed in range(40):
        covered, hidden = occlude(np.random.default_rng(seed), picture, POINTS)
        again, same = occlude(np.random.default_rng(seed), picture, POINTS)
        assert np.array_equal(covered, again) and np.array_equal(hidden, same)
        nothing += not hidden.any()
        always, shown = occlude(np.random.default_rng(seed), picture, POINTS, always=True)
        assert shown.any() and np.isfinite(always).all()
    assert 4 <= nothing <= 18


def test_loss_and_union_in_closed_form() -> None:
    logits, hidden = torch.zeros(1, 24, 24), torch.zeros(1, 24, 24)
    face = torch.zeros(1, 24, 24)
    face[:, :12] = 1
    assert hidden_loss(logits, hidden, face).item() == pytest.approx(np.log(2), rel=1e-5)
    logits[:, 12:] = 50.0  # outside of the face nothing counts
    assert hidden_loss(logits, hidden, face).item() == pytest.approx(np.log(2), rel=1e-5)
    found, true = torch.tensor([True, True, False, True]), torch.tensor([True, False, True, True])
    assert intersection_over_union(found, true, torch.tensor([True, True, True, False])) == pytest.approx(1 / 3)
    assert intersection_over_union(found & False, true & False, true) == 1


def test_examples_are_seeded() -> None:
    config = replace(VisibilityConfig(), people=1, rounds=1)
    first, again, other = (draw_examples(config, number, 1) for number in (0, 0, 1))
    assert len(first) == 12 and [tuple(x.shape[1:]) for x in first.maps] == [(64, 24, 24), (128, 12, 12), (128, 6, 6)]
    assert all(torch.equal(a, b) for a, b in zip(first.maps, again.maps, strict=True))
    assert not torch.equal(first.hidden, other.hidden)
    assert 0 <= first.hidden.min() and first.hidden.max() <= 1 and first.face.mean() > 0.1
