"""Fixtures shared by the tests: the bundled clip, small clips and tracks made on the fly."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from selftrack.decoders.capture.light_stage import Performance, Studio
from selftrack.decoders.head.model import load_head
from selftrack.tracker.results.track_file import Track

# Processes that tests start import what the tests define. It comes last: before PYTHONPATH, the sources' own folder
# selftrack would stand for the package, and the rest would come from wherever that is installed.
sys.path.append(str(Path(__file__).parents[1]))

DATA = Path(__file__).parent / "data"
SCORER = Path(__file__).parents[2] / "shared" / "bench" / "score.py"


@pytest.fixture(scope="session")
def smile() -> Path:
    """The bundled clip: 640x360, 30 frames/s, 72 frames, neutral to smile and back, with sound."""
    return DATA / "smile.mp4"


@pytest.fixture(scope="session")
def drawn_person() -> Callable[[int, int], list[np.ndarray]]:
    """Draws pictures (192,192,3) uint8 of a person who never was, by a seed: each from another side, in other light."""
    from selftrack.synthetic.studio import Studio, StudioConfig

    studio = Studio(load_head(), StudioConfig())

    def draw(seed: int, count: int = 1) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        person = studio.people.sample(rng)
        return [studio.shoot(rng, person, np.zeros(52, np.float32)).picture for _ in range(count)]

    return draw


@pytest.fixture(scope="session")
def scorer() -> ModuleType:
    """An independent program with the same figures; it is not part of the project."""
    if not SCORER.exists():
        pytest.skip("no independent scorer")
    spec = importlib.util.spec_from_file_location("scorer", SCORER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def light_stage(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Studio]:
    """A small synthetic light stage: a grey actor who opens the mouth, before cameras of one colour."""

    def build(name: str = "stage", gloss: float = 0.0, turn: float = 0.0, frames: int = 2, cameras: int = 13) -> Studio:
        head, folder = load_head(), tmp_path_factory.mktemp("capture") / name
        curves = np.zeros((frames, 52), np.float32)
        curves[:, head.expression_names.index("jawOpen")] = 0.8 * np.linspace(0, 1, frames)
        Performance(
            neutral=head.mean.numpy(),
            shapes=head.shapes[head.expression].numpy(),
            albedo=np.full((16, 16, 3), 0.3, np.float16),
            gloss=gloss,
            sharpness=12.0,
            curves=curves,
            angles=np.array([[0, turn, 0]] * frames),
            offset=np.zeros((frames, 3)),
            camera_gain=np.ones((cameras, 3)),
        ).save(folder)
        return Studio(folder)

    return build


class _Here(Executor):
    """Does in this process, at once, what a pool of processes would do."""

    def __init__(self, *of_the_pool: object) -> None:
        pass

    def submit(self, work: Callable, /, *arguments: object) -> Future:
        done: Future = Future()
        done.set_result(work(*arguments))
        return done


@pytest.fixture
def drawn_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Captures are drawn in this process: others would have to load everything first, and draw the same."""
    monkeypatch.setattr("selftrack.synthetic.captures.ProcessPoolExecutor", _Here)


@pytest.fixture(scope="session")
def draw_captures() -> Callable[..., list[Path]]:
    """`make_captures` likewise, for fixtures that are made once."""
    from selftrack.synthetic import captures

    def draw(*arguments: object, **settings: object) -> list[Path]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(captures, "ProcessPoolExecutor", _Here)
            return captures.make_captures(*arguments, workers=1, **settings)

    return draw


SIDE, TEXELS, SPREAD = 9, 64, 50.0  # vertices along a side, side of the textures, half width in millimetres


@dataclass(frozen=True)
class Layout:
    """What a folder in Multiface's layout was made from; millimetres, the head's y up and z towards the camera."""

    folder: Path
    vertices: dict[str, np.ndarray]  # by frame (V,3)
    turn: np.ndarray  # (3,3) of the head in the world
    place: np.ndarray  # (3,)
    cameras: dict[str, tuple[np.ndarray, np.ndarray]]  # intrinsics (3,3), extrinsics (3,4)
    texture: np.ndarray  # (T,T,3) uint8 of every picture, top row first


@pytest.fixture
def multiface(tmp_path: Path) -> Callable[..., Layout]:
    """Writes a small capture as Multiface publishes them: a dome whose height changes from frame to frame."""

    def write(frames: int = 10, name: str = "m--0000--GHS") -> Layout:
        folder = tmp_path / name
        rng = np.random.default_rng(0)
        x, y = np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE))
        height = 0.5 * (1 - x**2) * (1 - y**2)
        at = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
        a, b, c, d = at[:-1, :-1].ravel(), at[:-1, 1:].ravel(), at[1:, 1:].ravel(), at[1:, :-1].ravel()
        faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]) + 1
        uv = np.stack([(x + 1) / 2, (y + 1) / 2], -1).reshape(-1, 2)  # OBJ: v up, as y
        turn = Rotation.from_euler("xyz", [4, -6, 3], degrees=True).as_matrix()
        place = np.array([10.0, -20.0, 30.0])
        flip = np.diag([1.0, -1, -1])  # a world with y up, seen by a camera with y down
        cameras = {}
        for number, yaw in enumerate((-30, 0, 30)):
            around = Rotation.from_euler("y", yaw, degrees=True).as_matrix()
            extrinsics = np.concatenate([around @ flip, [[0], [0], [1000.0]]], 1)
            cameras[f"40000{number}"] = (np.array([[900.0, 0, 63.5], [0, 900, 47.5], [0, 0, 1]]), extrinsics)
        texture = rng.integers(40, 220, (8, 8, 3)).astype(np.uint8)
        texture = cv2.resize(texture, (TEXELS, TEXELS), interpolation=cv2.INTER_NEAREST)
        texture[:8, :8] = 0  # a hole at the top left
        vertices = {}
        segment = "E001_Neutral_Eyes_Open"
        for frame in range(frames):
            label = f"{100 + 3 * frame:06d}"
            bent = height * (1 + 0.5 * np.sin(frame))
            vertices[label] = (SPREAD * np.stack([x, y, bent], -1)).reshape(-1, 3).astype(np.float32)
            mesh = folder / "tracked_mesh" / segment
            mesh.mkdir(parents=True, exist_ok=True)
            vertices[label].tofile(mesh / f"{label}.bin")
            np.savetxt(mesh / f"{label}_transform.txt", np.concatenate([turn, place[:, None]], 1))
            lines = [f"v {p[0]} {p[1]} {p[2]}" for p in vertices[label]] + [f"vt {u} {v}" for u, v in uv]
            lines += ["f " + " ".join(f"{i}/{i}" for i in face) for face in faces]
            (mesh / f"{label}.obj").write_text("\n".join(lines))
            for camera in (*cameras, "average"):
                unwrapped = folder / "unwrapped_uv_1024" / segment / camera
                unwrapped.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(unwrapped / f"{label}.png"), texture[..., ::-1])
            for camera in cameras:
                images = folder / "images" / segment / camera
                images.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(images / f"{label}.png"), np.full((96, 128, 3), 90, np.uint8))
        (folder / "frame_list.txt").write_text("".join(f"{segment} {label}\n" for label in vertices))
        rows = []
        for camera, (intrinsics, extrinsics) in cameras.items():
            rows += [camera, *(" ".join(map(str, row)) for row in intrinsics), "0 0 0 0 0"]
            rows += [*(" ".join(map(str, row)) for row in extrinsics), ""]
        (folder / "KRT").write_text("\n".join(rows))
        np.mean(list(vertices.values()), 0).astype(np.float32).tofile(folder / "vert_mean.bin")
        cv2.imwrite(str(folder / "tex_mean.png"), texture[..., ::-1])
        return Layout(folder, vertices, turn, place, cameras, texture)

    return write


@pytest.fixture
def make_clip(tmp_path: Path) -> Callable[..., Path]:
    """Write a clip of given frames and timestamps: `make_clip("a.mp4", images, pts, tick, codec)`."""

    def make(
        name: str,
        images: Sequence[np.ndarray],
        pts: Sequence[int] | None = None,
        tick: Fraction = Fraction(1, 25),
        codec: str = "libx264",
        pix_fmt: str = "yuv420p",
        aspect: Fraction | None = None,
        click: float | None = None,
        rate: Fraction | int = 25,
        metadata: Mapping[str, str] | None = None,
        **options: str,
    ) -> Path:
        path = tmp_path / name
        movflags = {"movflags": "faststart"} if name.endswith("mp4") else {}
        with _same_priority(), av.open(str(path), "w", options=movflags) as out:
            out.metadata.update(metadata or {})
            stream = out.add_stream(codec, rate=rate, options=options)
            stream.height, stream.width = images[0].shape[:2]
            stream.pix_fmt, stream.codec_context.time_base = pix_fmt, tick
            if aspect is not None:
                stream.codec_context.sample_aspect_ratio = aspect
            if click is not None:
                _write_click(out, click)
            for i, image in enumerate(images):
                frame = av.VideoFrame.from_ndarray(image, "rgb24" if image.ndim == 3 else "gray")
                frame.pts, frame.time_base = i if pts is None else pts[i], tick
                out.mux(stream.encode(frame))
            out.mux(stream.encode())
        return path

    return make


@contextmanager
def _same_priority() -> Iterator[None]:
    """Keep the priority of this process: SVT-AV1 raises it to that of real time where it may, as root may, and
    processes that are started later would inherit it and wait for ever for each other's threads."""
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)


def _write_click(out: av.container.OutputContainer, click: float) -> None:
    """Two seconds of 48 kHz silence with one loud 10 ms block at `click` seconds; PCM, in MPEG-TS AAC."""
    sound = np.zeros((1, 96_000), np.int16)
    sound[:, int(click * 48_000) :][:, :480] = 20_000
    codec = "aac" if out.format.name == "mpegts" else "pcm_s16le"
    stream = out.add_stream(codec, rate=48_000, layout="mono")
    for first in range(0, 96_000, 1_000):
        frame = av.AudioFrame.from_ndarray(sound[:, first : first + 1_000], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, first, Fraction(1, 48_000)
        out.mux(stream.encode(frame))
    out.mux(stream.encode())


HEAD = load_head()


def _make_track(
    times: Sequence[float] | np.ndarray = (0.0,),
    curves: Mapping[str, float | np.ndarray] | None = None,
    lost: Sequence[int] = (),
    size: tuple[int, int] = (640, 360),
    inverse_distance: float = 0.0,
    **pose: float | np.ndarray,
) -> Track:
    """A track of the mean head with these curves (T,) by name; pose is any of f, rx, ry, rz, tx, ty, (T,) each."""
    times = np.asarray(times, float)
    count = len(times)
    z = np.zeros((count, HEAD.size), np.float32)
    for name, values in (curves or {}).items():
        z[:, HEAD.expression.start + HEAD.expression_names.index(name)] = values
    middle = {"f": 6.5, "rx": 0.0, "ry": 0.0, "rz": 0.0, "tx": (size[0] - 1) / 2, "ty": (size[1] - 1) / 2}
    H = np.stack([np.broadcast_to(value, count) for value in (middle | pose).values()], axis=1).astype(np.float32)
    ok = ~np.isin(np.arange(count), lost)
    return Track(
        times=times,
        ok=ok,
        confidence=np.where(ok, 0.9, 0).astype(np.float32),
        presence=np.where(ok, 0.99, 0).astype(np.float32),
        sharpness=ok.astype(np.float32),
        z=z,
        H=H,
        crop=np.tile(np.eye(2, 3, dtype=np.float32), (count, 1, 1)),
        H_image=H,
        landmarks=np.zeros((count, 478, 2), np.float32),
        curve_names=HEAD.curve_names,
        curve_values=z[:, HEAD.expression].clip(0, 1),
        identity=np.zeros(60, np.float32),
        inverse_distance=inverse_distance,
        size=size,
        clip="somewhere/take {1}.mp4",
        clip_hash="ab" * 32,
        decoder=HEAD.name,
        decoder_hash=HEAD.hash,
        decoder_path="",
        config="{}",
    )


@pytest.fixture
def make_track() -> Callable[..., Track]:
    """`make_track(times, {"jawOpen": 0.5}, lost=[3], ry=0.1)`."""
    return _make_track


RATES = {
    "23.976": 24000 / 1001,
    "24": 24,
    "25": 25,
    "29.97": 30000 / 1001,
    "30": 30,
    "50": 50,
    "59.94": 60000 / 1001,
    "60": 60,
    "120": 120,
}


@pytest.fixture(params=[*RATES, "varying"])
def clock(request: pytest.FixtureRequest) -> np.ndarray:
    """Times (T,) of ten seconds around a clip's first minute, at the usual rates and at a varying one."""
    if request.param != "varying":
        rate = RATES[request.param]
        return np.arange(round(55 * rate), round(65 * rate)) / rate
    return 55 + np.cumsum(np.random.default_rng(1).uniform(0.017, 0.1, 170))


@pytest.fixture
def performance(clock: np.ndarray, make_track: Callable[..., Track]) -> Track:
    """A track on that clock whose 52 curves are all different, with three lost frames."""
    rng = np.random.default_rng(0)
    curves = {name: rng.random(len(clock)) for name in HEAD.expression_names}
    return make_track(clock, curves, lost=[4, 5, 100], ry=0.2 * np.sin(clock), rz=0.1)


@pytest.fixture
def minute(clock: np.ndarray, make_track: Callable[..., Track]) -> Track:
    """Twenty-four frames of that clock on both sides of 60 s, over which the jaw opens."""
    at = int(np.searchsorted(clock, 60))
    return make_track(clock[at - 12 : at + 12], {"jawOpen": np.linspace(0, 1, 24)})


@pytest.fixture
def wink(make_track: Callable[..., Track]) -> Track:
    """Five frames at 25 a second; in frame 2 the subject's left eye is shut and the jaw to the subject's left."""
    pulse = np.array([0, 0, 1, 0, 0])
    return make_track(np.arange(5) / 25, {"eyeBlinkLeft": 0.75 * pulse, "jawLeft": 0.5 * pulse})


_ICT_AXES = np.array([100.0, -100.0, -100.0])  # metres of the head frame -> centimetres, y up


@pytest.fixture
def ict(tmp_path: Path) -> Path:
    """A file of the layout that `read_ict` knows: the head's own mesh with eyes, as quads that are triangles."""
    head = load_head()
    mean = head.mean.numpy().astype(float)
    names = np.array(head.part_names)[head.face_parts.numpy()]
    material = {
        "eye_left": "M_ScleraLeft",
        "eye_right": "M_ScleraRight",
        "teeth_upper": "M_Teeth",
        "mouth": "M_GumsTongue",
    }
    materials = ["M_Face", *material.values(), "M_EyeLashes"]
    of_faces = np.array([materials.index(material.get(name, "M_Face")) for name in names])
    faces = head.faces.numpy()
    landmarks = head.landmarks68(head.mean[None])[0].numpy()
    points = [int(((mean - p) ** 2).sum(1).argmin()) for p in landmarks]
    index = head.expression_names.index
    shapes = {
        "jawOpen": head.blendshapes[index("jawOpen")],
        "browInnerUp_L": head.blendshapes[index("browInnerUp")] * 0.5,
        "browInnerUp_R": head.blendshapes[index("browInnerUp")] * 0.5,
        "mouthSmile_L": head.blendshapes[index("mouthSmileLeft")],
    }
    path = tmp_path / "ict.npz"
    np.savez(
        path,
        neutral=(mean * _ICT_AXES).astype(np.float32),
        faces=np.concatenate([faces, faces[:, 2:]], 1),  # the second half of each quad has no area
        face_material=of_faces,
        materials=np.array(materials),
        identity=(head.shapes[:3].numpy() * _ICT_AXES).astype(np.float16),
        expression=np.stack([shape.numpy() * _ICT_AXES for shape in shapes.values()]),
        expression_names=np.array(list(shapes)),
        index_idx_to_landmark_verts=np.array(points),
    )
    return path


def _decode_meshopt(stream: bytes, count: int, size: int) -> np.ndarray:
    """Rows (count, size) of bytes, by the text of EXT_meshopt_compression: mode ATTRIBUTES, version 0."""
    assert stream[0] == 0xA0 and len(stream) > max(size, 32)
    rows = np.zeros((count + 1, size), np.uint8)
    rows[0] = np.frombuffer(stream[-size:], np.uint8)
    at, done = 1, 0
    while done < count:
        block = min((8192 // size) & ~15, 256, count - done)
        for byte in range(size):
            groups = -(-block // 16)
            header = stream[at : at + -(-groups // 4)]
            at += len(header)
            found: list[int] = []
            for group in range(groups):
                mode = header[group // 4] >> (2 * (group % 4)) & 3
                bits = (0, 2, 4, 8)[mode]
                packed, at = stream[at : at + 2 * bits], at + 2 * bits
                number = int.from_bytes(packed, "big")  # the first is highest
                for index in range(16):
                    value = number >> (bits * (15 - index)) & (2**bits - 1)
                    if mode in (1, 2) and value == 2**bits - 1:
                        value, at = stream[at], at + 1
                    found.append(value)
            for row, value in enumerate(found[:block]):
                step = -(value + 1) // 2 if value % 2 else value // 2
                rows[done + row + 1, byte] = (int(rows[done + row, byte]) + step) % 256
        done += block
    assert len(stream) - at == max(size, 32)
    return rows[1:]


@pytest.fixture
def decode_meshopt() -> Callable[[bytes, int, int], np.ndarray]:
    """`decode_meshopt(stream, count, size)`: the rows that a stream holds."""
    return _decode_meshopt


@pytest.fixture(scope="session")
def open_chromium(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """`open_chromium("--flag")`: a driver of a headless Chromium with a profile of its own, which the caller quits."""
    selenium = pytest.importorskip("selenium.webdriver", reason="no Selenium to drive a browser with")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    chromedriver = shutil.which("chromedriver")
    if not program or not chromedriver:
        pytest.skip("no Chromium with its chromedriver to open the page in")

    def open_one(*flags: str) -> Any:
        options = selenium.ChromeOptions()
        options.binary_location = program
        for flag in (*flags, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        return selenium.Chrome(options=options, service=selenium.ChromeService(chromedriver))

    return open_one
