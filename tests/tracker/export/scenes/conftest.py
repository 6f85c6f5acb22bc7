"""A browser that opens pages, and the bundled clip's viewer in it."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import load_head
from selftrack.tracker.clips.config import TrackConfig
from selftrack.tracker.clips.single import track_clip
from selftrack.tracker.export import write
from selftrack.tracker.results.track_file import Track, load

FLAGS = (
    "--headless --no-sandbox --disable-gpu --use-angle=swiftshader --enable-unsafe-swiftshader --disable-quic "
    "--no-first-run --disable-background-networking --disable-component-update --disable-sync --window-size=1280,720"
).split()
CHANGE = """const [name, amount, held] = arguments;
const slider = document.querySelector(`[aria-label="Change ${name}"]`);
if (held) slider.nextSibling.click();
slider.value = amount;
slider.dispatchEvent(new Event("input"));
slider.dispatchEvent(new Event("change"));"""


class Browser:
    """A headless Chromium under Selenium, 1280x720."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.run, self.wait = driver.execute_script, driver.execute_async_script

    def size(self, width: int, height: int) -> None:
        """Give pages so many pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def open(self, page: Path, ready: str = "viewer") -> None:
        """Open a page and wait for what it defines; it says no error."""
        self.driver.get_log("browser")
        self.driver.get(page.as_uri())
        self.until(lambda: self.run(f"return !!window.{ready}"))
        assert self.errors() == []

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def errors(self) -> list[str]:
        """Of the page, since they were last asked for."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def find(self, name: str) -> Any:
        """The element of an id."""
        return self.driver.find_element("id", name)

    def click(self, name: str) -> None:
        self.find(name).click()

    def send(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        self.driver.switch_to.active_element.send_keys(*keys)

    def picture(self) -> np.ndarray:
        """(H,W,4) uint8, the page as it is shown."""
        return self.pixels(self.driver.get_screenshot_as_base64())

    @staticmethod
    def pixels(picture: str) -> np.ndarray:
        """(H,W,4) uint8 of a PNG or a data URL of one."""
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.split(",")[-1]))).convert("RGBA"))

    def seek(self, seconds: float) -> None:
        """Show the viewer's frame of that time."""
        self.wait("viewer.seek(arguments[0]).then(arguments[1])", seconds)

    def change(self, name: str, amount: float, held: bool = False) -> None:
        """Move the slider of a channel, in place of the performance or on top of it."""
        self.run(CHANGE, name, amount, held)

    def key(self, name: str) -> None:
        """Set or remove the key of a channel at the frame that is shown."""
        self.run("document.querySelector(`[aria-label='Key of ${arguments[0]}']`).click()", name)

    def save(self, folder: Path) -> Path:
        """The table that the viewer saves."""
        self.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
        self.click("save")
        self.until(lambda: bool(list(folder.glob("*_edited.csv"))))
        (saved,) = folder.glob("*_edited.csv")
        return saved


@pytest.fixture(scope="session")
def chromium(open_chromium: Callable) -> Iterator[Browser]:
    """A browser for all tests."""
    driver = open_chromium(*FLAGS)
    browser = Browser(driver)
    browser.size(1280, 720)
    yield browser
    driver.quit()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """That browser, which forgets what pages have left in it, and is 1280x720 again."""
    yield chromium
    chromium.run("localStorage.clear()")
    chromium.size(1280, 720)


@pytest.fixture(scope="session")
def track(smile: Path, tmp_path_factory: pytest.TempPathFactory) -> Track:
    """The bundled clip, tracked."""
    folder = tmp_path_factory.mktemp("track")
    track_clip(smile, folder, TrackConfig(overlay=False))
    return load(folder)


@pytest.fixture(scope="session")
def page(track: Track, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its viewer."""
    return write(track, "viewer", tmp_path_factory.mktemp("page") / "v.html")


@pytest.fixture(scope="session")
def exported() -> Callable[[Track], np.ndarray]:
    """`exported(track)`: vertices (T,V,3) of the bundled head in its frame, as scenes have them: its lower teeth stand
    3 mm higher as far as the jaw is shut."""
    head = load_head()
    lower = head.faces[head.face_parts == head.part_names.index("teeth_lower")].unique()

    def vertices_of(track: Track) -> np.ndarray:
        codes = torch.from_numpy(track.z)
        out = head.geometry(codes)
        out[:, lower, 1] -= 0.003 * (1 - codes[:, head.expression][:, ARKIT_NAMES.index("jawOpen")])[:, None]
        return out.numpy()

    return vertices_of


ACTS = ("jawOpen", "mouthSmileLeft", "mouthSmileRight", "browInnerUp", "eyeBlinkLeft", "eyeBlinkRight", "noseSneerLeft")


@pytest.fixture
def acted(make_track: Callable[..., Track]) -> Track:
    """A second of acts that a face can show."""
    rng, time = np.random.default_rng(2), np.arange(25) / 25
    acts = {name: rng.uniform(0.2, 0.8) * np.sin(rng.uniform(2, 9) * time) ** 2 for name in ACTS}
    look = np.sin(7 * time) / 2
    acts |= dict.fromkeys(["eyeLookOutLeft", "eyeLookInRight"], look.clip(0))
    acts |= dict.fromkeys(["eyeLookInLeft", "eyeLookOutRight"], (-look).clip(0))
    return make_track(time, acts)


@pytest.fixture
def editor(browser: Browser, acted: Track, tmp_path: Path) -> Browser:
    """The browser, in which that track is edited."""
    browser.open(write(acted, "viewer", tmp_path / "v.html"))
    browser.click("edit")
    return browser
