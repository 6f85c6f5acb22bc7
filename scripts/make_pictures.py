"""The pictures of the README and of docs/exports.md, from the bundled clip and our own renders.

The viewer needs Chromium and chromedriver.

make demo
python scripts/make_pictures.py demo_track ict_facekit.npz
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import av
import cv2
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import torch
import typer
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import load_head
from selftrack.decoders.mesh.normals import vertex_normals
from selftrack.decoders.mesh.rasterizer import interpolate, rasterize_numba
from selftrack.synthetic.expressions import sample_expression
from selftrack.synthetic.rigs.ict import read_ict
from selftrack.synthetic.rigs.rig import Rig
from selftrack.synthetic.studio import Studio
from selftrack.tracker import load
from selftrack.tracker.clips.config import TrackConfig
from selftrack.tracker.export import export
from selftrack.tracker.export.presets import read_presets
from selftrack.tracker.export.reenact._marking import TAG
from selftrack.tracker.export.reenact._painter import PhotoPainter
from selftrack.tracker.export.reenact._photo import read_photo
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.makehuman.files import PICTURE
from selftrack.tracker.makehuman.run import make_character
from selftrack.tracker.model import Model
from selftrack.tracker.results.overlay import burnt_in
from selftrack.tracker.results.painter import MeshPainter, OverlayConfig

CLIP = Path("tests/data/smile.mp4")
SHOWN = ("mouthSmileLeft", "mouthSmileRight", "cheekSquintLeft", "jawOpen", "eyeBlinkLeft", "browInnerUp")

ACTED = (("surprised", 0.9, 0, -4), ("happy", 1.0, 14, 0), ("sad", 1.0, -8, 6), ("angry", 1.0, 0, 0))
"""Expressions of a photo, how strong, and degrees by which its head is turned and nods."""
EDITS = {"yaw": 25, "gazeSide": 0.5, "surprised": 0.6}
KEYED = "mouthSmileRight"
CLICK = "document.querySelector(`[aria-label='Key of ${arguments[0]}']`).click()"
SLIDE = """const slider = document.querySelector(`[aria-label="Change ${arguments[0]}"]`);
slider.value = arguments[1];
slider.dispatchEvent(new Event("input"));
slider.dispatchEvent(new Event("change"));"""


def overlay_strip(folder: Path, frames: tuple[int, ...]) -> np.ndarray:
    """Frames of an overlay video below one another, RGB."""
    with av.open(str(folder / "overlay.mp4")) as container:
        pictures = [f.to_ndarray(format="rgb24") for i, f in enumerate(container.decode(video=0)) if i in frames]
    return np.concatenate(pictures)


def rig_strip(folder: Path, rig: Rig, frames: tuple[int, ...], size: int) -> np.ndarray:
    """The curves and the pose of a track's frames on another rig, below one another, RGB."""
    track, head = load(folder), load_head()
    values = np.stack([track.curves()[name] for name in ARKIT_NAMES], 1).astype(float)
    uvs, faces = torch.from_numpy(rig.corners.reshape(-1, 2)).float(), torch.from_numpy(rig.faces)
    middle = rig.neutral[np.unique(rig.faces[rig.skin])].mean(0)
    pictures = []
    for row in frames:
        pose = torch.tensor([np.log(size / 0.28), *track.H_image[row, 1:4], size / 2, size / 2], dtype=torch.float32)
        placed = project(torch.from_numpy(rig.vertices(values[row]) - middle)[None].float(), pose[None])
        fragments = rasterize_numba(placed, faces, (size, size))
        at = interpolate(uvs, torch.arange(len(uvs)).view(-1, 3), fragments)
        colour = torch.nn.functional.grid_sample(head.mean_texture[None], 2 * at - 1, align_corners=False)[0]
        normals = torch.nn.functional.normalize(interpolate(vertex_normals(placed, faces), faces, fragments), dim=-1)
        light = 0.35 + 0.7 * normals[..., 2].abs()
        shown = torch.where(fragments.face_index[0] >= 0, (colour * light).clamp(0, 1), torch.tensor(0.25))
        pictures.append((255 * shown).byte().permute(1, 2, 0).numpy())
    return np.concatenate(pictures)


def studio_sheet(seed: int = 4) -> np.ndarray:
    """Captures of the studio, RGB."""
    studio, rng = Studio(load_head()), np.random.default_rng(seed)
    rows = []
    for _ in range(2):
        row = []
        for _ in range(3):
            person, expression = studio.people.sample(rng), sample_expression(rng)
            row += [studio.shoot(rng, person, expression).picture for _ in range(2)]
        rows.append(np.concatenate(row, 1))
    return np.concatenate(rows)


def curves_plot(folder: Path, path: Path) -> None:
    """A few curves over time."""
    matplotlib.use("Agg")
    track = load(folder)
    curves = track.curves()
    figure, axis = plt.subplots(figsize=(8, 2.6), layout="constrained")
    for name in SHOWN:
        axis.plot(track.times, curves[name], label=name)
    axis.set(xlabel="seconds", ylim=(0, 1))
    axis.legend(ncols=3, fontsize=8)
    figure.savefig(path, dpi=110)


def presets_sheet() -> np.ndarray:
    """The bundled expressions on the mean head, RGB."""
    head = load_head()
    painter, tiles = MeshPainter(head, OverlayConfig(mode="mesh", opacity=1.0)), []
    for name, curves in read_presets().items():
        code = torch.zeros(1, head.size)
        code[0, head.expression] = torch.from_numpy(curves).float()
        placed = project(head.geometry(code), torch.tensor([[7.3, 0.0, 0.22, 0.0, 122.0, 160.0]]), 1.0)
        tile = painter(np.full((300, 250, 3), 244, np.uint8), placed[0].numpy()).copy()
        tiles.append(cv2.putText(tile, name, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (60, 60, 60), 1, cv2.LINE_AA))
    half = len(tiles) // 2
    return np.concatenate([np.concatenate(tiles[:half], 1), np.concatenate(tiles[half:], 1)])


def photo_strip(clip: Path) -> np.ndarray:
    """The first frame of a clip, and the person in it with bundled expressions and turns of the head, RGB."""
    with av.open(str(clip)) as container, tempfile.TemporaryDirectory() as folder:
        first = next(container.decode(video=0)).to_ndarray(format="rgb24")
        path = Path(folder) / "photo.png"
        cv2.imwrite(str(path), cv2.cvtColor(first, cv2.COLOR_RGB2BGR))
        photo = read_photo(path, Model.load(device="cpu"))
    paint, presets, curves = PhotoPainter(photo), read_presets(), photo.track.model().expression
    middle, tiles = int(photo.track.H_image[0, 4]), []
    around = slice(middle - 120, middle + 120)  # nothing but a door
    for name, strength, yaw, pitch in ACTED:
        code, pose = paint.code.clone(), paint.pose.clone()
        code[curves] = (code[curves] + strength * torch.from_numpy(presets[name])).clamp(0, 1)
        pose[1:3] += torch.deg2rad(torch.tensor([pitch, yaw]))
        tiles.append(burnt_in(np.ascontiguousarray(paint(code, pose)[:, around]), TAG))
    return np.concatenate([first[:, around], *tiles], 1)


def viewer_pictures(folder: Path, plain: Path, edited: Path, seconds: float = 1.2) -> None:
    """The viewer of a track at a moment of its clip, as a browser without a screen shows it, and with edits."""
    options = webdriver.ChromeOptions()
    for flag in ("--headless", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    size = {"width": 1280, "height": 720, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.get(export(folder, "viewer").resolve().as_uri())
    WebDriverWait(driver, 60).until(lambda page: page.execute_script("return !!window.viewer"))
    driver.execute_async_script("viewer.seek(arguments[0]).then(arguments[1])", seconds)
    driver.save_screenshot(str(plain))
    driver.find_element("id", "edit").click()
    for time, amount in ((seconds - 0.6, 0.0), (seconds + 0.6, -0.8)):
        driver.execute_async_script("viewer.seek(arguments[0]).then(arguments[1])", time)
        driver.execute_script(CLICK, KEYED)
        driver.execute_script(SLIDE, KEYED, amount)
    driver.execute_async_script("viewer.seek(arguments[0]).then(arguments[1])", seconds)
    for name, amount in EDITS.items():
        driver.execute_script(SLIDE, name, amount)
    driver.save_screenshot(str(edited))
    driver.quit()


def character_strip(folder: Path) -> np.ndarray:
    """The MakeHuman character of a track's person beside a frame, RGB."""
    with tempfile.TemporaryDirectory() as work:
        make_character(folder, work, TrackConfig())
        picture = cv2.cvtColor(cv2.imread(f"{work}/{PICTURE}"), cv2.COLOR_BGR2RGB)
    return cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def main(folder: Path, rig: Path, out: Path = Path("docs/images")) -> None:
    """Write overlay.png (frames, the mesh, the curves on another rig) and the pictures of the other functions here."""
    out.mkdir(parents=True, exist_ok=True)
    frames = (3, 36)
    plain = overlay_strip(folder, frames)
    pane, size = plain.shape[1] // 2, len(plain) // len(frames)
    margin = (pane - size) // 2  # nothing but a door
    panes = [plain[:, margin : margin + size], plain[:, pane + margin : pane + margin + size]]
    cropped = np.concatenate([*panes, rig_strip(folder, read_ict(rig, load_head()), frames, size)], 1)
    cv2.imwrite(str(out / "overlay.png"), cv2.cvtColor(cropped, cv2.COLOR_RGB2BGR))
    cv2.imwrite(str(out / "studio.png"), cv2.cvtColor(studio_sheet(), cv2.COLOR_RGB2BGR))
    curves_plot(folder, out / "curves.png")
    small = [cv2.IMWRITE_PNG_COMPRESSION, 9]
    cv2.imwrite(str(out / "presets.png"), cv2.cvtColor(presets_sheet(), cv2.COLOR_RGB2BGR), small)
    cv2.imwrite(str(out / "reenact.png"), cv2.cvtColor(photo_strip(CLIP), cv2.COLOR_RGB2BGR), small)
    cv2.imwrite(str(out / "character.png"), cv2.cvtColor(character_strip(folder), cv2.COLOR_RGB2BGR), small)
    viewer_pictures(folder, out / "viewer.png", out / "editing.png")


if __name__ == "__main__":
    typer.run(main)
