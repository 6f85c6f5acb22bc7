"""The Python of README and docs runs as it is written."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from selftrack.eval.metrics import METRICS
from selftrack.tracker.clips.config import TrackConfig
from selftrack.tracker.clips.single import track_clip
from selftrack.tracker.clips.subjects import PersonConfig
from selftrack.tracker.engine.onnx_file import export_tracker
from selftrack.tracker.model import Model
from selftrack.tracker.sources.opening import open_source

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(PYTHON.findall(page.read_text(encoding="utf-8")))
]


def test_the_readme_runs_in_the_clone_as_it_stands(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its one block, of ten lines: what it prints and leaves is one row a frame."""
    (block,) = PYTHON.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len([line for line in block.splitlines() if line.strip()]) <= 11
    monkeypatch.chdir(ROOT)
    names: dict = {}
    exec(block, names)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 72 and all(line.startswith("True 0.") for line in printed)
    assert names["smile"].shape == names["yaw"].shape == (72,) and names["mesh"].shape[::2] == (72, 3)


@pytest.fixture
def metrics() -> Iterator[None]:
    """Leave the registry as it was."""
    before = dict(METRICS)
    yield
    METRICS.clear()
    METRICS.update(before)


@pytest.mark.usefixtures("metrics")
@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_runs(block: str, smile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a clip my.mp4, its track and a file for engines; `frames` are pictures of the clip."""
    monkeypatch.chdir(tmp_path)
    Path("my.mp4").symlink_to(smile)
    Path("clip.mp4").symlink_to(smile)
    track_clip("my.mp4", "my_track", TrackConfig(overlay=False, duration=0.2, person=PersonConfig(samples=2)))
    with open_source(smile, duration=0.1) as source:
        frames = [frame.image for frame in source]
    if "tracker.onnx" in block:
        pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
        export_tracker(Model.load(device="cpu"), Path("tracker.onnx"))
    exec(block, {"frames": frames})
