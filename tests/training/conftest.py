"""Captures of a few people."""

from pathlib import Path

import pytest

from selftrack.synthetic.captures import make_captures
from selftrack.synthetic.studio import StudioConfig


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One shard of three people, two moments, two views."""
    config = StudioConfig(picture=192, moments=2, views=2)
    return make_captures(tmp_path_factory.mktemp("captures"), people=3, seed=5, workers=1, config=config)


@pytest.fixture(scope="session")
def other_shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One shard of two other people."""
    config = StudioConfig(picture=192, moments=2, views=2)
    return make_captures(tmp_path_factory.mktemp("others"), people=2, seed=6, workers=1, config=config)
