"""One frame of the tracker from the detected points on: the network, who is seen, and the refinement; in torch, with
explicit memory, as it goes into an ONNX file.

It is `Tracker` on the same points, crops and teeth, where the skin's pixels are not followed and nothing is hidden.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.errors import UserError
from selftrack.tracker.engine.person import PersonState, PersonStep, pooled
from selftrack.tracker.engine.refine import POSE, Guess, Last, Mouth, N, RefineStep, to_controls
from selftrack.tracker.geometry.pose import through
from selftrack.tracker.model import Model
from selftrack.tracker.refinement import controls

FRAME_STATE = N + POSE + 3
"""Numbers of the frame before that the next one follows: controls, pose in the image, where the eyes looked."""

_OFF = 3.0
"""Curves are off by so many times more than their least squares tell, which know the noise of the points alone: root
mean square over six synthetic clips, 2.6 in three of them and 3.2 in the others."""


class StepInputs(NamedTuple):
    """What goes in; of one frame, so that the first axis is 1."""

    points: Tensor
    """(1,L,2) the detector's points, crop pixels."""
    crop: Tensor
    """(1,2,3) image -> crop, scale and turn only."""
    teeth: Tensor
    """(1,3) what is seen of them in the crop: share of the opening's height, gap and opening in its pixels, see
    `mouth.see_teeth`; 0 where nobody looked."""
    seconds: Tensor
    """(1,1) since the frame before; 0 where there is none."""
    known: Tensor
    """(1,1) 1: the subject and the identity are the ones given; 0: they are found, and those given do not count."""
    subject: Tensor
    """(1,S) what the network is conditioned on: identity and mean expression."""
    identity: Tensor
    """(1,K) of the mesh."""
    rest: Tensor
    """(1,52) curves of the face at rest; the ones found are on top."""
    inverse_distance: Tensor
    """(1,1) of the camera, 1/metres; 0: far away."""
    frame_state: Tensor
    """(1,56) `next_frame_state` of the frame before."""
    person_state: Tensor
    """(1,P) `next_person_state` of the frame before; 0 at the start."""


class StepOutputs(NamedTuple):
    """What comes out."""

    curves: Tensor
    """(1,52) in 0..1."""
    deviation: Tensor
    """(1,52) standard deviation of each curve, before it is cut off at 0 and 1."""
    pose: Tensor
    """(1,6) f, rx, ry, rz, tx, ty in the crop."""
    image_pose: Tensor
    """(1,6) the same in the image."""
    placed: Tensor
    """(1,L,2) where the mesh has the points, image pixels."""
    subject_found: Tensor
    """(1,S) the subject that was used."""
    identity_found: Tensor
    """(1,K) the identity that was used."""
    next_frame_state: Tensor
    """(1,56)"""
    next_person_state: Tensor
    """(1,P)"""


class TrackStep(nn.Module):
    """Tracks one frame; see the module's docstring."""

    acts: Tensor
    people: Tensor
    mean: Tensor

    def __init__(self, model: Model) -> None:
        """Of a model on the CPU.

        Raises:
            UserError: its network reads pictures, or its face model is not refined.
        """
        super().__init__()
        config, refiner = model.network.config, model.refiner
        if config.perceptual or config.landmarks or not config.coordinates:
            raise UserError(
                f"{model.weights}: reads pictures, not points alone, and so does not fit into one file; take weights "
                "of the preset i2znet_points"
            )
        if refiner is None:
            raise UserError(
                f"{model.weights}: drives a personal model, which has no ARKit shapes; take the bundled head's"
            )
        self.heads, self.before = model.network.heads, model.unadapted().network.heads
        self.adapted = self.before is not self.heads
        self.person = PersonStep(refiner)
        trained = model.fit is not None and model.fit.trained
        self.refine = RefineStep(refiner.adapted() if trained else refiner)
        self.identity, self.subject, self.points = config.identity, self.heads.subject_size, config.points
        people, mean = refiner.people.swapaxes(0, 1).reshape(self.identity, -1), refiner.mean.T.copy()
        for name, value in {"people": people, "mean": mean}.items():  # (K,3L), (3,L)
            self.register_buffer(name, torch.from_numpy(value).float(), persistent=False)

    def start(self) -> StepInputs:
        """Inputs of a first frame, all 0 but the points and the crop, which is the image itself."""
        sizes = {
            "teeth": len(Mouth._fields),
            "known": 1,
            "seconds": 1,
            "subject": self.subject,
            "identity": self.identity,
            "rest": len(ARKIT_NAMES),
            "inverse_distance": 1,
            "frame_state": FRAME_STATE,
            "person_state": sum(PersonState.sizes(self.identity, self.subject)),
        }
        crop = torch.eye(2, 3)[None]
        return StepInputs(torch.zeros(1, self.points, 2), crop, **{k: torch.zeros(1, n) for k, n in sizes.items()})

    def forward(
        self,
        points: Tensor,
        crop: Tensor,
        teeth: Tensor,
        seconds: Tensor,
        known: Tensor,
        subject: Tensor,
        identity: Tensor,
        rest: Tensor,
        inverse_distance: Tensor,
        frame_state: Tensor,
        person_state: Tensor,
    ) -> StepOutputs:
        """Track a frame; see `StepInputs` and `StepOutputs`."""
        state = PersonState.unpack(person_state[0], self.identity, self.subject)
        network, subject, state = self._regress(points, known, subject, state)
        to_image = inverse_similarity(crop)
        network = Guess(network.controls, through(network.pose[None], to_image)[0])
        own = torch.where(known[0] > 0, identity[0], self.person.solve(state, subject[: self.identity]))
        mean = self.mean + (rest[0] @ self.refine.acts).reshape(3, -1)
        face = mean + (own @ self.people).reshape(3, -1)
        at = (points @ to_image[0, :, :2].T + to_image[0, :, 2])[0]
        before = frame_state[0].split([N, POSE, 3])
        last = Last(Guess(*before[:2]), before[2], seconds[0, 0], (seconds[0, 0] > 0).to(points))
        lens = inverse_distance[0, 0]
        larger = to_image[0, :, 0].square().sum().sqrt()
        mouth = Mouth(teeth[0, 0], teeth[0, 1] * larger, teeth[0, 2] * larger.clamp(max=1))
        found, covariance = self.refine(at, network, face, lens, last, mouth)
        state = self.person.add(state, at, network, found, face, own, lens, seconds[0])
        hidden = (last.follows > 0) & (self.refine.visible_gaze(at) < 1)
        gaze = torch.where(hidden, last.gaze, found.controls[controls.GAZE])
        turns = self.refine.turns
        return StepOutputs(
            curves=(found.controls @ turns).clamp(0, 1)[None],
            deviation=_OFF * ((covariance @ turns) * turns).sum(0).clamp(min=0).sqrt()[None],
            pose=through(found.pose[None], crop),
            image_pose=found.pose[None],
            placed=self.refine.place(found, face, lens).at.T[None],
            subject_found=subject[None],
            identity_found=own[None],
            next_frame_state=torch.cat([*found, gaze])[None],
            next_person_state=state.pack()[None],
        )

    def _regress(
        self, points: Tensor, known: Tensor, subject: Tensor, state: PersonState
    ) -> tuple[Guess, Tensor, PersonState]:
        """What the network says of points (1,L,2) in the crop, the subject (S,), and what is known of that then."""
        heads = self.heads
        features = heads.features([], points)
        seen = self.before.features([], points) if self.adapted else features
        estimate = self.before.regress(seen).subject[0]
        found, state = pooled(state, estimate, self.before.logits(seen)[0])
        chosen = torch.where(known[0] > 0, subject[0], found)
        codes = heads.regress(features, chosen[None])
        expression = codes.z[0, self.identity : self.identity + len(ARKIT_NAMES)]
        return Guess(to_controls(expression), codes.pose[0]), chosen, state


def inverse_similarity(crop: Tensor) -> Tensor:
    """The inverse (1,2,3) of a similarity (1,2,3), without a solver."""
    linear = crop[..., :2].transpose(-1, -2) / crop[..., 0, :2].square().sum(-1)[..., None, None]
    return torch.cat([linear, -linear @ crop[..., 2:]], -1)
