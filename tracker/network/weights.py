"""Files of I2ZNet weights: of a training, which hold all heads, and of an adaptation, which hold what it changed.

Both are safetensors. A file is bound to the decoder whose codes it gives, by its hash in the configuration; that of an
adaptation also to the file that it was adapted from.
"""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from selftrack.errors import UserError
from selftrack.io import atomic_path, file_hash, sort_metadata
from selftrack.tracker.network.i2znet import Heads, I2ZConfig, I2ZNet
from selftrack.tracker.network.streams import stream_hash
from selftrack.tracker.refinement.keys import KeyFrames
from selftrack.tracker.refinement.subject import Subject
from selftrack.tracker.results.skin_points import Window

ASSETS = Path(__file__).parents[1] / "assets"
WEIGHTS = ASSETS / "i2znet_points.safetensors"
WITH_STREAMS = ASSETS / "i2znet_small.safetensors"
"""Weights of a network with streams, where that of a personal model begins."""
BUNDLED = {478: WEIGHTS, 68: ASSETS / "i2znet_fan.safetensors"}
"""The bundled weights by the number of landmarks that they read."""
_STREAMS = "streams"  # in the metadata
_KEYS = "keys."  # begins the names of tensors


@dataclass(frozen=True)
class ClipFit:
    """What an adaptation found out about a face of the clip it was made on. Of another clip, the subject is estimated
    anew, by the un-adapted network, and so is the camera."""

    clip_hash: str
    face: int
    """Which of the clip's faces: 0 the largest."""
    subject: Subject
    """As the adaptation found it: the identity and the camera; what the network is conditioned on is the un-adapted
    one's."""
    windows: tuple[Window, ...] = ()
    """Skin points of frames that it did not learn from; not in the file."""
    keys: KeyFrames | None = None
    """Frames of the clip with the mesh as it was fitted, from which the skin of all frames is followed."""
    trained: bool = True
    """Whether the network was trained; else the key frames alone are what was found out."""
    log_odds: float = 0.0
    """Of the confidence, on top of what its model says, see `confidence.clip_shift`."""


class Weights(NamedTuple):
    """What a file of weights holds."""

    network: I2ZNet
    base: I2ZNet | None
    """Of an adaptation, the network that it was adapted from, with the same streams."""
    fit: ClipFit | None


def network_beside(decoder: Path) -> Path:
    """Where the network for a personal model lies: X.i2znet.safetensors beside X.safetensors."""
    return decoder.with_suffix(".i2znet.safetensors")


def load_network(path: Path = WEIGHTS, device: torch.device | str = "cpu", streams: Path | None = None) -> I2ZNet:
    """The network of a file; see `load_weights`."""
    return load_weights(path, device, streams).network


def load_weights(path: Path = WEIGHTS, device: torch.device | str = "cpu", streams: Path | None = None) -> Weights:
    """Read a file of weights; the networks are frozen and in evaluation mode. `streams`: see `I2ZNet`.

    Raises:
        UserError: it is no such file, of another version of the network, or an adaptation of other weights than are
            there now; or the weights of its frozen streams are not there, or others than those that it was trained on.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file of weights; make one with track-train i2znet or track --adapt")
    try:
        metadata, state = _read(path)
        config = I2ZConfig(**yaml.safe_load(metadata["config"]))
    except Exception as error:
        raise UserError(f"{path}: not a file of I2ZNet weights ({error}); make one with track-train i2znet") from error
    network, base, fit = I2ZNet(config, streams), None, None
    if _published(network) != json.loads(metadata.get(_STREAMS, "{}")):
        place = streams or "the libraries' cache"
        raise UserError(
            f"{path}: was trained on other weights of the frozen streams than those of {place}; name theirs, as "
            "track-train streams packs them, with --streams"
        )
    try:
        if "base" in metadata:
            fit = ClipFit(
                metadata["clip_hash"],
                int(metadata["face"]),
                Subject(
                    state.pop("subject"), state.pop("identity"), float(state.pop("inverse_distance")), state.pop("rest")
                ),
                keys=_pop_keys(path, state),
                trained=metadata["trained"] == "1",
                log_odds=float(state.pop("log_odds")),
            )
            before = _base_of(path, metadata)
            heads = copy.deepcopy(network.heads)
            heads.load_state_dict(before)
            base = network.with_heads(heads)
            state = before | state
        network.heads.load_state_dict(state)
    except (RuntimeError, KeyError) as error:
        raise UserError(f"{path}: weights of another version of the network; train them again") from error
    for one in (network, base):
        if one is not None:
            one.to(device).requires_grad_(False).eval()
    return Weights(network, base, fit)


def save_heads(path: Path, network: I2ZNet, state: dict[str, Tensor], settings: dict[str, Any]) -> Path:
    """Write the heads' weights `state` in half precision, with the network's configuration and the settings of the
    training."""
    metadata = {"config": yaml.safe_dump(asdict(network.config)), "training": json.dumps(settings)}
    metadata[_STREAMS] = json.dumps(_published(network))
    with atomic_path(path) as part:
        save_file({k: v.half().cpu().contiguous() for k, v in state.items()}, part, metadata)
        sort_metadata(part)
    return path


def _published(network: I2ZNet) -> dict[str, str]:
    """Hashes of the frozen streams that are not bundled, by what they are to the network."""
    streams = {"perceptual": network.perceptual, "landmarks": network.landmarks}
    return {name: stream_hash(s) for name, s in streams.items() if s is not None and s.published is not None}


def save_adapted(path: Path, heads: Heads, base: Path, fit: ClipFit, config: I2ZConfig) -> Path:
    """Write what an adaptation changed of the weights file `base`, in half precision, and what it knows of its clip."""
    of_base, before = _read(base)
    state = {k: v.cpu() for k, v in heads.state_dict().items()}
    changed = {k: v.half().contiguous() for k, v in state.items() if not torch.equal(v, before[k])}
    changed |= {"subject": fit.subject.network.cpu(), "identity": fit.subject.identity.cpu().clone()}
    changed |= {"rest": fit.subject.rest.cpu()}
    changed |= {"inverse_distance": torch.tensor(fit.subject.inverse_distance), "log_odds": torch.tensor(fit.log_odds)}
    metadata = {"base": file_hash(base), "base_file": base.name if base.parent == ASSETS else str(base.resolve())}
    changed |= {f"{_KEYS}{name}": torch.from_numpy(v) for name, v in (fit.keys._asdict() if fit.keys else {}).items()}
    metadata |= {"config": yaml.safe_dump(asdict(config)), "clip_hash": fit.clip_hash, "face": str(fit.face)}
    metadata |= {"trained": str(int(fit.trained))}
    metadata[_STREAMS] = of_base.get(_STREAMS, "{}")
    with atomic_path(path) as part:
        save_file(changed, part, metadata)
        sort_metadata(part)
    return path


def _pop_keys(path: Path, state: dict[str, Tensor]) -> KeyFrames | None:
    """Take the key frames out of the tensors of a file, in the types that they were written in."""
    names = [f"{_KEYS}{name}" for name in KeyFrames._fields]
    if any(state.pop(name, None) is None for name in names):
        return None
    with safe_open(path, "pt") as file:
        return KeyFrames(*(file.get_tensor(name).numpy() for name in names))


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a safetensors file."""
    with safe_open(path, "pt") as file:
        return file.metadata() or {}, {k: file.get_tensor(k).float() for k in file.keys()}


def _base_of(path: Path, metadata: dict[str, str]) -> dict[str, Tensor]:
    base = ASSETS / metadata["base_file"]  # a path of its own stays what it is
    if not base.exists() or file_hash(base) != metadata["base"]:
        raise UserError(f"{path}: adapted from weights {metadata['base']}, but {base} is not those; adapt again")
    return _read(base)[1]
