"""Synthetic clips in the wild whose truth is known: other people, light, skins and cameras than the studio's.

    python -m selftrack.synthetic.clips OUT --clips 12 --frames 150 --seed 0

writes clip00.mp4 and clip00.truth.npz, and so on. The actors' shapes are off the model's basis by 1 mm, so that no code
is perfect; their faces move as in life (`selftrack.synthetic.performance`) and are drawn with another light than the
training pictures (`synthetic.clip_render`), with motion blur, noise, exposure drift, occluders and compression.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import av
import cv2
import numpy as np
import torch
import typer

from selftrack.command import run
from selftrack.decoders.base import Decoder
from selftrack.decoders.head.model import Head, load_head
from selftrack.decoders.landmarks import EYE_CORNERS, FACE_OVAL
from selftrack.errors import UserError
from selftrack.synthetic import clip_render as draw
from selftrack.synthetic.performance import Performance, PerformanceConfig, perform, wander
from selftrack.synthetic.studio import Person, Studio
from selftrack.synthetic.studio_render import mesh_normals
from selftrack.tracker.geometry.pose import angles_of, rotation

STREAM = 7_310_571  # third word of all seeds here: training captures are seeded with two, so nobody is in both
TEXTURE = 1024
FPS = 30

_COMMAND = "python -m selftrack.synthetic.clips"


@dataclass(frozen=True)
class SyntheticConfig:
    """What a clip looks like."""

    size: int = 512
    distance: tuple[float, float] = (0.3, 1.2)  # camera to head, metres
    fill: tuple[float, float] = (0.5, 0.72)  # height of the head over that of the frame
    off_basis: float = 1.0  # root mean square over the face of what no code can reach, millimetres
    off_basis_acting: float = 0.5  # the same for what comes with strong expressions
    exposures: int = 4  # instants averaged in a frame, each at another place within the pixel
    shutter: tuple[float, float] = (0.2, 0.7)  # of the frame's time
    occluder: float = 0.34  # share of clips in which a hand passes before the face
    blur: tuple[float, float] = (0.4, 1.0)  # defocus, standard deviation in pixels
    brightness: tuple[float, float] = (0.12, 0.32)  # median of the head, linear: 0.2 is middle grey
    crf: tuple[int, int] = (25, 29)
    relit: bool = False  # lamps that swing, fade and change colour, see `synthetic_render.relight`
    motion: PerformanceConfig = PerformanceConfig()


HARD = SyntheticConfig(
    shutter=(0.4, 1.0), occluder=0.7, blur=(0.4, 3.0), motion=PerformanceConfig(yaw=(0.3, 0.8), pitch=0.2, sway=0.02)
)
"""Where trackers fail: profiles, hands, blur."""


@dataclass(frozen=True)
class Truth:
    """What is in a clip of T frames. Camera frame: metres, x right, y down, z away from the camera."""

    times: np.ndarray  # (T,) float64, seconds
    vertices: np.ndarray  # (T,V,3) float32, metres in the head frame
    angles: np.ndarray  # (T,3) rx, ry, rz of R = Rz Ry Rx from the head frame to the camera's, radians
    position: np.ndarray  # (T,3) of the head's origin in the camera frame, metres
    focal: float  # pixels
    size: tuple[int, int]  # width, height of the frame
    curves: np.ndarray  # (T,52) float32 ARKit values, 0..1
    identity: np.ndarray  # (60,) code nearest to the actor's shape
    occluded: np.ndarray  # (T,) share of the head's pixels behind something, 0..1

    def __len__(self) -> int:
        return len(self.times)

    def in_image(self, rows: slice = slice(None)) -> np.ndarray:
        """Vertices (T,V,3) float32 in the image frame: x, y in pixels; depth in pixels at the head's distance."""
        turned = self.vertices[rows] @ _matrices(self.angles[rows]).transpose(0, 2, 1)
        return project(turned + self.position[rows, None], self.focal, self.size).astype(np.float32)

    def seen_angles(self) -> np.ndarray:
        """(T,3) rx, ry, rz in radians against the ray through the head's origin.

        A weak-perspective tracker cannot tell a head beside the axis that is turned from one that is not: this is
        the turn that its picture shows.
        """
        ray = self.position / np.linalg.norm(self.position, axis=1, keepdims=True)
        axis = np.cross(np.array([0.0, 0.0, 1.0]), ray)
        half = np.sqrt((1 + ray[:, 2:]) / 2)  # of the angle between axis and ray: w and |sin| of the quaternion
        to_ray = _quaternion_matrix(np.concatenate([half, axis / (2 * half)], 1))
        return angles_of(torch.from_numpy(to_ray.transpose(0, 2, 1) @ _matrices(self.angles))).numpy()

    def save(self, path: Path) -> None:
        """Write the file; it gets its name only when it is complete."""
        part = path.with_name("." + path.name)
        with part.open("wb") as file:
            np.savez(file, **{f.name: np.asarray(getattr(self, f.name)) for f in fields(self)})
        os.replace(part, path)


def load_truth(path: Path) -> Truth:
    """Read what `Truth.save` wrote. Raises ValueError when it is something else."""
    with np.load(path, allow_pickle=False) as data:
        if set(data.files) != {f.name for f in fields(Truth)}:
            raise UserError(f"{path}: not the truth of a synthetic clip; make some with: {_COMMAND}")
        values = {name: data[name] for name in data.files}
    return Truth(**values | {"focal": float(values["focal"]), "size": tuple(values["size"].tolist())})


def find_clips(folder: Path) -> list[tuple[Path, Path]]:
    """Clips in `folder` with their truths, sorted. Raises ValueError when there are none."""
    truths = sorted(Path(folder).glob("clip*.truth.npz"))
    if not truths:
        raise UserError(f"{folder}: no synthetic clips there; make them with: {_COMMAND} {folder}")
    return [(path.with_name(path.name.removesuffix(".truth.npz") + ".mp4"), path) for path in truths]


def project(points: np.ndarray, focal: float, size: tuple[int, int]) -> np.ndarray:
    """Points (...,V,3) in metres in the camera frame -> x, y in pixels and depth as far as x and y are magnified."""
    middle = (np.array(size) - 1) / 2
    depth = points[..., 2:]
    scale = focal / depth.mean(-2, keepdims=True)
    return np.concatenate([focal * points[..., :2] / depth + middle, depth * scale], -1)


def face_vertices(head: Decoder) -> np.ndarray:
    """(V,) bool: vertices of the skin within the outline of the mean face, seen from the front; no neck, no ears."""
    mean = head.mean.numpy()
    outline = head.landmarks478(head.mean[None])[0, list(FACE_OVAL)].numpy()
    hull = cv2.convexHull(np.round(1e5 * outline[:, :2]).astype(np.int32))
    inside = [cv2.pointPolygonTest(hull, tuple((1e5 * p).tolist()), False) >= 0 for p in mean[:, :2]]
    return np.array(inside) & head.skin_vertices.numpy() & (mean[:, 2] <= outline[:, 2].max())


def smooth_field(rng: np.random.Generator, points: np.ndarray, length: float) -> np.ndarray:
    """A random smooth displacement (V,3) at points (V,3): a Gaussian process of that length scale, about 1 strong."""
    waves = rng.normal(0, 1 / length, (points.shape[1], 128))
    phase, weight = rng.uniform(0, 2 * np.pi, 128), rng.normal(0, 1, (128, 3))
    return np.cos(points @ waves + phase) @ weight * np.sqrt(2 / 128)


class OffBasis:
    """Displacements of the head's vertices that no code, turn, shift or scale makes."""

    LENGTH = 0.02  # metres
    ELSEWHERE = 0.2  # weight of vertices outside the face in the projection

    def __init__(self, head: Head) -> None:
        self.mean, self.face = head.mean.numpy().astype(float), face_vertices(head)
        shapes = head.shapes.numpy().astype(float).reshape(len(head.shapes), -1)
        shifts = np.tile(np.eye(3), (1, len(self.mean)))
        turns = [np.cross(axis, self.mean).ravel() for axis in np.eye(3)]
        self.basis = np.concatenate([shapes, shifts, turns, [self.mean.ravel()]]).T  # (3V,119)
        self.weight = np.repeat(np.where(self.face, 1.0, self.ELSEWHERE), 3)
        self.q = np.linalg.qr(self.weight[:, None] * self.basis)[0]

    def __call__(self, rng: np.random.Generator, size: float) -> np.ndarray:
        """(V,3) metres with a root mean square distance of `size` metres over the face."""
        field = self.weight * smooth_field(rng, self.mean, self.LENGTH).ravel()
        rest = ((field - self.q @ (self.q.T @ field)) / self.weight).reshape(-1, 3)
        return rest * size / np.sqrt((rest[self.face] ** 2).sum(1).mean())


@dataclass(frozen=True)
class Actor:
    """A person with a skin and a shape of their own."""

    person: Person
    texture: np.ndarray  # (T,T,3) float32, linear albedo
    shape: np.ndarray  # (V,3) metres, off the basis
    acting: np.ndarray  # (52,V,3) metres, the same per expression


class Stage:
    """Draws clips; all randomness comes from the generators that are passed in."""

    def __init__(self, config: SyntheticConfig | None = None) -> None:
        self.config = config or SyntheticConfig()
        self.head = load_head()
        self.studio = Studio(self.head)
        self.off_basis = OffBasis(self.head)
        head, studio = self.head, self.studio
        parts = np.array(head.part_names)[head.face_parts.numpy()]
        eye = np.isin(parts, ("eye_left", "eye_right"))
        within = np.isin(parts, ("mouth", "tongue", "teeth_upper", "teeth_lower"))
        cavity = np.char.startswith(parts, "cavity")
        gloss, sharp = np.where(eye, 4.0, 1.0), np.where(eye, 20.0, 1.0)
        reach = np.select([within, cavity, eye], [0.3, 0.5, 0.75], 1.0)
        normals = mesh_normals(studio.mean, studio.faces)
        nose = studio.mean[:, 2].argmin()  # its normal points to the front (-z)
        outward = float(-np.sign(normals[nose, 2]))
        self.surface = draw.Surface(studio.faces, studio.uv_faces, studio.uvs, gloss, sharp, reach, outward)

    def cast(self, rng: np.random.Generator) -> Actor:
        """A random actor."""
        person, config = self.studio.sample_person(rng), self.config

        def enlarged(image: np.ndarray) -> np.ndarray:
            return cv2.resize(image.astype(np.float32), (TEXTURE, TEXTURE), interpolation=cv2.INTER_CUBIC)

        skin = enlarged(self.head.skin_texels.numpy()).clip(0, 1) * (1 - enlarged(self.studio.hair_mask)).clip(0, 1)
        beard = enlarged(self.studio.beard_mask).clip(0, 1)
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
        """Vertices (V,3) in metres in the head frame at curves (52,)."""
        on_basis = self.studio.geometry(actor.person, curves.astype(np.float32))
        return on_basis + actor.shape + np.tensordot(curves, actor.acting, 1)

    def shoot(self, rng: np.random.Generator, frames: int, actor: Actor | None = None) -> tuple[Scene, Truth]:
        """A scene, to be drawn frame by frame, and what is in it; with a random actor unless one is given."""
        config = self.config
        actor, lights = actor or self.cast(rng), draw.sample_lights(rng)
        near, far = np.log(config.distance)
        distance = np.exp(rng.uniform(near, far))
        focal = rng.uniform(*config.fill) * config.size / 0.24 * distance  # a head is 0.24 m high
        place = np.array([*rng.normal(0, 0.08, 2) * config.size / focal * distance, distance])
        times = np.arange(frames) / FPS
        opened = rng.uniform(*config.shutter) / FPS
        instants = (times[:, None] + opened * ((np.arange(config.exposures) + 0.5) / config.exposures - 0.5)).ravel()
        # one performance, at the instants that are drawn and at the frames' own times; it begins before the first one
        acted = perform(rng, np.concatenate([instants, times]) + opened, frames / FPS + 2 * opened, config.motion)
        drawn, exact = acted.part(slice(len(instants))), acted.part(slice(len(instants), None))
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
        performance: Performance,
        place: np.ndarray,
        focal: float,
        times: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        self.stage, self.actor, self.performance = stage, actor, performance
        self.lights = [draw.relight(lights, time) if stage.config.relit else lights for time in times]
        self.place, self.focal, self.rng = place, focal, rng
        size = stage.config.size
        self.size = (size, size)
        self.background = draw.dead_leaves(rng, size) ** draw.GAMMA * rng.uniform(0.5, 1.1)
        self.cloth = (rng.uniform(0.02, 0.6) * (1 + rng.normal(0, 0.2, 3))).clip(0.01, 0.9)
        self.noise, self.blur = rng.uniform(0.004, 0.03), rng.uniform(*stage.config.blur)
        self.hand = draw.hand_sprite(rng) if rng.random() < stage.config.occluder else None
        head = focal * place[:2] / place[2] + (size - 1) / 2
        self.sweep = _sweep(rng, times, size, focal / place[2], head) if self.hand is not None else None
        picture, head = self._instant(0, np.zeros(2))
        exposed = rng.uniform(*stage.config.brightness) / float(np.median(picture[head].mean(1)))
        self.gain = exposed * np.exp(0.07 * wander(rng, times, 1, 0.05, 0.5)[:, 0])

    def frame(self, row: int) -> tuple[np.ndarray, float]:
        """Frame (H,W,3) uint8 RGB, and the share of the head that something hides."""
        count = self.stage.config.exposures
        light = np.zeros((*self.size, 3), np.float32)
        for k in range(count):
            # a place of its own within the pixel for each instant: smooth edges
            jitter = (np.array([k % 2, k // 2 % 2]) - 0.5) / 2
            picture, head = self._instant(row * count + k, jitter)
            light += picture / count
        hidden = 0.0
        if self.hand is not None:
            at, side, turn = self.sweep[row, :2], self.sweep[row, 2], self.sweep[row, 3]
            hand = self.hand.copy()
            hand[..., :3] *= (self.lights[row].colours.sum(0) * 0.6 + self.lights[row].sky).astype(np.float32)
            hidden = float(draw.paste(light, hand, at, side, turn)[head].mean()) if head.any() else 0.0
        return draw.develop(self.rng, light, self.gain[row], self.noise, self.blur), hidden

    def _instant(self, index: int, jitter: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Linear picture (H,W,3) of one instant, and where the head is (H,W)."""
        stage, person = self.stage, self.actor.person
        lights = self.lights[index // stage.config.exposures]
        turn = _matrices(self.performance.angles[index])
        position = self.place + self.performance.offset[index]
        shape = stage.shape(self.actor, self.performance.curves[index])
        normals = stage.surface.outward * mesh_normals(shape, stage.surface.faces)
        placed = (shape + normals * person.hair[:, None]) @ turn.T + position

        def to_picture(points: np.ndarray) -> np.ndarray:
            flat = project(points, self.focal, self.size)
            return np.concatenate([flat[:, :2] + jitter, flat[:, 2:]], 1)

        picture = self.background.astype(np.float32).copy()
        ambient = (lights.sky + lights.colours.sum(0)) * 0.6
        if person.mane is not None:
            ring = draw.mane(person.mane[0]) @ turn.T + position
            draw.fill(picture, to_picture(ring), person.mane[1] ** draw.GAMMA * ambient)
        draw.fill(picture, to_picture(draw.shoulders(position)), self.cloth * ambient, hull=False)
        head = draw.draw_mesh(
            picture, to_picture(placed).astype(np.float32), placed, stage.surface, self.actor.texture, lights
        )
        if person.glasses is not None:
            radius, colour = person.glasses
            for line in draw.glasses(radius, stage.studio.landmarks(shape)[list(EYE_CORNERS)]):
                xy = to_picture(line @ turn.T + position)[:, :2]
                width = max(round(0.0025 * self.focal / position[2]), 1)
                ink = (colour**draw.GAMMA * ambient).tolist()
                cv2.polylines(picture, [np.round(xy * 16).astype(np.int32)], False, ink, width, cv2.LINE_AA, 4)
        return picture, head


def _sweep(rng: np.random.Generator, times: np.ndarray, size: int, scale: float, head: np.ndarray) -> np.ndarray:
    """(T,4) x, y, side in pixels and turn of a hand that comes from below before the head, stays and leaves."""
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
    turn = rng.uniform(-0.6, 0.6) + 0.1 * wander(rng, times, 1, 0.2, 1)
    return np.concatenate([at, np.full((len(times), 1), side), turn], 1)


def _smooth(x: np.ndarray) -> np.ndarray:
    return x * x * (3 - 2 * x)


def _matrices(angles: np.ndarray) -> np.ndarray:
    return rotation(torch.from_numpy(np.asarray(angles, float))).numpy()


def _quaternion_matrix(q: np.ndarray) -> np.ndarray:
    """Rotations (N,3,3) of unit quaternions (N,4), w first."""
    w, x, y, z = q.T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.array(rows).transpose(2, 0, 1)


def make_clip(
    path: Path,
    seed: int,
    number: int,
    frames: int,
    config: SyntheticConfig | None = None,
    actor: Actor | None = None,
) -> Truth:
    """Write clip `number` of a seed to `path` (H.264 in MP4), and its truth beside it; the truth comes last."""
    rng = np.random.default_rng([seed, number, STREAM])
    stage = Stage(config)
    scene, truth = stage.shoot(rng, frames, actor)
    crf = int(rng.integers(stage.config.crf[0], stage.config.crf[1] + 1))
    part = path.with_name("." + path.name)
    with av.open(str(part), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": str(crf), "preset": "medium"})
        stream.width, stream.height, stream.pix_fmt = *truth.size, "yuv420p"
        stream.codec_context.time_base = Fraction(1, FPS)
        for row in range(frames):
            image, truth.occluded[row] = scene.frame(row)
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = row, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    os.replace(part, path)
    truth.save(path.with_name(path.stem + ".truth.npz"))
    return truth


def main(
    folder: Annotated[Path, typer.Argument(help="Where the clips go; those there are kept.", metavar="OUT")],
    clips: Annotated[int, typer.Option(help="How many.", min=1)] = 12,
    frames: Annotated[int, typer.Option(help="Of each, at 30 a second.", min=2)] = 150,
    seed: Annotated[int, typer.Option(help="Of all that is random.", min=0)] = 0,
    hard: Annotated[bool, typer.Option("--hard", help="Profiles, hands and blur, to learn when not to trust.")] = False,
    relit: Annotated[bool, typer.Option("--relit", help="Light that changes all the time.")] = False,
) -> None:
    """Make synthetic clips with their truth."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(clips):
        path = folder / f"clip{number:02d}.mp4"
        if not path.with_name(path.stem + ".truth.npz").exists():
            make_clip(path, seed, number, frames, replace(HARD if hard else SyntheticConfig(), relit=relit))
        print(path)


if __name__ == "__main__":
    run("python -m selftrack.synthetic.clips", synthetic=main)
