"""One clip from file to results: detect -> crop -> I2ZNet -> pose -> track file, forward only."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
import yaml

from selftrack.decoders.base import Decoder, SurfacePoints
from selftrack.decoders.registry import load_decoder
from selftrack.errors import UserError
from selftrack.tracker import export
from selftrack.tracker.export.options import ExportOptions
from selftrack.tracker.geometry import crop as crops
from selftrack.tracker.geometry.crop import CropConfig, CropStabiliser
from selftrack.tracker.geometry.pose import project, to_image
from selftrack.tracker.landmarks.follower import DetectConfig, Detection, FaceFollower, FanFollower
from selftrack.tracker.network.i2znet import WEIGHTS, ClipFit, I2ZNet, load_model, network_beside, to_tensor
from selftrack.tracker.results import confidence, curves, overlay, texture, track_file
from selftrack.tracker.results.overlay import OverlayConfig
from selftrack.tracker.results.track_file import Track, hold
from selftrack.tracker.sources.video import Frame, VideoReader, count_frames, file_hash

CONFIG = "config.yaml"
ADAPTED, ADAPTATION = "adapted.safetensors", "adaptation.json"
REPORT, REPORT_DATA = "report.html", "report.json"  # of `track-eval`: those of an earlier run go with its track
OUTPUTS = (track_file.NAME, curves.NAME, overlay.NAME, CONFIG, ADAPTED, ADAPTATION, texture.NAME, REPORT, REPORT_DATA)
Progress = Callable[[str, int, int], None]
_FACE_HEIGHT = 0.24  # metres; only where no face was found: the mean head fills half of the frame's height


class Follower(Protocol):
    """A face through time, as `selftrack.tracker.landmarks.follower.FaceFollower`."""

    def __call__(self, frame: np.ndarray) -> Detection | None: ...

    def detect_once(self, frame: np.ndarray) -> Detection | None: ...

    def reset(self) -> None: ...


class LandmarkSource(NamedTuple):
    """Where landmarks come from, and the bundled network that reads them."""

    follower: Callable[[DetectConfig, str], Follower]
    points: int
    weights: Path


LANDMARKS = {
    "mediapipe": LandmarkSource(FaceFollower, 478, WEIGHTS),
    "fan": LandmarkSource(FanFollower, 68, WEIGHTS.with_name("i2znet_fan.safetensors")),
}


@dataclass(frozen=True)
class TrackConfig:
    """Settings of `track`."""

    start: float = 0.0
    """Where to begin, seconds of the clip's own time."""
    duration: float | None = None
    """How much to track, seconds; None for all."""
    landmarks: str = "mediapipe"
    """Source of the landmarks: mediapipe (478 points) or fan (68 points)."""
    identity: str = "clip"
    """clip: one identity, pooled over a sample of frames; per-frame: each frame its own, as in the paper."""
    weights: str | None = None
    """File of I2ZNet weights; None for the bundled ones."""
    decoder: str | None = None
    """File of a person's own model, beside which its network lies; None for the bundled head."""
    device: str = "auto"
    """cpu, cuda, or auto: cuda where there is one."""
    overlay: bool = True
    """Whether to write overlay.mp4."""
    look: str = "shaded"
    """Of the overlay: shaded, or textured with the clip's own texture."""
    samples: int = 24
    """Frames over which the identity is pooled."""
    batch: int = 8
    """Frames that go through the network together."""
    threads: int = 1
    """Of torch on the CPU. The bundled networks are small: more threads mostly wait for each other."""
    detect: DetectConfig = field(default_factory=DetectConfig)
    """Detection and following."""
    crop: CropConfig = field(default_factory=CropConfig)
    """The stabilised crop."""

    def __post_init__(self) -> None:
        for name, known in (
            ("landmarks", tuple(LANDMARKS)),
            ("identity", ("clip", "per-frame")),
            ("look", overlay.MODES),
        ):
            if getattr(self, name) not in known:
                raise UserError(f"{name} must be one of {', '.join(known)}; got {getattr(self, name)!r}")


@dataclass(frozen=True)
class Summary:
    """What a run did."""

    folder: Path
    frames: int
    lost: int
    fps: float
    """Frames per second from file to track.npz, models' loading included."""
    seconds: dict[str, float]
    """Time by stage."""
    notes: tuple[str, ...]
    """One line each of what the user should know."""
    exports: tuple[str, ...] = ()
    """Names of the files of further formats."""

    def __str__(self) -> str:
        """One screen for the user."""
        stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in self.seconds.items())
        lines = [
            f"frames   {self.frames}, lost {self.lost}",
            f"speed    {self.fps:.1f} frames/s from file to {track_file.NAME}",
            f"seconds  {stages}",
            f"results  {self.folder}: {', '.join(n for n in OUTPUTS + self.exports if (self.folder / n).exists())}",
            *(f"note     {note}" for note in self.notes),
        ]
        return "\n".join(lines)


@dataclass(frozen=True)
class Models:
    """The two networks of a run."""

    follower: Follower
    network: I2ZNet
    device: str
    decoder: Decoder = field(default_factory=load_decoder)


class Stopwatch:
    """Adds up wall time by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - began

    def waiting(self, stage: str, items: Iterable[Frame]) -> Iterator[Frame]:
        """`items`, the waits between them timed."""
        iterator = iter(items)
        while True:
            with self(stage):
                item = next(iterator, None)
            if item is None:
                return
            yield item


def weights_of(config: TrackConfig) -> Path:
    """The file of the network's weights: the one that is named, else the decoder's or the bundled one."""
    if config.weights is None and config.decoder is not None:
        return network_beside(Path(config.decoder))
    return Path(config.weights or LANDMARKS[config.landmarks].weights)


def load_models(config: TrackConfig) -> Models:
    """The landmark source and the network that the settings name, on their device.

    Raises:
        ValueError: no such device, a weights file that is none, or a network for other landmarks.
    """
    device = config.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device not in ("cpu", "cuda"):
        raise UserError(f"device must be cpu, cuda or auto; got {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device cuda was asked for, but this torch finds none; use --device cpu")
    if device == "cuda":
        torch.backends.cudnn.allow_tf32 = False  # convolutions in ten bits would move the landmarks
    source, weights, decoder = LANDMARKS[config.landmarks], weights_of(config), load_decoder(config.decoder)
    try:
        network = load_model(weights, device)
    except RuntimeError as error:
        raise UserError(f"{weights}: weights of another version of the network; train them again") from error
    if network.config.coordinates and network.config.points != source.points:
        raise UserError(
            f"{weights}: reads {network.config.points} landmarks, but {config.landmarks} gives {source.points}; "
            "train a network for them with track-train i2znet and name it with --weights"
        )
    if network.config.decoder != (decoder.hash if config.decoder else ""):
        raise UserError(
            f"{weights}: speaks to another decoder than {config.decoder or 'the bundled head'}; train a network for it "
            "with track-train i2znet --decoder, or name its own decoder with --decoder"
        )
    return Models(source.follower(config.detect, device), network, device, decoder)


def track_video(
    path: Path,
    folder: Path,
    config: TrackConfig | None = None,
    overwrite: bool = False,
    progress: Progress = lambda stage, done, total: None,
    models: Models | None = None,
    finish: Callable[[Track, Path], None] | None = None,
    exports: Sequence[str] = (),
) -> Summary:
    """Track a clip and write `track.npz`, `curves.csv`, `config.yaml` and `overlay.mp4` into a folder.

    The folder gets the files when all of them are complete, and none of them after an error.

    Args:
        overwrite: replace the results of an earlier run.
        progress: called as progress(stage, done, total) with total in frames.
        models: loaded by `load_models` unless given.
        finish: writes further files of `OUTPUTS` into the folder that it is given, from the track.
        exports: names of formats of `selftrack.tracker.export` to write there too.

    Raises:
        VideoError: the clip cannot be read.
        ValueError: settings that do not hold, an unknown format, or results are there and `overwrite` is not set.
        OSError: the folder cannot be written.
    """
    path, folder, config = Path(path), Path(folder), config or TrackConfig()
    names = {to: export.default_path(path, to, folder).name for to in export.known(exports)}
    refuse_earlier(folder, overwrite, names.values())
    with (
        VideoReader(path, config.start, config.duration) as reader,
        _results(folder, config.weights, tuple(names.values())) as results,
        _threads(config.threads),
    ):
        began, watch = time.perf_counter(), Stopwatch()
        with watch("load"):
            models = models or load_models(config)
            export.require(names, models.decoder)
        clip_hash = file_hash(path)
        with watch("identity"):
            models, fit, notes = _for_clip(path, clip_hash, models, config, progress)
            person = None
            if config.identity == "clip":
                person = fit.person.numpy() if fit else pool_person(path, models, config, progress)
        rows = _stream(reader, models, person, config, watch, progress)
        track = _assemble(rows, path, clip_hash, fit.inverse_distance if fit else 0.0, reader, config, models.decoder)
        if fit and fit.windows:
            fit = models.network.fit = _calibrated(fit, track)
        track = replace(track, confidence=confidence.confidence(track, fit.log_odds if fit else 0.0))
        with watch("write"):
            track.save(results)
        fps = len(track) / (time.perf_counter() - began)
        with watch("write"):
            curves.write_curves(track, results)
            (results / CONFIG).write_text(yaml.safe_dump(asdict(config), sort_keys=False))
        if config.overlay:
            with watch("overlay"):
                overlay.write_overlay(track, results, OverlayConfig(mode=config.look), partial(progress, "overlay"))
        if finish:
            finish(track, results)
        for to, name in names.items():
            with watch("export"):
                export.write(track, to, results / name, ExportOptions(folder=results))
        lost = int((~track.ok).sum())
        notes += [reader.warning] if reader.warning else []
        if lost == len(track):
            notes.append(f"{path}: no face was found in any frame")
        return Summary(folder, len(track), lost, fps, watch.seconds, tuple(notes), tuple(names.values()))


def _for_clip(
    path: Path, clip_hash: str, models: Models, config: TrackConfig, progress: Progress
) -> tuple[Models, ClipFit | None, list[str]]:
    """The models to use, what they know of this clip and notes for the user. Weights adapted on another clip are used
    if they fit this one no worse than those they were adapted from."""
    fit = models.network.fit
    if fit is None or (fit.clip_hash, fit.face) == (clip_hash, config.detect.face):
        return models, fit, []
    if _fits(path, models, config, progress):
        return models, None, []
    note = f"{config.weights}: fits this clip worse than the weights it was adapted from; they were used"
    return replace(models, network=models.network.unadapted()), None, [note]


def _calibrated(fit: ClipFit, track: Track) -> ClipFit:
    """With the level of the confidence that its windows tell; they are of this run's frames, so they serve once."""
    log_odds = np.float32(confidence.clip_shift(track, fit.windows))  # in the precision of the file
    return replace(fit, log_odds=float(log_odds), windows=())


def refuse_earlier(folder: Path, overwrite: bool, exports: Iterable[str] = ()) -> None:
    """Raises ValueError where the folder has results, or files of these names, that may not be replaced."""
    if not overwrite and any((Path(folder) / name).exists() for name in (track_file.NAME, *exports)):
        raise UserError(f"{folder}: has the results of an earlier run; replace them with --overwrite")


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let torch use that many threads, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _results(folder: Path, weights: str | None, exports: tuple[str, ...] = ()) -> Iterator[Path]:
    """A folder to work in, whose files move to `folder` when the context is left without an error.

    What an earlier run left there goes, but not the file of weights that is in use and no exports, whose names are
    the clip's and may be the user's own."""
    folder, keep = folder.absolute(), Path(weights).resolve() if weights else None
    parent = next(p for p in (folder, *folder.parents) if p.exists())
    try:
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=parent))
    except OSError as error:
        raise UserError(f"{folder}: cannot write there ({error.strerror or error})") from error
    try:
        fresh = work / "results"
        fresh.mkdir()
        yield fresh
        folder.mkdir(parents=True, exist_ok=True)
        for name in OUTPUTS:
            if (fresh / name).exists():
                (fresh / name).replace(folder / name)
            elif (folder / name).resolve() != keep:
                (folder / name).unlink(missing_ok=True)  # of an earlier run, with other settings
        for name in exports:
            (fresh / name).replace(folder / name)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def pool_person(path: Path, models: Models, config: TrackConfig, progress: Progress) -> np.ndarray | None:
    """The clip's person (112,), see `I2ZNet.person`, from frames spread evenly over the window, or None."""
    pictures, points = _sample(path, models, config, progress)
    return _person(models, pictures, points) if pictures else None


def _sample(
    path: Path, models: Models, config: TrackConfig, progress: Progress
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Crops (256,256,3) and their points (L,2) of frames with a face, spread evenly over the window."""
    count = count_frames(path, config.start, config.duration)
    rows = np.unique(np.linspace(0, count - 1, config.samples + 2)[1:-1].round().astype(int))
    pictures, points = [], []
    with VideoReader(path, config.start, config.duration, only=set(rows.tolist())) as reader:
        for done, frame in enumerate(reader):
            found = models.follower.detect_once(frame.image)
            if found is not None:
                transform = crops.face_similarity(found.points)
                pictures.append(crops.warp(frame.image, transform))
                points.append(crops.apply(transform, found.points))
            progress("identity", done + 1, len(rows))
    return pictures, points


@torch.no_grad()
def _fits(path: Path, models: Models, config: TrackConfig, progress: Progress) -> bool:
    """Whether weights adapted to another clip bring the mesh no farther from the detected points of this one."""
    pictures, points = _sample(path, models, config, progress)
    if not pictures:
        return True
    images, seen = _tensors(models, pictures, points)
    person = torch.from_numpy(_person(models, pictures, points)).to(models.device)
    landmarks = SurfacePoints.landmarks(models.decoder.copy_to(models.device), seen.shape[1])

    def distance(network: I2ZNet) -> float:
        said = network(images, seen, person)
        placed = project(landmarks(said.z), said.pose)[..., :2]
        return float((placed - seen).norm(dim=2).mean())

    return distance(models.network) <= distance(models.network.unadapted())


def _person(models: Models, pictures: list[np.ndarray], points: list[np.ndarray]) -> np.ndarray:
    """By the un-adapted network: adaptation trains no other person's identity."""
    return models.network.unadapted().person(*_tensors(models, pictures, points)).cpu().numpy()


def _tensors(models: Models, pictures: list[np.ndarray], points: list[np.ndarray]) -> tuple:
    """Crops (B,256,256,3) and their points (B,L,2) as the network takes them."""
    images = to_tensor(torch.from_numpy(np.stack(pictures)).to(models.device))
    return images, torch.from_numpy(np.stack(points)).float().to(models.device)


@dataclass
class _Row:
    """One frame's results; what is None is lost."""

    time: float
    found: Detection | None = None
    transform: np.ndarray | None = None  # (2,3) image -> crop
    picture: np.ndarray | None = None  # (256,256,3), dropped once encoded
    sharpness: float = 0.0  # of the picture
    z: np.ndarray | None = None
    H: np.ndarray | None = None


def _stream(
    reader: VideoReader,
    models: Models,
    person: np.ndarray | None,
    config: TrackConfig,
    watch: Stopwatch,
    progress: Progress,
) -> list[_Row]:
    """The streaming pass: every frame once, in batches through the network."""
    total = count_frames(reader.path, config.start, config.duration)
    stabiliser, rows, pending = CropStabiliser(config.crop), [], []
    for frame in watch.waiting("decode", reader):
        row = _Row(frame.time)
        with watch("detect"):
            row.found = models.follower(frame.image)
        with watch("crop"):
            if row.found is None:
                stabiliser.reset()
            else:
                row.transform = stabiliser(row.found.points, frame.time)
                row.picture = crops.warp(frame.image, row.transform)
                row.sharpness = confidence.sharpness(row.picture)
                pending.append(row)
        rows.append(row)
        if len(pending) == config.batch:
            with watch("network"):
                person = _encode(models, pending, person, config)
            pending = []
        progress("track", len(rows), max(total, len(rows)))
    if pending:
        with watch("network"):
            _encode(models, pending, person, config)
    return rows


def _encode(models: Models, rows: list[_Row], person: np.ndarray | None, config: TrackConfig) -> np.ndarray | None:
    """Fill z and H of rows that have a crop; returns the person, taken from them if there is none yet."""
    pictures = [row.picture for row in rows]
    points = [crops.apply(row.transform, row.found.points) for row in rows]
    if person is None and config.identity == "clip":
        person = _person(models, pictures, points)
    given = None if person is None else torch.from_numpy(person).to(models.device)
    with torch.no_grad():
        codes = models.network(*_tensors(models, pictures, points), given)
    for row, z, pose in zip(rows, codes.z.cpu().numpy(), codes.pose.cpu().numpy(), strict=True):
        row.z, row.H, row.picture = z, pose, None
    return person


def _assemble(
    rows: list[_Row],
    path: Path,
    clip_hash: str,
    inverse_distance: float,
    reader: VideoReader,
    config: TrackConfig,
    head: Decoder,
) -> Track:
    """The track of all rows, its confidence still 0; lost ones hold the last good values."""
    info = reader.info
    ok = np.array([row.z is not None for row in rows])
    side = crops.CROP_SIZE

    def held(name: str, fallback: np.ndarray) -> np.ndarray:
        values = [fallback if getattr(row, name) is None else getattr(row, name) for row in rows]
        return hold(np.stack(values).astype(np.float32), ok, fallback)

    # where no face was found: the mean head in the middle of the frame, half as high as it
    scale = 2 * side / max(info.height, 1) / 2
    centre = np.array([(info.width - 1) / 2, (info.height - 1) / 2])
    eye = np.concatenate([np.eye(2) * scale, ((side - 1) / 2 - scale * centre)[:, None]], axis=1)
    middle = np.array([np.log(0.5 * side / _FACE_HEIGHT), 0, 0, 0, (side - 1) / 2, (side - 1) / 2])
    z, pose, transform = held("z", np.zeros(head.size)), held("H", middle), held("transform", eye)
    lost = np.full((LANDMARKS[config.landmarks].points, 2), np.nan, np.float32)
    return Track(
        times=np.array([row.time for row in rows]),
        ok=ok,
        confidence=np.zeros(len(rows), np.float32),
        presence=np.array([row.found.confidence if row.found else 0.0 for row in rows], np.float32),
        sharpness=np.array([row.sharpness for row in rows], np.float32),
        z=z,
        H=pose,
        crop=transform,
        H_image=to_image(torch.from_numpy(pose), torch.from_numpy(transform)).numpy(),
        landmarks=np.stack([row.found.points if row.found else lost for row in rows]).astype(np.float32),
        identity=(z[ok] if ok.any() else z)[:, head.identity].mean(axis=0),
        inverse_distance=inverse_distance,
        size=(info.width, info.height),
        clip=str(path.resolve()),
        clip_hash=clip_hash,
        decoder=head.name,
        decoder_hash=head.hash,
        config=json.dumps(asdict(config)),
    )
