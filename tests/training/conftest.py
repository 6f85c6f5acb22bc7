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
