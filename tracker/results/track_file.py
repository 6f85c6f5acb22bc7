"""The track file: everything a tracked clip yields, in one `track.npz` without pickle.

Everything else (vertices, exports, overlay) is derived from it and the decoder. Reading a track and its curves needs
no torch.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.errors import UserError
from selftrack.io import atomic_path
from selftrack.tracker.mapped import map_member, write_member
from selftrack.tracker.results.regions import REGIONS, held, region_confidence
from selftrack.tracker.timecode import Timecode

if TYPE_CHECKING:
    from selftrack.decoders.base import Decoder

NAME = "track.npz"
VERSION = 7
_CODE = ("timecode", "timecode_rate")
_LATEST = ("notes", "visible", *_CODE)
_NEW = {
    3: ("curve_names", "curve_values", "decoder_path", "rest", *_LATEST),
    4: ("rest", *_LATEST),
    5: _LATEST,
    6: _CODE,
}
"""Fields that earlier versions have not."""
_CHUNK = 64  # frames decoded at a time
_IN_FILE = "landmarks"
"""The largest field, nine tenths of a track: it stays in the file, from which it is read as it is needed."""
TRUSTED = 0.5
"""Confidence from which a frame is to be trusted: it is more likely good than not."""


@dataclass(frozen=True)
class Track:
    """A tracked clip of T frames. A lost frame (ok False) holds the values of the last good one.

    Frames lost before the first good one hold that one's values. Image frame: pixels of the frame as
    displayed, x right, y down, centre of the top-left pixel (0, 0).
    """

    times: np.ndarray  # (T,) float64, seconds on the clip's own timeline
    ok: np.ndarray  # (T,) bool, a face was found
    confidence: np.ndarray  # (T,) float32, probability of a skin-point error under 1 % IOD, 0 where lost
    presence: np.ndarray  # (T,) float32, the detector's probability that there is a face, 0 where lost
    sharpness: np.ndarray  # (T,) float32, of the crop, see `selftrack.tracker.results.confidence`, 0 where lost
    z: np.ndarray  # (T,128) float32, the decoder's code
    H: np.ndarray  # (T,6) float32, f, rx, ry, rz, tx, ty in the 256x256 crop
    crop: np.ndarray  # (T,2,3) float32, similarity from image pixels to crop pixels
    H_image: np.ndarray  # (T,6) float32, the same parameters in the image
    landmarks: np.ndarray  # (T,L,2) float32, detected points in image pixels, NaN where lost
    curve_names: tuple[str, ...]  # of the animation curves: ARKit's 52 where the decoder has them
    curve_values: np.ndarray  # (T,K) float32, 0..1
    identity: np.ndarray  # (60,) float32, the clip's identity code
    inverse_distance: float  # of the camera, 1/metres; 0 is weak perspective
    size: tuple[int, int]  # width, height of the frame
    clip: str  # path of the clip
    clip_hash: str  # SHA-256 of its bytes
    decoder: str  # name of the decoder that z speaks to
    decoder_hash: str
    decoder_path: str  # of its file; empty: the bundled head
    config: str  # JSON, the resolved settings
    # (52,) float32, curves of the person's face at rest, on top of which those of z are
    rest: np.ndarray = field(default_factory=lambda: np.zeros(len(ARKIT_NAMES), np.float32))
    # (T,6) float32, how much is seen of the parts of `selftrack.tracker.results.regions`, 0 where lost; all of it in a
    # track of an earlier version
    visible: np.ndarray = field(default_factory=lambda: np.ones((0, 6), np.float32))
    notes: tuple[str, ...] = ()  # one line each of what was found in the clip, what was done, and what to do
    timecode: str = ""  # of the clip's time 0, HH:MM:SS:FF or, drop-frame, HH:MM:SS;FF; empty: it has none
    timecode_rate: float = 0.0  # frames/s of the clip as it says itself, which timecode counts; 0: not known
    version: int = VERSION

    def __post_init__(self) -> None:
        if not len(self.visible):  # of an earlier version
            object.__setattr__(self, "visible", np.ones((len(self.times), 6), np.float32))

    def __len__(self) -> int:
        return len(self.times)

    def save(self, folder: Path) -> Path:
        """Write `track.npz` into a folder; it gets its name only when it is complete."""
        path = Path(folder) / NAME
        with atomic_path(path) as part, open(part, "wb") as file:
            values: dict[str, Any] = {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}
            values["notes"] = np.asarray(self.notes, dtype=str)  # of none the type would be that of numbers
            with zipfile.ZipFile(file, "w") as archive:
                for name, value in values.items():  # noise, which landmarks are, does not get smaller
                    write_member(archive, name, value, compressed=name != _IN_FILE)
        return path

    def trusted(self) -> float:
        """Share of the frames, 0..1, whose confidence is 0.5 or more."""
        return float((self.confidence >= TRUSTED).mean())

    def regions(self) -> dict[str, np.ndarray]:
        """The probability that eyes, brows, mouth and pose are where they should be, to 5 % of the IOD: (T,) by region,
        0 where lost."""
        return region_confidence(self.visible, self.confidence, self.ok)

    def held(self) -> dict[str, np.ndarray]:
        """Whether something hides eyes, brows and mouth, so that their curves hold the last sure values: (T,) by
        region."""
        return dict(zip(REGIONS, (held(self.visible) & self.ok[:, None]).T, strict=False))

    def settings(self) -> dict[str, Any]:
        """The resolved settings with which the clip was tracked."""
        return json.loads(self.config)

    def start_timecode(self) -> Timecode | None:
        """The timecode of the clip's time 0; None where it has none."""
        return Timecode.parse(self.timecode, self.timecode_rate) if self.timecode else None

    def model(self) -> Decoder:
        """The decoder that made this track, read once. Raises UserError if it is not the one that is there now."""
        return self._decoder

    @cached_property
    def _decoder(self) -> Decoder:
        from selftrack.decoders.registry import load_decoder

        decoder = load_decoder(self.decoder_path or None)
        if (decoder.name, decoder.hash) != (self.decoder, self.decoder_hash):
            raise UserError(
                f"made with decoder {self.decoder} {self.decoder_hash}, but {decoder.name} {decoder.hash} is "
                "installed: track the clip again"
            )
        return resting(decoder, self.rest)

    def curves(self) -> dict[str, np.ndarray]:
        """The 52 ARKit curves by name, (T,) float32 in 0..1 each; Left and Right are the subject's own.

        Of a personal model whose topology is not the head's: the numbers of z.
        """
        return dict(zip(self.curve_names, self.curve_values.T, strict=True))

    def with_codes(self, z: np.ndarray) -> Track:
        """The track with other codes (T,Z), and the curves that they mean."""
        import torch

        z, decoder = z.astype(np.float32), self.model()
        with torch.no_grad():
            curves = decoder.curves(torch.from_numpy(z)).numpy()
        return replace(self, z=z, curve_names=decoder.curve_names, curve_values=curves)

    def vertices(self, rows: slice = slice(None)) -> np.ndarray:
        """Vertices (T,V,3) float32 in the image frame: x, y and depth z in pixels, larger z = farther."""
        import torch

        from selftrack.tracker.geometry.pose import project

        head, z, pose = self.model(), torch.from_numpy(self.z[rows]), torch.from_numpy(self.H_image[rows])
        with torch.no_grad():
            chunks = zip(z.split(_CHUNK), pose.split(_CHUNK), strict=True)
            return np.concatenate([project(head.geometry(a), b, self.inverse_distance).numpy() for a, b in chunks])

    def pose(self) -> dict[str, np.ndarray]:
        """Head pose in the image frame, (T,) each.

        yaw, pitch, roll: degrees of ry, rx, rz in R = Rz Ry Rx. Positive yaw turns the face to the image's
        left, which is the subject's right; positive pitch nods down; positive roll tilts the head clockwise
        on the screen, towards the subject's left shoulder. scale: pixels per metre. tx, ty: pixels, where
        the head's origin is.
        """
        f, rx, ry, rz, tx, ty = self.H_image.T
        angles = {"yaw": np.degrees(ry), "pitch": np.degrees(rx), "roll": np.degrees(rz)}
        return angles | {"scale": np.exp(f), "tx": tx, "ty": ty}


def is_track(path: Path | str) -> bool:
    """Whether that is a track for `load`: its file or folder; or the folder of several faces', which that refuses."""
    path = Path(path)
    return path.suffix == ".npz" or (path / NAME).is_file() or any(path.glob(f"face*/{NAME}"))


def folder_of(path: Path | str) -> Path:
    """The folder of a track that is named by that, or by its file."""
    path = Path(path)
    return path.parent if path.name == NAME and path.is_file() else path


def load(path: Path | str) -> Track:
    """Read a track from its folder or its file. Its landmarks stay in the file and are not to be changed.

    Raises:
        UserError: there is none, or it is not a track file of version 3 to 7.
    """
    path = Path(path)
    path = path / NAME if path.is_dir() else path
    try:
        with np.load(path, allow_pickle=False) as data:
            stays = map_member(path, data.zip, _IN_FILE) if _IN_FILE in data.files else None
            values = {name: data[name] for name in data.files if stays is None or name != _IN_FILE}
            values |= {} if stays is None else {_IN_FILE: stays}
    except FileNotFoundError as error:
        folder = path.parent if path.suffix == ".npz" else path
        of_faces = sorted(str(part.parent) for part in folder.glob(f"face*/{NAME}"))
        if of_faces:
            raise UserError(f"{folder}: has a track for each of several faces; name {' or '.join(of_faces)}") from error
        raise UserError(f"{path}: no such file; make it with: track VIDEO -o {folder}") from error
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a track file; name one that track has written, or its folder") from error
    version, expected = int(values.get("version", 0)), {f.name for f in fields(Track)}
    if version not in (*_NEW, VERSION) or set(values) != expected - set(_NEW.get(version, ())):
        raise UserError(f"{path}: not a track file of version 3 to {VERSION}; track the clip again")
    values["size"] = tuple(int(n) for n in values["size"])
    scalars = {k: v.item() for k, v in values.items() if isinstance(v, np.ndarray) and v.ndim == 0}
    values |= scalars
    if version == 3:
        values |= _curves_of_version_3(values)
    for name in ("curve_names", "notes"):
        values[name] = tuple(str(one) for one in values.get(name, ()))
    return Track(**values | {"version": VERSION})


def _curves_of_version_3(values: dict[str, Any]) -> dict[str, Any]:
    """The fields of a track of version 3 whose curves were left to the decoder.

    Raises:
        UserError: the decoder's file is gone or has changed.
    """
    import torch

    from selftrack.decoders.registry import load_decoder

    path = json.loads(values["config"]).get("decoder") or ""
    decoder = load_decoder(path or None)
    if path and decoder.hash != values["decoder_hash"]:  # the curves of the bundled head are in z in any case
        raise UserError(f"{path}: is not the decoder that this track was made with; track the clip again")
    with torch.no_grad():
        curves = decoder.curves(torch.from_numpy(values["z"])).numpy()
    return {"curve_names": decoder.curve_names, "curve_values": curves, "decoder_path": path}


def resting(decoder: Decoder, rest: np.ndarray) -> Decoder:
    """The decoder of a person with these curves (52,) at rest."""
    import torch

    return decoder.resting(torch.from_numpy(rest)) if rest.any() else decoder


def hold(values: np.ndarray, ok: np.ndarray, fallback: np.ndarray) -> np.ndarray:
    """Values (T,...) in which a lost row repeats the last good one.

    Rows before the first good one take that one; without any good row all are the fallback (...).
    """
    assert len(values) == len(ok) and values.shape[1:] == np.shape(fallback)
    if not ok.any():
        return np.broadcast_to(fallback, values.shape).astype(values.dtype)
    last = np.maximum.accumulate(np.where(ok, np.arange(len(ok)), -1))
    return values[np.where(last < 0, np.argmax(ok), last)]
