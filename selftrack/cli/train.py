"""`track-train`: captures to learn from, networks and personal models."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from selftrack.cli.progress import Stages
from selftrack.cli.settings import ConfigOption, SetOption, changed, read_assignments, read_config, said
from selftrack.command import run
from selftrack.errors import UserError

if TYPE_CHECKING:
    from selftrack.training.dam import Reconstruction

_Seed = Annotated[int | None, typer.Option(help="Random seed (default 0).")]
_Steps = Annotated[
    int | None, typer.Option(help="Take so many optimisation steps (default: as the settings say).", min=1)
]
_Streams = Annotated[
    Path | None,
    typer.Option(help="Take weights of VGG-16 and FAN from this file of track-train streams (default: caches)."),
]
_Device = Annotated[str, typer.Option(help="Compute on cpu or cuda (default cpu).", show_default=False)]


def captures(
    folder: Annotated[Path, typer.Argument(help="Where the captures go; those there are kept.", metavar="DIR")],
    people: Annotated[
        int,
        typer.Option(
            help="Draw so many people, 12 pictures each (default 2400, which take 6 GB).", min=1, show_default=False
        ),
    ] = 2400,
    rig: Annotated[
        Path | None,
        typer.Option(help="Draw people of this rig, such as ICT-FaceKit's .npz (default: the bundled head's)."),
    ] = None,
    workers: Annotated[int, typer.Option(help="Draw in so many processes (default 2).", min=1, show_default=False)] = 2,
    seed: Annotated[int, typer.Option(help="Random seed (default 0).", show_default=False)] = 0,
) -> None:
    """Draw synthetic captures to train from."""
    from selftrack.synthetic.captures import make_captures

    if rig is not None and not rig.is_file():
        raise UserError(f"{rig}: no such file; name ICT-FaceKit's .npz or a .glb, see docs/training.md")
    with Stages() as stages:
        make_captures(folder, people, seed, workers, progress=partial(stages.show, "drawing people"), rig=rig)


def streams(
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write.")],
    vgg: Annotated[
        Path | None, typer.Option(help="torchvision's VGG-16, vgg16-397923af.pth (default: left out).")
    ] = None,
    fan: Annotated[
        Path | None, typer.Option(help="face-alignment's FAN, 2DFAN4-11f355bf06.pth.tar (default: left out).")
    ] = None,
) -> None:
    """Pack VGG-16 and FAN, public networks, into one file.

    They are for the network of the paper. Nothing is downloaded.
    """
    from selftrack.tracker.network.published import FAN, VGG16
    from selftrack.tracker.network.streams import pack_streams

    given = {published: path for published, path in ((VGG16, vgg), (FAN, fan)) if path is not None}
    if not given:
        raise UserError(f"name a file with --vgg ({VGG16.url}) or --fan ({FAN.url})")
    print(pack_streams(output, given))


def i2znet(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(help="Captures, of track-train captures (not for a personal model).", metavar="DIR..."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The file of weights to write (default: beside the model).")
    ] = None,
    decoder: Annotated[
        Path | None, typer.Option(help="Train for this personal model, of track-train dam (default: the bundled head).")
    ] = None,
    capture: Annotated[
        Path | None, typer.Option(help="With --decoder: the capture that the model was made from.")
    ] = None,
    streams: _Streams = None,
    steps: _Steps = None,
    device: _Device = "cpu",
    seed: _Seed = None,
    config: ConfigOption = None,
    set: SetOption = None,
) -> None:
    """Train the network that drives a face model.

    Goes on where it was interrupted. Under torchrun on several devices. Settings are those of
    selftrack.training.i2znet.TrainConfig, such as objective.noise.point; presets of the architecture are i2znet_points,
    i2znet_small, i2znet_fan, i2znet_imagenet and i2znet_paper.
    """
    changes = _changes(config, set, steps=steps, seed=seed)
    if decoder or capture:
        if folders or not (decoder and capture):
            raise UserError(
                "a network for a personal model takes --decoder and --capture, and no DIR; name these two alone"
            )
        print(_network_of_capture(decoder, capture, output, changes, device, streams))
        return
    if not folders or output is None:
        raise UserError(
            "a network for the bundled head takes DIR and -o; name both, DIR as track-train captures makes it"
        )
    from selftrack.synthetic.captures import find_captures
    from selftrack.training.dataset import Shards
    from selftrack.training.i2znet import TrainConfig, train

    settings = changed(TrainConfig(), changes)
    settings.network.check_streams(streams)
    with Stages() as stages:
        loading = partial(stages.show, "reading pictures")
        shards = [path for folder in folders for path in find_captures(folder)]
        training = partial(stages.show, "training")
        train(Shards(shards), output, settings, training, loading, device, streams=streams)
    print(output)


def _network_of_capture(
    decoder: Path,
    capture: Path,
    output: Path | None,
    changes: Mapping[str, Any],
    device: str,
    streams: Path | None,
) -> Path:
    """Train a network for a personal model; returns the file of weights."""
    from selftrack.decoders.capture import open_capture
    from selftrack.decoders.dam.model import Dam
    from selftrack.tracker.network.weights import network_beside
    from selftrack.training.i2znet_multiview import dam_training, network_config, train_on_capture

    model = Dam.load(decoder)
    settings = changed(dam_training(network_config(model)), changes)
    settings.network.check_streams(streams)
    with Stages() as stages:
        loading, training = partial(stages.show, "reading pictures"), partial(stages.show, "training")
        place = output or network_beside(decoder)
        source = open_capture(capture)
        return train_on_capture(source, model, place, settings, training, loading, device, streams=streams)


def studio(
    folder: Annotated[Path, typer.Argument(help="Where the capture goes.", metavar="DIR")],
    seed: Annotated[int, typer.Option(help="Which virtual actor (default 0).", min=0, show_default=False)] = 0,
    frames: Annotated[int | None, typer.Option(help="Capture so many moments of acting (default 280).", min=5)] = None,
) -> None:
    """Capture a virtual actor in a synthetic light stage.

    Its pictures are drawn when they are needed.
    """
    from selftrack.synthetic.lab import LabConfig, make_studio

    print(make_studio(folder, seed, LabConfig(frames=frames or LabConfig.frames)))


def dam(
    folder: Annotated[
        Path | None, typer.Argument(help="A capture: of track-train studio, or Multiface's.", metavar="CAPTURE")
    ] = None,
    from_video: Annotated[Path | None, typer.Option(help="Make it from this clip of the person instead.")] = None,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="The model to write (default dam.safetensors).", show_default=False),
    ] = Path("dam.safetensors"),
    texture: Annotated[
        int | None, typer.Option(help="Side of the texture: 256 or 512 on the CPU, 1024 (default 256).")
    ] = None,
    steps: _Steps = None,
    device: _Device = "cpu",
    workers: Annotated[
        int | None, typer.Option(help="Read the capture in so many processes (default 0: in this one).", min=0)
    ] = None,
    seed: _Seed = None,
    config: ConfigOption = None,
    set: SetOption = None,
) -> None:
    """Train a personal model (a deep appearance model).

    Goes on where it was interrupted. Under torchrun on several devices. Settings are those of
    selftrack.training.dam.DamTraining, such as kl.
    """
    named = {"model.texture": texture, "workers": workers, "steps": steps, "seed": seed}
    changes = _changes(config, set, **named)
    if (folder is None) == (from_video is None):
        raise UserError("a model is made from a CAPTURE or from a clip; name one of them, a clip with --from-video")
    if from_video:
        if not from_video.exists():
            raise UserError(f"{from_video}: no such file; name a video of the person")
        errors = _model_of_clip(from_video, output, changes, device)
    else:
        assert folder is not None
        errors = _model_of_capture(folder, output, changes, device)
    print(f"{output}: {errors}")
    if errors.doubt():
        print(f"note     {errors.doubt()}")


def _model_of_capture(folder: Path, output: Path, changes: Mapping[str, Any], device: str) -> Reconstruction:
    """Train on a multi-view capture; returns the errors on what was held out."""
    from selftrack.decoders.capture import open_capture
    from selftrack.training.dam import DamTraining, train_dam
    from selftrack.training.place_landmarks import place_landmarks

    settings = changed(DamTraining(), changes)
    capture = open_capture(folder)
    for line in capture.missing[:5]:
        print(f"missing  {line}", file=sys.stderr)
    if len(capture.missing) > 5:
        print(f"missing  and {len(capture.missing) - 5} more", file=sys.stderr)
    if capture.topology.landmarks is None:
        try:
            capture.topology = replace(capture.topology, landmarks=place_landmarks(capture))
        except UserError as error:
            print(f"note     {error}; no network can be trained for this model", file=sys.stderr)
    with Stages() as stages:
        return train_dam(capture, output, settings, partial(stages.show, "training"), device)


def _model_of_clip(clip: Path, output: Path, changes: Mapping[str, Any], device: str) -> Reconstruction:
    """Train on one clip; returns the errors on what was held out."""
    from selftrack.training.dam import DamTraining
    from selftrack.training.personal_model import STEPS, model_of_clip

    settings = changed(DamTraining(steps=STEPS), changes)
    with Stages() as stages:
        steps = min(settings.steps, 1500)
        return model_of_clip(clip, output, settings, steps, stages.show, device, say=stages.say)


def export(
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write, such as tracker.onnx.")],
    weights: Annotated[
        Path | None,
        typer.Option(help="Take the network of this file, of track --adapt or track-train (default: bundled)."),
    ] = None,
    precision: Annotated[
        str, typer.Option(help="Of the network: fp32, fp16 or int8 (default fp32).", show_default=False)
    ] = "fp32",
) -> None:
    """Write the tracker as one ONNX file for engines.

    From the detected points of a frame to curves, their deviations and head pose, with memory that the caller hands on.
    """
    from selftrack.tracker.engine.onnx_file import export_tracker
    from selftrack.tracker.model import Model

    print(export_tracker(Model.load(weights, device="cpu"), output, precision))


def page(
    folder: Annotated[Path, typer.Option("-o", "--output", help="The folder to make.", metavar="DIR")],
    weights: Annotated[
        Path | None,
        typer.Option(help="Take the network of this file, of track --adapt or track-train (default: bundled)."),
    ] = None,
) -> None:
    """Write the tracker as a page for browsers.

    Any web server gives it away as it is; it tracks a camera or a file, and no picture leaves the browser. npm fetches
    ONNX Runtime Web and Mediabunny for it.
    """
    from selftrack.tracker.engine.page import write_page
    from selftrack.tracker.model import Model

    print(write_page(Model.load(weights, device="cpu"), folder))


def _changes(config: str | None, assignments: list[str] | None, **named: object) -> dict[str, Any]:
    """Settings by name from a file, from --set and from options of their own, the last of which count most."""
    return read_config(config) | read_assignments(assignments) | said(named)


def main() -> None:
    """Run the console script `track-train`."""
    about = "Draw captures, train networks, make personal models, write networks for engines."
    run(
        "track-train",
        about,
        captures=captures,
        streams=streams,
        i2znet=i2znet,
        studio=studio,
        dam=dam,
        export=export,
        page=page,
    )
