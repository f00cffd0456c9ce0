"""The loop in a real browser: draw references, label, correct, use as references, label again, export."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from no_time_to_train.commands import main
from no_time_to_train.data.coco_reader import read_coco
from no_time_to_train.evaluation.instance_ap import evaluate_instances
from no_time_to_train.files.paths import demo_data_folder
from no_time_to_train.ops.rle import decode_rle, segmentation_to_rle
from no_time_to_train.review.session import ReviewSession

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)"),
]
DEMO = demo_data_folder() / "benchmark"
SETTINGS = ["preset=demo", "device=cpu", "proposals.point_grid.points_per_side=16"]
NUM_IMAGES, NUM_DONE = 12, 8
LIMITS = {"corrected": 5, "added": 2, "dropped": 3}


class Clicker:
    """A person with a mouse and a keyboard, who counts what they cost."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.clicks = 0
        self.keys = 0

    def press(self, key: str) -> None:
        self.keys += 1
        self.page.keyboard.press(key)

    def click(self, x: float, y: float, size_hw: tuple[int, int]) -> None:
        self.clicks += 1
        box = self.page.locator("#canvas").bounding_box()
        height, width = size_hw
        scale = min(box["width"] / width, box["height"] / height)
        left, top = (box["width"] - width * scale) / 2, (box["height"] - height * scale) / 2
        self.page.locator("#canvas").click(position={"x": left + x * scale, "y": top + y * scale})

    def choose_category(self, name: str) -> None:
        self.press("/")
        self.page.keyboard.type(name)
        self.keys += 1
        self.press("Enter")
        self.page.locator("#categories li.chosen", has_text=name).wait_for()

    def open_image(self, name: str) -> None:
        self.clicks += 1
        self.page.locator("#images button", has_text=name).click()
        self.page.locator("#title", has_text=name).wait_for()
        self.page.wait_for_timeout(150)

    def take(self) -> None:
        """Take the first mask that the mask model offers."""
        self.page.wait_for_timeout(300)
        self.page.locator("#canvas[aria-busy=false]").wait_for(timeout=180_000)
        assert self.page.locator("#taking").is_visible(), self.page.locator("#status").inner_text()
        self.press("Enter")
        self.status("Saved")

    def status(self, text: str) -> None:
        self.page.locator("#status", has_text=text).wait_for(timeout=180_000)


class Command:
    """``nttt review`` or ``nttt refs draw`` as a process of its own."""

    def __init__(self, *arguments: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "no_time_to_train", *arguments, "--no-browser", *SETTINGS],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            found = re.search(r"http://\S+", line)
            if found:
                self.address = found[0]
                return
        raise AssertionError("".join(lines))

    def end(self) -> str:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        return self.process.communicate(timeout=60)[0]


@contextmanager
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield chromium
        chromium.close()


def open_page(chromium: Any, address: str) -> Clicker:
    page = chromium.new_context(viewport={"width": 1300, "height": 850}).new_page()
    page.set_default_timeout(60_000)
    page.goto(address)
    page.locator("#images li[aria-current=true]").wait_for()
    page.wait_for_timeout(300)
    return Clicker(page)


def mask_of(annotation: Any, image: Any) -> Any:
    return segmentation_to_rle(annotation.segmentation, image.size_hw)


def inner_point(rle: Any) -> tuple[float, float]:
    """A pixel of the mask, as far inside as erosion finds one."""
    mask = decode_rle(rle)
    while True:
        padded = np.pad(mask, 1)
        smaller = mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        if not smaller.any():
            rows, columns = np.nonzero(mask)
            return float(columns[0]) + 0.5, float(rows[0]) + 0.5
        mask = smaller


def test_the_loop(tmp_path: Path) -> None:
    truth = read_coco(DEMO / "annotations/test.json")
    train = read_coco(DEMO / "annotations/train.json")
    names = {category.id: category.name for category in truth.categories}
    chosen = truth.images[:NUM_IMAGES]
    photos, drawn = tmp_path / "photos", tmp_path / "drawn"
    photos.mkdir()
    drawn.mkdir()
    for image in chosen:
        shutil.copy(DEMO / "test" / image.file_name, photos)
    wanted = [a for a in truth.annotations if a.image_id in {image.id for image in chosen}]
    by_frequency = sorted(set(a.category_id for a in wanted), key=lambda c: -sum(a.category_id == c for a in wanted))[
        :3
    ]
    with browser() as chromium:
        draw_references(chromium, train, by_frequency, names, drawn)
        references = tmp_path / "drawn_references" / "references.json"
        arguments = ["label", str(photos), "--refs", str(references), "--ref-images", str(drawn), *SETTINGS]
        assert main(arguments) == 0
        labeled = tmp_path / "photos_labeled"
        before = open_score(labeled, truth, by_frequency, names)
        clicker, corrected = correct(chromium, labeled, truth, chosen, names)
    after = open_score(labeled, truth, by_frequency, names)
    print(
        f"{corrected}, {clicker.clicks} clicks, {clicker.keys} keys; mask nAP of the rest {before:.1f} -> {after:.1f}"
    )
    assert after >= before
    data = tmp_path / "photos_labeled_yolo"
    assert (data / "data.yaml").is_file() and len(list((data / "labels").rglob("*.txt"))) > 0


def draw_references(chromium: Any, train: Any, category_ids: list[int], names: dict[int, str], drawn: Path) -> None:
    """Three references by one click each."""
    first = {c: next(a for a in train.annotations if a.category_id == c) for c in category_ids}
    for annotation in first.values():
        shutil.copy(DEMO / "train" / train.images_by_id[annotation.image_id].file_name, drawn)
    command = Command("refs", "draw", str(drawn))
    clicker = open_page(chromium, command.address)
    for category_id, annotation in first.items():
        image = train.images_by_id[annotation.image_id]
        clicker.open_image(image.file_name)
        clicker.press("/")
        clicker.page.keyboard.type(names[category_id])
        clicker.press("Enter")
        clicker.press("Escape")
        clicker.press("a")
        clicker.click(*inner_point(mask_of(annotation, image)), image.size_hw)
        clicker.take()
    out = command.end()
    assert "Label with them: nttt label" in out
    content = json.loads((drawn.with_name("drawn_references") / "references.json").read_text())
    assert len(content["annotations"]) == 3 and len(content["categories"]) == 3


def needed(
    session: ReviewSession, number: int, image: Any, truth: Any, names: dict[int, str], ids: dict[str, int]
) -> dict[str, list[tuple[Any, str]]]:
    """What makes an image right: masks to give another category, objects to add, masks to drop."""
    state = session.image(number)
    shown = [o for o in state["objects"] if o["status"] == "undecided" and o["score"] >= session.min_score]
    found = [{"size": o["segmentation"]["size"], "counts": o["segmentation"]["counts"].encode()} for o in shown]
    objects = [a for a in truth.annotations if a.image_id == image.id and names[a.category_id] in ids]
    masks = [mask_of(a, image) for a in objects]
    plan: dict[str, list[tuple[Any, str]]] = {kind: [] for kind in LIMITS}
    covered = set()
    ious = coco_mask.iou(found, masks, [0] * len(masks)) if found and masks else np.zeros((len(found), len(masks)))
    for entry, mask, row in zip(shown, found, ious, strict=True):
        best = int(row.argmax()) if len(row) and row.max() >= 0.5 else None
        if best is None or best in covered:
            plan["dropped"].append((mask, ""))
        elif ids[names[objects[best].category_id]] != entry["category_id"]:
            plan["corrected"].append((mask, names[objects[best].category_id]))
        if best is not None:
            covered.add(best)
    missed = [n for n in range(len(objects)) if n not in covered]
    plan["added"] = [(masks[n], names[objects[n].category_id]) for n in missed]
    return plan


def correct(
    chromium: Any, labeled: Path, truth: Any, chosen: Any, names: dict[int, str]
) -> tuple[Clicker, dict[str, int]]:
    """Correct what few clicks can; images that are right are done; label the rest again; export."""
    session = ReviewSession.of_results(labeled)
    ids = {category.name: category.id for category in session.categories}
    command = Command("review", str(labeled))
    clicker = open_page(chromium, command.address)
    counts = dict.fromkeys(LIMITS, 0)
    num_done = 0
    for number, image in enumerate(chosen[:NUM_DONE]):
        if number == 3:
            # Killed in the middle of it: nothing decided is lost.
            decided = [session.review(n) for n in range(NUM_DONE)]
            command.process.kill()
            command.process.wait()
            command = Command("review", str(labeled))
            fresh = open_page(chromium, command.address)
            fresh.clicks, fresh.keys, clicker = clicker.clicks, clicker.keys, fresh
            assert [session.review(n) for n in range(NUM_DONE)] == decided
        plan = needed(session, number, image, truth, names, ids)
        if any(len(plan[kind]) > LIMITS[kind] - counts[kind] for kind in LIMITS):
            continue  # the person has had enough: an image is done when all of it is right
        clicker.open_image(image.file_name)
        for mask, name in plan["corrected"]:
            clicker.click(*inner_point(mask), image.size_hw)
            clicker.choose_category(name)
        for mask, _ in plan["dropped"]:
            clicker.click(*inner_point(mask), image.size_hw)
            clicker.press("x")
        for mask, name in plan["added"]:
            clicker.press("Escape")
            clicker.press("Escape")
            clicker.choose_category(name)
            clicker.press("a")
            clicker.click(*inner_point(mask), image.size_hw)
            clicker.take()
        for kind in LIMITS:
            counts[kind] += len(plan[kind])
        num_done += 1
        clicker.press("Escape")
        clicker.press("Enter")
        clicker.page.locator("#done-count", has_text=f"{num_done} of {NUM_IMAGES} done").wait_for()
    assert num_done >= 2
    clicker.page.screenshot(path=str(labeled / "review.png"))
    clicker.page.locator("#references").click()
    clicker.status("labeled again")
    clicker.page.locator("#format").select_option("yolo")
    clicker.page.locator("#export").click()
    clicker.status("photos_labeled_yolo")
    clicker.clicks += 3
    command.end()
    return clicker, counts


def open_score(labeled: Path, truth: Any, category_ids: list[int], names: dict[int, str]) -> float:
    """Mask nAP on the images that nobody corrects, over the drawn categories."""
    session = ReviewSession.of_results(labeled)
    own = {category.name: category.id for category in session.categories}
    results = []
    for number, image in list(enumerate(truth.images[:NUM_IMAGES]))[NUM_DONE:]:
        record = session.record(number)
        assert record is not None and record.file_name == image.file_name
        for entry in record.entries:
            for category_id in category_ids:
                if own[names[category_id]] == entry["category_id"]:
                    results.append({**entry, "image_id": image.id, "category_id": category_id})
    images = truth.images[NUM_DONE:NUM_IMAGES]
    ids = {image.id for image in images}
    annotations = tuple(a for a in truth.annotations if a.image_id in ids and a.category_id in category_ids)
    metrics = evaluate_instances(replace(truth, images=images, annotations=annotations), results)
    return float(metrics.to_json()["mask"]["nAP"])
