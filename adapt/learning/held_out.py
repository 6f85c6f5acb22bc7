"""Errors on frames that adaptation does not learn from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from selftrack.adapt.learning.trainer import Tracked, Trainer
from selftrack.adapt.terms.texture import match_exposure, texture_difference, weighted_mean
from selftrack.decoders.mesh.unwrap import confidence
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.results.skin_points import Window, skin_error


@dataclass(frozen=True)
class HeldOut:
    """Errors on held-out frames."""

    skin: float  # skin points, percent of the IOD; NaN without any
    texture: float  # RMS change of the texture between neighbours, 0..1; NaN without any
    landmarks: float  # mean distance to the detected ones, percent of the IOD

    def relative_to(self, other: HeldOut) -> np.ndarray:
        """Compute the ratios (2,) of skin and texture to those of another; NaN where that has none.

        Not of the landmarks: the un-adapted tracker follows them with their noise.
        """
        before, after = (np.array([error.skin, error.texture]) for error in (other, self))
        unknown = np.where(np.isfinite(before), np.inf, np.nan)
        return np.where(np.isfinite(before) & np.isfinite(after), after / np.maximum(before, 1e-9), unknown)


@torch.no_grad()
def held_out_error(trainer: Trainer, rows: Tensor, windows: list[Window], tracked: Tracked | None = None) -> HeldOut:
    """Compute the errors on the frames `rows` (positions in the clip) of the present model's network, or of what was
    `tracked`."""
    clip, face = trainer.clip, trainer.face
    if tracked is None:
        tracked = Tracked(trainer.model(clip, rows), trainer.model.subject())
    else:
        tracked = tracked._replace(said=tracked.said.select(rows))
    prediction = tracked.said
    place = partial(project, pose=prediction.pose_image, inverse_distance=tracked.subject.inverse_distance)
    vertices = place(face.decoder.geometry(prediction.z))
    where = {int(clip.rows[row]): i for i, row in enumerate(rows.tolist())}

    def of(window: slice) -> np.ndarray:
        return vertices[[where[i] for i in range(window.start, window.stop)]].cpu().numpy()

    ok = np.zeros(clip.total, bool)
    ok[list(where)] = True
    whole = [w for w in windows if ok[w.start : w.start + w.paths.shape[1]].all()]
    skin = skin_error(whole, of, face.decoder.faces.cpu(), clip.size[::-1], ok).mean if whole else float("nan")
    visibility = torch.cat(
        [
            confidence(v, face.decoder.faces, face.texels, clip.size[::-1], trainer.config.least_cosine)
            for v in vertices.split(16)
        ]
    )
    index = torch.arange(0, len(face.skin), 8, device=trainer.device)
    at = place(face.skin(prediction.z, index))[..., :2]
    texture, inside = clip.pixels.sample(rows, at)
    weight = visibility[:, index] * inside
    held = rows.cpu().numpy()
    near = torch.from_numpy((np.diff(clip.rows[held]) == 1) & (np.diff(clip.shot[held]) == 0)).to(trainer.device)
    both = (weight[1:] * weight[:-1])[near]
    matched = match_exposure(texture[:-1][near], texture[1:][near], both)
    change = texture_difference(texture[1:][near], matched, both)
    landmarks = place(face.landmarks(prediction.z))[..., :2]
    distance = (landmarks - clip.points[rows]).norm(dim=2).mean(1) / clip.iod[rows]
    known = bool((both > 0).any())
    texture_error = weighted_mean(change, both).sqrt().item() if known else float("nan")
    return HeldOut(float(skin), texture_error, float(100 * distance.mean()))
