"""What tracks: a network, the decoder of its codes and a landmark source on a device, loaded once and shared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from selftrack.decoders.base import Decoder, SurfacePoints
from selftrack.decoders.landmarks import mirrored_points
from selftrack.decoders.registry import load_decoder
from selftrack.errors import UserError
from selftrack.tracker.geometry import crop as crops
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.landmarks import detectors as _built_in  # noqa: F401  registers them
from selftrack.tracker.landmarks.base import LandmarkSource, landmark_source, load_landmarks
from selftrack.tracker.network.i2znet import Features, Heads, I2ZNet, to_tensor
from selftrack.tracker.network.weights import BUNDLED, ClipFit, load_weights, network_beside, save_adapted
from selftrack.tracker.refinement.refiner import Refiner
from selftrack.tracker.refinement.subject import Person, Subject, find_subject, shows_rest


@dataclass(frozen=True)
class Crops:
    """Faces as the network sees them."""

    pictures: np.ndarray
    """(N,256,256,3) uint8 RGB."""
    points: np.ndarray
    """(N,L,2) landmarks, crop frame."""

    def __len__(self) -> int:
        return len(self.pictures)

    def mirrored(self) -> Crops:
        """Return what a mirror shows of them."""
        points = self.points[:, list(mirrored_points(self.points.shape[1]))] * [-1, 1] + [crops.CROP_SIZE - 1, 0]
        return Crops(np.ascontiguousarray(self.pictures[:, :, ::-1]), points)

    @classmethod
    def of(cls, faces: Sequence[tuple[np.ndarray, np.ndarray]]) -> Crops:
        """Put together what `crop.face_crop` makes of single faces."""
        if not faces:
            return cls(np.zeros((0, crops.CROP_SIZE, crops.CROP_SIZE, 3), np.uint8), np.zeros((0, 0, 2)))
        pictures, points = zip(*faces, strict=True)
        return cls(np.stack(pictures), np.stack(points))


@dataclass(frozen=True)
class Model:
    """A tracker without memory: nothing here changes, so trackers in several threads may share it.

    `adapt` returns a new model and leaves the old one as it was.
    """

    network: I2ZNet
    """In evaluation mode, without gradients."""
    decoder: Decoder
    """What the network's codes mean."""
    landmarks: LandmarkSource
    """The detector whose points the network reads."""
    device: torch.device
    weights: Path
    """The file that the network is from; of an adapted model, the one that it was adapted from."""
    decoder_path: Path | None = None
    """The file that the decoder is from; None: the bundled head."""
    fit: ClipFit | None = None
    """What an adaptation found out about its clip."""
    base: Model | None = None
    """Of an adapted model, the one that it was adapted from."""
    refiner: Refiner | None = None
    """What reads curves and pose from the detected points again; None for a decoder that has no ARKit shapes."""

    @classmethod
    def load(
        cls,
        weights: Path | str | None = None,
        decoder: Path | str | None = None,
        landmarks: str = "mediapipe",
        device: str = "auto",
        streams: Path | str | None = None,
    ) -> Model:
        """Load a model.

        Args:
            weights: file of I2ZNet weights, by training or by an adaptation; by default the one beside `decoder`, or
                the bundled one for the landmarks.
            decoder: file of a decoder, such as a personal model; by default the bundled head.
            landmarks: name of a landmark source, see `landmarks.base.LANDMARK_SOURCES`.
            device: cpu, cuda, or auto: cuda where there is one.
            streams: file of `track-train streams`, for weights whose network reads VGG-16 or FAN's heatmaps.

        Raises:
            UserError: no such device, file or landmark source; or weights for another decoder, other landmarks or other
                streams.
        """
        place = choose_device(device)
        points = landmark_source(landmarks).points
        face = load_decoder(decoder).to(place).requires_grad_(False).eval()
        if weights is None:
            weights = network_beside(Path(decoder)) if decoder else BUNDLED[points]
        path = Path(weights)
        network, before, fit = load_weights(path, place, Path(streams) if streams else None)
        if network.config.coordinates and network.config.points != points:
            raise UserError(
                f"{path}: reads {network.config.points} landmarks, but {landmarks} gives {points}; train a "
                "network for them with track-train i2znet and name it with --weights"
            )
        if network.config.decoder != face.hash:
            raise UserError(
                f"{path}: gives codes of another decoder than {decoder or 'the bundled head'}; train a network for it "
                "with track-train i2znet --decoder, or name its own decoder with --decoder"
            )
        source = load_landmarks(landmarks, place)  # last, since it may have to be downloaded
        named = Path(decoder).resolve() if decoder else None
        model = cls(network, face, source, place, path, named, refiner=Refiner.of(face, points))
        if before is None:
            return model
        return replace(model, fit=fit, base=replace(model, network=before))

    def unadapted(self) -> Model:
        """Return the model as it was before its adaptation; itself where there was none."""
        return self.base or self

    def elsewhere(self) -> Model:
        """Return the model for another clip than the one it was adapted to: its heads, without that clip's subject and
        camera."""
        return replace(self, fit=None)

    def adapted(self, heads: Heads, fit: ClipFit) -> Model:
        """Return a new model with other heads, rounded to the precision of a file, so that tracking with the file
        gives the same."""
        heads.load_state_dict({k: v.half().float() for k, v in heads.state_dict().items()})
        network = self.network.with_heads(heads.requires_grad_(False).eval())
        return replace(self, network=network, fit=fit, base=self.unadapted())

    def save(self, path: Path) -> Path:
        """Write what the adaptation changed. Raises ValueError of a model that was not adapted to a clip."""
        if self.base is None or self.fit is None:
            raise ValueError("expected an adapted model; one as it was loaded has its weights in a file already")
        return save_adapted(path, self.network.heads, self.base.weights, self.fit, self.network.config)

    def tensors(self, faces: Crops) -> tuple[Tensor | None, Tensor]:
        """Crops as the network takes them: pictures (N,3,256,256) in 0..1, None where it does not look at them, and
        landmarks (N,L,2)."""
        pictures = to_tensor(torch.from_numpy(faces.pictures).to(self.device)) if self.network.looks else None
        return pictures, torch.from_numpy(faces.points).float().to(self.device)

    def features(self, network: I2ZNet, faces: Crops) -> Features:
        """What a network, this one or the one before it, reads from crops."""
        return network.features(*self.tensors(faces))

    @torch.no_grad()
    def subject(self, faces: Crops, neutral: np.ndarray | None = None, known: Person | None = None) -> Subject:
        """The subject of crops of one person.

        By the un-adapted network: adaptation trains no other person's identity.

        Args:
            faces: the crops.
            neutral: (N,) bool, those that show the face at rest; None: where that is not known.
            known: the person where that is known, so that the camera alone is found.
        """
        network = self.unadapted().network
        features = self.features(network, faces)
        mirrored = self.features(network, faces.mirrored()) if self.refiner else None
        return find_subject(network, self.refiner, features, mirrored, neutral, known)

    def shows_rest(self, faces: Crops) -> bool:
        """Whether some of the crops of one person may show the face at rest; True for a model that is not refined."""
        network = self.unadapted().network
        return self.refiner is None or shows_rest(network, self.features(network, faces))

    @torch.no_grad()
    def landmark_distance(self, faces: Crops, subject: Subject) -> float:
        """Mean distance of the mesh from the detected landmarks, crop pixels."""
        pictures, detected = self.tensors(faces)
        codes = self.network(pictures, detected, subject.network)
        landmarks = SurfacePoints.landmarks(self.decoder, detected.shape[1])
        placed = project(landmarks(codes.z), codes.pose)[..., :2]
        return float((placed - detected).norm(dim=2).mean())


def choose_device(name: str) -> torch.device:
    """The device of a name: cpu, cuda, or auto. Raises UserError when there is none of that name."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise UserError(f"device must be cpu, cuda or auto; got {name!r}")
    if name == "cuda":
        if not torch.cuda.is_available():
            raise UserError("device cuda was asked for, but this torch finds none; use --device cpu")
        torch.backends.cudnn.allow_tf32 = False  # convolutions in ten bits would move the landmarks
    return torch.device(name)
