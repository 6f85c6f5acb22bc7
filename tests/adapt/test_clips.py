"""A clip that is adapted to and tracked into a folder."""

from pathlib import Path

import numpy as np
import pytest

from selftrack.adapt.clips import adapt_and_track
from selftrack.adapt.run import load_preset
from selftrack.errors import UserError
from selftrack.tracker.clips.config import TrackConfig
from selftrack.tracker.clips.single import track_clip
from selftrack.tracker.model import Model
from selftrack.tracker.results.track_file import load


def test_without_settings_of_an_adaptation_it_is_tracked_as_it_would_be(smile: Path, tmp_path: Path) -> None:
    track, stages = TrackConfig(overlay=False, duration=0.1), set[str]()
    summary, verdict = adapt_and_track(
        smile, tmp_path / "a", track, None, progress=lambda stage, done, total, figures: stages.add(stage)
    )
    track_clip(smile, tmp_path / "b", track)
    assert verdict is None and summary.adaptation == 0 and stages == {"finding faces", "tracking"}
    np.testing.assert_array_equal(load(tmp_path / "a").z, load(tmp_path / "b").z)
    assert (tmp_path / "a" / "config.yaml").read_text() == (tmp_path / "b" / "config.yaml").read_text()


@pytest.mark.parametrize(("exports", "words"), [((), "curves.csv"), (("glb",), "glb needs fixed blend shapes")])
def test_what_can_be_refused_is_refused_before_the_adaptation(
    smile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exports: tuple[str, ...], words: str
) -> None:
    """A file of the user's where a result would go, and a format that the decoder cannot give."""
    monkeypatch.setattr("selftrack.adapt.clips.adapt", lambda *_: pytest.fail("adapts for nothing"))
    model = Model.load(device="cpu")
    if exports:
        monkeypatch.setattr(type(model.decoder), "has_blendshapes", False)
    else:
        (tmp_path / "curves.csv").write_text("precious")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=words):
        adapt_and_track(smile, tmp_path, TrackConfig(), load_preset(), model, exports=exports)
    assert sorted(tmp_path.iterdir()) == before
