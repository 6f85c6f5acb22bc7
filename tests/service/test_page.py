"""The page in a headless Chromium: a clip goes up, its results come down."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")


@pytest.fixture
def driver(open_chromium: Callable) -> Iterator[object]:
    """A browser under Selenium."""
    driver = open_chromium(*FLAGS)
    yield driver
    driver.quit()


def test_a_clip_goes_up_and_results_come_down(
    driver: object, serve: Callable, tiny: Path, tmp_path: Path, until: Callable
) -> None:
    """With a token, which the page asks for; the clip's name is text, whatever is in it."""
    service = serve(token="s3cret")
    clip = shutil.copy(tiny, tmp_path / "<img src=x onerror=alert(1)>.mp4")
    driver.get(f"http://127.0.0.1:{service.port}/")
    token = driver.find_element("name", "token")
    until(token.is_displayed)
    token.send_keys("s3cret\t")
    until(lambda: not token.is_displayed())
    driver.find_element("name", "clip").send_keys(str(clip))
    driver.find_element("css selector", "form button").click()
    until(lambda: driver.find_elements("css selector", "article.done"))
    card = driver.find_element("css selector", "article")
    assert card.find_element("tag name", "h2").text == clip.name and not card.find_elements("tag name", "img")
    assert "4 frames, 0 lost" in card.text
    links = [link.text for link in card.find_elements("tag name", "a")]
    assert links == [*service.http.get("/jobs").json()[0]["results"], "all.zip"]
    size = """
        const link = [...document.querySelectorAll("article a")].find((one) => one.textContent === "curves.csv");
        fetch(link.href, {headers: headers()}).then((a) => a.text()).then((text) => arguments[0](text.length));
    """
    assert driver.execute_async_script(size) == len(table_of(service))
    errors = [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    assert all("401" in error for error in errors)
    card.find_element("tag name", "button").click()
    until(lambda: not driver.find_elements("css selector", "article"))
    assert service.http.get("/jobs").json() == []


def table_of(service: object) -> str:
    """curves.csv of the only job."""
    (job,) = service.http.get("/jobs").json()
    return service.http.get(f"/jobs/{job['id']}/results/curves.csv").text
