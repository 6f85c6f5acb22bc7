"""The viewer in a browser: in step, without a network, and whole without its video; the .glb as three.js draws it."""

from __future__ import annotations

import base64
import io
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pygltflib
import pytest
import torch
from PIL import Image
from scipy.spatial.transform import Rotation

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import load_head
from selftrack.decoders.mesh.rasterizer import rasterize
from selftrack.errors import UserError
from selftrack.io import file_hash
from selftrack.tracker.clips.config import TrackConfig
from selftrack.tracker.clips.single import track_clip
from selftrack.tracker.export import ExportOptions, write
from selftrack.tracker.export.edited import with_table
from selftrack.tracker.export.scenes import viewer
from selftrack.tracker.export.scenes._head import head_places, neck_joint, neutral_code
from selftrack.tracker.geometry.camera import camera_pose, focal_length, principal_point
from selftrack.tracker.results.track_file import Track, load
from selftrack.tracker.sources.opening import open_source

HEAD = load_head()
CLIP = Path(__file__).parents[3] / "data" / "smile.mp4"
FLAGS = (
    "--headless --no-sandbox --disable-gpu --use-angle=swiftshader --enable-unsafe-swiftshader --disable-quic "
    "--no-first-run --disable-background-networking --disable-component-update --disable-sync --window-size=1280,720"
).split()
TIMES = (0.3, 1.2, 2.3)
STAGE = """<canvas id="c"></canvas><script>{three}</script><script>
const bytes = Uint8Array.from(atob("{glb}"), (c) => c.charCodeAt(0));
new THREE.GLTFLoader().parse(bytes.buffer, "", (gltf) => {{
  const renderer = new THREE.WebGLRenderer({{canvas: c, alpha: true, preserveDrawingBuffer: true}});
  renderer.setSize({width}, {height}, false);
  const mixer = new THREE.AnimationMixer(gltf.scene), action = mixer.clipAction(gltf.animations[0]).play();
  window.draw = (time) => {{
    action.time = time;
    mixer.update(0);
    renderer.render(gltf.scene, gltf.cameras[0]);
    return c.toDataURL();
  }};
}});
</script>"""


@pytest.fixture(scope="module")
def track(tmp_path_factory: pytest.TempPathFactory) -> Track:
    """The bundled clip, tracked."""
    folder = tmp_path_factory.mktemp("track")
    track_clip(CLIP, folder, TrackConfig(overlay=False))
    return load(folder)


@pytest.fixture(scope="module")
def page(track: Track, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its viewer."""
    return write(track, "viewer", tmp_path_factory.mktemp("page") / "v.html")


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """A headless Chromium under Selenium, 1280x720."""
    selenium = pytest.importorskip("selenium.webdriver", reason="no Selenium to drive a browser with")
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    chromedriver = shutil.which("chromedriver")
    if not browser or not chromedriver:
        pytest.skip("no Chromium with its chromedriver to open the page in")
    options = selenium.ChromeOptions()
    options.binary_location = browser
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = selenium.Chrome(options=options, service=selenium.ChromeService(chromedriver))
    size = {"width": 1280, "height": 720, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    yield driver
    driver.quit()


def opened(driver: object, page: Path, ready: str) -> None:
    """Open a page and wait for what it defines; it says no error."""
    driver.get_log("browser")
    driver.get(page.as_uri())
    until(lambda: driver.execute_script(f"return !!window.{ready}"))
    assert errors(driver) == []


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def errors(driver: object) -> list[str]:
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]


def seek(driver: object, seconds: float) -> None:
    driver.execute_async_script("viewer.seek(arguments[0]).then(arguments[1])", seconds)


def test_page_is_whole(make_track: Callable[..., Track], tmp_path: Path) -> None:
    """No address of anything, every mark replaced, and a clip's odd name is text."""
    track = replace(make_track(np.arange(3) / 25), clip='a/<b> & "c" %%GLB%%.mp4')
    page = write(track, "viewer", tmp_path / "v.html").read_text()
    ours = page.replace((viewer.ASSETS / "three.min.js").read_text(), "")
    assert "<title>&lt;b&gt; &amp; &quot;c&quot; %%GLB%%.mp4</title>" in page
    assert not re.search(r'(?:src|href)="(?!data:)|url\(|https?:|import ', ours)
    assert re.findall("%%[A-Z]+%%", page) == ["%%GLB%%"] * 2, "of the clip's name"
    assert '"clip": null' in page and "default-src 'none'" in page


def test_long_clips_are_referred_to(
    make_track: Callable[..., Track], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, folder = tmp_path / "a clip #1.mp4", tmp_path / "out"
    folder.mkdir()
    source.write_bytes(CLIP.read_bytes())
    monkeypatch.setattr("selftrack.tracker.results.texture.clip_texture", lambda track: HEAD.mean_texture)
    track = replace(make_track([0.0, 0.1]), clip=str(source), clip_hash=file_hash(source))
    small = write(track, "viewer", folder / "v.html").read_text()
    assert base64.b64encode(source.read_bytes()).decode() in small
    monkeypatch.setattr(viewer, "EMBEDDED", 1000)
    page = write(track, "viewer", folder / "v.html").read_text()
    assert '"clip": "../a%20clip%20%231.mp4"' in page and len(page) < len(small) - source.stat().st_size


def test_a_video_that_is_moved_from_elsewhere_takes_head_and_cursor_along(driver: object, page: Path) -> None:
    opened(driver, page, "viewer")
    for wanted in (1.2, 0.3):
        driver.execute_script("document.querySelector('video').currentTime = arguments[0]", wanted)
        until(lambda at=wanted: abs(driver.execute_script("return viewer.time()") - at) < 0.04)


def test_seeking_shows_frame_and_weights_of_that_time(driver: object, track: Track, page: Path) -> None:
    opened(driver, page, "viewer")
    assert driver.execute_script("return viewer.problem") == ""
    with open_source(CLIP) as source:
        frames = {frame.index: frame.image for frame in source}
    for wanted in TIMES:
        row = int(np.flatnonzero(track.times <= wanted + 1e-3)[-1])
        seek(driver, wanted)
        assert driver.execute_script("return viewer.time()") == pytest.approx(track.times[row], abs=1e-6)
        weights = driver.execute_script("return viewer.weights()")
        expected = track.z[row, HEAD.expression]
        np.testing.assert_allclose([weights[name] for name in ARKIT_NAMES], expected, atol=1e-6)
        picture = driver.execute_script(
            "const c = document.createElement('canvas'); c.width = 640; c.height = 360;"
            "c.getContext('2d').drawImage(document.getElementById('video'), 0, 0); return c.toDataURL()"
        )
        shown = pixels(picture)[..., :3].astype(float)
        distance = {i: np.abs(shown - frames[i]).mean() for i in range(row - 2, row + 3) if i in frames}
        assert min(distance, key=distance.get) == row, distance
    assert errors(driver) == []


def test_keys_and_playing(driver: object, track: Track, page: Path) -> None:
    opened(driver, page, "viewer")
    body = driver.find_element("tag name", "body")
    for key, row in {"\ue014": 1, "\ue012": 0, "\ue010": 71, "\ue011": 0}.items():  # right, left, end, home
        body.send_keys(key)
        assert driver.execute_script("return viewer.time()") == pytest.approx(track.times[row], abs=1e-6)
    body.send_keys(" ")
    until(lambda: driver.execute_script("return viewer.time()") > 0.3)
    body.send_keys(" ")
    until(lambda: not driver.execute_script("return viewer.playing()"))
    video = driver.execute_script("return document.getElementById('video').currentTime")
    assert abs(driver.execute_script("return viewer.time()") - video) < 0.2, "a slow renderer may be frames late"
    assert errors(driver) == []


@pytest.mark.parametrize("present", [False, True])
def test_without_its_video_the_head_plays(
    driver: object,
    track: Track,
    tmp_path: Path,
    make_clip: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    present: bool,
) -> None:
    """The clip is gone, or is of a kind that browsers do not play."""
    monkeypatch.setattr("selftrack.tracker.results.texture.clip_texture", lambda track: HEAD.mean_texture)
    clip = make_clip("master.mkv", [np.zeros((48, 64, 3), np.uint8)] * 3, codec="ffv1", pix_fmt="bgr0")
    track = replace(track, clip=str(clip), clip_hash=file_hash(clip) if present else "")
    opened(driver, write(track, "viewer", tmp_path / "v.html"), "viewer")
    words = "cannot play the clip's format" if present else "not found"
    assert words in driver.find_element("id", "no-video").text
    driver.find_element("id", "play").click()
    until(lambda: driver.execute_script("return viewer.time()") == pytest.approx(track.times[-1], abs=1e-6))
    until(lambda: not driver.execute_script("return viewer.playing()"))
    assert errors(driver) == []


def test_fits_a_small_screen(driver: object, page: Path) -> None:
    """Nothing is cut off, the head and six curves are drawn, and a curve can be chosen."""
    opened(driver, page, "viewer")
    extent = driver.execute_script(
        "return [document.documentElement.scrollWidth, document.querySelector('footer').getBoundingClientRect().bottom]"
    )
    assert extent[0] <= 1280 and extent[1] <= 720
    before = len(driver.find_elements("css selector", ".curve[aria-pressed=true]"))
    driver.find_elements("css selector", ".curve")[9].click()
    assert before == 6 and len(driver.find_elements("css selector", ".curve[aria-pressed=true]")) == 7
    pictures = []
    for wanted in TIMES:
        seek(driver, wanted)
        pictures.append(pixels(driver.get_screenshot_as_base64())[..., :3].astype(int))
    head = [p[10:410, 650:1180] for p in pictures]
    assert all(np.ptp(h) > 120 for h in head) and np.abs(head[0] - head[1]).max() > 60


CHANGE = """const [name, amount, held] = arguments;
const slider = document.querySelector(`[aria-label="Change ${name}"]`);
if (held) slider.nextSibling.click();
slider.value = amount;
slider.dispatchEvent(new Event("input"));"""


def change(driver: object, name: str, amount: float, held: bool = False) -> None:
    """Move the slider of a channel, in place of the performance or on top of it."""
    driver.execute_script(CHANGE, name, amount, held)


def test_what_is_changed_by_hand(driver: object, track: Track, page: Path) -> None:
    """On top of the performance or in its place, within 0 and 1, in all frames; both eyes go the same way; and back."""
    opened(driver, page, "viewer")
    driver.find_element("id", "edit").click()
    change(driver, "jawOpen", 0.4)
    change(driver, "mouthSmileLeft", 0.3, held=True)
    change(driver, "gazeSide", -0.5)
    for wanted in TIMES:
        row = int(np.flatnonzero(track.times <= wanted + 1e-3)[-1])
        seek(driver, wanted)
        own = dict(zip(ARKIT_NAMES, track.z[row, HEAD.expression].tolist(), strict=True))
        expected = own | {"jawOpen": min(own["jawOpen"] + 0.4, 1), "mouthSmileLeft": 0.3}
        for out, into in (("eyeLookOutLeft", "eyeLookInLeft"), ("eyeLookInRight", "eyeLookOutRight")):
            left = np.clip(own[out] - own[into] - 0.5, -1, 1)
            expected |= {out: max(left, 0), into: max(-left, 0)}
        assert driver.execute_script("return viewer.weights()") == pytest.approx(expected, abs=1e-5)
        assert driver.find_element("id", "edited").is_displayed()
    driver.find_element("id", "reset").click()
    assert driver.execute_script("return viewer.weights()") == pytest.approx(own, abs=1e-6)
    assert not driver.find_element("id", "edited").is_displayed()
    assert errors(driver) == []


def test_between_keys_an_amount_goes_from_one_to_the_other(driver: object, track: Track, page: Path) -> None:
    """In proportion to time; before the first and after the last it holds."""
    opened(driver, page, "viewer")
    driver.find_element("id", "edit").click()
    key = "document.querySelector('[aria-label=\"Change cheekPuff\"]').parentElement.lastChild"
    for row, amount in ((10, 0.0), (30, 0.8)):
        seek(driver, float(track.times[row]))
        driver.execute_script(f"{key}.click()")
        change(driver, "cheekPuff", amount)
        assert driver.execute_script(f"return {key}.getAttribute('aria-pressed')") == "true"
    for row in (0, 10, 14, 20, 29, 30, 71):
        seek(driver, float(track.times[row]))
        amount = 0.8 * np.clip((track.times[row] - track.times[10]) / (track.times[30] - track.times[10]), 0, 1)
        expected = min(track.curves()["cheekPuff"][row] + amount, 1)
        assert driver.execute_script("return viewer.weights().cheekPuff") == pytest.approx(expected, abs=1e-5)
    assert errors(driver) == []


def test_keys_count_the_other_way(driver: object, make_track: Callable[..., Track], tmp_path: Path) -> None:
    """On top of the performance, in its place, and back: at each key all is as it was, and so are the keys."""
    ramp, names = np.linspace(0.1, 0.5, 9), ("jawOpen", "gazeSide", "yaw")
    track = make_track(np.arange(9) / 25, {"jawOpen": ramp, "eyeLookOutLeft": ramp, "eyeLookInRight": ramp}, ry=ramp)
    opened(driver, write(track, "viewer", tmp_path / "v.html"), "viewer")
    driver.find_element("id", "edit").click()
    sliders = ",".join(f"document.querySelector('[aria-label=\"Change {name}\"]')" for name in names)
    modes, keys = (f"[{sliders}].map((slider) => slider.parentElement.children[{i}])" for i in (2, 3))
    states = []
    for switch in range(3):
        for row, amount in ((2, 0.3), (6, -0.2)):
            seek(driver, float(track.times[row]))
            for name in names * (switch == 0):
                driver.execute_script(f"{keys}[arguments[0]].click()", names.index(name))
                change(driver, name, amount * (50 if name == "yaw" else 1))
            assert driver.execute_script(f"return {keys}.map((key) => key.ariaPressed)") == ["true"] * 3
            states.append(driver.execute_script("return [...Object.values(viewer.weights()), ...viewer.head()]"))
        driver.execute_script(f"{modes}.forEach((mode) => mode.click())")
    assert states[0][ARKIT_NAMES.index("jawOpen")] == pytest.approx(ramp[2] + 0.3, abs=1e-5)
    np.testing.assert_allclose(states[2:], states[:2] * 2, atol=1e-5)
    assert errors(driver) == []


@pytest.mark.parametrize("inverse_distance", [0.0, 2.0])
def test_what_is_saved_comes_back_by_track_export(
    driver: object, make_track: Callable[..., Track], tmp_path: Path, inverse_distance: float
) -> None:
    """The head turns about its neck, which stays where it was; all is where the page has shown it."""
    motion = {"ry": np.linspace(-0.2, 0.2, 9), "rz": 0.1, "tx": np.linspace(150, 500, 9), "ty": 250, "f": 7.0}
    act = {"jawOpen": np.linspace(0, 1, 9), "eyeBlinkLeft": 0.3}
    track = make_track(np.arange(9) / 25, act, inverse_distance=inverse_distance, **motion)
    opened(driver, write(track, "viewer", tmp_path / "v.html"), "viewer")
    driver.find_element("id", "edit").click()
    for name, amount in {"yaw": 20, "pitch": -12, "roll": 9, "eyeBlinkLeft": 0.4}.items():
        change(driver, name, amount)
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    driver.find_element("id", "save").click()
    until(lambda: bool(list(tmp_path.glob("take*.csv"))))
    (saved,) = tmp_path.glob("take*.csv")
    again = with_table(track, saved)
    np.testing.assert_allclose(again.curves()["jawOpen"], track.curves()["jawOpen"], atol=1e-6)
    np.testing.assert_allclose(again.curves()["eyeBlinkLeft"], 0.7, atol=1e-6)
    focal = focal_length(track)
    before, after = (head_places(one, focal) for one in (track, again))
    neck = neck_joint(HEAD, neutral_code(track))
    stays, turned = (rotation @ neck + place for rotation, place in (before, after))
    np.testing.assert_allclose(turned, stays, atol=2e-6 * -stays[0, 2] + 2e-5)
    angle = Rotation.from_matrix(after[0] @ before[0].transpose(0, 2, 1)).magnitude()
    assert (np.degrees(angle) > 20).all() and (np.degrees(angle) < 35).all()
    for row in (0, 4, 8):
        seek(driver, float(track.times[row]))
        matrix = np.reshape(driver.execute_script("return viewer.head()"), (4, 4)).T
        np.testing.assert_allclose(matrix[:3, :3], after[0][row], atol=1e-4)
        np.testing.assert_allclose(matrix[:3, 3], after[1][row], atol=2e-6 * -stays[0, 2] + 2e-5)
    assert errors(driver) == []


def test_arrow_keys_move_a_slider_that_has_the_focus(driver: object, page: Path) -> None:
    opened(driver, page, "viewer")
    driver.find_element("id", "edit").click()
    slider = driver.find_element("css selector", "[aria-label='Change yaw']")
    slider.send_keys("\ue014\ue014")  # right
    assert float(slider.get_attribute("value")) > 0 and driver.execute_script("return viewer.time()") == 0
    assert errors(driver) == []


DROP = """const [data, done] = arguments, bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
const held = new DataTransfer();
held.items.add(new File([bytes], "rig.glb"));
document.getElementById("head").dispatchEvent(
  new DragEvent("drop", {bubbles: true, cancelable: true, dataTransfer: held}));
const note = document.getElementById("rig-note"), before = note.textContent;
const wait = () => note.textContent === before ? setTimeout(wait, 20) : done(note.textContent);
wait();"""


def test_the_plate_lies_behind_the_head(driver: object, track: Track, page: Path) -> None:
    """The clip's own frame, where the camera has it: around the head the panel shows the clip, in place and in size."""
    opened(driver, page, "viewer")
    assert driver.execute_script("return document.getElementById('plate').hidden")
    seek(driver, 1.2)
    driver.find_element("id", "plate-on").click()
    assert driver.execute_script("return viewer.view()") == "filmed"
    panel = driver.execute_script(
        "const b = document.getElementById('plate').getBoundingClientRect(); return b.toJSON()"
    )
    shown = pixels(driver.get_screenshot_as_base64())[..., :3].astype(float)
    x, y, w, h = (round(panel[name]) for name in ("x", "y", "width", "height"))
    scale = min(w / track.size[0], h / track.size[1])
    width, height = round(track.size[0] * scale), round(track.size[1] * scale)
    left, top = x + (w - width) // 2, y + (h - height) // 2
    with open_source(CLIP) as source:
        frame = next(f.image for f in source if f.index == int(np.flatnonzero(track.times <= 1.2 + 1e-3)[-1]))
    row = int(np.flatnonzero(track.times <= 1.2 + 1e-3)[-1])
    small = np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR)).astype(float)
    outside = ~np.asarray(Image.fromarray(silhouette(track, row)).resize((width, height)))
    outside[:60], outside[-40:] = False, False  # under buttons and label
    away = np.abs(shown[top : top + height, left : left + width] - small).mean(-1)
    assert (
        outside.mean() > 0.2 and np.median(away[outside]) < 6 and np.median(away[~outside]) > np.median(away[outside])
    )
    driver.find_element("id", "plate-on").click()
    assert driver.execute_script("return document.getElementById('plate').hidden")
    assert errors(driver) == []


def test_two_tracks_are_switched_at_one_time(driver: object, track: Track, tmp_path: Path) -> None:
    """The other one has other curves, and begins later: each shows its own row of that time."""
    z = track.z[20:].copy()
    z[:, HEAD.expression] = 1 - z[:, HEAD.expression]
    fields = {name: getattr(track, name)[20:] for name in ("times", "ok", "confidence", "presence", "sharpness")}
    fields |= {name: getattr(track, name)[20:] for name in ("H", "crop", "H_image", "landmarks", "visible")}
    other = replace(track, **fields, z=z, curve_values=track.curve_values[20:]).with_codes(z)
    (tmp_path / "other").mkdir()
    other.save(tmp_path / "other")
    page = write(track, "viewer", tmp_path / "v.html", ExportOptions(against=tmp_path / "other"))
    opened(driver, page, "viewer")
    for wanted in TIMES:
        seek(driver, wanted)
        for expected_take, one in (("A", track), ("B", other)):
            row = max(int((one.times <= wanted + 1e-3).sum()) - 1, 0)
            weights = driver.execute_script("return viewer.weights()")
            assert driver.execute_script("return viewer.take()") == expected_take
            np.testing.assert_allclose([weights[name] for name in ARKIT_NAMES], one.z[row, HEAD.expression], atol=1e-5)
            driver.find_element("id", "take").click()
    assert errors(driver) == []


def test_a_track_of_another_clip_is_refused(make_track: Callable[..., Track], tmp_path: Path) -> None:
    track = make_track([0.0, 0.1])
    replace(track, clip_hash="cd" * 32, clip="b.mp4").save(tmp_path)
    with pytest.raises(UserError, match="is a track of another clip, b.mp4"):
        write(track, "viewer", tmp_path / "v.html", ExportOptions(against=tmp_path))
    assert not (tmp_path / "v.html").exists()


def rig(names: dict[str, int]) -> bytes:
    """A triangle in glTF with morph targets of these names, each moving it by so much along x."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], "<f4")
    parts = [corners, *(np.tile(np.array([move, 0, 0], "<f4"), (3, 1)) for move in names.values())]
    document = pygltflib.GLTF2(asset=pygltflib.Asset(version="2.0"), scene=0, scenes=[pygltflib.Scene(nodes=[0])])
    for i, part in enumerate(parts):
        document.bufferViews.append(pygltflib.BufferView(buffer=0, byteOffset=36 * i, byteLength=36))
        bounds = {"min": part.min(0).tolist(), "max": part.max(0).tolist()}
        document.accessors.append(
            pygltflib.Accessor(bufferView=i, componentType=pygltflib.FLOAT, count=3, type="VEC3", **bounds)
        )
    targets = [{"POSITION": 1 + i} for i in range(len(names))]
    primitive = pygltflib.Primitive(attributes=pygltflib.Attributes(POSITION=0), targets=targets)
    document.meshes.append(pygltflib.Mesh(primitives=[primitive], extras={"targetNames": list(names)}))
    document.nodes.append(pygltflib.Node(mesh=0))
    document.buffers = [pygltflib.Buffer(byteLength=36 * len(parts))]
    document.set_binary_blob(b"".join(part.tobytes() for part in parts))
    return b"".join(document.save_to_bytes())


def test_a_rig_that_is_dropped_does_the_same(driver: object, track: Track, page: Path) -> None:
    """Names in any case, with _L for Left and after a prefix; others are left alone, and what is missing is said."""
    opened(driver, page, "viewer")
    spelled = {
        "JAWOPEN": "jawOpen",
        "mouthSmile_L": "mouthSmileLeft",
        "Face.eye_Blink_Right": "eyeBlinkRight",
        "blendShape1.ARKit_browInnerUp": "browInnerUp",
    }
    content = rig(dict.fromkeys([*spelled, "thumbUp"], 1))
    seek(driver, 1.2)
    note = driver.execute_async_script(DROP, base64.b64encode(content).decode())
    assert note.startswith("rig.glb: 4 of 52 curves; not ")
    assert driver.execute_script("return viewer.view()") == "rig"
    for wanted in TIMES:
        seek(driver, wanted)
        row = int(np.flatnonzero(track.times <= wanted + 1e-3)[-1])
        weights = dict(driver.execute_script("return viewer.rigWeights()"))
        assert set(weights) == set(spelled.values())
        for name, weight in weights.items():
            assert weight == pytest.approx(track.curves()[name][row], abs=1e-6)
    note = driver.execute_async_script(DROP, base64.b64encode(rig({"thumbUp": 1})).decode())
    assert "cannot be used: it has no morph targets with ARKit's names" in note
    note = driver.execute_async_script(DROP, base64.b64encode(b"no rig").decode())
    assert "rig.glb cannot be used" in note and driver.execute_script("return viewer.view()") == "rig"
    assert errors(driver) == []


@pytest.mark.parametrize("focal", [None, 1e5])
def test_three_js_draws_the_head_where_it_is(driver: object, track: Track, tmp_path: Path, focal: float | None) -> None:
    """Silhouettes against our own z-buffer: of the track's own vertices, and through a lens that is named."""
    glb = write(replace(track, clip="gone.mp4"), "glb", tmp_path / "a.glb", ExportOptions(focal=focal))
    page = tmp_path / "stage.html"
    three = (viewer.ASSETS / "three.min.js").read_text()
    width, height = track.size
    data = base64.b64encode(glb.read_bytes()).decode()
    page.write_text(STAGE.format(three=three, glb=data, width=width, height=height))
    opened(driver, page, "draw")
    for wanted in TIMES:
        row = int(np.abs(track.times - wanted).argmin())
        drawn = pixels(driver.execute_script("return draw(arguments[0])", float(track.times[row])))[..., 3] > 127
        ours = silhouette_through(track, row, focal) if focal else silhouette(track, row)
        assert (drawn & ours).sum() / (drawn | ours).sum() > 0.98


def pixels(picture: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.split(",")[-1]))).convert("RGBA"))


def silhouette(track: Track, row: int) -> np.ndarray:
    """(H,W) bool of the track's own vertices."""
    return covered(track.vertices(slice(row, row + 1))[0], track.size)


def silhouette_through(track: Track, row: int, focal: float) -> np.ndarray:
    """(H,W) bool of the decoder's vertices, perspective written out."""
    turn, place = (value[row] for value in camera_pose(track, focal))
    points = HEAD.geometry(torch.from_numpy(track.z[row : row + 1]))[0].double().numpy() @ turn.T + place
    flat = focal * points[:, :2] / points[:, 2:] + principal_point(track)
    return covered(np.concatenate([flat, points[:, 2:]], 1), track.size)


def covered(vertices: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return rasterize(torch.from_numpy(vertices).float()[None], HEAD.faces, size[::-1]).face_index[0].numpy() >= 0
