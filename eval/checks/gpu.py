"""Whether the CPU and the GPU agree, and how fast each is.

    python -m selftrack.eval.checks.gpu

Exit code 0 where all agrees, 1 where something does not, 2 without a CUDA GPU.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor

from selftrack.adapt.clip import Clip, ClipConfig, Pixels, read_clip
from selftrack.adapt.loop import Adaptation
from selftrack.adapt.run import load_preset
from selftrack.adapt.trainer import AdaptConfig, Trainer
from selftrack.command import run
from selftrack.decoders.head.model import load_head
from selftrack.decoders.mesh.rasterizer import Fragments, rasterize
from selftrack.io import markdown_table
from selftrack.tracker import load
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.model import Model
from selftrack.tracker.pipeline import TrackConfig, load_model, open_clip, track_clip
from selftrack.tracker.results.track_file import Track

CLIP = Path(__file__).parents[2] / "tests" / "data" / "smile.mp4"
TIE = 1e-3  # pixels from an edge, or difference in depth, within which rounding may choose either triangle
CODES, PIXELS, LOSSES = 0.02, 0.1, 0.02
"""Tolerances: of a code (in standard deviations or ARKit's unit), of a vertex in pixels, of a loss relative to it."""
HEADS = 16  # drawn together, as adaptation does


@dataclass(frozen=True)
class Check:
    """One comparison of the CPU with the GPU."""

    name: str
    difference: float
    tolerance: float
    unit: str

    @property
    def passed(self) -> bool:
        """NaN does not pass."""
        return self.difference <= self.tolerance


@dataclass(frozen=True)
class Speed:
    """How often per second each does something."""

    name: str
    cpu: float
    gpu: float


def edge_distance(vertices: Tensor, faces: Tensor, pixel: Tensor) -> float:
    """Measure pixels from a point (2,) to the nearest edge of any triangle of an image; vertices (V,3), faces (F,3)."""
    start = vertices[faces, :2].double().reshape(-1, 2)
    along = vertices[faces.roll(-1, 1), :2].double().reshape(-1, 2) - start
    where = ((pixel - start) * along).sum(-1) / along.square().sum(-1).clamp(min=1e-30)
    return float((start + where.clamp(0, 1)[:, None] * along - pixel).norm(dim=-1).min())


def wrong_pixels(vertices: Tensor, faces: Tensor, a: Fragments, b: Fragments) -> int:
    """Count pixels in which two rasterizers find different triangles of meshes (B,V,3), all on the CPU.

    Ties do not count: where the pixel's centre lies on an edge, or the depths are the same.
    """
    wrong = 0
    for image, row, column in (a.face_index != b.face_index).nonzero().tolist():
        at = torch.tensor([column, row], dtype=torch.float64)
        gap = float((a.depth[image, row, column] - b.depth[image, row, column]).abs())
        wrong += not (gap < TIE or edge_distance(vertices[image], faces, at) < TIE)
    return wrong


def track_checks(a: Track, b: Track) -> list[Check]:
    """Compare two tracks of one clip: largest differences in frames that both have; how many only one has."""
    both = a.ok & b.ok
    codes = np.abs(a.z - b.z)[both].max(initial=0)
    vertices = np.abs(a.vertices() - b.vertices())[both][..., :2].max(initial=0)
    return [
        Check("frames with a face", float((a.ok != b.ok).sum()), 0, "frames"),
        Check("codes z, largest", float(codes), CODES, ""),
        Check("vertices in the picture, largest", float(vertices), PIXELS, "px"),
    ]


def loss_checks(a: dict[str, float], b: dict[str, float]) -> list[Check]:
    """Compare the terms of one adaptation step and its gradient, relatively; a term near 0 counts absolutely."""
    return [Check(f"adaptation, {n}", abs(a[n] - b[n]) / max(abs(a[n]), 1e-3), LOSSES, "of it") for n in a]


def rasterizer_check(device: str) -> Check:
    """Draw random people in random poses on the CPU and on `device`."""
    generator, head, size = torch.Generator().manual_seed(0), load_head(), (256, 256)
    codes = 0.5 * torch.randn(HEADS, head.size, generator=generator)
    pose = torch.tensor([6.6, 0, 0, 0, 127, 127]) + 0.3 * torch.randn(HEADS, 6, generator=generator)
    vertices = project(head.geometry(codes), pose)
    here = rasterize(vertices, head.faces, size)
    there = rasterize(vertices.to(device), head.faces.to(device), size)
    wrong = wrong_pixels(vertices, head.faces, here, Fragments(*(part.cpu() for part in there)))
    return Check(f"triangles of {HEADS} heads, but for ties", wrong, 0, "pixels")


def moved(clip: Clip, device: str) -> Clip:
    """Copy the clip to another device; the original stays where it is."""
    pixels = Pixels()
    pixels.values, pixels.start, pixels.place = clip.pixels.values, clip.pixels.start, clip.pixels.place
    tensors = {name: getattr(clip, name).to(device) for name in ("points", "iod", "transform")}
    compressed = [level.to(device) for level in clip.compressed]
    return replace(clip, compressed=compressed, pixels=pixels.to(device), **tensors)


def step_terms(clip: Clip, model: Model, config: AdaptConfig) -> dict[str, float]:
    """Compute the terms of the first step of an adaptation, and the length of the gradient of what is trained."""
    trainer = Trainer(clip, model.network, config, model.decoder, model.refiner)
    terms = trainer.losses(trainer.renew(), trainer.draw())
    trainer.total(terms).backward()
    gradients = [p.grad.square().sum().item() for p in trainer.model.parameters() if p.grad is not None]
    return {name: term.item() for name, term in terms.items()} | {"gradient": sum(gradients) ** 0.5}


def steps_per_second(clip: Clip, model: Model, config: AdaptConfig) -> float:
    """Time an adaptation of `config.steps` steps, after one to warm up, with one evaluation of held-out frames."""
    with tempfile.TemporaryDirectory() as folder:
        for steps in (1, config.steps):
            settings = replace(config, steps=steps, evaluate=steps)
            run = Adaptation(Trainer(clip, model.network, settings, model.decoder, model.refiner), [])
            began = time.perf_counter()
            run(lambda step, steps, figures: None, Path(folder) / "checkpoint", {"steps": steps})
    return config.steps / (time.perf_counter() - began)


def compare(
    clip: Path,
    steps: int,
    devices: tuple[str, str] = ("cpu", "cuda"),
    make_model: Callable[[TrackConfig], Model] = load_model,
    duration: float | None = None,
) -> tuple[list[Check], list[Speed]]:
    """Do all checks and time two devices on a clip."""
    checks, tracks, fps, rates = [rasterizer_check(devices[1])], [], [], []
    shared: Clip | None = None
    terms: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, device in enumerate(devices):
            config = TrackConfig(device=device, overlay=False, duration=duration)
            model = make_model(config)
            for _ in range(2):  # the first time warms up
                out = Path(folder) / str(number)
                summary = track_clip(clip, out, config, overwrite=True, model=model)
            tracks.append(load(out))
            fps.append(summary.fps)
            with open_clip(clip, config) as source:
                shared = shared or read_clip(source, model, config, ClipConfig())
            mine = moved(shared, device)
            adaptation = replace(load_preset("fast"), steps=steps)
            terms.append(step_terms(mine, model, adaptation))
            rates.append(steps_per_second(mine, model, adaptation))
    checks += track_checks(*tracks) + loss_checks(*terms)
    return checks, [Speed("feed-forward, frames/s", *fps), Speed("adaptation, steps/s", *rates)]


def table(checks: list[Check], speeds: list[Speed], machine: str) -> str:
    """Write Markdown."""
    rows = [
        [
            check.name,
            f"{check.difference:.3g} {check.unit}".strip(),
            f"{check.tolerance:g} {check.unit}".strip(),
            "same" if check.passed else "**differs**",
        ]
        for check in checks
    ]
    compared = markdown_table(["CPU against GPU", "difference", "tolerance", ""], rows)
    timed = [[speed.name, f"{speed.cpu:.1f}", f"{speed.gpu:.1f}"] for speed in speeds]
    return f"{machine}\n\n{compared}\n{markdown_table(['speed', 'CPU', 'GPU'], timed)}"


def processor() -> str:
    """Name the processor and the number of its cores."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} x {names[0] if names else platform.processor() or platform.machine()}"


def machine() -> str:
    """Name the GPU, the processor, and the version of torch."""
    return f"{torch.cuda.get_device_name()}; {processor()}; torch {torch.__version__}"


def main(
    clip: Annotated[Path, typer.Argument(help="Clip (default: the bundled one).", metavar="CLIP")] = CLIP,
    steps: Annotated[int, typer.Option(help="Steps of the adaptation that is timed (default 100).", min=2)] = 100,
) -> None:
    """Check that CPU and GPU agree, and print how fast each is."""
    if not torch.cuda.is_available():
        print("no CUDA GPU was found: there is nothing to compare with the CPU", file=sys.stderr)
        sys.exit(2)
    checks, speeds = compare(clip, steps)
    print(table(checks, speeds, machine()), end="")
    sys.exit(0 if all(check.passed for check in checks) else 1)


if __name__ == "__main__":
    run("python -m selftrack.eval.checks.gpu", gpu=main)
