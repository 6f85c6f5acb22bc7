"""The viewer in a browser: in step, without a network, and whole without its video; the .glb as three.js draws it."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import load_head
from selftrack.decoders.mesh.rasterizer import rasterize
from selftrack.errors import UserError
from selftrack.io import file_hash
from selftrack.tracker.export import ExportOptions, export, write
from selftrack.tracker.export.scenes import viewer
from selftrack.tracker.geometry.camera import camera_pose, principal_point
from selftrack.tracker.results.curves import most_moving
from selftrack.tracker.results.track_file import Track
from selftrack.tracker.sources.opening import open_source

HEAD = load_head()
CLIP = Path(__file__).parents[3] / "data" / "smile.mp4"
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
    monkeypatch.setattr("selftrack.tracker.results.texture.clip_texture", lambda track, **_: HEAD.mean_texture)
    track = replace(make_track([0.0, 0.1]), clip=str(source), clip_hash=file_hash(source))
    small = write(track, "viewer", folder / "v.html").read_text()
    assert base64.b64encode(source.read_bytes()).decode() in small
    monkeypatch.setattr(viewer, "EMBEDDED", 1000)
    page = write(track, "viewer", folder / "v.html").read_text()
    assert '"clip": "../a%20clip%20%231.mp4"' in page and len(page) < len(small) - source.stat().st_size


def test_a_video_that_is_moved_from_elsewhere_takes_head_and_cursor_along(browser: Any, page: Path) -> None:
    browser.open(page)
    for wanted in (1.2, 0.3):
        browser.run("document.querySelector('video').currentTime = arguments[0]", wanted)
        browser.until(lambda at=wanted: abs(browser.run("return viewer.time()") - at) < 0.04)


def test_seeking_shows_frame_and_weights_of_that_time(browser: Any, track: Track, page: Path) -> None:
    browser.open(page)
    assert browser.run("return viewer.problem") == ""
    with open_source(CLIP) as source:
        frames = {frame.index: frame.image for frame in source}
    for wanted in TIMES:
        row = int(np.flatnonzero(track.times <= wanted + 1e-3)[-1])
        browser.seek(wanted)
        assert browser.run("return viewer.time()") == pytest.approx(track.times[row], abs=1e-6)
        weights = browser.run("return viewer.weights()")
        expected = track.z[row, HEAD.expression]
        np.testing.assert_allclose([weights[name] for name in ARKIT_NAMES], expected, atol=1e-6)
        picture = browser.run(
            "const c = document.createElement('canvas'); c.width = 640; c.height = 360;"
            "c.getContext('2d').drawImage(document.getElementById('video'), 0, 0); return c.toDataURL()"
        )
        shown = browser.pixels(picture)[..., :3].astype(float)
        distance = {i: np.abs(shown - frames[i]).mean() for i in range(row - 2, row + 3) if i in frames}
        assert min(distance, key=distance.get) == row, distance
    assert browser.errors() == []


def test_keys_and_playing(browser: Any, track: Track, page: Path) -> None:
    browser.open(page)
    body = browser.driver.find_element("tag name", "body")
    for key, row in {"\ue014": 1, "\ue012": 0, "\ue010": 71, "\ue011": 0}.items():  # right, left, end, home
        body.send_keys(key)
        assert browser.run("return viewer.time()") == pytest.approx(track.times[row], abs=1e-6)
    body.send_keys(" ")
    browser.until(lambda: browser.run("return viewer.time()") > 0.3)
    body.send_keys(" ")
    browser.until(lambda: not browser.run("return viewer.playing()"))
    video = browser.run("return document.getElementById('video').currentTime")
    assert abs(browser.run("return viewer.time()") - video) < 0.2, "a slow renderer may be frames late"
    assert browser.errors() == []


@pytest.mark.parametrize("present", [False, True])
def test_without_its_video_the_head_plays(
    browser: Any,
    track: Track,
    tmp_path: Path,
    make_clip: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    present: bool,
) -> None:
    """The clip is gone, or is of a kind that browsers do not play."""
    monkeypatch.setattr("selftrack.tracker.results.texture.clip_texture", lambda track, **_: HEAD.mean_texture)
    clip = make_clip("master.mkv", [np.zeros((48, 64, 3), np.uint8)] * 3, codec="ffv1", pix_fmt="bgr0")
    track = replace(track, clip=str(clip), clip_hash=file_hash(clip) if present else "")
    browser.open(write(track, "viewer", tmp_path / "v.html"))
    words = "cannot play the clip's format" if present else "not found"
    assert words in browser.find("no-video").text
    browser.click("play")
    browser.until(lambda: browser.run("return viewer.time()") == pytest.approx(track.times[-1], abs=1e-6))
    browser.until(lambda: not browser.run("return viewer.playing()"))
    assert browser.errors() == []


def test_fits_a_small_screen(browser: Any, track: Track, page: Path) -> None:
    """Nothing is cut off, the head and the six curves that move most are drawn, and a curve can be chosen."""
    browser.open(page)
    extent = browser.run(
        "return [document.documentElement.scrollWidth, document.querySelector('footer').getBoundingClientRect().bottom]"
    )
    assert extent[0] <= 1280 and extent[1] <= 720
    first = [row.text.split()[0] for row in browser.driver.find_elements("css selector", ".curve[aria-pressed=true]")]
    assert sorted(first) == sorted(most_moving(track, 6))
    before = len(first)
    browser.driver.find_elements("css selector", ".curve")[9].click()
    assert before == 6 and len(browser.driver.find_elements("css selector", ".curve[aria-pressed=true]")) == 7
    pictures = []
    for wanted in TIMES:
        browser.seek(wanted)
        pictures.append(browser.picture()[..., :3].astype(int))
    head = [p[10:410, 650:1180] for p in pictures]
    assert all(np.ptp(h) > 120 for h in head) and np.abs(head[0] - head[1]).max() > 60


FRAMED = "<iframe src=v.html style='{style}; height: 400px'></iframe><script>window.framed = true</script>"


@pytest.mark.parametrize("style", ["width: 320px", "display: none"])
def test_where_the_plot_has_no_room(browser: Any, make_track: Callable[..., Track], tmp_path: Path, style: str) -> None:
    """In a narrow or hidden frame of another page the head moves all the same; the plot comes once there is room."""
    write(make_track(np.arange(3) / 25, {"jawOpen": 0.3}), "viewer", tmp_path / "v.html")
    (tmp_path / "around.html").write_text(FRAMED.format(style=style))
    browser.open(tmp_path / "around.html", "framed")
    frame = browser.driver.find_element("tag name", "iframe")
    browser.driver.switch_to.frame(frame)
    browser.until(lambda: browser.run("return !!window.viewer"))
    browser.seek(0.04)
    assert browser.run("return document.getElementById('plot').width") == 0
    browser.driver.switch_to.default_content()
    browser.run("arguments[0].style.display = 'block'; arguments[0].style.width = '900px'", frame)
    browser.driver.switch_to.frame(frame)
    drawn = "const c = document.getElementById('plot'); return c.getContext('2d').getImageData(0, 0, c.width, c.height)"
    browser.until(lambda: browser.run("return document.getElementById('plot').width > 0"))
    assert browser.run(f"{drawn}.data.some((value) => value > 0)")
    assert browser.run("return viewer.weights().jawOpen") == pytest.approx(0.3, abs=1e-6)
    assert browser.errors() == []
    browser.driver.switch_to.default_content()


def test_in_a_narrow_window(browser: Any, make_track: Callable[..., Track], tmp_path: Path) -> None:
    browser.size(320, 640)
    browser.open(write(make_track(np.arange(3) / 25), "viewer", tmp_path / "v.html"))
    browser.seek(0.08)
    assert browser.run("return viewer.time()") == pytest.approx(0.08, abs=1e-6) and browser.errors() == []


def test_the_plate_lies_behind_the_head(browser: Any, track: Track, page: Path) -> None:
    """The clip's own frame, where the camera has it: around the head the panel shows the clip, in place and in size."""
    browser.open(page)
    assert browser.run("return document.getElementById('plate').hidden")
    browser.seek(1.2)
    browser.click("plate-on")
    assert browser.run("return viewer.view()") == "filmed"
    panel = browser.run("const b = document.getElementById('plate').getBoundingClientRect(); return b.toJSON()")
    shown = browser.picture()[..., :3].astype(float)
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
    browser.click("plate-on")
    assert browser.run("return document.getElementById('plate').hidden")
    assert browser.errors() == []


def test_two_tracks_are_switched_at_one_time(browser: Any, track: Track, tmp_path: Path) -> None:
    """The other one has other curves, and begins later: each shows its own row of that time."""
    z = track.z[20:].copy()
    z[:, HEAD.expression] = 1 - z[:, HEAD.expression]
    fields = {name: getattr(track, name)[20:] for name in ("times", "ok", "confidence", "presence", "sharpness")}
    fields |= {name: getattr(track, name)[20:] for name in ("H", "crop", "H_image", "landmarks", "visible")}
    other = replace(track, **fields, z=z, curve_values=track.curve_values[20:]).with_codes(z)
    (tmp_path / "other").mkdir()
    other.save(tmp_path / "other")
    page = write(track, "viewer", tmp_path / "v.html", ExportOptions(against=tmp_path / "other"))
    browser.open(page)
    for wanted in TIMES:
        browser.seek(wanted)
        for expected_take, one in (("A", track), ("B", other)):
            row = max(int((one.times <= wanted + 1e-3).sum()) - 1, 0)
            weights = browser.run("return viewer.weights()")
            assert browser.run("return viewer.take()") == expected_take
            np.testing.assert_allclose([weights[name] for name in ARKIT_NAMES], one.z[row, HEAD.expression], atol=1e-5)
            browser.click("take")
    assert browser.errors() == []


def test_tracks_that_are_named_by_their_files_are_told_apart(
    make_track: Callable[..., Track], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both by their folders' names, and the second has the texture that lies beside it."""
    track = make_track([0.0, 0.1])
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        track.save(tmp_path / name)
    Image.new("RGB", (8, 8), (0, 0, 255)).save(tmp_path / "two" / "texture.png")
    monkeypatch.chdir(tmp_path / "one")
    export("track.npz", "viewer", Path("v.html"), ExportOptions(against=Path("../two/track.npz")))
    page = Path("v.html").read_text()
    assert '"title": "one"' in page and '"title": "two"' in page
    (glb,) = re.findall(r'id="against"[^>]*>([^<]*)<', page)
    content = base64.b64decode(glb)
    texture = np.asarray(Image.open(io.BytesIO(content[content.index(b"\xff\xd8\xff") :])))
    assert texture.shape[:2] == (8, 8)


def test_a_track_of_another_clip_is_refused(make_track: Callable[..., Track], tmp_path: Path) -> None:
    track = make_track([0.0, 0.1])
    replace(track, clip_hash="cd" * 32, clip="b.mp4").save(tmp_path)
    with pytest.raises(UserError, match="is a track of another clip, b.mp4"):
        write(track, "viewer", tmp_path / "v.html", ExportOptions(against=tmp_path))
    assert not (tmp_path / "v.html").exists()


@pytest.mark.parametrize("focal", [None, 1e5])
def test_three_js_draws_the_head_where_it_is(browser: Any, track: Track, tmp_path: Path, focal: float | None) -> None:
    """Silhouettes against our own z-buffer: of the track's own vertices, and through a lens that is named."""
    glb = write(replace(track, clip="gone.mp4"), "glb", tmp_path / "a.glb", ExportOptions(focal=focal))
    page = tmp_path / "stage.html"
    three = (viewer.ASSETS / "three.min.js").read_text()
    width, height = track.size
    data = base64.b64encode(glb.read_bytes()).decode()
    page.write_text(STAGE.format(three=three, glb=data, width=width, height=height))
    browser.open(page, "draw")
    for wanted in TIMES:
        row = int(np.abs(track.times - wanted).argmin())
        drawn = browser.pixels(browser.run("return draw(arguments[0])", float(track.times[row])))[..., 3] > 127
        ours = silhouette_through(track, row, focal) if focal else silhouette(track, row)
        assert (drawn & ours).sum() / (drawn | ours).sum() > 0.98


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
