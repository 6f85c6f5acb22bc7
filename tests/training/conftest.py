"""Captures of a few people."""

from collections.abc import Callable
from pathlib import Path

import pytest

from selftrack.synthetic.studio import StudioConfig


@pytest.fixture(scope="session")
def shards(draw_captures: Callable, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One shard of three people, two moments, two views."""
    config = StudioConfig(picture=192, moments=2, views=2)
    return draw_captures(tmp_path_factory.mktemp("captures"), people=3, seed=5, config=config)


@pytest.fixture(scope="session")
def other_shards(draw_captures: Callable, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One shard of two other people."""
    config = StudioConfig(picture=192, moments=2, views=2)
    return draw_captures(tmp_path_factory.mktemp("others"), people=2, seed=6, config=config)
