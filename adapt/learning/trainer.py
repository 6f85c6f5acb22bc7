"""One clip's adaptation: its settings, and the sum of terms that it minimises (Yoon et al. 2019, Sec. 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from selftrack.adapt.frames.clip import Clip, ClipConfig
from selftrack.adapt.frames.sampling import Batch, Sampler, frame_groups, lags
from selftrack.adapt.learning.face import Face
from selftrack.adapt.learning.model import Adapted, Prediction
from selftrack.adapt.learning.state import State, renew_state
from selftrack.adapt.terms import TERMS, ClipContext, StepContext
from selftrack.adapt.terms.registry import complete_settings, complete_weights
from selftrack.decoders.base import Decoder
from selftrack.decoders.registry import load_decoder
from selftrack.errors import TooLittleError, UserError
from selftrack.io import flat, nested
from selftrack.tracker.geometry.pose import through
from selftrack.tracker.network.i2znet import I2ZNet
from selftrack.tracker.refinement.keys import KeyConfig, KeyFrames
from selftrack.tracker.refinement.observation import Refined
from selftrack.tracker.refinement.refiner import Refiner
from selftrack.tracker.refinement.sequence import Refinement
from selftrack.tracker.refinement.subject import Subject, find_subject
from selftrack.tracker.results.skin_points import frame_step

KEYS = 120
"""Key frames, at most."""
ROUNDS = 2
"""Times that key frames are made and followed from."""
AFAR = 0.3
"""Seconds to the nearest key frames by which frames are judged: nearly a window of skin points."""


@dataclass(frozen=True)
class AdaptConfig:
    """Settings of an adaptation."""

    steps: int = 600
    """Steps of gradient descent."""
    clip: ClipConfig = field(default_factory=ClipConfig)
    """What is kept of the clip."""
    weights: dict[str, float] = field(default_factory=dict)
    """Weights of the loss terms by name; a term that is not named has its default, one of weight 0 is not computed."""
    terms: dict[str, Any] = field(default_factory=dict)
    """Settings that belong to one loss term alone, by its name; those that are not named have their defaults."""
    groups: int = 7
    """Groups of frames per step, all pairs of which are compared."""
    offsets: tuple[int, ...] = (0, 1, 2, 6, 12)
    """Frames by which those of a group lie back, in thirtieths of a second beyond 2: a constant slide is invisible to
    neighbours."""
    texels: int = 1000
    """Random points of the skin per step, whose pixels are compared."""
    vertices: int = 600
    """Random vertices of the head per step, the trembling of which counts."""
    texture: int = 192
    """Side of the texture in texels."""
    rate: float = 4e-4
    """Peak learning rate of the heads; it decays to 0."""
    rate_clip: float = 1e-2
    """Peak learning rate of identity, colour and camera distance."""
    bias: float = 0.1
    """Share of a landmark's constant residual that counts as the detector's bias."""
    occlusion: float = 0.08
    """Change of a texel, 0..1, beyond which something covers it."""
    least_cosine: float = 0.3
    """Texels whose surface is visible at a more grazing angle do not count."""
    refresh: int = 200
    """Steps between updates of visibility and of the clip's texture."""
    evaluate: int = 50
    """Steps between evaluations on the held-out frames."""
    patience: int = 14
    """Evaluations without progress after which it ends."""
    tie: float = 0.05
    """States whose held-out errors differ by less than this share are equally good."""
    worse: float = 0.1
    """Share by which skin or texture may be worse in the verdict if the other has gained more."""
    away: float = 0.5
    """Share by which the landmarks may be farther from the detected ones in the verdict."""
    seed: int = 0
    """Seed of all that is random."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "offsets", tuple(self.offsets))
        if isinstance(self.clip, Mapping):
            object.__setattr__(self, "clip", ClipConfig(**self.clip))
        object.__setattr__(self, "weights", complete_weights(self.weights))
        object.__setattr__(self, "terms", complete_settings(self.terms))

    def changed(self, **fields: Any) -> AdaptConfig:
        """Return these settings with other `fields`; mappings in them change only what they name."""
        return AdaptConfig(**nested(flat(asdict(self)) | flat(fields)))


def refine(
    clip: Clip,
    said: Prediction,
    decoder: Decoder,
    refiner: Refiner,
    keys: KeyFrames | None = None,
    following: KeyConfig | None = None,
) -> Prediction:
    """Refine what a network says as a tracker does: one frame after the other, anew after a gap."""
    refinement = Refinement(refiner, keys, following)
    identity = said.z[0, decoder.identity].double().cpu().numpy()
    curves, poses = (part.cpu().numpy() for part in (said.z[:, decoder.expression], said.pose_image))
    points = clip.points.cpu().numpy()
    found = []
    for row, time in enumerate(clip.times):
        if row and clip.rows[row] > clip.rows[row - 1] + 1:
            refinement.reset()
        frame = Refined.of(curves[row], poses[row])
        found.append(refinement(points[row], frame, identity, float(time), clip.views[row]))
    z, pose = said.z.clone(), torch.from_numpy(np.stack([frame.pose for frame in found])).to(said.z)
    z[:, decoder.expression] = torch.from_numpy(np.stack([frame.curves for frame in found])).to(z)
    return Prediction(z, through(pose, clip.transform), pose)


class Tracked(NamedTuple):
    """What a tracker says of all frames of a clip."""

    said: Prediction
    subject: Subject
    """As whom it sees the person, and through which camera."""
    keys: KeyFrames | None = None
    """The key frames that it follows the skin from."""


class Trainer:
    """One clip's adaptation."""

    def __init__(
        self,
        clip: Clip,
        network: I2ZNet,
        config: AdaptConfig,
        decoder: Decoder | None = None,
        refiner: Refiner | None = None,
        subject: Subject | None = None,
    ) -> None:
        """Prepare the model and the terms; `refiner` is the un-adapted tracker's, if it has one, and `subject` is who
        is seen, by default found in the frames to learn from.

        Raises:
            TooLittleError: too few neighbouring frames show the face.
        """
        self.clip, self.config = clip, config
        self.device = clip.points.device
        self.train_rows, self.select_rows, self.report_rows = (self._positions(part) for part in clip.split)
        groups = frame_groups(clip, self.train_rows.cpu().numpy(), lags(config.offsets, frame_step(clip.times)))
        if not len(groups) or len(self.select_rows) < 2 or len(self.report_rows) < 2:
            raise TooLittleError("too few neighbouring frames with a face to adapt to; track this clip without --adapt")
        subject = subject or self._find_subject(network, refiner)
        decoder = decoder or load_decoder()
        if refiner is not None:
            decoder, refiner = decoder.resting(subject.rest), refiner.resting(subject.rest.double().numpy())
        self.face, self.refiner = Face(decoder, clip.points.shape[1], config.texture, str(self.device)), refiner
        self.model = Adapted(network, subject, refiner is not None, config.clip.maps).to(self.device)
        subject, said = self.model.subject(), self.model.predict_all(clip)
        self._said = said  # by the un-adapted network, unrefined
        self.unadapted = self.keyed = Tracked(said, subject)
        """What the tracker says without adaptation; and the same with key frames, the reference of the terms."""
        if refiner is not None:
            through = refiner.through(subject.inverse_distance)
            self.unadapted = Tracked(refine(clip, said, self.face.decoder, through), subject)
            self.keyed = self._with_keys(said, self.unadapted, through.keyed())
        self.context = ClipContext(clip, self.face, self.model, config, self.keyed.said, self.train_rows)
        self.sampler = Sampler(groups, len(self.face.skin), len(self.face.vertices), config, self.device)
        used = [name for name, weight in config.weights.items() if weight]
        if not used:
            raise UserError(
                "all terms of the loss have weight 0, so there is nothing to adapt by; give one under adapt.weights"
            )
        self.terms = {name: TERMS[name].prepare(self.context, config.terms.get(name)) for name in used}

    @property
    def all_rows(self) -> Tensor:
        """Positions of all frames."""
        return torch.arange(len(self.clip), device=self.device)

    def _positions(self, rows: np.ndarray) -> Tensor:
        """Positions in the clip of those of the frames `rows` that show a face."""
        return torch.from_numpy(np.flatnonzero(np.isin(self.clip.rows, rows))).to(self.device)

    @torch.no_grad()
    def _find_subject(self, network: I2ZNet, refiner: Refiner | None) -> Subject:
        """Find who is seen, by the un-adapted tracker."""
        some = self.train_rows[torch.linspace(0, len(self.train_rows) - 1, 24).round().long().unique()]
        features = self.clip.features(network.heads, some)
        return find_subject(network, refiner, features)

    def tracked(self) -> Tracked:
        """What a tracker with the present model says of all frames, with key frames of those to learn from."""
        said, subject = self.model.predict_all(self.clip), self.model.subject()
        if self.refiner is None:
            return Tracked(said, subject)
        refiner = self.refiner.adapted().through(subject.inverse_distance)
        return self._with_keys(said, Tracked(refine(self.clip, said, self.face.decoder, refiner), subject), refiner)

    def _with_keys(self, said: Prediction, tracked: Tracked, refiner: Refiner) -> Tracked:
        """Refine what a network `said` with key frames of what was `tracked`, in turns; none of them is held out."""
        for _ in range(ROUNDS):
            keys = self._key_frames(tracked, refiner, self.train_rows.cpu().numpy())
            tracked = tracked._replace(said=refine(self.clip, said, self.face.decoder, refiner, keys), keys=keys)
        return tracked

    def keyed_from_afar(self) -> Tracked:
        """What the tracker says with key frames alone, of all frames, each by key frames that are `AFAR`."""
        keys, subject = self.key_frames(self.keyed), self.keyed.subject
        if keys is None or self.refiner is None:
            return self.keyed
        refiner = self.refiner.keyed().through(subject.inverse_distance)
        said = refine(self.clip, self._said, self.face.decoder, refiner, keys, KeyConfig(apart=AFAR))
        return Tracked(said, subject, keys)

    def key_frames(self, tracked: Tracked) -> KeyFrames | None:
        """Make key frames of all frames; None for what has none, as a personal model."""
        if tracked.keys is None or self.refiner is None:
            return None
        refiner = self.refiner.through(tracked.subject.inverse_distance)
        return self._key_frames(tracked, refiner, np.arange(len(self.clip)))

    def _key_frames(self, tracked: Tracked, refiner: Refiner, rows: np.ndarray) -> KeyFrames:
        """Make key frames of some of the `rows` (R,), at most `KEYS` spread evenly, with the mesh as it was tracked."""
        clip, decoder, said = self.clip, self.face.decoder, tracked.said
        chosen = rows[np.unique(np.linspace(0, len(rows) - 1, min(KEYS, len(rows))).round().astype(int))]
        face = refiner.face(said.z[0, decoder.identity].double().cpu().numpy())
        curves, poses = (part.cpu().numpy() for part in (said.z[:, decoder.expression], said.pose_image))
        placed = [refiner.place(Refined.of(curves[row], poses[row]), face) for row in chosen]
        return KeyFrames(
            clip.times[chosen],
            np.stack([clip.views[row].grey for row in chosen]),
            clip.transform.cpu().numpy()[chosen],
            clip.points.cpu().numpy()[chosen],
            np.stack(placed).astype(np.float32),
        )

    def renew(self) -> State:
        """Measure what the losses take for known with the present model."""
        return renew_state(self.context)

    def draw(self) -> Batch:
        """Draw a step's frames, pairs of them, texels and vertices."""
        return self.sampler()

    def losses(self, state: State, batch: Batch) -> dict[str, Tensor]:
        """Compute the terms by name, without their weights."""
        step = StepContext(self.context, state, batch)
        return {name: function(step) for name, function in self.terms.items()}

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Add the terms up with their weights (Eq. 5)."""
        return torch.stack([self.config.weights[name] * loss for name, loss in losses.items()]).sum()
