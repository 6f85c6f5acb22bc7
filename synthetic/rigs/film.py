"""Clips of rigs that are not ours, with known curves: a benchmark of what a tracker's curves mean.

    python -m selftrack.synthetic.rigs.film RIG TAKES OUT --clips 12 --seconds 10 --seed 0

writes clip00.mp4 and clip00.rig.npz, and so on. Each clip has another person (where the rig has an identity space),
skin, light, lens and motion of the head, and a stretch of one of the recordings.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import av
import cv2
import numpy as np
import typer

from selftrack.command import run
from selftrack.decoders.head.model import load_head
from selftrack.errors import UserError
from selftrack.io import atomic_path
from selftrack.synthetic import clip_render as draw
from selftrack.synthetic.cameras import project, rotation_matrix
from selftrack.synthetic.motion import wander
from selftrack.synthetic.people import Population
from selftrack.synthetic.rigs.opening import read_rig
from selftrack.synthetic.rigs.performance import COMMAND, SUFFIX, Performance, Take, read_takes
from selftrack.synthetic.rigs.rig import Rig
from selftrack.synthetic.rigs.surface import rig_surface
from selftrack.synthetic.scene import FPS, TEXTURE

STREAM = 5_280_917
"""Second word of all seeds here."""


@dataclass(frozen=True)
class FilmConfig:
    """What is drawn."""

    size: int = 512
    """Side of the frame in pixels."""
    distance: tuple[float, float] = (0.35, 1.5)
    """Camera to head, metres."""
    fill: tuple[float, float] = (0.5, 0.72)
    """Height of a head over that of the frame."""
    yaw: tuple[float, float] = (0.03, 0.35)
    """Root mean square of the head's turns, radians, drawn per clip."""
    pitch: float = 0.10
    """The same, up and down."""
    roll: float = 0.06
    """The same, towards a shoulder."""
    sway: float = 0.008
    """Of the head's position, metres."""
    people: float = 0.9
    """Standard deviation of the identity's components."""
    noise: tuple[float, float] = (0.004, 0.02)
    """Of the sensor."""
    blur: tuple[float, float] = (0.4, 0.9)
    """Defocus, standard deviation in pixels."""
    brightness: tuple[float, float] = (0.14, 0.3)
    """Median of the head, linear."""
    crf: int = 22
    """H.264's constant rate factor."""


class Film:
    """Films rigs; all randomness comes from the generators that are passed in."""

    def __init__(self, rig: Rig, config: FilmConfig | None = None) -> None:
        self.rig, self.config = rig, config or FilmConfig()
        self.head = load_head()
        self.skins = Population(self.head)
        self.surface = rig_surface(rig)

    def skin(self, rng: np.random.Generator) -> np.ndarray:
        """Draw an albedo (T,T,3), linear: the rig's own, or one of the head's skins with details."""
        if self.rig.texture is not None:
            return (self.rig.texture.astype(np.float32) / 255) ** draw.GAMMA

        def enlarged(image: np.ndarray) -> np.ndarray:
            return cv2.resize(image.astype(np.float32), (TEXTURE, TEXTURE), interpolation=cv2.INTER_CUBIC)

        person = self.skins.sample(rng)
        skin = enlarged(self.head.skin_texels.numpy()).clip(0, 1) * (1 - enlarged(self.skins.hair_mask)).clip(0, 1)
        beard = enlarged(self.skins.beard_mask).clip(0, 1)
        return draw.skin_detail(rng, enlarged(person.texture).clip(0.01, 1), skin, beard) ** draw.GAMMA

    def shoot(
        self, rng: np.random.Generator, curves: np.ndarray, times: np.ndarray
    ) -> tuple[Performance, Iterable[np.ndarray]]:
        """Draw a scene with curves (T,52) at times (T,): what is in it, and its frames (H,W,3) uint8 RGB."""
        c, rig = self.config, self.rig
        person = rig.person(rng.normal(0, c.people, len(rig.identity)))
        texture, lights = self.skin(rng), draw.sample_lights(rng)
        distance = np.exp(rng.uniform(*np.log(c.distance)))
        focal = rng.uniform(*c.fill) * c.size / 0.24 * distance
        middle = person.neutral[np.unique(rig.faces[rig.skin])].mean(0)
        amplitude = np.array([c.pitch, rng.uniform(*c.yaw), c.roll])
        angles = rng.normal(0, 1, 3) * [0.05, 0.1, 0.03] + amplitude * wander(rng, times, 3, 0.1, 0.6)
        turned = rotation_matrix(angles) @ middle
        place = np.array([*rng.normal(0, 0.05, 2) * c.size / focal * distance, distance])
        position = place + c.sway * wander(rng, times, 3, 0.1, 0.5) - turned
        size = (c.size, c.size)
        skin, faces = np.unique(rig.faces[rig.skin], return_inverse=True)
        performance = Performance(
            times,
            (curves * rig.known).astype(np.float32),
            rig.known,
            angles,
            position,
            focal,
            size,
            person.neutral[skin].astype(np.float32),
            faces.reshape(-1, 3),
        )
        background = draw.dead_leaves(rng, c.size) ** draw.GAMMA * rng.uniform(0.5, 1.1)
        noise, blur, brightness = rng.uniform(*c.noise), rng.uniform(*c.blur), rng.uniform(*c.brightness)

        def frames() -> Iterable[np.ndarray]:
            gain = 0.0
            for row in range(len(times)):
                picture, covered = self._draw(person, texture, lights, background, performance, row)
                gain = gain or brightness / float(np.median(picture[covered].mean(1)))
                yield draw.develop(rng, picture, gain, noise, blur)

        return performance, frames()

    def _draw(
        self,
        person: Rig,
        texture: np.ndarray,
        lights: draw.Lights,
        background: np.ndarray,
        performance: Performance,
        row: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The linear picture (H,W,3) of a frame at twice the size, averaged, and where the head is."""
        vertices = person.vertices(performance.curves[row].astype(float))
        placed = vertices @ rotation_matrix(performance.angles[row]).T + performance.position[row]
        flat = project(placed, performance.focal, performance.size)
        large = flat.copy()
        large[:, :2] = 2 * flat[:, :2] + 0.5
        picture = cv2.resize(background.astype(np.float32), None, fx=2, fy=2)
        covered = draw.draw_mesh(picture, large.astype(np.float32), placed, self.surface, texture, lights)
        return cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), covered[::2, ::2]


def film_clip(path: Path, film: Film, take: Take, seconds: float, seed: int, number: int) -> Performance:
    """Film a random stretch of a take, and write the clip (H.264 in MP4) and its performance; that comes last."""
    rng = np.random.default_rng([seed, STREAM, number])
    times = np.arange(round(min(seconds, take.times[-1]) * FPS)) / FPS
    begin = rng.uniform(0, max(take.times[-1] - times[-1], 0))
    performance, frames = film.shoot(rng, take.at(times + begin).clip(0, 1), times)
    with atomic_path(path) as part, av.open(str(part), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": str(film.config.crf), "preset": "medium"})
        stream.width, stream.height, stream.pix_fmt = *performance.size, "yuv420p"
        stream.codec_context.time_base = Fraction(1, FPS)
        for row, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = row, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    performance.save(path.with_name(path.stem + SUFFIX))
    return performance


def main(
    rig: Annotated[Path, typer.Argument(help="The rig: a .glb, or ICT-FaceKit as an .npz.")],
    takes: Annotated[Path, typer.Argument(help="Recordings of ARKit's curves: a CSV, or an .npz of several.")],
    folder: Annotated[Path, typer.Argument(help="Folder for the clips; clips that are there are kept.", metavar="OUT")],
    clips: Annotated[int, typer.Option(help="Number of clips (default 12).", min=1)] = 12,
    seconds: Annotated[float, typer.Option(help="Length of each clip at 30 frames/s (default 10).", min=0.2)] = 10.0,
    only: Annotated[list[str] | None, typer.Option(help="Use this take of several; may be repeated.")] = None,
    texture: Annotated[Path | None, typer.Option(help="A picture of the skin, in place of the .glb's own.")] = None,
    seed: Annotated[int, typer.Option(help="Random seed (default 0).", min=0)] = 0,
) -> None:
    """Film a rig with recorded curves."""
    known = [take for take in read_takes(takes) if not only or take.name in only]
    if not known:
        raise UserError(f"{takes}: no take named {', '.join(only or [])}")
    film = Film(read_rig(rig, load_head(), texture))
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(clips):
        path = folder / f"clip{number:02d}.mp4"
        if not path.with_name(path.stem + SUFFIX).exists():
            film_clip(path, film, known[number % len(known)], seconds, seed, number)
        print(path)


if __name__ == "__main__":
    run(COMMAND, film=main)
