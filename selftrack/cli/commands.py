"""The commands: parse, call the library, print."""

import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from selftrack.command import run
from selftrack.errors import UserError
from selftrack.io import OutputFolder

# torch's threads wait for work spinning, by default so long that a busy machine makes them many times slower
os.environ.setdefault("GOMP_SPINCOUNT", "20000")

_FORMATS = "livelink, unreal, csv, parquet, npz, openface, vertices, glb, viewer, blender or maya."


def track(
    video: Annotated[Path, typer.Argument(help="The clip.", metavar="VIDEO")],
    output: Annotated[Path | None, typer.Option("-o", help="Folder of the results [<stem>_track].")] = None,
    start: Annotated[float, typer.Option(help="Where to begin, seconds.")] = 0.0,
    duration: Annotated[float | None, typer.Option(help="How much to track, seconds [all].")] = None,
    face: Annotated[int, typer.Option(help="Which face: 0 the largest, 1 the next.", min=0)] = 0,
    landmarks: Annotated[str, typer.Option(help="mediapipe or fan.")] = "mediapipe",
    identity: Annotated[str, typer.Option(help="clip: one for all frames; or per-frame.")] = "clip",
    weights: Annotated[Path | None, typer.Option(help="File of I2ZNet weights [bundled].")] = None,
    decoder: Annotated[Path | None, typer.Option(help="A person's own model, of track-train dam [head].")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    adapt: Annotated[bool, typer.Option("--adapt", help="First fine-tune the tracker on this very clip.")] = False,
    preset: Annotated[str, typer.Option(help="Of --adapt: fast or thorough.")] = "fast",
    overlay: Annotated[bool, typer.Option("--overlay/--no-overlay", help="Write overlay.mp4.")] = True,
    textured: Annotated[bool, typer.Option("--textured", help="Show the face in its own texture there.")] = False,
    report: Annotated[bool, typer.Option("--report", help="Write report.html, too, as track-eval does.")] = False,
    export: Annotated[str, typer.Option(help="Formats to write too, as livelink,glb; see track-export.")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace earlier results.")] = False,
) -> None:
    """Track a face through a video: track.npz, curves.csv and overlay.mp4 in the output folder."""
    from selftrack.adapt.run import adapt_clip, for_personal_model, load_preset
    from selftrack.tracker.export import default_path, known, require
    from selftrack.tracker.landmarks.follower import DetectConfig
    from selftrack.tracker.pipeline import OUTPUTS, TrackConfig, load_model, track_clip

    config = TrackConfig(
        start=start,
        duration=duration,
        landmarks=landmarks,
        identity=identity,
        weights=None if weights is None else str(weights),
        decoder=None if decoder is None else str(decoder.resolve()),
        device=device,
        overlay=overlay,
        overlay_mode="textured" if textured else "shaded",
        detect=DetectConfig(face=face),
    )
    folder, settings = output or Path(f"{video.stem}_track"), load_preset(preset)
    settings = for_personal_model(settings) if decoder else settings
    exports = known(name for name in export.split(",") if name)
    names = [*OUTPUTS, *(default_path(video, to, folder).name for to in exports)]
    OutputFolder(folder).check(names, overwrite)
    model, verdict, also = None, None, None
    with _Bars() as bars:
        if adapt:
            model = load_model(config)
            require(exports, model.decoder)
            model, verdict, also = adapt_clip(video, folder, config, settings, model, bars.show)
        summary = track_clip(
            video, folder, config, model=model, overwrite=overwrite, exports=exports, also=also, progress=bars.show
        )
    print(summary)
    if verdict:
        print(f"adapted  {verdict}")
    if report:
        _report(folder)


def evaluate(
    paths: Annotated[list[Path], typer.Argument(help="A folder of `track`; or tracks to compare.", metavar="PATHS")],
    before: Annotated[Path | None, typer.Option(help="Folder of the un-adapted track; else tracked anew.")] = None,
    points: Annotated[Path | None, typer.Option(help="CSV of points marked by hand: frame,name,x,y.")] = None,
    annotate: Annotated[bool, typer.Option("--annotate", help="Write annotate.html, in which to mark them.")] = False,
    filters: Annotated[bool, typer.Option("--filters", help="Add filters as steady as the second track.")] = False,
    json: Annotated[Path | None, typer.Option(help="File for the figures of a comparison.")] = None,
) -> None:
    """Judge a track: report.html and report.json in its folder. Or compare trackers: [CLIP] TRACK TRACK ...

    A TRACK is a folder of `track`, or an .npz with verts (T,V,3) in pixels and faces (F,3) of any tracker; CLIP is
    needed where there is no folder. An adapted clip is tracked again without adaptation, unless --before names that.
    """
    from selftrack.eval.annotate.page import write_page
    from selftrack.eval.compare import score

    alone = len(paths) == 1 and paths[0].is_dir()
    for name, given, for_one in (
        ("--before", before, True),
        ("--annotate", annotate, True),
        ("--filters", filters, False),
        ("--json", json, False),
    ):
        if given and for_one != alone:
            raise UserError(f"{name} goes with {'one folder of `track`' if for_one else 'several tracks'}")
    if annotate:
        with _Bars() as bars:
            print(write_page(paths[0], bars.show))
    elif alone:
        _report(paths[0], before, points)
    else:
        with _Bars() as bars:
            scores = score.score_files(paths, filters, points, bars.show)
        print(score.table(scores), end="")
        if json:
            score.write_json(scores, json)


def _report(folder: Path, before: Path | None = None, points: Path | None = None) -> None:
    from selftrack.eval.report.report import write_report
    from selftrack.tracker.pipeline import REPORT

    with _Bars() as bars:
        verdict = write_report(folder, before, points, bars.show)
    print(f"verdict  {verdict}\nreport   {folder / REPORT}")


def export(
    folder: Annotated[Path, typer.Argument(help="Folder that `track` has written.", metavar="DIR")],
    to: Annotated[str, typer.Option(help=_FORMATS)],
    output: Annotated[Path | None, typer.Option("-o", help="The file to write [in DIR, named after the clip].")] = None,
    focal: Annotated[float | None, typer.Option(help="Focal length, pixels [fitted or 1.2 x longer side].")] = None,
    clean: Annotated[bool, typer.Option("--clean", help="Less noise, short gaps bridged; blinks stay.")] = False,
    neutral_frame: Annotated[int | None, typer.Option(help="With --clean: row of a resting face, its 0.")] = None,
) -> None:
    """Write a track in the format of another tool."""
    from selftrack.tracker import export as exports
    from selftrack.tracker.export.options import ExportOptions
    from selftrack.tracker.results.smoothing import CleanConfig

    if neutral_frame is not None and not clean:
        raise UserError("--neutral-frame is a part of the clean-up: add --clean")
    cleaning = CleanConfig(neutral_frame=neutral_frame) if clean else None
    print(exports.export(folder, to, output, ExportOptions(focal=focal), cleaning))


def captures(
    folder: Annotated[Path, typer.Argument(help="Where the captures go; those there are kept.", metavar="DIR")],
    people: Annotated[int, typer.Option(help="How many, 12 pictures each; 2400 take 6 GB.", min=1)] = 2400,
    workers: Annotated[int, typer.Option(help="Processes.", min=1)] = 2,
    seed: Annotated[int, typer.Option(help="Of all that is random.")] = 0,
) -> None:
    """Draw synthetic captures to train from."""
    from selftrack.synthetic.captures import make_captures

    with _Bars() as bars:
        make_captures(folder, people, seed, workers, progress=partial(bars.show, "captures"))


def i2znet(
    folder: Annotated[Path | None, typer.Argument(help="Captures, of track-train captures.", metavar="DIR")] = None,
    output: Annotated[Path | None, typer.Option("-o", help="The file of weights to write.")] = None,
    decoder: Annotated[Path | None, typer.Option(help="Train for a person's own model, of track-train dam ...")] = None,
    capture: Annotated[Path | None, typer.Option(help="... on the capture that it was made from.")] = None,
    config: Annotated[str, typer.Option(help="i2znet_small, i2znet_fan or i2znet_paper.")] = "i2znet_small",
    steps: Annotated[int | None, typer.Option(help="Optimisation steps [5000, 2500 for a model].", min=1)] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    seed: Annotated[int, typer.Option(help="Of all that is random.")] = 0,
) -> None:
    """Train the heads of an I2ZNet; goes on where it was interrupted. Under torchrun on several devices."""
    from selftrack.synthetic.captures import find_captures
    from selftrack.tracker.network.i2znet import I2ZConfig
    from selftrack.training.dataset import Shards
    from selftrack.training.i2znet import TrainConfig, train

    if decoder or capture:
        if folder or not (decoder and capture):
            raise UserError("a network for a person's own model takes --decoder and --capture, and no DIR")
        print(_i2znet_of(decoder, capture, output, config, steps, device, seed))
        return
    if folder is None or output is None:
        raise UserError("a network for the bundled head takes DIR, from track-train captures, and -o")
    settings = TrainConfig(network=I2ZConfig.load(config), steps=steps or TrainConfig.steps, seed=seed)
    with _Bars() as bars:
        loading = partial(bars.show, "features")
        train(Shards(find_captures(folder)), output, settings, partial(bars.show, "training"), loading, device)
    print(output)


def _i2znet_of(
    decoder: Path, capture: Path, output: Path | None, config: str, steps: int | None, device: str, seed: int
) -> Path:
    from selftrack.decoders.capture import open_capture
    from selftrack.decoders.dam.model import Dam
    from selftrack.tracker.network.i2znet import I2ZConfig
    from selftrack.tracker.network.weights import network_beside
    from selftrack.training.i2znet_multiview import dam_training, network_config, train_on_capture

    model = Dam.load(decoder)
    settings = dam_training(network_config(model, I2ZConfig.load(config)), seed=seed)
    settings = replace(settings, steps=steps or settings.steps)
    output = output or network_beside(decoder)
    with _Bars() as bars:
        loading, training = partial(bars.show, "features"), partial(bars.show, "training")
        return train_on_capture(open_capture(capture), model, output, settings, training, loading, device)


def studio(
    folder: Annotated[Path, typer.Argument(help="Where the capture goes.", metavar="DIR")],
    seed: Annotated[int, typer.Option(help="Which virtual actor.", min=0)] = 0,
    frames: Annotated[int | None, typer.Option(help="Moments of acting [280].", min=5)] = None,
) -> None:
    """Capture a virtual actor in a synthetic light stage; its pictures are drawn when they are needed."""
    from selftrack.synthetic.lab import LabConfig, make_studio

    print(make_studio(folder, seed, LabConfig(frames=frames or LabConfig.frames)))


def dam(
    folder: Annotated[
        Path | None, typer.Argument(help="Capture: of track-train studio, or Multiface's.", metavar="CAPTURE")
    ] = None,
    from_video: Annotated[Path | None, typer.Option(help="Instead of a capture: a clip of the person.")] = None,
    output: Annotated[Path, typer.Option("-o", help="The model to write.")] = Path("dam.safetensors"),
    texture: Annotated[int, typer.Option(help="Side of the texture: 256 or 512 on the CPU, 1024.")] = 256,
    steps: Annotated[int | None, typer.Option(help="Optimisation steps [6000].", min=1)] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    workers: Annotated[int, typer.Option(help="Processes that read the capture.", min=0)] = 0,
    seed: Annotated[int, typer.Option(help="Of all that is random.")] = 0,
) -> None:
    """Train a deep appearance model of one person; goes on where it was interrupted. Under torchrun on several
    devices."""
    from selftrack.decoders.capture import open_capture
    from selftrack.decoders.dam.networks import DamConfig
    from selftrack.training.dam import DamTraining, train_dam
    from selftrack.training.place_landmarks import place_landmarks

    if (folder is None) == (from_video is None):
        raise UserError("a model is made from a CAPTURE or from a clip: --from-video CLIP")
    if from_video:
        print(f"{output}: {_dam_of_clip(from_video, output, texture, steps, device, seed)}")
        return
    capture = open_capture(folder)
    for line in capture.missing[:5]:
        print(f"missing  {line}", file=sys.stderr)
    if len(capture.missing) > 5:
        print(f"missing  and {len(capture.missing) - 5} more", file=sys.stderr)
    if capture.topology.landmarks is None:
        try:
            capture.topology = replace(capture.topology, landmarks=place_landmarks(capture))
        except ValueError as error:
            print(f"note     {error}; no network can be trained for this model", file=sys.stderr)
    settings = DamTraining(DamConfig(texture), steps or DamTraining.steps, workers=workers, seed=seed)
    with _Bars() as bars:
        errors = train_dam(capture, output, settings, partial(bars.show, "training"), device)
    print(f"{output}: {errors}")


def _dam_of_clip(clip: Path, output: Path, texture: int, steps: int | None, device: str, seed: int) -> str:
    from selftrack.decoders.dam.networks import DamConfig
    from selftrack.training.dam import DamTraining
    from selftrack.training.personal_model import model_of_clip

    settings = DamTraining(DamConfig(texture), steps or 2000, seed=seed)
    with _Bars() as bars:
        return str(model_of_clip(clip, output, settings, min(steps or 1500, 1500), bars.show, device))


class _Bars:
    """One progress bar per stage, with the time left, on stderr."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description:>9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._tasks: dict[str, int] = {}

    def __enter__(self) -> "_Bars":
        return self

    def __exit__(self, *exc: object) -> None:
        if self._tasks:
            self._progress.stop()

    def show(self, stage: str, done: int, total: int, figures: dict[str, float] | None = None) -> None:
        if stage not in self._tasks:
            self._progress.start()  # only now: an error before it is a line of its own
            self._tasks[stage] = self._progress.add_task(stage, total=total)
        label = stage + "".join(f" {name} {value:.2f}" for name, value in (figures or {}).items())
        self._progress.update(self._tasks[stage], completed=done, total=total, description=label)


def main() -> None:
    """Console script `track`."""
    run("track", track=track)


def export_main() -> None:
    """Console script `track-export`."""
    run("track-export", export=export)


def eval_main() -> None:
    """Console script `track-eval`."""
    run("track-eval", evaluate=evaluate)


def train_main() -> None:
    """Console script `track-train`."""
    run("track-train", captures=captures, i2znet=i2znet, studio=studio, dam=dam)


if __name__ == "__main__":
    main()
