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
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer
from torch import Tensor

from selftrack.adapt.frames.clip import Clip, ClipConfig, Pixels, read_clip
from selftrack.adapt.frames.sampling import Batch
from selftrack.adapt.learning.loop import Adaptation
from selftrack.adapt.learning.state import State
from selftrack.adapt.learning.trainer import AdaptConfig, Trainer
from selftrack.adapt.run import load_preset
from selftrack.command import run
from selftrack.decoders.head.model import load_head
from selftrack.decoders.mesh.rasterizer import Fragments, rasterize
from selftrack.eval.checks.agreement import Check, Figure, gradient_check, loss_checks, relative, table
from selftrack.eval.checks.gpu_training import compare_training
from selftrack.tracker import load
from selftrack.tracker.clips.config import TrackConfig, load_model, open_clip
from selftrack.tracker.clips.single import track_clip
from selftrack.tracker.geometry.crop import CROP_SIZE
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.model import Model
from selftrack.tracker.results.track_file import Track

CLIP = Path(__file__).parents[2] / "tests" / "data" / "smile.mp4"
TIE = 1e-3  # pixels from an edge, or difference in depth, within which rounding may choose either triangle
CODES, PIXELS = 0.02, 0.1
"""Tolerances: of a code (in standard deviations or ARKit's unit), and of a vertex in pixels."""
SLOPES = 0.15
"""Of a slope against a finite difference: textures are bilinear between pixels, so that slopes jump."""
STEPS = (1e-4, 2e-4, 5e-4, 1e-3)
"""Of the finite differences, of which the median counts: over smaller ones single precision and single texels tell."""
TEXTURE_TERMS = ("cftc", "motc")
_ALL_COUNT = 1e3  # of `AdaptConfig.occlusion`: no residual of colours is an outlier
HEADS = 16  # drawn together, as adaptation does


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
    levels = [level.to(device) for level in clip.levels]
    return replace(clip, levels=levels, pixels=pixels.to(device), **tensors)


class Step(NamedTuple):
    """The first step of an adaptation."""

    terms: dict[str, float]
    """The terms of the loss."""
    gradients: dict[str, np.ndarray]
    """Gradient (N,) of each term of texture, through the vertices, by what is trained."""
    slopes: dict[str, tuple[float, float]]
    """Of each term of texture by the head's pose, down its own gradient: by that, and by finite differences."""


def first_step(clip: Clip, model: Model, config: AdaptConfig) -> Step:
    """Compute the terms of the first step of an adaptation, and what their gradients say."""
    trainer = Trainer(clip, model.network, config, model.decoder, model.refiner)
    state, batch = trainer.renew(), trainer.draw()
    trained = [p for p in trainer.model.parameters() if p.requires_grad]
    terms = trainer.losses(state, batch)
    gradients, slopes = {}, {}
    for name in TEXTURE_TERMS:
        parts = torch.autograd.grad(terms[name], trained, retain_graph=True, allow_unused=True)
        gradients[name] = torch.cat([part.flatten() for part in parts if part is not None]).cpu().numpy()
    for name in TEXTURE_TERMS:
        slopes[name] = _slope(trainer, name, state, batch)
    return Step({name: term.item() for name, term in terms.items()}, gradients, slopes)


def _slope(trainer: Trainer, name: str, state: State, batch: Batch) -> tuple[float, float]:
    """Measure how steep a term is along its gradient by the last layer's bias of the pose; what is visible is held.

    Outliers count fully there: otherwise their weights change with the step, and are constants to the gradient.
    """
    trainer.context = replace(trainer.context, config=replace(trainer.config, occlusion=_ALL_COUNT))
    bias = trainer.model.heads.pose.get_parameter("4.bias")
    [gradient] = torch.autograd.grad(trainer.losses(state, batch)[name], [bias])
    start, direction = bias.detach().clone(), gradient / gradient.norm()

    def at(step: float) -> float:
        bias.copy_(start + step * direction)
        return trainer.losses(state, batch)[name].item()

    with torch.no_grad():
        found = float(np.median([(at(step) - at(-step)) / (2 * step) for step in STEPS]))
        bias.copy_(start)
    return gradient.norm().item(), found


def step_checks(a: Step, b: Step) -> list[Check]:
    """Compare the first step of an adaptation on two devices, and the second's gradients with finite differences."""
    checks = loss_checks("adaptation", a.terms, b.terms)
    for name, gradient in a.gradients.items():
        checks.append(gradient_check(f"adaptation, gradient of {name}", gradient, b.gradients[name]))
        checks.append(relative(f"adaptation, slope of {name} and its finite difference", *b.slopes[name], SLOPES))
    return checks


def steps_per_second(clip: Clip, model: Model, config: AdaptConfig) -> float:
    """Time an adaptation of `config.steps` steps, after one to warm up, with one evaluation of held-out frames."""
    trainer = Trainer(clip, model.network, config, model.decoder, model.refiner)
    with tempfile.TemporaryDirectory() as folder:
        for steps in (1, config.steps):
            trainer.config = replace(config, steps=steps, evaluate=steps)
            run = Adaptation(trainer, [])
            began = time.perf_counter()
            run(lambda step, steps, figures: None, Path(folder) / "checkpoint", {"steps": steps})
    return config.steps / (time.perf_counter() - began)


@torch.no_grad()
def crops_per_second(model: Model, count: int = 64, times: int = 5) -> float:
    """Time the network on so many crops at once, streams and heads."""
    crops = torch.rand(count, 3, CROP_SIZE, CROP_SIZE, device=model.device)
    points = CROP_SIZE * torch.rand(count, model.landmarks.points, 2, device=model.device)
    model.network(crops, points).z.cpu()  # to warm up
    began = time.perf_counter()
    for _ in range(times):
        model.network(crops, points)
    model.network(crops[:1], points[:1]).z.cpu()  # waits for all before it
    return count * times / (time.perf_counter() - began)


def compare(
    clip: Path,
    steps: int,
    devices: tuple[str, str] = ("cpu", "cuda"),
    make_model: Callable[[TrackConfig], Model] = load_model,
    duration: float | None = None,
) -> tuple[list[Check], list[Figure]]:
    """Do all checks and time two devices on a clip."""
    checks, tracks, fps, rates, network = [rasterizer_check(devices[1])], [], [], [], []
    shared: Clip | None = None
    first: list[Step] = []
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
            first.append(first_step(mine, model, adaptation))
            network.append(crops_per_second(model))
            rates.append(steps_per_second(mine, model, adaptation))
    checks += track_checks(*tracks) + step_checks(*first)
    seconds = [load_preset("fast").steps / rate for rate in rates]
    return checks, [
        Figure("a clip from file to track.npz, frames/s", fps[0], fps[1]),
        Figure("the network on crops, frames/s", network[0], network[1], goal="1000"),
        Figure("adaptation, steps/s", rates[0], rates[1]),
        Figure("adaptation of the preset fast, s", seconds[0], seconds[1], goal="5"),
    ]


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
    checks, figures = compare(clip, steps)
    with tempfile.TemporaryDirectory() as folder:
        more_checks, more_figures = compare_training(Path(folder))
    checks, figures = [*checks, *more_checks], [*figures, *more_figures]
    print(table(checks, figures, machine()), end="")
    sys.exit(0 if all(check.passed for check in checks) else 1)


if __name__ == "__main__":
    run("python -m selftrack.eval.checks.gpu", gpu=main)
