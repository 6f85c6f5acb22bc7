"""One face through one clip or stream: detect -> steady crop -> network -> pose in the image, frame by frame."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.errors import UserError
from selftrack.tracker.frame_result import FrameResult
from selftrack.tracker.geometry import crop as crops
from selftrack.tracker.geometry.crop import CropConfig, CropStabiliser
from selftrack.tracker.geometry.pose import through, to_image
from selftrack.tracker.landmarks.base import Detection, Places
from selftrack.tracker.landmarks.search import DetectConfig
from selftrack.tracker.model import Crops, Model
from selftrack.tracker.network.i2znet import Codes
from selftrack.tracker.network.pool import SubjectPool
from selftrack.tracker.refinement.flow import View
from selftrack.tracker.refinement.observation import Refined
from selftrack.tracker.refinement.refiner import LEAST_SECONDS
from selftrack.tracker.refinement.sequence import Refinement
from selftrack.tracker.refinement.subject import EVERY, Person, PersonFit, Subject
from selftrack.tracker.results.confidence import StreamConfidence, sharpness
from selftrack.tracker.results.regions import PARTS, Hold, region_confidence, shares
from selftrack.tracker.results.track_file import Track, hold, resting
from selftrack.tracker.rows import MemoryRows, Rows
from selftrack.tracker.sources.base import Frame, FrameSource
from selftrack.tracker.sources.prefetch import prefetch
from selftrack.tracker.stopwatch import Stopwatch

_FACE_HEIGHT = 0.24  # metres; only where no face was found: the mean head fills half of the frame's height


@dataclass(frozen=True)
class TrackerConfig:
    """Settings of a tracker."""

    identity: str = "clip"
    """clip: one identity for all frames; per-frame: each frame its own, as in the paper."""
    detect: DetectConfig = field(default_factory=DetectConfig)
    """Detection and following."""
    crop: CropConfig = field(default_factory=CropConfig)
    """The stabilised crop."""

    def __post_init__(self) -> None:
        if self.identity not in ("clip", "per-frame"):
            raise UserError(f"identity must be one of clip, per-frame; got {self.identity!r}")


class _Values(NamedTuple):
    """What is held through lost frames."""

    z: np.ndarray
    H: np.ndarray
    H_image: np.ndarray
    crop: np.ndarray


class _Located(NamedTuple):
    """A frame whose face has been searched for, and cropped."""

    number: int
    time: float
    found: Detection | None
    crop: _Crop | None


class _Crop(NamedTuple):
    """A face's steady crop."""

    picture: np.ndarray
    """(256,256,3) uint8 RGB."""
    view: View
    """What the skin is followed in."""
    sharp: float


class Tracker:
    """Follows one face through the frames of one clip or stream. Causal: no frame depends on a later one.

    All state is its own; any number of trackers may share a model.
    """

    def __init__(
        self,
        model: Model,
        config: TrackerConfig | None = None,
        subject: Subject | None = None,
        places: Places | None = None,
        person: Person | None = None,
        rows: Rows | None = None,
    ) -> None:
        """Begin with no frame.

        Args:
            model: what tracks.
            config: how.
            subject: who is seen, see `Model.subject`; without it the one that an adaptation found, or the one that the
                frames show as they come.
            places: those of the face in a clip with several, see `find_cast`.
            person: without a subject, the face and its rest where they are known, as from another clip.
            rows: what keeps the results for `finish`; by default all are kept in memory.
        """
        self.model, self.config = model, config or TrackerConfig()
        fit = model.fit
        self._adapted = subject is None and fit is not None and self.config.identity == "clip"
        if fit is not None and self._adapted:
            subject = fit.subject
        self._subject = subject
        self._inverse_distance = subject.inverse_distance if subject else 0.0
        self._known = subject.identity.cpu() if subject else None
        rest = subject.rest.numpy() if subject and model.refiner else np.zeros(len(ARKIT_NAMES), np.float32)
        if subject is None and person is not None:
            self._known, rest = torch.from_numpy(person.identity).float(), person.rest.astype(np.float32)
        self._pool = SubjectPool(model.unadapted().network)
        self._refiner = model.refiner
        self._keys = fit.keys if fit is not None and self._adapted else None
        if self._refiner is not None and fit is not None and self._adapted:
            if fit.trained:
                self._refiner = self._refiner.adapted()
            elif self._keys is not None:
                self._refiner = self._refiner.keyed()
        self._person: PersonFit | None = None
        self._person_time = -np.inf
        self._follower = model.landmarks.follower(self.config.detect, places)
        self._stabiliser = CropStabiliser(self.config.crop)
        self._held: _Values | None = None
        self._confidence = StreamConfidence(
            model.decoder, model.landmarks.points, self._inverse_distance, fit.log_odds if fit else 0.0
        )
        self._rows = MemoryRows() if rows is None else rows
        self._size: tuple[int, int] | None = None
        self._count, self._last = 0, -np.inf
        self.watch = Stopwatch()
        self._said = np.zeros(0, np.float32)
        self._rests: list[tuple[int, np.ndarray]] = []
        self.rest_on(rest)

    @property
    def rest(self) -> np.ndarray:
        """The curves (52,) float32 of the person's face at rest, on top of which those of the next frame will be."""
        return self._rest

    @property
    def said(self) -> np.ndarray:
        """The curves (52,) that the network alone reads from the last frame with a face, whatever the rest is; (0,)
        before there was one, and of a face model that is not refined."""
        return self._said

    def rest_on(self, rest: np.ndarray, said: np.ndarray | None = None) -> None:
        """From the next frame on take these curves (52,) for the person's face at rest: tracked curves are on top.

        `finish` puts the frames before on top of the last rest, too.

        Args:
            rest: (52,) of the person.
            said: (52,) what the network alone reads from the face at rest, which is taken from what it reads later:
                else it goes on saying what is in the rest by now.

        Raises:
            ValueError: the face model has no rest of its own, and the rest is not all 0.
        """
        self._rest = rest.astype(np.float32)
        self._said_at_rest = np.zeros(len(ARKIT_NAMES), np.float32) if said is None else said.astype(np.float32)
        self._decoder = resting(self.model.decoder, self._rest)
        refiner = self._refiner
        if refiner is not None:
            refiner = refiner.resting(self._rest).through(self._inverse_distance)
        self._refinement = Refinement(refiner, self._keys) if refiner else None
        self._hold = Hold() if self.model.decoder.expression_names == ARKIT_NAMES else None
        self._confidence.rest_on(self._decoder)
        if self._person is not None:
            self._person.rest_on(self._rest.astype(float))
        self._rests.append((self._count, self._rest))

    def use(self, model: Model, rest: np.ndarray) -> None:
        """From the next frame on track by another network, which was adapted from that of the present model.

        Args:
            model: the present one with the other network, without its clip's person.
            rest: the curves (52,) on top of which are those that the network says.
        """
        self.model = model
        self._said_at_rest = self._rest - rest.astype(np.float32)

    def __call__(self, frame: Frame | np.ndarray, time: float | None = None) -> FrameResult:
        """Track the next frame.

        Args:
            frame: a source's frame, or a picture (H,W,3) uint8 RGB.
            time: seconds, not less than before; by default the frame's own, or for pictures thirty a second.

        Raises:
            ValueError: a picture of another kind, or of another size than the first; a time before the last one.
        """
        return self._encode_located(self._locate(frame, time))

    def stream(self, frames: Iterable[Frame | np.ndarray]) -> Iterator[FrameResult]:
        """Track frames that need not be waited for, such as those of a file, one after the other.

        The results are those of a call for each, but the next faces are located and cropped in a thread while one is
        encoded. Raises as a call does; the tracker is for no other frames meanwhile.
        """
        for (result,) in self.stream_together([self], frames):
            yield result

    @staticmethod
    def stream_together(
        trackers: Sequence[Tracker], frames: Iterable[Frame | np.ndarray]
    ) -> Iterator[tuple[FrameResult, ...]]:
        """Track several faces of the same frames, each by a tracker of its own, in one pass.

        The results, in the order of the trackers, are those of `stream` for each of them.
        """
        located = ([tracker._locate(frame) for tracker in trackers] for frame in frames)
        for faces in prefetch(located, depth=2):
            yield tuple(tracker._encode_located(face) for tracker, face in zip(trackers, faces, strict=True))

    def finish(self, source: FrameSource | None = None, config: Any = None) -> Track:
        """Return the track of all frames so far. Frames lost before the first good one take that one's values.

        `source` is what the frames are from, to be read again for an overlay, with its settings in `config`.

        Raises:
            UserError: there was no frame.
        """
        if not len(self._rows):
            raise UserError("a track needs at least one frame; none was given")
        columns, model = self._rows.columns(), self.model
        ok = columns["ok"].astype(bool)

        def held(name: str) -> np.ndarray:
            return hold(columns[name], ok, columns[name][0])

        window: dict[str, Any] = {}
        if source:
            window = {name: getattr(source.window, name) for name in ("start", "duration")}
            window |= {"fps": source.fps, "stream": source.stream}
        z = self._on_last_rest(held("z"))
        with torch.no_grad():
            curves = model.decoder.curves(torch.from_numpy(z).to(model.device)).cpu().numpy()
        return Track(
            times=np.array(columns["time"]),
            ok=ok,
            confidence=columns["confidence"],
            presence=columns["presence"],
            sharpness=columns["sharpness"],
            z=z,
            H=held("H"),
            crop=held("crop"),
            H_image=held("H_image"),
            landmarks=columns["landmarks"],
            visible=columns["visible"],
            curve_values=curves,
            curve_names=tuple(model.decoder.curve_names),
            identity=(z[ok] if ok.any() else z)[:, model.decoder.identity].mean(axis=0),
            rest=self._rest,
            inverse_distance=self._inverse_distance,
            size=self._size or (0, 0),
            clip=_place(source) if source else "",
            clip_hash=source.fingerprint() if source else "",
            decoder=model.decoder.name,
            decoder_hash=model.decoder.hash,
            decoder_path=str(model.decoder_path or ""),
            config=json.dumps(window | asdict(config or self.config)),
            timecode=source.info.timecode if source else "",
            timecode_rate=float(source.info.rate) if source else 0.0,
        )

    def _on_last_rest(self, z: np.ndarray) -> np.ndarray:
        """Codes (T,Z) of which those before the last change of rest show the same faces on top of that rest."""
        if len(self._rests) < 2:
            return z
        since = np.searchsorted([first for first, _ in self._rests], np.arange(len(z)), side="right") - 1
        moved = np.stack([rest for _, rest in self._rests])[since] - self._rest
        expression = self.model.decoder.expression
        before = moved.any(axis=1)
        z[before, expression] = (z[before, expression] + moved[before]).clip(0, 1)
        return z

    def _locate(self, frame: Frame | np.ndarray, time: float | None = None) -> _Located:
        """Find the face in the next frame, and crop it."""
        if isinstance(frame, Frame):
            image, time = frame.image, frame.time if time is None else time
        else:
            image, time = np.asarray(frame), self._count / 30 if time is None else time
        self._check(image, time)
        with self.watch("detect"):
            found = self._follower(image, time)
        with self.watch("crop"):
            located = _Located(self._count, time, found, self._crop(image, found, time))
        self._count, self._last = self._count + 1, time
        return located

    def _check(self, image: np.ndarray, time: float) -> None:
        """Refuse what cannot be the next frame."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"expected a frame (H,W,3) uint8 RGB, got {image.shape} {image.dtype}")
        width, height = size = (image.shape[1], image.shape[0])
        if self._size is not None and size != self._size:
            raise ValueError(f"a frame of {width}x{height} after frames of {self._size[0]}x{self._size[1]}")
        if time < self._last:
            raise ValueError(f"a frame at {time} s comes after one at {self._last} s")
        self._size = size

    def _crop(self, image: np.ndarray, found: Detection | None, time: float) -> _Crop | None:
        """The steady crop around a face."""
        if found is None:
            self._stabiliser.reset()
            return None
        transform = self._stabiliser(found.points, time)
        picture = crops.warp(image, transform)
        return _Crop(picture, View.of(picture, transform, found.points), sharpness(picture))

    def _encode_located(self, located: _Located) -> FrameResult:
        """Encode the face of a frame, and keep the result."""
        index, time, found, crop = located
        landmarks = np.full((self.model.landmarks.points, 2), np.nan, np.float32)
        presence, sharp, visible = 0.0, 0.0, np.zeros(len(PARTS), np.float32)
        if found is not None and crop is not None:
            landmarks, presence, sharp = found.points.astype(np.float32), found.confidence, crop.sharp
            visible = shares(found.visible)
            with self.watch("network"):
                codes = self._regress(crop.picture, found.points, crop.view.transform)
            with self.watch("refine"):
                self._held = self._place(codes, found.points, crop.view, time, visible)
        elif self._refinement is not None:
            self._refinement.reset()
        values = self._held or self._nowhere()
        ok = found is not None
        confidence = self._confidence(time, presence, sharp, landmarks, values.z, values.H_image, ok)
        result = FrameResult(
            index=index,
            time=time,
            ok=ok,
            confidence=confidence,
            presence=presence,
            sharpness=sharp,
            landmarks=landmarks,
            curves=self._curves(values.z),
            visible=visible,
            regions=_region_confidence(visible, confidence, ok),
            decoder=self._decoder,
            inverse_distance=self._inverse_distance,
            **values._asdict(),
        )
        self._rows.append(result)
        return result

    @torch.no_grad()
    def _regress(self, picture: np.ndarray, points: np.ndarray, transform: np.ndarray) -> Codes:
        """What the network says of a crop."""
        faces = Crops(picture[None], crops.apply(transform, points)[None])
        base, network = self.model.unadapted().network, self.model.network
        features = self.model.features(network, faces)
        subject = self._subject.network.to(self.model.device) if self._subject is not None else None
        if subject is None and self.config.identity == "clip":  # adaptation trains no other person's identity
            subject = self._pool(features if base is network else self.model.features(base, faces))
        return network.heads.regress(features, None if subject is None else subject[None])

    @torch.no_grad()
    def _place(self, codes: Codes, points: np.ndarray, view: View, time: float, visible: np.ndarray) -> _Values:
        """Code and pose of a face: what the network says, corrected by the points and the skin; of hidden regions, what
        was seen of them last."""
        decoder, crop = self.model.decoder, torch.from_numpy(view.transform[None].astype(np.float32))
        z, pose = codes.z[0].cpu().clone(), to_image(codes.pose.cpu(), crop)
        if self._known is not None:
            z[decoder.identity] = self._known
        if self._refinement is not None:
            self._said = z[decoder.expression].numpy().copy()
            above = (self._said - self._said_at_rest).clip(0) if self._said_at_rest.any() else self._said
            said = Refined.of(above, pose[0].numpy())
            z[decoder.identity] = self._identity(z[decoder.identity], time)
            found = self._refinement(points, said, z[decoder.identity].double().numpy(), time, view)
            if self._person is not None and time >= self._person_time + EVERY - LEAST_SECONDS:
                self._person.add(points.astype(float), said, found)
                self._person_time = time
            z[decoder.expression] = torch.from_numpy(found.curves).to(z)
            pose = torch.from_numpy(found.pose)[None].to(pose)
        if self._hold is not None:
            z[decoder.expression] = torch.from_numpy(self._hold(z[decoder.expression].numpy(), visible, time)).to(z)
        inside = through(pose, crop)
        return _Values(z.numpy(), inside[0].numpy(), pose[0].numpy(), crop[0].numpy())

    def _identity(self, network: Tensor, time: float) -> Tensor:
        """The identity (K,) of the face: the subject's; else by the points of the frames so far, near what the network
        says; or per frame the network's."""
        if self._known is not None or self.config.identity != "clip" or self.model.refiner is None:
            return network
        said = network.double().numpy()
        if self._person is None:
            self._person = PersonFit(self.model.refiner, Person(said, self._rest.astype(float), 0.0))
        return torch.from_numpy(self._person.solve(said).identity).to(network)

    @torch.no_grad()
    def _curves(self, z: np.ndarray) -> dict[str, float]:
        decoder = self.model.decoder
        values = decoder.curves(torch.from_numpy(z[None]).to(self.model.device))[0].tolist()
        return dict(zip(decoder.curve_names, values, strict=True))

    def _nowhere(self) -> _Values:
        """Before any face was found: the mean head in the middle of the frame, half as high as it."""
        width, height = self._size or (1, 1)
        side = crops.CROP_SIZE
        scale = side / max(height, 1)
        centre = np.array([(width - 1) / 2, (height - 1) / 2])
        crop = np.concatenate([np.eye(2) * scale, ((side - 1) / 2 - scale * centre)[:, None]], axis=1)
        pose = np.array([np.log(0.5 * side / _FACE_HEIGHT), 0, 0, 0, (side - 1) / 2, (side - 1) / 2], np.float32)
        crop = crop.astype(np.float32)
        in_image = to_image(torch.from_numpy(pose[None]), torch.from_numpy(crop[None]))[0].numpy()
        return _Values(np.zeros(self.model.decoder.size, np.float32), pose, in_image, crop)


def _region_confidence(visible: np.ndarray, confidence: float, ok: bool) -> dict[str, float]:
    told = region_confidence(visible[None], np.array([confidence]), np.array([ok]))
    return {region: float(values[0]) for region, values in told.items()}


def _place(source: FrameSource) -> str:
    """Where the frames are to be found again."""
    return str(source.info.path.resolve()) if source.info.path else source.info.name
