"""Scenes of clips in the wild: actor, motion, light and camera are drawn at random, then the frames that they give."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from selftrack.decoders.head.model import load_head
from selftrack.decoders.landmarks import EYE_CORNERS
from selftrack.synthetic import clip_render as draw
from selftrack.synthetic.cameras import project, rotation_matrix
from selftrack.synthetic.motion import Motion, MotionConfig, sample_motion, wander
from selftrack.synthetic.people import Actor, OffBasis, Population
from selftrack.synthetic.studio_render import mesh_normals
from selftrack.synthetic.truth import Truth

TEXTURE = 1024
"""Side of an actor's albedo in texels."""
FPS = 30


@dataclass(frozen=True)
class SyntheticConfig:
    """What is drawn in a clip, and how."""

    size: int = 512
    """Side of the frame in pixels."""
    distance: tuple[float, float] = (0.3, 1.2)
    """Camera to head, metres."""
    fill: tuple[float, float] = (0.5, 0.72)
    """Height of the head over that of the frame."""
    off_basis: float = 1.0
    """Root mean square over the face of what no code can reach, millimetres."""
    off_basis_acting: float = 0.5
    """The same for what comes with strong expressions."""
    exposures: int = 4
    """Instants averaged in a frame, each at another place within the pixel."""
    shutter: tuple[float, float] = (0.2, 0.7)
    """Time that the shutter is open, over the frame's."""
    occluder: float = 0.34
    """Share of clips in which a hand passes before the face."""
    blur: tuple[float, float] = (0.4, 1.0)
    """Defocus, standard deviation in pixels."""
    noise: tuple[float, float] = (0.004, 0.03)
    """Of the sensor, see `clip_render.develop`."""
    brightness: tuple[float, float] = (0.12, 0.32)
    """Median of the head, linear: 0.2 is middle grey."""
    drift: float = 0.07
    """Root mean square of the logarithm of the exposure, which wanders."""
    crf: tuple[int, int] = (25, 29)
    """H.264's constant rate factor."""
    relit: bool = False
    """Lamps that swing, fade and change colour, see `clip_render.relight`."""
    motion: MotionConfig = MotionConfig()


HARD = SyntheticConfig(
    shutter=(0.4, 1.0), occluder=0.7, blur=(0.4, 3.0), motion=MotionConfig(yaw=(0.3, 0.8), pitch=0.2, sway=0.02)
)
"""Where trackers fail: profiles, hands, blur."""


class Stage:
    """Draws clips; all randomness comes from the generators that are passed in."""

    def __init__(self, config: SyntheticConfig | None = None) -> None:
        self.config = config or SyntheticConfig()
        self.head = load_head()
        self.people = Population(self.head)
        self.off_basis = OffBasis(self.head)
        head, people = self.head, self.people
        parts = np.array(head.part_names)[head.face_parts.numpy()]
        eye = np.isin(parts, ("eye_left", "eye_right"))
        within = np.isin(parts, ("mouth", "tongue", "teeth_upper", "teeth_lower"))
        cavity = np.char.startswith(parts, "cavity")
        gloss, sharp = np.where(eye, 4.0, 1.0), np.where(eye, 20.0, 1.0)
        reach = np.select([within, cavity, eye], [0.3, 0.5, 0.75], 1.0)
        normals = mesh_normals(people.mean, people.faces)
        nose = people.mean[:, 2].argmin()  # its normal points to the front (-z)
        outward = float(-np.sign(normals[nose, 2]))
        self.surface = draw.Surface(people.faces, people.uv_faces, people.uvs, gloss, sharp, reach, outward)

    def cast(self, rng: np.random.Generator) -> Actor:
        """Draw an actor."""
        person, config = self.people.sample(rng), self.config

        def enlarged(image: np.ndarray) -> np.ndarray:
            return cv2.resize(image.astype(np.float32), (TEXTURE, TEXTURE), interpolation=cv2.INTER_CUBIC)

        skin = enlarged(self.head.skin_texels.numpy()).clip(0, 1) * (1 - enlarged(self.people.hair_mask)).clip(0, 1)
        beard = enlarged(self.people.beard_mask).clip(0, 1)
        texture = draw.skin_detail(rng, enlarged(person.texture).clip(0.01, 1), skin, beard)
        # a few fields, shared by expressions at random: a raised brow also does something to the forehead's sides
        modes = np.stack([self.off_basis(rng, 1e-3 * config.off_basis_acting) for _ in range(4)])
        shares = rng.normal(0, 0.6, (52, 4)) * (rng.random((52, 4)) < 0.5)
        return Actor(
            person,
            texture**draw.GAMMA,
            self.off_basis(rng, 1e-3 * config.off_basis),
            np.tensordot(shares, modes, 1),
        )

    def shape(self, actor: Actor, curves: np.ndarray) -> np.ndarray:
        """Compute vertices (V,3) in metres in the head frame at curves (52,)."""
        on_basis = self.people.geometry(actor.person, curves.astype(np.float32))
        return on_basis + actor.shape + np.tensordot(curves, actor.acting, 1)

    def shoot(
        self, rng: np.random.Generator, frames: int, actor: Actor | None = None, fps: float = FPS
    ) -> tuple[Scene, Truth]:
        """Draw a scene, whose frames can then be drawn, and what is in it; by default with a random actor.

        The same generator draws the same scene at any rate `fps` at which the frames last as long.
        """
        config = self.config
        actor, lights = actor or self.cast(rng), draw.sample_lights(rng)
        near, far = np.log(config.distance)
        distance = np.exp(rng.uniform(near, far))
        focal = rng.uniform(*config.fill) * config.size / 0.24 * distance  # a head is 0.24 m high
        place = np.array([*rng.normal(0, 0.08, 2) * config.size / focal * distance, distance])
        times = np.arange(frames) / fps
        opened = rng.uniform(*config.shutter) / fps
        instants = (times[:, None] + opened * ((np.arange(config.exposures) + 0.5) / config.exposures - 0.5)).ravel()
        # one motion, at the instants that are drawn and at the frames' own times; it begins before the first one
        every = np.concatenate([instants, times]) + opened
        motion = sample_motion(rng, every, frames / fps + 2 * opened, config.motion)
        drawn, exact = motion.part(slice(len(instants))), motion.part(slice(len(instants), None))
        scene = Scene(self, actor, lights, drawn, place, focal, times, rng)
        vertices = np.stack([self.shape(actor, c) for c in exact.curves]).astype(np.float32)
        truth = Truth(
            times,
            vertices,
            exact.angles,
            place + exact.offset,
            focal,
            (config.size, config.size),
            exact.curves.astype(np.float32),
            actor.person.identity,
            np.zeros(frames),
        )
        return scene, truth


class Scene:
    """One clip in the making: what stands still, and how each frame is drawn."""

    def __init__(
        self,
        stage: Stage,
        actor: Actor,
        lights: draw.Lights,
        motion: Motion,
        place: np.ndarray,
        focal: float,
        times: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        self.stage, self.actor, self.motion = stage, actor, motion
        self.lights = [draw.relight(lights, time) if stage.config.relit else lights for time in times]
        self.place, self.focal, self.rng = place, focal, rng
        size = stage.config.size
        self.size = (size, size)
        self.background = draw.dead_leaves(rng, size) ** draw.GAMMA * rng.uniform(0.5, 1.1)
        self.cloth = (rng.uniform(0.02, 0.6) * (1 + rng.normal(0, 0.2, 3))).clip(0.01, 0.9)
        self.noise, self.blur = rng.uniform(*stage.config.noise), rng.uniform(*stage.config.blur)
        self.hand = draw.hand_sprite(rng) if rng.random() < stage.config.occluder else None
        head = focal * place[:2] / place[2] + (size - 1) / 2
        self.sweep = _sweep(rng, times, size, focal / place[2], head) if self.hand is not None else None
        picture, head = self._instant(0, np.zeros(2))
        exposed = rng.uniform(*stage.config.brightness) / float(np.median(picture[head].mean(1)))
        self.gain = exposed * np.exp(stage.config.drift * wander(rng, times, 1, 0.05, 0.5)[:, 0])

    def frame(self, row: int) -> tuple[np.ndarray, float]:
        """Draw a frame (H,W,3) uint8 RGB; also returns the share of the head that something hides."""
        count = self.stage.config.exposures
        light = np.zeros((*self.size, 3), np.float32)
        for k in range(count):
            # a place of its own within the pixel for each instant: smooth edges
            jitter = (np.array([k % 2, k // 2 % 2]) - 0.5) / 2
            picture, head = self._instant(row * count + k, jitter)
            light += picture / count
        hidden = 0.0
        if self.hand is not None and self.sweep is not None:
            at, side, angle = self.sweep[row, :2], self.sweep[row, 2], self.sweep[row, 3]
            hand = self.hand.copy()
            hand[..., :3] *= (self.lights[row].colours.sum(0) * 0.6 + self.lights[row].sky).astype(np.float32)
            hidden = float(draw.paste(light, hand, at, side, angle)[head].mean()) if head.any() else 0.0
        return draw.develop(self.rng, light, self.gain[row], self.noise, self.blur), hidden

    def _instant(self, index: int, jitter: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Draw the linear picture (H,W,3) of one instant; also returns where the head is (H,W)."""
        stage, person = self.stage, self.actor.person
        lights = self.lights[index // stage.config.exposures]
        rotation = rotation_matrix(self.motion.angles[index])
        position = self.place + self.motion.offset[index]
        shape = stage.shape(self.actor, self.motion.curves[index])
        normals = stage.surface.outward * mesh_normals(shape, stage.surface.faces)
        placed = (shape + normals * person.hair[:, None]) @ rotation.T + position

        def to_picture(points: np.ndarray) -> np.ndarray:
            flat = project(points, self.focal, self.size)
            return np.concatenate([flat[:, :2] + jitter, flat[:, 2:]], 1)

        picture = self.background.astype(np.float32).copy()
        ambient = (lights.sky + lights.colours.sum(0)) * 0.6
        if person.mane is not None:
            ring = draw.mane(person.mane[0]) @ rotation.T + position
            draw.fill(picture, to_picture(ring), person.mane[1] ** draw.GAMMA * ambient)
        draw.fill(picture, to_picture(draw.shoulders(position)), self.cloth * ambient, hull=False)
        head = draw.draw_mesh(
            picture, to_picture(placed).astype(np.float32), placed, stage.surface, self.actor.texture, lights
        )
        if person.glasses is not None:
            radius, colour = person.glasses
            for line in draw.glasses(radius, stage.people.landmarks(shape)[list(EYE_CORNERS)]):
                xy = to_picture(line @ rotation.T + position)[:, :2]
                width = max(round(0.0025 * self.focal / position[2]), 1)
                ink = (colour**draw.GAMMA * ambient).tolist()
                cv2.polylines(picture, [np.round(xy * 16).astype(np.int32)], False, ink, width, cv2.LINE_AA, 4)
        return picture, head


def _sweep(rng: np.random.Generator, times: np.ndarray, size: int, scale: float, head: np.ndarray) -> np.ndarray:
    """Draw the path (T,4) of a hand that comes from below before the head, stays and leaves.

    Its columns are x, y and side in pixels, and the angle in radians.
    """
    begin = rng.uniform(0.15, 0.6) * times[-1]
    stay, move = rng.uniform(0.3, 1.2), 0.5
    side = 0.24 * scale
    target = head + rng.normal(0, [0.05, 0.04]) * scale + [0, 0.05 * scale]
    away = target + np.array([rng.normal(0, 0.1), 0.32]) * scale
    away[1] = max(away[1], size + 0.55 * side)
    come = ((times - begin) / move).clip(0, 1)
    leave = ((times - begin - move - stay) / move).clip(0, 1)
    near = _smooth(come) - _smooth(leave)
    at = away + near[:, None] * (target - away) + 0.006 * scale * wander(rng, times, 2, 0.3, 1.5)
    angle = rng.uniform(-0.6, 0.6) + 0.1 * wander(rng, times, 1, 0.2, 1)
    return np.concatenate([at, np.full((len(times), 1), side), angle], 1)


def _smooth(x: np.ndarray) -> np.ndarray:
    """Ease 0..1 with no velocity at both ends."""
    return x * x * (3 - 2 * x)
