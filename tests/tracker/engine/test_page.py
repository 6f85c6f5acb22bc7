"""The page in a headless Chromium: it tracks the bundled clip as the tracker does, by files alone."""

from __future__ import annotations

import base64
import csv
import io
import re
import sys
import threading
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.errors import UserError
from selftrack.tracker.engine import page as pages
from selftrack.tracker.engine.page import ASSETS, write_page
from selftrack.tracker.frame_result import FrameResult
from selftrack.tracker.model import Model
from selftrack.tracker.sources.opening import open_source
from selftrack.tracker.tracker import Tracker

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1280,860 "
    "--use-fake-ui-for-media-stream --use-fake-device-for-media-stream"
).split()
FROM_PICTURE = """
const [address, time, done] = arguments, picture = new Image();
picture.onload = async () => {
  const canvas = new OffscreenCanvas(picture.width, picture.height), context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  const row = await page.track(context.getImageData(0, 0, picture.width, picture.height), time);
  done(row.curves);
};
picture.src = address;
"""
H264 = "return document.createElement('video').canPlayType('video/mp4; codecs=avc1.42E01E')"
UNEVEN = [0.0, 0.1, 0.117, 0.3, 0.333, 0.35]
LATE_CAMERA = """
const {mediaDevices} = navigator, ask = mediaDevices.getUserMedia.bind(mediaDevices);
const answer = new Promise((done) => { window.allow = done; });
window.streams = [];
mediaDevices.getUserMedia = async (wanted) => {
  await answer;
  window.streams.push(await ask(wanted));
  return window.streams[0];
};
"""


@pytest.fixture(scope="module")
def page(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the bundled network."""
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    try:
        return write_page(model, tmp_path_factory.mktemp("web") / "page")
    except UserError as error:
        if "npm" not in str(error):
            raise
        pytest.skip(str(error))


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def address(page: Path) -> Iterator[str]:
    """Of a server of plain files."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(page))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def camera(smile: Path, path: Path) -> Path:
    """A file that Chromium takes for a camera: a few frames of the bundled clip, uncompressed."""
    with open_source(smile, duration=0.3) as source:
        images = [frame.image for frame in source]
    height, width = images[0].shape[:2]
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F15:1 Ip A1:1 C420\n".encode())
        for image in images:
            file.write(b"FRAME\n" + cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420).tobytes())
    return path


@pytest.fixture(scope="module")
def driver(open_chromium: Callable, smile: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """A headless Chromium under Selenium."""
    film = camera(smile, tmp_path_factory.mktemp("camera") / "camera.y4m")
    driver = open_chromium(*FLAGS, f"--use-file-for-fake-video-capture={film}")
    driver.set_script_timeout(60)
    yield driver
    driver.quit()


@pytest.fixture
def opened(driver: object, address: str) -> object:
    """The browser with the page, whose networks are loaded."""
    driver.get(address)
    until(lambda: driver.execute_script("return !!window.page"))
    return driver


def until(condition: Callable[[], bool], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def webm(smile: Path, path: Path, live: str) -> Path:
    """The bundled clip's first frames at the times `UNEVEN`."""
    with open_source(smile, duration=0.3) as source, av.open(str(path), "w", options={"live": live}) as target:
        stream = target.add_stream("libvpx", rate=30)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for frame, seconds in zip(source, UNEVEN, strict=False):
            picture = av.VideoFrame.from_ndarray(frame.image, format="rgb24")
            picture.pts, picture.time_base = round(1000 * seconds), Fraction(1, 1000)
            target.mux(stream.encode(picture))
        target.mux(stream.encode())
    return path


@pytest.fixture
def uneven(smile: Path, tmp_path: Path) -> Path:
    """A short file."""
    return webm(smile, tmp_path / "uneven.webm", "0")


def tracks(driver: object) -> list[str]:
    """States of the cameras that the page was given."""
    return driver.execute_script("return streams.flatMap((s) => s.getTracks()).map((track) => track.readyState)")


def status(driver: object) -> str:
    return driver.execute_script("return document.getElementById('status').textContent")


def errors(driver: object) -> list[str]:
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]


def curves_of(frames: Sequence[FrameResult]) -> np.ndarray:
    return np.array([[frame.curves[name] for name in ARKIT_NAMES] for frame in frames])


def test_a_file_is_tracked_as_by_the_tracker(opened: object, smile: Path, frames: list[FrameResult]) -> None:
    """All its frames, at their times; the table has them, and the bars show the last one."""
    if not opened.execute_script(H264):
        pytest.skip("this Chromium plays no H.264")
    opened.find_element("id", "file").send_keys(str(smile.resolve()))
    until(lambda: "with a face" in status(opened))
    rows = list(csv.DictReader(io.StringIO(opened.execute_script("return page.table()"))))
    np.testing.assert_allclose([float(row["time"]) for row in rows], [frame.time for frame in frames], atol=1e-3)
    assert all(row["ok"] == "1" for row in rows)
    found = np.array([[float(row[name]) for name in ARKIT_NAMES] for row in rows])
    assert np.abs(found - curves_of(frames)).mean() < 0.01
    yaw = [float(row["yaw"]) for row in rows]
    np.testing.assert_allclose(yaw, [np.degrees(frame.H_image[2]) for frame in frames], atol=1.0)
    scale = [float(row["scale"]) for row in rows]
    np.testing.assert_allclose(scale, [np.exp(frame.H_image[0]) for frame in frames], rtol=0.02)
    shown = opened.execute_script(
        "return [...document.querySelectorAll('.bar span')].map((e) => Number(e.textContent))"
    )
    np.testing.assert_allclose(shown, found[-1], atol=0.006)
    assert errors(opened) == []


def test_a_face_is_lost_and_found_again_as_by_the_tracker(
    opened: object, model: Model, points_alone: Callable[[Model], Tracker], smile: Path
) -> None:
    """The same pixels, with a gap, and then elsewhere in the picture."""
    with open_source(smile, duration=0.4) as source:
        faces = [frame.image for frame in source][::2]
    pictures = [*faces[:3], np.zeros_like(faces[0]), *(np.roll(face, 120, axis=1) for face in faces[3:])]
    tracker = points_alone(model)
    for number, picture in enumerate(pictures):
        expected = tracker(picture, number / 15)
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "png")
        png = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
        curves = opened.execute_async_script(FROM_PICTURE, png, number / 15)
        assert (curves is not None) == expected.ok == (number != 3)
        if curves is not None:
            assert np.abs(np.array(curves) - curves_of([expected])[0]).mean() < 0.0005
    assert errors(opened) == []


def test_the_camera_is_tracked_until_it_is_stopped(opened: object) -> None:
    button = {name: opened.find_element("id", name) for name in ("camera", "stop", "save")}
    button["camera"].click()
    until(lambda: opened.execute_script("return page.rows().filter((row) => row.ok).length") > 3)
    button["stop"].click()
    until(lambda: "frames of the camera" in status(opened))
    times = [row["time"] for row in opened.execute_script("return page.rows()")]
    assert (np.diff(times) > 0).all()
    assert button["save"].is_enabled() and not button["stop"].is_enabled()
    assert errors(opened) == []


def test_a_camera_that_comes_after_stop_is_given_back(opened: object) -> None:
    opened.execute_script(LATE_CAMERA)
    opened.find_element("id", "camera").click()
    until(lambda: opened.find_element("id", "stop").is_enabled())
    opened.find_element("id", "stop").click()
    until(lambda: "Stopped before the camera was there" in status(opened))
    opened.execute_script("allow()")
    until(lambda: tracks(opened) == ["ended"])
    assert opened.execute_script("return page.rows().length") == 0


def test_a_file_does_not_wait_for_a_camera_and_is_not_replaced_by_it(opened: object, uneven: Path) -> None:
    opened.execute_script(LATE_CAMERA)
    opened.find_element("id", "camera").click()
    opened.find_element("id", "file").send_keys(str(uneven))
    until(lambda: "with a face" in status(opened))
    opened.execute_script("allow()")
    until(lambda: tracks(opened) == ["ended"])
    time.sleep(0.3)
    assert f"{len(UNEVEN)} frames of uneven.webm" in status(opened)
    assert opened.execute_script("return page.rows().length") == len(UNEVEN)


def test_a_camera_that_is_unplugged_ends_the_run(opened: object) -> None:
    opened.execute_script(LATE_CAMERA + "allow();")
    opened.find_element("id", "camera").click()
    until(lambda: opened.execute_script("return page.rows().length") > 0)
    opened.execute_script("streams[0].getTracks()[0].dispatchEvent(new Event('ended'))")
    until(lambda: re.search(r"The camera is gone, after \d+ frames?; \d+ with a face", status(opened)))
    assert opened.find_element("id", "save").is_enabled() and not opened.find_element("id", "stop").is_enabled()


def test_what_a_browser_keeps_for_safe_addresses_is_said(opened: object, uneven: Path) -> None:
    """As a page over plain http finds it."""
    opened.execute_script(
        "Object.defineProperty(navigator, 'mediaDevices', {value: undefined}); delete self.VideoDecoder"
    )
    opened.find_element("id", "camera").click()
    until(lambda: "Cameras need https, or localhost" in status(opened))
    opened.find_element("id", "file").send_keys(str(uneven))
    until(lambda: "Files need https, or localhost" in status(opened))


@pytest.mark.parametrize("live", ["0", "1"])
def test_every_frame_of_a_file_is_tracked_at_its_own_time(
    opened: object, smile: Path, tmp_path: Path, live: str
) -> None:
    """At rates that change, and where the file does not say how long it is (live), as recorders leave them."""
    opened.find_element("id", "file").send_keys(str(webm(smile, tmp_path / "uneven.webm", live)))
    until(lambda: "with a face" in status(opened))
    times = [row["time"] for row in opened.execute_script("return page.rows()")]
    np.testing.assert_allclose(times, UNEVEN, atol=1e-3)
    assert errors(opened) == []


@pytest.mark.parametrize("cut", [0.4, 0.43])
def test_what_comes_before_the_beginning_of_a_file_is_not_tracked(
    opened: object, smile: Path, tmp_path: Path, cut: float
) -> None:
    """An editor cut it away, but left it in the file."""
    if not opened.execute_script(H264):
        pytest.skip("this Chromium plays no H.264")
    file = tmp_path / "cut.mp4"
    with av.open(str(smile)) as source, av.open(str(file), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None and packet.dts * packet.time_base < 0.7:
                packet.pts, packet.dts = (t - int(cut / packet.time_base) for t in (packet.pts, packet.dts))
                packet.stream = stream
                target.mux(packet)
    with open_source(file) as source:
        expected = [frame.time for frame in source]
    opened.find_element("id", "file").send_keys(str(file))
    until(lambda: "with a face" in status(opened))
    times = [row["time"] for row in opened.execute_script("return page.rows()")]
    np.testing.assert_allclose(times, expected, atol=5e-3)  # libav moves the first frame to 0


def test_a_file_is_tracked_until_it_is_stopped(opened: object, smile: Path) -> None:
    if not opened.execute_script(H264):
        pytest.skip("this Chromium plays no H.264")
    opened.find_element("id", "file").send_keys(str(smile.resolve()))
    until(lambda: opened.execute_script("return page.rows().length") > 1)
    opened.find_element("id", "stop").click()
    until(lambda: "frames of smile.mp4" in status(opened))
    assert "breaks off" not in status(opened)
    assert 1 < opened.execute_script("return page.rows().length") < 72
    assert opened.find_element("id", "save").is_enabled() and not opened.find_element("id", "stop").is_enabled()


def test_a_file_that_breaks_off_is_tracked_up_to_there(opened: object, smile: Path, tmp_path: Path) -> None:
    if not opened.execute_script(H264):
        pytest.skip("this Chromium plays no H.264")
    whole = tmp_path / "whole.mp4"
    with av.open(str(smile)) as source, av.open(str(whole), "w", options={"movflags": "faststart"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    (tmp_path / "part.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size // 4])
    opened.find_element("id", "file").send_keys(str(tmp_path / "part.mp4"))
    until(lambda: "with a face; the file breaks off there" in status(opened))
    assert 0 < opened.execute_script("return page.rows().length") < 36


def test_a_file_without_a_picture_is_said_in_a_line(opened: object, tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "voice.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16000))
    opened.find_element("id", "file").send_keys(str(tmp_path / "voice.wav"))
    until(lambda: "voice.wav has no picture" in status(opened), 20)


def test_a_file_that_is_no_video_is_said_in_a_line(opened: object, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("no video")
    opened.find_element("id", "file").send_keys(str(tmp_path / "notes.mp4"))
    until(lambda: "notes.mp4 cannot be read by this browser" in status(opened), 20)


def test_opened_as_a_file_it_says_what_it_needs(driver: object, page: Path) -> None:
    driver.get((page / "index.html").as_uri())
    assert "through a web server" in driver.find_element("id", "status").text


def test_the_page_names_no_address_of_another_machine(page: Path) -> None:
    for name in (file.name for file in ASSETS.iterdir()):
        assert not re.search(r"\bhttps?://|\bsrc=.//", (page / name).read_text(encoding="utf-8")), name


def test_what_cannot_be_made_is_said_and_leaves_nothing(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="is there already; name another folder"):
        write_page(model, tmp_path)
    with pytest.raises(UserError, match="its folder is not there"):
        write_page(model, tmp_path / "none" / "page")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    with pytest.raises(UserError, match="is there already; name another folder"):
        write_page(model, tmp_path / "link")
    monkeypatch.setattr(pages.shutil, "which", lambda _: None)
    with pytest.raises(UserError, match=r"npm is missing.*install Node\.js"):
        write_page(model, tmp_path / "page")
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


NPM = """#!/bin/sh
case " $* " in *--silent*) exit 1;; esac
echo 'npm error code ENOTFOUND
npm error syscall getaddrinfo
npm error errno ENOTFOUND
npm error network request to registry failed, reason: getaddrinfo ENOTFOUND
npm error network This is a problem related to network connectivity.
npm error A complete log of this run can be found in: debug-0.log' >&2
exit 1
"""
PACKS = """#!/bin/sh
echo nothing > LICENSE
tar czf onnxruntime-web-1.tgz LICENSE
"""


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (NPM, r"npm cannot fetch onnxruntime.* \(network request to registry failed, reason: .*ENOTFOUND\); go online"),
        (PACKS, r"onnxruntime-web@[\d.]+ of npm is not what it should be.*ort\.wasm\.min\.mjs.*npm cache clean"),
    ],
)
def test_what_npm_cannot_do_is_said(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    """By npm's own first line that explains it; it says nothing where it is told to be silent."""
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    npm = tmp_path / "npm"
    npm.write_text(script)
    npm.chmod(0o755)
    monkeypatch.setattr(pages.shutil, "which", lambda _: str(npm))
    with pytest.raises(UserError, match=said):
        write_page(model, tmp_path / "page")
    assert [path.name for path in tmp_path.iterdir()] == ["npm"]


def test_npm_fetches_nothing_where_onnx_is_missing(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setattr(pages.subprocess, "run", lambda *_, **__: pytest.fail("npm was run"))
    with pytest.raises(UserError, match=r"pip install 'selftrack\[onnx\]'"):
        write_page(model, tmp_path / "page")
    assert not list(tmp_path.iterdir())
