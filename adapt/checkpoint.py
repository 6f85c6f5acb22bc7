"""The file from which an interrupted run of `track --adapt` goes on.

That is in the midst of the adaptation, at its end, or with its result. It holds what cannot be made again, so nothing
of the clip but key frames and skin points of the result.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch

from selftrack.errors import UserError
from selftrack.io import atomic_path
from selftrack.tracker.model import Model
from selftrack.tracker.network.weights import ClipFit
from selftrack.tracker.refinement.keys import KeyFrames
from selftrack.tracker.refinement.subject import Subject
from selftrack.tracker.results.skin_points import Window

NAME = "adaptation.checkpoint"


def save(path: Path, settings: dict[str, Any], part: str, state: dict[str, Any]) -> None:
    """Write the state of one part of a run with these settings in place of an earlier one; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as unfinished:
        torch.save({"settings": settings, part: state}, unfinished)


def load(path: Path, settings: dict[str, Any], part: str) -> dict[str, Any] | None:
    """Read what `save` wrote of that part; None where there is none, or it is of a run with other settings.

    Raises:
        UserError: the file is damaged.
    """
    if not path.exists():
        return None
    try:
        read = torch.load(path, map_location="cpu", weights_only=True)
        return read.get(part) if read["settings"] == settings else None
    except Exception as error:  # torch.load raises whatever unpickling does
        raise UserError(f"{path}: is damaged ({error}); delete it to adapt anew") from error


def pack_model(model: Model) -> dict[str, Any]:
    """What an adaptation has made of the model that it was adapted from, in numbers, texts and tensors."""
    before, fit = model.unadapted().network.heads.state_dict(), model.fit
    assert fit is not None, "expected a model that was adapted to a clip"
    heads = model.network.heads.state_dict().items()
    return {
        "heads": {k: v.half().cpu() for k, v in heads if not torch.equal(v, before[k])},  # as a file has them
        "clip_hash": fit.clip_hash,
        "face": fit.face,
        "subject": {k: v.cpu() if isinstance(v, torch.Tensor) else float(v) for k, v in fit.subject._asdict().items()},
        "windows": [(int(w.start), float(w.iod), torch.from_numpy(w.paths)) for w in fit.windows],
        "keys": None if fit.keys is None else {k: torch.from_numpy(v) for k, v in fit.keys._asdict().items()},
        "trained": fit.trained,
    }


def unpack_model(state: dict[str, Any], base: Model) -> Model:
    """The adapted model of `pack_model`, from the one that it was adapted from."""
    keys = state["keys"]
    fit = ClipFit(
        state["clip_hash"],
        state["face"],
        Subject(**state["subject"]),
        tuple(Window(start, iod, paths.numpy()) for start, iod, paths in state["windows"]),
        None if keys is None else KeyFrames(**{k: v.numpy() for k, v in keys.items()}),
        state["trained"],
    )
    heads = copy.deepcopy(base.network.heads)
    heads.load_state_dict(heads.state_dict() | state["heads"])
    return base.adapted(heads, fit)
