"""`track --adapt`: one clip from file to adapted weights, and what held-out frames say of them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import yaml

from selftrack.adapt.clip import Clip, ClipConfig, read_clip
from selftrack.adapt.held_out import HeldOut, held_out_error
from selftrack.adapt.loop import Adaptation
from selftrack.adapt.trainer import AdaptConfig, Trainer
from selftrack.errors import UserError
from selftrack.tracker.network.i2znet import CONFIGS, ClipFit, save_adapted
from selftrack.tracker.pipeline import ADAPTATION, ADAPTED, Models, TrackConfig, weights_of
from selftrack.tracker.results.skin_points import Window, find_windows
from selftrack.tracker.results.texture import clip_texture, write_texture
from selftrack.tracker.results.track_file import Track
from selftrack.tracker.sources.video import VideoReader, file_hash

PRESETS = ("fast", "thorough")
CHECKPOINT = "adaptation.checkpoint"
Progress = Callable[[str, int, int, dict[str, float]], None]


def load_preset(name: str) -> AdaptConfig:
    """The settings `configs/adapt_<name>.yaml`. Raises ValueError when there are none."""
    if name not in PRESETS:
        raise UserError(f"preset must be one of {', '.join(PRESETS)}; got {name!r}")
    return AdaptConfig(**yaml.safe_load((CONFIGS / f"adapt_{name}.yaml").read_text()))


def for_own_model(config: AdaptConfig) -> AdaptConfig:
    """The settings for a person's own model, of whose code only the network knows what it means:
    `configs/adapt_dam.yaml`."""
    return config.changed(**yaml.safe_load((CONFIGS / "adapt_dam.yaml").read_text()))


@dataclass(frozen=True)
class Verdict:
    """Whether adaptation helped, on frames that it never learned from."""

    kept: bool
    before: HeldOut
    after: HeldOut
    steps: int

    def __str__(self) -> str:
        """One line for the user."""

        def change(name: str, unit: str, scale: float = 1.0) -> str:
            a, b = scale * getattr(self.before, name), scale * getattr(self.after, name)
            return f"{name} {a:.2f} -> {b:.2f} {unit}"

        parts = [change("landmarks", "% IOD"), change("texture", "grey levels", 255)]
        if np.isfinite(self.before.skin):
            parts.insert(0, change("skin", "% IOD"))
        end = "" if self.kept else "; this is no better, so the un-adapted weights were kept"
        return f"held-out frames: {', '.join(parts)}{end}"


def adapt_video(
    path: Path,
    folder: Path,
    track: TrackConfig,
    config: AdaptConfig,
    models: Models,
    progress: Progress = lambda stage, done, total, figures: None,
) -> tuple[Verdict, Callable[[Track, Path], None]]:
    """Adapt `models.network` to a clip, in place.

    An interrupted run goes on from its checkpoint in `folder`; Ctrl-C ends the adaptation with the best state so far.

    Returns:
        The verdict, and a function for `selftrack.tracker.pipeline.track_video` that writes `adapted.safetensors`,
        `adaptation.json` and `texture.png` into a folder.

    Raises:
        VideoError: the clip cannot be read.
        ValueError: it shows too little of a face.
    """
    torch.manual_seed(config.seed)
    base = weights_of(track)
    if models.network.fit is not None:
        raise UserError(f"{base}: has been adapted already; adapt from the weights that it was made from")
    if models.network.config.landmarks == "fan":
        raise UserError(f"{base}: a network that sees FAN's heatmaps cannot be adapted")
    if track.identity != "clip":
        raise UserError("--adapt learns one identity for the clip; use it without --identity per-frame")
    clip = read_clip(path, models, track, ClipConfig(), lambda done, total: progress("read", done, total, {}))
    windows = held_out_windows(path, clip, track)
    trainer = Trainer(clip, models.network, config, models.decoder)
    run = Adaptation(trainer, windows)
    settings = {"clip": file_hash(path), "base": file_hash(base), **asdict(track), **asdict(config)}
    checkpoint = Path(folder) / CHECKPOINT
    run.resume(checkpoint, settings)
    with _all_cores():
        run(lambda step, steps, figures: progress("adapt", step, steps, figures), checkpoint, settings)
    verdict = judge(run)
    models.follower.reset()
    if verdict.kept:
        # in the precision of the file, so that tracking with the file gives the same
        adapted = {k: v.half().float() for k, v in trainer.model.heads.state_dict().items()}
        models.network.heads.load_state_dict(adapted)
        models.network.fit = ClipFit(
            settings["clip"],
            track.detect.face,
            trainer.model.person().detach().cpu(),
            trainer.model.inverse_distance.item(),
            tuple(windows),
        )

    def finish(tracked: Track, results: Path) -> None:
        if verdict.kept:
            save_adapted(results / ADAPTED, models.network.heads, base, models.network.fit, models.network.config)
        report = {"kept": verdict.kept, "before": _finite(vars(verdict.before)), "after": _finite(vars(verdict.after))}
        report |= {"history": [_finite(look) for look in run.history], "settings": settings}
        part = results / f".{ADAPTATION}"
        part.write_text(json.dumps(report, indent=1, allow_nan=False))
        os.replace(part, results / ADAPTATION)
        if tracked.ok.any():
            write_texture(clip_texture(tracked), results)
        checkpoint.unlink(missing_ok=True)

    return verdict, finish


def held_out_windows(path: Path, clip: Clip, track: TrackConfig) -> list[Window]:
    """Skin points of the held-out frames, followed in the clip itself."""
    held = set(np.concatenate([clip.split.select, clip.split.report]).tolist()) & set(clip.rows.tolist())
    landmarks = np.full((clip.total, *clip.points.shape[1:]), np.nan, np.float32)
    landmarks[clip.rows] = clip.points.cpu().numpy()
    if not held:
        return []
    with VideoReader(path, track.start, track.duration, only=held) as reader:
        return find_windows(((f.index, cv2.cvtColor(f.image, cv2.COLOR_RGB2GRAY)) for f in reader), landmarks)


def judge(run: Adaptation) -> Verdict:
    """Compare on the reporting blocks; leaves the better weights in the trainer's model."""
    trainer = run.trainer
    rows = trainer.report_rows
    best = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    trainer.model.load_state_dict(run.first)
    before = held_out_error(trainer, rows, run.windows)
    trainer.model.load_state_dict(best)
    after = held_out_error(trainer, rows, run.windows)
    skin_grew = np.isfinite(before.skin) and not after.skin <= before.skin
    worse = run.best_step == 0 or not after.texture <= before.texture or skin_grew
    if worse:
        trainer.model.load_state_dict(run.first)
    return Verdict(not worse, before, after, run.step)


def _finite(figures: dict[str, float]) -> dict[str, float | None]:
    """JSON knows no NaN: null is what could not be measured."""
    return {name: value if np.isfinite(value) else None for name, value in figures.items()}


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _all_cores() -> Iterator[None]:
    """Let torch use all cores, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(before, _cores()))
    try:
        yield
    finally:
        torch.set_num_threads(before)
