"""The review page in a real Chromium, with a mask model that answers with squares."""

from __future__ import annotations

import http.server
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from no_time_to_train.ops.rle import decode_rle, encode_mask
from no_time_to_train.review.session import ReviewSession
from tests.outputs.test_review_record import record
from tests.review.conftest import write_results
from tests.review.page_server import TOKEN

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)"),
]
HEIGHT, WIDTH = 120, 160


def rectangle(x1: int, y1: int, x2: int, y2: int) -> Any:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y1:y2, x1:x2] = True
    return encode_mask(mask)


def results(folder: Path, num_images: int) -> Path:
    images = folder / "photos"
    images.mkdir(parents=True)
    pixels = Image.fromarray(np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    names = [f"{number:04d}.jpg" for number in range(num_images)]
    for name in names:
        pixels.save(images / name)
    found = [
        (1, rectangle(10, 10, 60, 60), 0.9),
        (2, rectangle(80, 20, 150, 100), 0.55),
        (1, rectangle(0, 90, 30, 115), 0.3),
    ]
    records = {name: record(*found) for name in names}
    for item in records.values():
        object.__setattr__(item, "image_size_hw", (HEIGHT, WIDTH))
    write_results(folder / "photos_labeled", images, records)
    return folder / "photos_labeled"


class Server:
    """The page's server as a process of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder = folder
        self.address = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        root = Path(__file__).parents[2]
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("page_server.py")), str(self.folder), str(self.port)],
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        raise AssertionError("the server did not start")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(results(tmp_path, 3))
    yield server
    server.kill()


@pytest.fixture
def page(server: Server) -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        page = browser.new_context(viewport={"width": 1200, "height": 800}).new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        open_page(page, server)
        yield page
        browser.close()
        assert problems == []


def open_page(page: Any, server: Server) -> None:
    page.goto(f"{server.address}/?token={TOKEN}")
    page.locator("#objects li").first.wait_for()


def at(page: Any, x: float, y: float) -> dict[str, float]:
    """Where on the canvas a pixel of the image lies."""
    box = page.locator("#canvas").bounding_box()
    scale = min(box["width"] / WIDTH, box["height"] / HEIGHT)
    return {
        "x": (box["width"] - WIDTH * scale) / 2 + x * scale,
        "y": (box["height"] - HEIGHT * scale) / 2 + y * scale,
    }


def click(page: Any, x: float, y: float) -> None:
    page.locator("#canvas").click(position=at(page, x, y))


def pixel(page: Any, x: float, y: float) -> list[int]:
    place = at(page, x, y)
    script = "(c, p) => [...c.getContext('2d').getImageData(p.x * devicePixelRatio, p.y * devicePixelRatio, 1, 1).data]"
    return page.locator("#canvas").evaluate(script, place)


def status(page: Any, text: str) -> None:
    page.locator("#status", has_text=text).wait_for()


def test_the_slider_moves_the_masks(page: Any) -> None:
    assert page.locator("#objects li").count() == 2 and "token" not in page.url
    before = pixel(page, 115, 60)
    page.locator("#min-score").fill("0.8")
    assert page.locator("#objects li").count() == 1
    page.wait_for_timeout(200)
    assert pixel(page, 115, 60) != before and pixel(page, 115, 60)[0] == pytest.approx(90, abs=3)
    page.locator("#min-score").fill("0.2")
    assert page.locator("#objects li").count() == 3


def test_every_category_has_its_own_threshold(page: Any, server: Server) -> None:
    boat = page.locator("#categories li", has_text="boat").locator("input")
    bird = page.locator("#categories li", has_text="bird").locator("input")
    assert page.locator("#min-score-value").inner_text() == "0.50" and page.locator("#as-labeled").is_disabled()
    bird.fill("0.6")
    assert page.locator("#objects li").count() == 1  # the bird of 0.55 is gone, the boat of 0.9 is not
    assert page.locator("#min-score-value").inner_text() == "0.50 to 0.60"
    page.locator("#min-score").fill("0.22")  # 0.4 of their values
    assert (boat.input_value(), bird.input_value()) == ("0.2", "0.24")
    assert page.locator("#objects li").count() == 3
    page.locator("#min-score").fill("0.55")
    assert (boat.input_value(), bird.input_value()) == ("0.5", "0.6")
    page.locator("#canvas").focus()
    page.keyboard.press("2")
    for _ in range(3):
        page.keyboard.press(".")  # more of the chosen category
    assert (boat.input_value(), bird.input_value()) == ("0.5", "0.54")
    page.keyboard.press("Enter")  # at once: what is kept follows the numbers shown
    page.locator("#done-count", has_text="1 of 3").wait_for()
    session = ReviewSession.of_results(server.folder)
    [number] = session.numbers_done()
    assert sorted(item.category_id for item in session.review(number).objects) == [1, 2]
    assert session.thresholds.now.of(2) == pytest.approx(0.54)
    page.reload()
    page.locator("#objects li").first.wait_for()
    assert bird.input_value() == "0.54"
    page.locator("#as-labeled").click()
    assert bird.input_value() == "0.5" and page.locator("#as-labeled").is_disabled()
    page.locator("#canvas").focus()
    page.keyboard.press("Shift+Comma")
    assert page.locator("#min-score-value").inner_text() == "0.52"


def test_keys_decide(page: Any, server: Server) -> None:
    click(page, 30, 30)
    page.keyboard.press("x")
    page.locator("#objects li.dropped").wait_for()
    page.locator("#canvas").focus()
    click(page, 110, 60)
    page.keyboard.press("1")
    page.locator("#objects li.kept", has_text="boat").wait_for()
    page.keyboard.press("Enter")
    status(page, "")
    page.locator("#done-count", has_text="1 of 3").wait_for()
    session = ReviewSession.of_results(server.folder)
    [number] = session.numbers_done()
    assert sorted((item.category_id, item.status) for item in session.review(number).objects) == [
        (1, "dropped"), (1, "kept"),
    ]  # fmt: skip
    page.keyboard.press("u")
    page.locator("#done-count", has_text="0 of 3").wait_for()


def test_keys_go_to_the_image_after_a_click_on_a_button(page: Any) -> None:
    page.locator("#images button").nth(1).click()
    page.keyboard.press("Enter")
    page.locator("#done-count", has_text="1 of 3").wait_for()


def test_objects_are_added_by_click_and_box_and_mended(page: Any, server: Server) -> None:
    page.keyboard.press("a")
    click(page, 70, 110)
    page.locator("#taking").wait_for()
    page.keyboard.press("ArrowDown")
    status(page, "Mask 2 of 3")
    page.keyboard.press("Enter")
    status(page, "Saved")
    page.keyboard.press("/")
    page.keyboard.type("кит")
    page.keyboard.press("Enter")
    page.locator("#categories li.chosen", has_text="кит").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("b")
    page.mouse.move(*corner(page, 100, 100))
    page.mouse.down()
    page.mouse.move(*corner(page, 140, 118), steps=4)
    page.mouse.up()
    page.locator("#taking").wait_for()
    page.keyboard.press("Enter")
    page.locator("#objects li.kept", has_text="кит").wait_for()
    session = ReviewSession.of_results(server.folder)
    [number] = [n for n in range(3) if session.review(n).objects]
    clicked, boxed = session.review(number).objects
    assert decode_rle(clicked.mask).sum() == 32 * 26  # 16 pixels to each side of (70, 110), cut off at the border
    assert decode_rle(boxed.mask).sum() == pytest.approx(40 * 18, rel=0.1)
    page.keyboard.press("Escape")
    click(page, 30, 30)
    page.keyboard.press("m")
    click(page, 40, 40)
    page.locator("#taking").wait_for()
    page.keyboard.press("Enter")
    status(page, "Saved")
    mended = ReviewSession.of_results(server.folder).review(number).objects[-1]
    assert mended.original_mask == rectangle(10, 10, 60, 60) and decode_rle(mended.mask).sum() == 256


def corner(page: Any, x: float, y: float) -> tuple[float, float]:
    box, place = page.locator("#canvas").bounding_box(), at(page, x, y)
    return box["x"] + place["x"], box["y"] + place["y"]


def test_a_damaged_image_is_marked_and_the_others_go_on(page: Any, server: Server) -> None:
    [name] = {page.locator("#title").inner_text()} - {""}
    other = page.locator("#images li", has_not_text=name).first
    damaged = other.locator(".name").inner_text()
    (server.folder / "per_image" / f"{damaged}.json").write_text("{}")
    page.reload()
    page.locator("#objects li").first.wait_for()
    line = page.locator("#images li", has_text=damaged)
    assert damaged in line.locator(".dot.damaged").get_attribute("title")
    line.locator("button").click()
    status(page, "Label that image again.")
    assert page.locator("#title").inner_text() == damaged and page.locator("#objects li").count() == 0
    assert pixel(page, 80, 60)[3] == 0  # nothing of the image before is left
    page.keyboard.press("Enter")
    click(page, 30, 30)
    page.locator("#images li", has_text=name).locator("button").click()
    page.locator("#objects li").first.wait_for()


def test_a_killed_server_loses_nothing(page: Any, server: Server) -> None:
    click(page, 30, 30)
    page.keyboard.press("x")
    page.locator("#objects li.dropped").wait_for()
    server.kill()
    page.keyboard.press("k")
    page.locator("#status.bad").wait_for()
    server.start()
    open_page(page, server)
    page.locator("#objects li.dropped").wait_for()


def test_a_page_of_another_origin_can_neither_read_nor_change(page: Any, server: Server) -> None:
    session = ReviewSession.of_results(server.folder)
    name = session.image(0)["objects"][0]["id"]
    click(page, 30, 30)
    page.keyboard.press("x")
    page.locator("#objects li.dropped").wait_for()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def translate_path(self, path: str) -> str:
            return str(Path(__file__).with_name("other_origin.html"))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as evil:
        threading.Thread(target=evil.serve_forever, daemon=True).start()
        other = page.context.new_page()  # the same cookies
        other.goto(f"http://127.0.0.1:{evil.server_address[1]}/?server={server.address}")
        for _ in range(100):
            if "image:" in other.title():
                break
            other.wait_for_timeout(50)
        evil.shutdown()
    assert other.title().startswith("read:refused change:opaque image:refused")
    # The blind request was sent, and refused: the decision stands.
    assert [item.id for item in ReviewSession.of_results(server.folder).review(0).objects] == [name]


def test_two_thousand_images(tmp_path: Path) -> None:
    """Bytes to read at the start and per image stay small, whatever the number of images."""
    server = Server(results(tmp_path, 2000))
    try:
        request = urllib.request.Request(f"{server.address}/api/state", headers={"x-nttt-token": TOKEN})
        state = urllib.request.urlopen(request).read()
        request = urllib.request.Request(f"{server.address}/api/images/1999", headers={"x-nttt-token": TOKEN})
        image = urllib.request.urlopen(request).read()
        assert len(state) < 400_000 and len(image) < 2_000
    finally:
        server.kill()


def test_a_long_list_of_images_is_shown_a_thousand_lines_at_a_time(page: Any, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    server = Server(results(tmp_path / "many", 1002))
    try:
        open_page(page, server)
        lines = page.locator("#images li")
        expect(lines).to_have_count(1001)
        lines.nth(999).locator("button").click()
        expect(lines.nth(999)).to_have_attribute("aria-current", "true")
        page.keyboard.press("ArrowRight")
        expect(lines).to_have_count(3)
        expect(lines.nth(0)).to_have_text("1000 before these")
        expect(lines.nth(1)).to_have_attribute("aria-current", "true")
        lines.nth(0).locator("button").click()
        expect(lines).to_have_count(1001)
        expect(lines.nth(1000)).to_have_text("2 after these")
        expect(page.locator("#images [aria-current]")).to_have_count(0)
        page.fill("#search", "1001")
        expect(lines).to_have_count(1)
    finally:
        server.kill()
