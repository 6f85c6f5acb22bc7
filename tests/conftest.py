"""Fixtures shared by the tests: the bundled clip and small clips made on the fly."""

import importlib.util
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest

from decoders.capture.studio import Performance, Studio
from decoders.head import load_head

DATA = Path(__file__).parent / "data"
SCORER = Path(__file__).parents[2] / "shared" / "bench" / "score.py"


@pytest.fixture
def smile() -> Path:
    """The bundled clip: 640x360, 30 frames/s, 72 frames, neutral to smile and back, with sound."""
    return DATA / "smile.mp4"


@pytest.fixture(scope="session")
def scorer() -> ModuleType:
    """An independent program with the same figures; it is not part of the project."""
    if not SCORER.exists():
        pytest.skip("no independent scorer")
    spec = importlib.util.spec_from_file_location("scorer", SCORER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def light_stage(tmp_path: Path) -> Callable[..., Studio]:
    """A small synthetic light stage: a grey actor who opens the mouth, before cameras of one colour."""

    def build(name: str = "stage", gloss: float = 0.0, turn: float = 0.0, frames: int = 2, cameras: int = 13) -> Studio:
        head = load_head()
        curves = np.zeros((frames, 52), np.float32)
        curves[:, head.expression_names.index("jawOpen")] = 0.8 * np.linspace(0, 1, frames)
        Performance(
            neutral=head.mean.numpy(),
            shapes=head.shapes[head.expression].numpy(),
            albedo=np.full((16, 16, 3), 0.3, np.float16),
            gloss=gloss,
            sharpness=12.0,
            curves=curves,
            angles=np.array([[0, turn, 0]] * frames),
            offset=np.zeros((frames, 3)),
            camera_gain=np.ones((cameras, 3)),
        ).save(tmp_path / name)
        return Studio(tmp_path / name)

    return build


@pytest.fixture
def make_clip(tmp_path: Path) -> Callable[..., Path]:
    """Write a clip of given frames and timestamps: `make_clip("a.mp4", images, pts, tick, codec)`."""

    def make(
        name: str,
        images: Sequence[np.ndarray],
        pts: Sequence[int] | None = None,
        tick: Fraction = Fraction(1, 25),
        codec: str = "libx264",
        pix_fmt: str = "yuv420p",
        aspect: Fraction | None = None,
        click: float | None = None,
        **options: str,
    ) -> Path:
        path = tmp_path / name
        movflags = {"movflags": "faststart"} if name.endswith("mp4") else {}
        with av.open(str(path), "w", options=movflags) as out:
            stream = out.add_stream(codec, rate=25, options=options)
            stream.height, stream.width = images[0].shape[:2]
            stream.pix_fmt, stream.codec_context.time_base = pix_fmt, tick
            if aspect is not None:
                stream.codec_context.sample_aspect_ratio = aspect
            if click is not None:
                _write_click(out, click)
            for i, image in enumerate(images):
                frame = av.VideoFrame.from_ndarray(image, "rgb24" if image.ndim == 3 else "gray")
                frame.pts, frame.time_base = i if pts is None else pts[i], tick
                out.mux(stream.encode(frame))
            out.mux(stream.encode())
        return path

    return make


def _write_click(out: av.container.OutputContainer, click: float) -> None:
    """Two seconds of 48 kHz PCM silence with one loud 10 ms block at `click` seconds."""
    sound = np.zeros((1, 96_000), np.int16)
    sound[:, int(click * 48_000) :][:, :480] = 20_000
    stream = out.add_stream("pcm_s16le", rate=48_000, layout="mono")
    for first in range(0, 96_000, 1_000):
        frame = av.AudioFrame.from_ndarray(sound[:, first : first + 1_000], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, first, Fraction(1, 48_000)
        out.mux(stream.encode(frame))
    out.mux(stream.encode())
