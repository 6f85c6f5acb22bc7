"""A performance that is changed by hand in the viewer, and what is saved of it."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import load_head
from selftrack.tracker.export import write
from selftrack.tracker.export.edited import with_table
from selftrack.tracker.export.scenes._head import head_places, neck_joint, neutral_code
from selftrack.tracker.geometry.camera import focal_length
from selftrack.tracker.results.track_file import Track

HEAD = load_head()
ROWS = (3, 12, 24)
SHIFT, CONTROL = "\ue008", "\ue009"
MOVE = """const slider = document.querySelector(`[aria-label="Change ${arguments[0]}"]`);
slider.value = arguments[1];
slider.dispatchEvent(new Event("input"));"""


def test_what_is_changed_by_hand(editor: Any, acted: Track) -> None:
    """On top of the performance or in its place, within 0 and 1, in all frames; both eyes go the same way; and back."""
    editor.change("jawOpen", 0.4)
    editor.change("mouthSmileLeft", 0.3, held=True)
    editor.change("gazeSide", -0.5)
    for row in ROWS:
        editor.seek(float(acted.times[row]))
        own = dict(zip(ARKIT_NAMES, acted.z[row, HEAD.expression].tolist(), strict=True))
        expected = own | {"jawOpen": min(own["jawOpen"] + 0.4, 1), "mouthSmileLeft": 0.3}
        for out, into in (("eyeLookOutLeft", "eyeLookInLeft"), ("eyeLookInRight", "eyeLookOutRight")):
            left = np.clip(own[out] - own[into] - 0.5, -1, 1)
            expected |= {out: max(left, 0), into: max(-left, 0)}
        assert editor.run("return viewer.weights()") == pytest.approx(expected, abs=1e-5)
        assert editor.find("edited").is_displayed()
    editor.click("discard")
    assert editor.run("return viewer.weights()") == pytest.approx(own, abs=1e-6)
    assert not editor.find("edited").is_displayed()
    assert editor.errors() == []


def test_between_keys_an_amount_goes_from_one_to_the_other(
    browser: Any, make_track: Callable[..., Track], tmp_path: Path
) -> None:
    """In proportion to time, at any rate; before the first and after the last it holds."""
    times = np.array([0, 0.04, 0.08, 0.2, 0.24, 0.28, 0.4])
    track = make_track(times, {"cheekPuff": 0.1})
    browser.open(write(track, "viewer", tmp_path / "v.html"))
    browser.click("edit")
    for row, amount in ((1, 0.0), (5, 0.8)):
        browser.seek(times[row])
        browser.key("cheekPuff")
        browser.change("cheekPuff", amount)
        assert browser.run("return document.querySelector('[aria-label=\"Key of cheekPuff\"]').ariaPressed") == "true"
    for time in times:
        browser.seek(time)
        expected = 0.1 + 0.8 * np.clip((time - times[1]) / (times[5] - times[1]), 0, 1)
        assert browser.run("return viewer.weights().cheekPuff") == pytest.approx(expected, abs=1e-5)
    assert browser.errors() == []


def test_keys_count_the_other_way(browser: Any, make_track: Callable[..., Track], tmp_path: Path) -> None:
    """On top of the performance, in its place, and back: at each key all is as it was, and so are the keys."""
    ramp, names = np.linspace(0.1, 0.5, 9), ("jawOpen", "gazeSide", "yaw")
    track = make_track(np.arange(9) / 25, {"jawOpen": ramp, "eyeLookOutLeft": ramp, "eyeLookInRight": ramp}, ry=ramp)
    browser.open(write(track, "viewer", tmp_path / "v.html"))
    browser.click("edit")
    sliders = ",".join(f"document.querySelector('[aria-label=\"Change {name}\"]')" for name in names)
    modes, keys = (f"[{sliders}].map((slider) => slider.parentElement.children[{i}])" for i in (2, 3))
    states = []
    for switch in range(3):
        for row, amount in ((2, 0.3), (6, -0.2)):
            browser.seek(float(track.times[row]))
            for name in names * (switch == 0):
                browser.run(f"{keys}[arguments[0]].click()", names.index(name))
                browser.change(name, amount * (50 if name == "yaw" else 1))
            assert browser.run(f"return {keys}.map((key) => key.ariaPressed)") == ["true"] * 3
            states.append(browser.run("return [...Object.values(viewer.weights()), ...viewer.head()]"))
        browser.run(f"{modes}.forEach((mode) => mode.click())")
    assert states[0][ARKIT_NAMES.index("jawOpen")] == pytest.approx(ramp[2] + 0.3, abs=1e-5)
    np.testing.assert_allclose(states[2:], states[:2] * 2, atol=1e-5)
    assert browser.errors() == []


@pytest.mark.parametrize("inverse_distance", [0.0, 2.0])
def test_what_is_saved_comes_back_by_track_export(
    browser: Any, make_track: Callable[..., Track], tmp_path: Path, inverse_distance: float
) -> None:
    """The head turns about its neck, which stays where it was; all is where the page has shown it."""
    motion = {"ry": np.linspace(-0.2, 0.2, 9), "rz": 0.1, "tx": np.linspace(150, 500, 9), "ty": 250, "f": 7.0}
    act = {"jawOpen": np.linspace(0, 1, 9), "eyeBlinkLeft": 0.3}
    track = make_track(np.arange(9) / 25, act, inverse_distance=inverse_distance, **motion)
    browser.open(write(track, "viewer", tmp_path / "v.html"))
    browser.click("edit")
    for name, amount in {"yaw": 20, "pitch": -12, "roll": 9, "eyeBlinkLeft": 0.4}.items():
        browser.change(name, amount)
    again = with_table(track, browser.save(tmp_path))
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
        browser.seek(float(track.times[row]))
        matrix = np.reshape(browser.run("return viewer.head()"), (4, 4)).T
        np.testing.assert_allclose(matrix[:3, :3], after[0][row], atol=1e-4)
        np.testing.assert_allclose(matrix[:3, 3], after[1][row], atol=2e-6 * -stays[0, 2] + 2e-5)
    assert browser.errors() == []


def test_arrow_keys_move_a_slider_that_has_the_focus(editor: Any) -> None:
    slider = editor.driver.find_element("css selector", "[aria-label='Change yaw']")
    slider.send_keys("\ue014\ue014")  # right
    assert float(slider.get_attribute("value")) > 0 and editor.run("return viewer.time()") == 0
    assert editor.errors() == []


def state(editor: Any) -> str:
    """What the performance is in all frames, and how the head is turned where that is changed."""
    return editor.run("return viewer.table()")


def drag_key(editor: Any, name: str, pixels: int) -> None:
    """Drag the only key of a channel to the right, with a few movements."""
    x, y = editor.run("return viewer.keys().find((key) => key.name === arguments[0]).at", name)
    canvas = editor.find("plot")
    left, top = -canvas.size["width"] / 2 + x, -canvas.size["height"] / 2 + y  # from the canvas's centre
    actions = import_module("selenium.webdriver").ActionChains(editor.driver, duration=0)
    actions.move_to_element_with_offset(canvas, round(left), round(top)).click_and_hold()
    for _ in range(4):
        actions.move_by_offset(round(pixels / 4), 0)
    actions.release().perform()


def test_every_step_is_undone_and_done_again(editor: Any) -> None:
    """One step for each drag of a slider, key, other way of counting, expression, and for Undo all; by keys and by
    buttons."""

    def drag(name: str, amount: float) -> None:
        for part in (0.2, 0.5, 0.8):  # on the way there
            editor.run(MOVE, name, part * amount)
        editor.change(name, amount)

    steps: list[Callable[[], object]] = [
        lambda: drag("jawOpen", 0.4),
        lambda: drag("yaw", 20),
        lambda: editor.key("browInnerUp"),
        lambda: drag("browInnerUp", 0.6),
        lambda: (editor.seek(0.6), editor.key("browInnerUp")),
        lambda: (editor.seek(0.6), drag("browInnerUp", -0.2)),
        lambda: editor.run("document.querySelector('[aria-label=\"Change jawOpen\"]').nextSibling.click()"),
        lambda: drag("angry", 0.7),
        lambda: editor.click("discard"),
    ]
    states = [state(editor)]
    for step in steps:
        editor.seek(0.2)
        step()
        states.append(state(editor))
    for at in range(len(states) - 2, -1, -1):
        editor.send(CONTROL, "z") if at % 2 else editor.click("undo")
        assert state(editor) == states[at]
    assert not editor.find("undo").is_enabled() and not editor.find("edited").is_displayed()
    redo = ((CONTROL, "y"), (CONTROL, SHIFT, "z"))
    for at in range(1, len(states)):
        editor.click("redo") if at % 3 == 0 else editor.send(*redo[at % 3 - 1])
        assert state(editor) == states[at]
    assert not editor.find("redo").is_enabled()
    editor.click("undo")
    editor.change("jawOpen", 0.1)
    assert not editor.find("redo").is_enabled(), "a new change is where the steps end"
    assert editor.errors() == []


def test_a_key_is_dragged_in_time(editor: Any, acted: Track) -> None:
    """Of a curve in the plot, and of the head, which has none, on its axis: the amount stays, and it is one step."""
    drawn = editor.run("return document.querySelector('.curve[aria-pressed=true] span').textContent")
    for name, amount in ((drawn, 0.5), ("yaw", 30)):
        editor.seek(0.2)
        editor.key(name)
        editor.change(name, amount)
        editor.seek(0.2)
        before = editor.run("return viewer.keys().find((key) => key.name === arguments[0])", name)
        drag_key(editor, name, 120)
        after = editor.run("return viewer.keys().find((key) => key.name === arguments[0])", name)
        second = (after["at"][0] - before["at"][0]) / (acted.times[after["row"]] - acted.times[before["row"]])  # pixels
        assert before["row"] == 5 and abs(acted.times[after["row"]] - (0.2 + 120 / second)) < 0.02 + 2 / second
        assert editor.run("return viewer.time()") == pytest.approx(acted.times[after["row"]], abs=1e-6)
        slider = editor.driver.find_element("css selector", f"[aria-label='Change {name}']")
        assert float(slider.get_attribute("value")) == pytest.approx(amount)
        editor.click("undo")
        assert editor.run("return viewer.keys().find((key) => key.name === arguments[0]).row", name) == 5
    assert editor.errors() == []


def test_edits_are_there_when_the_page_is_opened_again(
    editor: Any, acted: Track, make_track: Callable[..., Track], tmp_path: Path
) -> None:
    """Also a page that was written anew from the same track; not those of another track; until they are discarded."""
    editor.change("jawOpen", 0.4)
    editor.change("sad", 0.5)
    editor.key("pitch")
    edited = state(editor)
    editor.open(write(acted, "viewer", tmp_path / "again.html"))
    assert state(editor) == edited
    assert editor.find("edited").text == "edits of your last visit"
    other = make_track(acted.times, {"jawOpen": 0.2})
    editor.open(write(other, "viewer", tmp_path / "other.html"))
    assert not editor.find("edited").is_displayed() and not editor.find("discard").is_displayed()
    editor.open(tmp_path / "v.html")
    editor.click("discard")
    tracked = state(editor)
    assert tracked != edited
    editor.open(tmp_path / "v.html")
    assert state(editor) == tracked
    assert not editor.find("edited").is_displayed()
    assert editor.errors() == []


def test_what_cannot_be_read_is_no_edit(editor: Any, tmp_path: Path) -> None:
    tracked = state(editor)
    for kept in ("no JSON", '{"jawOpen": 3}', '{"nothing": {"held": true, "amount": 1, "keys": []}}'):
        editor.change("jawOpen", 0.4)
        editor.run("localStorage.setItem(Object.keys(localStorage)[0], arguments[0])", kept)
        editor.open(tmp_path / "v.html")
        assert state(editor) == tracked
        assert not editor.find("edited").is_displayed()
    assert editor.errors() == []


FULL = "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); }"


def test_a_browser_that_keeps_no_edits_says_so(editor: Any) -> None:
    """Also where the words have room; and no more once it keeps them, or there is nothing to keep."""
    editor.run(f"window.put = Storage.prototype.setItem; {FULL}")
    editor.change("jawOpen", 0.4)
    assert editor.find("edited").text == "edited, not kept: save"
    wide = "const one = document.getElementById('edited'); return [one.scrollWidth, one.clientWidth]"
    assert len(set(editor.run(wide))) == 1
    editor.click("undo")
    assert not editor.find("edited").is_displayed()
    editor.click("redo")
    assert editor.find("edited").text == "edited, not kept: save"
    editor.run("Storage.prototype.setItem = window.put")
    editor.change("jawOpen", 0.5)
    assert editor.find("edited").text == "edited"
    assert editor.errors() == []


def test_a_second_tab_that_edits_the_same_is_told_of(editor: Any, tmp_path: Path) -> None:
    editor.change("jawOpen", 0.4)
    first = editor.driver.current_window_handle
    editor.driver.switch_to.new_window("tab")
    try:
        editor.size(1280, 720)
        editor.open(tmp_path / "v.html")
        editor.change("jawOpen", 0.6)
    finally:
        editor.driver.close()
        editor.driver.switch_to.window(first)
    editor.until(lambda: editor.find("edited").text == "edited in two tabs")
    assert editor.errors() == []


def test_what_a_second_tab_discards_is_kept_by_the_first(editor: Any, tmp_path: Path) -> None:
    """Its own changes are there at its next visit, as it says."""
    editor.change("jawOpen", 0.4)
    edited, first = state(editor), editor.driver.current_window_handle
    editor.driver.switch_to.new_window("tab")
    try:
        editor.size(1280, 720)
        editor.open(tmp_path / "v.html")
        editor.change("jawOpen", 0.6)
        editor.click("discard")
        assert not editor.find("edited").is_displayed()
    finally:
        editor.driver.close()
        editor.driver.switch_to.window(first)
    editor.until(lambda: editor.find("edited").text == "edited")
    assert editor.find("edited").get_attribute("title") == "Your changes are there at your next visit, too"
    editor.open(tmp_path / "v.html")
    assert state(editor) == edited and editor.errors() == []


def test_a_number_that_is_nearly_0_has_no_minus(browser: Any, make_track: Callable[..., Track], tmp_path: Path) -> None:
    track = make_track([0.0, 0.1], rx=1e-5, ry=-1e-5, rz=np.array([-1e-5, 1e-5]))
    browser.open(write(track, "viewer", tmp_path / "v.html"))
    browser.click("edit")
    shown = set()
    for time in track.times:
        browser.seek(float(time))
        shown |= {one.text for one in browser.driver.find_elements("css selector", ".whole span span")[:5]}
    assert shown == {"0.0°", "0.00"}


def test_the_space_key_presses_a_button_that_has_the_focus(editor: Any) -> None:
    """And plays where none has."""
    button = editor.find("edit")
    button.send_keys(" ")
    assert not editor.run("return viewer.playing()") and button.get_attribute("aria-pressed") == "false"
    editor.run("document.activeElement.blur()")
    editor.send(" ")
    editor.until(lambda: editor.run("return viewer.time()") > 0)


def test_the_arrow_keys_move_by_one_frame_also_from_the_bar_of_time(editor: Any, acted: Track) -> None:
    bar = editor.find("scrub")
    bar.send_keys("\ue014\ue014")  # right
    assert editor.run("return viewer.time()") == pytest.approx(acted.times[2], abs=1e-6)
    assert bar.get_attribute("value") == "2" and editor.find("time").text.endswith("frame 2 / 24")


def test_of_a_long_take_a_frame_reads_its_own_row(
    browser: Any, make_track: Callable[..., Track], tmp_path: Path
) -> None:
    """However many frames and keys there are: what is drawn of all of them is drawn once."""
    count = 600
    track = make_track(np.arange(count) / 25, {"jawOpen": 0.5 + 0.5 * np.sin(np.arange(count))})
    browser.open(write(track, "viewer", tmp_path / "v.html"))
    browser.click("edit")
    for at in (0.0, 9.0, 18.0):
        browser.seek(at)
        browser.key("jawOpen")
        browser.change("jawOpen", at / 100)
    browser.seek(1.0)
    browser.run(
        "window.strokes = 0; const own = CanvasRenderingContext2D.prototype, to = own.lineTo;"
        "own.lineTo = function (...at) { window.strokes += 1; return to.apply(this, at); }"
    )
    browser.seek(13.5)
    assert browser.run("return window.strokes") < 100
    amount = 0.09 + (13.48 - 9) / 9 * 0.09  # between the keys, at the row's own time
    expected = min(track.curves()["jawOpen"][337] + amount, 1)
    assert browser.run("return viewer.weights().jawOpen") == pytest.approx(expected, abs=1e-5)
    browser.change("jawOpen", 0.3)
    assert browser.run("return window.strokes") > count


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080)])
def test_controls_fit(editor: Any, size: tuple[int, int]) -> None:
    """No name is cut off or lies under its number, the buttons are in the panel, and the footer in the page."""
    width, height = size
    editor.size(width, height)
    editor.change("yaw", 10)
    assert editor.run("return [innerWidth, innerHeight]") == [width, height]
    spans = "[...document.querySelectorAll('.line span, #bar > *')]"
    wide = editor.run(f"return {spans}.filter((one) => one.scrollWidth > one.clientWidth)")
    assert [one.text for one in wide] == []
    right = "return document.getElementById(arguments[0]).getBoundingClientRect().right"
    assert editor.run(right, "edit") < editor.run(right, "side") <= width
    assert editor.run("return document.querySelector('footer').getBoundingClientRect().bottom") <= height
    assert editor.errors() == []
