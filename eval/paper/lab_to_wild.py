"""From the lab to the wild (Yoon et al. 2019, Table 1), with virtual actors whose true vertices are known.

    python -m selftrack.eval.paper.lab_to_wild OUT --actors 4

Per actor: a capture in the synthetic light stage, a deep appearance model and an I2ZNet trained on it; then a clip of
the same actor under other light, before another background, by a noisy camera with compression; tracked without
adaptation, adapted by the landmarks alone (FLRC) and by all losses. What is there already is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from selftrack.adapt.frames.clip import ClipConfig, read_clip
from selftrack.adapt.learning.loop import Adaptation
from selftrack.adapt.learning.trainer import AdaptConfig, Trainer
from selftrack.adapt.run import for_personal_model, load_preset, skin_windows
from selftrack.command import run
from selftrack.decoders.base import Decoder
from selftrack.decoders.capture import open_capture
from selftrack.decoders.dam.model import Dam
from selftrack.decoders.dam.networks import DamConfig
from selftrack.decoders.head.model import load_head
from selftrack.eval.metrics.stability import stability
from selftrack.eval.metrics.subject import truth_path
from selftrack.eval.metrics.truth import vertex_error
from selftrack.io import file_hash, json_text, markdown_table, write_text
from selftrack.synthetic.clips import make_clip
from selftrack.synthetic.lab import LAB, LabConfig, cast, make_studio
from selftrack.synthetic.people import face_vertices
from selftrack.synthetic.scene import Stage
from selftrack.synthetic.truth import Truth, load_truth
from selftrack.tracker.clips.config import TrackConfig, load_model, open_clip
from selftrack.tracker.clips.single import track_clip
from selftrack.tracker.geometry.crop import inter_ocular
from selftrack.tracker.network.i2znet import I2ZConfig
from selftrack.tracker.network.weights import ClipFit, network_beside
from selftrack.tracker.results import track_file
from selftrack.tracker.results.track_file import Track
from selftrack.training.dam import DamTraining, train_dam
from selftrack.training.i2znet_multiview import CaptureConfig, dam_training, network_config, train_on_capture

WILD = replace(LAB, occluder=0.0)
ADAPTATIONS = ("none", "flrc", "full")
SALIENT = 5


@dataclass(frozen=True)
class Effort:
    """How much is trained."""

    frames: int = 150
    """Of the clip in the wild."""
    lab: LabConfig = LabConfig()
    dam_steps: int = 6000
    network_steps: int = 2500
    views: int = 4
    """Cameras per moment that the network learns from."""
    texture: int = 256
    """Side of the models' textures."""
    network: str = "i2znet_small"
    """Preset of the networks' architecture."""
    streams: Path | None = None
    """File of `track-train streams`, for an architecture that reads VGG-16 and FAN."""
    device: str = "cpu"


@dataclass(frozen=True)
class Figures:
    """Errors of one track."""

    temporal: float
    """Eq. 10, of the face's vertices in the image; 1 is the least."""
    reprojection: float
    """Of five skin points that are no landmarks, percent of the inter-ocular distance."""
    vertices: float
    """Of the face, millimetres, rigid motion removed."""


def salient_vertices(head: Decoder, count: int = SALIENT) -> list[int]:
    """Choose vertices of the face that lie farthest from 300-W's 68 points and from each other: skin, no landmarks."""
    inside = np.flatnonzero(face_vertices(head))
    at = head.mean.numpy()[inside]
    taken = head.landmarks68(head.mean[None])[0].numpy()
    chosen: list[int] = []
    for _ in range(count):
        apart = np.linalg.norm(at[:, None] - taken, axis=2).min(1)
        chosen.append(int(inside[apart.argmax()]))
        taken = np.concatenate([taken, at[apart.argmax()][None]])
    return chosen


def figures(track: Track, truth: Truth) -> Figures:
    """Measure a track against the truth."""
    head = load_head()
    face, salient = face_vertices(head), salient_vertices(head)
    tracked, true = track.vertices(), truth.in_image()
    points = head.landmarks478(torch.from_numpy(true[..., :2]))
    iod = inter_ocular(points.numpy())
    apart = np.linalg.norm(tracked[:, salient, :2] - true[:, salient, :2], axis=2).mean(1) / iod
    with torch.no_grad():
        geometry = track.model().geometry(torch.from_numpy(track.z)).numpy()
    return Figures(
        temporal=stability(tracked[:, face, :2], track.ok).mean.value(),
        reprojection=float(100 * apart[track.ok].mean()),
        vertices=vertex_error(geometry[:, face], truth.vertices[:, face], track.ok, aligned=True).value(),
    )


def adapted(
    clip_path: Path, config: TrackConfig, settings: AdaptConfig, folder: Path, report: Callable[[str], None]
) -> None:
    """Adapt to a clip and track it, also where held-out frames get worse: that is what is to be measured."""
    model = load_model(config)
    with open_clip(clip_path, config) as source:
        clip = read_clip(source, model, config, ClipConfig())
        trainer = Trainer(clip, model.network, settings, model.decoder, model.refiner)
        run = Adaptation(trainer, skin_windows(source, clip))
    run(lambda step, steps, errors: report(f"adapt {step}/{steps} {errors}") if errors else None, None, {})
    fit = ClipFit(file_hash(clip_path), 0, trainer.model.subject())
    track_clip(clip_path, folder, config, overwrite=True, model=model.adapted(trainer.model.heads, fit))


def flrc_alone(settings: AdaptConfig) -> AdaptConfig:
    """Set the weights of all terms of texture and motion to 0."""
    return settings.changed(weights={"cftc": 0.0, "motc": 0.0, "jitter": 0.0, "shape_jitter": 0.0})


def run_actor(folder: Path, seed: int, effort: Effort, report: Callable[[str], None]) -> dict[str, dict[str, float]]:
    """Do all of one actor: figures by adaptation, and those of the truth itself."""
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "figures.json"
    if done.exists():
        return json.loads(done.read_text())
    decoder, clip = folder / "dam.safetensors", folder / "wild.mp4"
    if not (folder / "studio.npz").exists():
        make_studio(folder, seed, effort.lab)
    capture = open_capture(folder)
    if not decoder.exists():
        settings = DamTraining(DamConfig(texture=effort.texture), effort.dam_steps)
        progress = partial(_report_steps, report, "dam")
        errors = train_dam(capture, decoder, settings, progress, effort.device)
        report(str(errors))
    if not network_beside(decoder).exists():
        model = Dam.load(decoder)
        architecture = network_config(model, I2ZConfig.load(effort.network))
        train_on_capture(
            capture,
            model,
            network_beside(decoder),
            dam_training(architecture, effort.network_steps),
            partial(_report_steps, report, "i2znet"),
            device=effort.device,
            data=CaptureConfig(views=effort.views),
            streams=effort.streams,
        )
    if not truth_path(clip).exists():
        make_clip(clip, seed, 90 + seed, effort.frames, WILD, cast(Stage(LAB), seed))
    truth = load_truth(truth_path(clip))
    streams = str(effort.streams) if effort.streams else None
    config = TrackConfig(decoder=str(decoder.resolve()), streams=streams, device=effort.device, overlay=False)
    full = for_personal_model(load_preset("fast"))
    results = {}
    for name in ADAPTATIONS:
        into = folder / name
        if not (into / track_file.NAME).exists():
            if name == "none":
                track_clip(clip, into, config)
            else:
                adapted(clip, config, full if name == "full" else flrc_alone(full), into, report)
        results[name] = asdict(figures(track_file.load(into), truth))
        report(f"{name} {results[name]}")
    ok = np.ones(len(truth), bool)
    face = face_vertices(load_head())
    results["truth"] = {"temporal": stability(truth.in_image()[:, face, :2], ok).mean.value()}
    write_text(done, json_text(results))
    return results


def _report_steps(report: Callable[[str], None], what: str, step: int, steps: int, losses: dict[str, float]) -> None:
    if step % 500 == 0:
        report(f"{what} {step}/{steps} {losses}")


def table(actors: list[dict[str, dict[str, float]]]) -> str:
    """Write Table 1: a row per figure and adaptation, a column per actor, and the average."""
    rows = []
    for figure in ("temporal", "reprojection", "vertices"):
        for name in ADAPTATIONS:
            values = [actor[name][figure] for actor in actors]
            rows.append([figure, name, *(f"{value:.3f}" for value in (*values, float(np.mean(values))))])
    return markdown_table(["figure", "adaptation", *(f"actor {i}" for i in range(len(actors))), "average"], rows)


def main(
    folder: Annotated[Path, typer.Argument(help="Folder for everything; what is there is kept.", metavar="OUT")],
    actors: Annotated[int, typer.Option(help="Number of actors (default 4).", min=1)] = 4,
    frames: Annotated[int, typer.Option(help="Frames of each clip in the wild (default 150).", min=32)] = 150,
    dam_steps: Annotated[
        int, typer.Option(help="Steps of the appearance models' training (default 6000).", min=1)
    ] = Effort.dam_steps,
    network_steps: Annotated[
        int, typer.Option(help="Steps of the networks' training (default 2500).", min=1)
    ] = Effort.network_steps,
    texture: Annotated[int, typer.Option(help="Side of the models' textures, to 1024 (default 256).")] = Effort.texture,
    network: Annotated[
        str, typer.Option(help="Architecture of the networks, such as i2znet_paper (default i2znet_small).")
    ] = Effort.network,
    streams: Annotated[
        Path | None, typer.Option(help="Take weights of VGG-16 and FAN from this file of track-train streams.")
    ] = None,
    device: Annotated[str, typer.Option(help="Train and track on cpu or cuda (default cpu).")] = Effort.device,
) -> None:
    """Capture, train, film, track and measure virtual actors."""
    effort = Effort(
        frames=frames,
        dam_steps=dam_steps,
        network_steps=network_steps,
        texture=texture,
        network=network,
        streams=streams,
        device=device,
    )
    results = []
    for seed in range(actors):
        print(f"actor {seed}", flush=True)
        results.append(run_actor(folder / f"actor{seed}", seed, effort, partial(print, flush=True)))
    print(table(results), end="")


if __name__ == "__main__":
    run("python -m selftrack.eval.paper.lab_to_wild", lab_to_wild=main)
