"""A person's own model without a lab: from one clip (`track-train dam --from-video`).

The clip is tracked and adapted to with the default head; what that finds of geometry, views and textures is a capture
with one camera, on which a deep appearance model is trained, and a network for it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from selftrack.adapt.clips import adapt_and_track
from selftrack.adapt.run import Say, load_preset
from selftrack.decoders.dam.model import Dam
from selftrack.errors import UserError
from selftrack.tracker.clips.config import TrackConfig
from selftrack.tracker.network.weights import network_beside
from selftrack.tracker.results import track_file
from selftrack.training.clip_capture import ClipCapture
from selftrack.training.dam import DamTraining, Reconstruction, train_dam
from selftrack.training.i2znet_multiview import dam_training, network_config, train_on_capture

STEPS = 2000
"""Optimisation steps of a model that is made from one clip."""


def model_of_clip(
    clip: Path,
    out: Path,
    settings: DamTraining,
    network_steps: int,
    progress: Callable[..., None] = lambda stage, done, total, figures=None: None,
    device: str = "cpu",
    say: Say = lambda line: None,
) -> Reconstruction:
    """Write `out`, the model of the clip's person, the network beside it, and the folder `<out>_track` of the adapted
    track, which is used if it is there already.

    Raises:
        UserError: the clip cannot be read.
        ValueError: it shows too little of a face, or the folder holds another clip's track.
    """
    folder = out.with_name(f"{out.stem}_track")
    if not (folder / track_file.NAME).exists():
        config = TrackConfig(device=device, overlay=False)
        adapt_and_track(clip, folder, config, load_preset(), progress=progress, say=say)
    track = track_file.load(folder)
    if Path(track.clip) != clip.resolve():
        raise UserError(f"{folder}: holds the track of {track.clip}; delete it, or name another output than {out}")
    capture = ClipCapture(track, settings.model.texture, partial(progress, "unwrapping textures"))
    errors = train_dam(capture, out, settings, partial(progress, "learning the model"), device)
    decoder = Dam.load(out)
    training = dam_training(network_config(decoder), network_steps, settings.seed)
    train_on_capture(
        capture,
        decoder,
        network_beside(out),
        training,
        partial(progress, "learning the network"),
        partial(progress, "reading pictures"),
        device,
    )
    return errors
