from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from no_time_to_train.outputs.summary import ImageSummary, RunSummary
from no_time_to_train.outputs.web_page import write_web_page
from no_time_to_train.references.min_scores import MinScores
from no_time_to_train.structures import Category

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
NASTY = "</script><b>#1 & %.jpg"


def test_the_page_stands_alone_and_names_cannot_break_it(tmp_path: Path) -> None:
    summary = RunSummary((ImageSummary(NASTY, (9,), (0.87654,)),), (Category(9, "<boat>"),), MinScores(0.4))
    write_web_page(tmp_path / "index.html", summary, "overlays/{}".format)
    page = (tmp_path / "index.html").read_text()
    assert not re.search(r"https?://|src=\"|@\w+@", page)
    assert page.count("</script>") == 2
    run = json.loads(re.search(r"id=\"run\">(.*)</script>\n", page).group(1))
    assert run["images"] == [
        {"name": NASTY, "overlay": "overlays/%3C/script%3E%3Cb%3E%231%20%26%20%25.jpg", "found": [9, 0.877]}
    ]
    assert run["categories"]["9"]["name"] == "<boat>"
    assert "<title>1 object in 1 image - No Time To Train</title>" in page


@pytest.mark.parametrize("num_images", [0, 1, 3])
def test_the_script_holds_every_image(tmp_path: Path, num_images: int) -> None:
    images = tuple(ImageSummary(f"{number}.jpg", (9, 9), (0.5, 0.25)) for number in range(num_images))
    write_web_page(
        tmp_path / "index.html", RunSummary(images, (Category(9, "boat"),), MinScores(0.4)), "overlays/{}".format
    )
    run = json.loads(re.search(r"id=\"run\">(.*)</script>\n", (tmp_path / "index.html").read_text()).group(1))
    assert [image["name"] for image in run["images"]] == [f"{number}.jpg" for number in range(num_images)]
    assert all(image["found"] == [9, 0.5, 9, 0.25] for image in run["images"])


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)")
def test_a_browser_shows_a_thousand_images_at_a_time_and_filters_all(tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    images = tuple(ImageSummary(f"{number:04d}.jpg", (number % 2,), (0.5,)) for number in range(2500))
    categories = (Category(0, "boat"), Category(1, "bird"))
    write_web_page(tmp_path / "index.html", RunSummary(images, categories, MinScores(0.4)), "overlays/{}".format)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto((tmp_path / "index.html").as_uri())

        def first_and_count() -> tuple[str, int]:
            return page.locator("figcaption").first.inner_text(), page.locator("figure").count()

        assert first_and_count() == ("0000.jpg\nboat 1", 1000)
        page.click("#next")
        assert first_and_count() == ("1000.jpg\nboat 1", 1000)
        page.fill("#page", "9")
        page.keyboard.press("Enter")
        assert (first_and_count(), page.input_value("#page")) == (("2000.jpg\nboat 1", 500), "3")
        page.select_option("#category", label="bird")
        page.uncheck("#empty")
        assert first_and_count() == ("0001.jpg\nbird 1", 1000)
        assert page.inner_text("#total") == "1250 objects in 1250 images"
        page.fill("#name", "24")
        assert first_and_count() == ("0241.jpg\nbird 1", 65)
        assert not page.is_visible("#pages")
        browser.close()
