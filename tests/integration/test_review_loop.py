"""The loop in a real browser: draw references, label, correct, use as references, label again, export.

The images are rendered for it: three categories that share their colors, two of them an outline or a texture too, so
that one reference of each leaves many wrong names.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from no_time_to_train.commands import main
from no_time_to_train.data.coco import CocoDataset, CocoImage
from no_time_to_train.data.coco_reader import read_coco
from no_time_to_train.evaluation.instance_ap import evaluate_instances
from no_time_to_train.ops.rle import Rle, decode_rle, rle_area, segmentation_to_rle
from no_time_to_train.review.session import ReviewSession
from tools.demo.make_benchmark import choosing_categories, write_split
from tools.demo.scenes import SceneCategory, render_scene

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)"),
]
SETTINGS = ["preset=demo", "device=cpu", "proposals.point_grid.points_per_side=16"]
NUM_IMAGES = 12
SCENES = 3
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

    def status(self, text: str) -> str:
        line = self.page.locator("#status", has_text=text)
        line.wait_for(timeout=180_000)
        return str(line.inner_text())


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


def inner_point(mask: np.ndarray) -> tuple[float, float]:
    """A pixel of the mask, as far inside as erosion finds one."""
    while True:
        padded = np.pad(mask, 1)
        smaller = mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        if not smaller.any():
            rows, columns = np.nonzero(mask)
            return float(columns[0]) + 0.5, float(rows[0]) + 0.5
        mask = smaller


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Twelve images in ``photos/`` and one of each category in ``drawn/``, with their ``annotations/``."""
    first, second, third = choosing_categories(SCENES)[:3]
    categories: list[SceneCategory] = [
        first,
        replace(first, name="second", shape=second.shape, shape_params=second.shape_params),
        replace(first, name="third", texture=third.texture, frequency=third.frequency),
    ]
    rng = np.random.default_rng([SCENES, 13])
    alone = (render_scene(rng, [category], (288, 288), (1, 1), (0.3, 0.45)) for category in categories)
    write_split(alone, categories, "drawn", tmp_path)
    crowded = (render_scene(rng, categories, (288, 320), (4, 6), (0.2, 0.4)) for _ in range(NUM_IMAGES))
    write_split(crowded, categories, "photos", tmp_path)
    return tmp_path


def test_the_loop(scenes: Path) -> None:
    truth = read_coco(scenes / "annotations/photos.json")
    with browser() as chromium:
        draw_references(chromium, scenes)
        arguments = ["label", "photos", "--refs", "drawn_references/references.json", "--ref-images", "drawn"]
        with chdir(scenes):
            assert main([*arguments, *SETTINGS]) == 0
        labeled = scenes / "photos_labeled"
        loop = Loop(chromium, labeled, truth)
        loop.correct()
        before = open_score(labeled, truth, loop.num_opened)
        loop.label_again_and_export()
    after = open_score(labeled, truth, loop.num_opened)
    num_objects = sum(a.image_id > loop.num_opened for a in truth.annotations)
    print(
        f"{loop.counts} on {loop.num_opened} images, {loop.num_done} of them done: {loop.clicker.clicks} clicks and "
        f"{loop.clicker.keys} keys; {loop.said} Mask nAP of the {NUM_IMAGES - loop.num_opened} images never opened "
        f"({num_objects} objects): {before:.1f} -> {after:.1f}"
    )
    assert loop.counts == LIMITS and after > before
    data = scenes / "photos_labeled_yolo"
    assert (data / "data.yaml").is_file() and len(list((data / "labels").rglob("*.txt"))) > 0


def draw_references(chromium: Any, scenes: Path) -> None:
    """Three references by one click each."""
    truth = read_coco(scenes / "annotations/drawn.json")
    command = Command("refs", "draw", str(scenes / "drawn"))
    clicker = open_page(chromium, command.address)
    for image, category in zip(truth.images, truth.categories, strict=True):
        [annotation] = [a for a in truth.annotations if a.image_id == image.id]
        clicker.open_image(image.file_name)
        clicker.choose_category(category.name)
        clicker.press("Escape")
        clicker.press("a")
        clicker.click(*inner_point(decode_rle(mask_of(annotation, image))), image.size_hw)
        clicker.take()
    out = command.end()
    assert "Label with them: nttt label" in out
    content = json.loads((scenes / "drawn_references" / "references.json").read_text())
    assert len(content["annotations"]) == 3 and len(content["categories"]) == 3


class Loop:
    """A person who goes through the images until the corrections of ``LIMITS`` are made."""

    def __init__(self, chromium: Any, labeled: Path, truth: CocoDataset) -> None:
        self.chromium = chromium
        self.labeled = labeled
        self.truth = truth
        self.names = {category.id: category.name for category in truth.categories}
        self.session = ReviewSession.of_results(labeled)
        self.counts = dict.fromkeys(LIMITS, 0)
        self.num_opened = 0
        self.num_done = 0
        self.said = ""
        self.command = Command("review", str(labeled))
        self.clicker = open_page(chromium, self.command.address)

    def correct(self) -> None:
        while self.counts != LIMITS and self.num_opened < NUM_IMAGES:
            if self.num_opened == 1:
                self.kill_the_server()
            image = self.truth.images[self.num_opened]
            self.clicker.open_image(image.file_name)
            is_right = all([self.make(kind, edit, image) for kind, edit in self.needed(self.num_opened, image)])
            self.num_opened += 1
            if is_right:  # an image is done when all of it is right
                self.num_done += 1
                self.clicker.press("Escape")
                self.clicker.press("Enter")
                done = f"{self.num_done} of {NUM_IMAGES} done"
                self.clicker.page.locator("#done-count", has_text=done).wait_for()
        self.clicker.page.screenshot(path=str(self.labeled / "review.png"))
        decided = [item for n in range(NUM_IMAGES) for item in self.session.review(n).objects]
        assert sum(item.status == "dropped" for item in decided) == self.counts["dropped"]
        assert sum(item.score is None for item in decided) == self.counts["added"]
        changed = [item for item in decided if item.original_mask or item.category_id != item.original_category_id]
        assert sum(item.score is not None for item in changed) == self.counts["corrected"]

    def kill_the_server(self) -> None:
        """Nothing decided is lost."""
        decided = [self.session.review(number) for number in range(NUM_IMAGES)]
        assert any(review.objects for review in decided)
        self.command.process.kill()
        self.command.process.wait()
        self.command = Command("review", str(self.labeled))
        fresh = open_page(self.chromium, self.command.address)
        fresh.clicks, fresh.keys, self.clicker = self.clicker.clicks, self.clicker.keys, fresh
        assert [self.session.review(number) for number in range(NUM_IMAGES)] == decided

    def needed(self, number: int, image: CocoImage) -> list[tuple[str, Edit]]:
        """What makes an image right: objects to rename, to mend, to drop, to add."""
        ids = {category.name: category.id for category in self.session.categories}
        now = self.session.thresholds.now
        shown = [o for o in self.session.image(number)["objects"] if o["score"] >= now.of(o["category_id"])]
        rles = [segmentation_to_rle(o["segmentation"], image.size_hw) for o in shown]
        objects = [a for a in self.truth.annotations if a.image_id == image.id]
        masks = [mask_of(a, image) for a in objects]
        edits: list[tuple[str, Edit]] = []
        covered = set()
        ious = coco_mask.iou(rles, masks, [0] * len(masks)) if rles else np.zeros((0, len(masks)))
        for entry, rle, row in zip(shown, rles, ious, strict=True):
            best, place = int(row.argmax()), uncovered(rle, rles)
            if row[best] < 0.5 or best in covered:
                edits.append(("dropped", Edit(place)))
                continue
            covered.add(best)
            name = self.names[objects[best].category_id]
            if ids[name] != entry["category_id"]:
                edits.append(("corrected", Edit(place, name)))
            elif row[best] < 0.75:
                edits.append(("corrected", Edit(place, target=decode_rle(masks[best]))))
        missed = (n for n in range(len(objects)) if n not in covered)
        added = [Edit(None, self.names[objects[n].category_id], decode_rle(masks[n])) for n in missed]
        # What is dropped hides nothing, but what is kept hides what overlaps it.
        edits.sort(key=lambda edit: edit[0] != "dropped")
        return edits + [("added", edit) for edit in added]

    def make(self, kind: str, edit: Edit, image: CocoImage) -> bool:
        """Make a correction; False where the person has had enough of its kind, or cannot get at the object."""
        is_hidden = edit.place is not None and not edit.place.any()
        if self.counts[kind] == LIMITS[kind] or is_hidden:
            return False
        self.counts[kind] += 1
        clicker = self.clicker
        if edit.place is not None:
            clicker.click(*inner_point(edit.place), image.size_hw)
        if kind == "dropped":
            clicker.press("x")
        elif edit.target is None:
            clicker.choose_category(edit.name)
        else:
            if kind == "added":
                clicker.choose_category(edit.name)
            clicker.press("a" if kind == "added" else "m")
            clicker.click(*inner_point(edit.target), image.size_hw)
            clicker.take()
        clicker.press("Escape")
        clicker.press("Escape")
        clicker.page.wait_for_timeout(150)
        return True

    def label_again_and_export(self) -> None:
        self.clicker.page.locator("#references").click()
        self.said = self.clicker.status("labeled again")
        self.clicker.page.locator("#format").select_option("yolo")
        self.clicker.page.locator("#export").click()
        self.clicker.status("photos_labeled_yolo")
        self.clicker.clicks += 3
        self.command.end()


@dataclass(frozen=True)
class Edit:
    """Where to click to select an object, its right name, and the mask to click at; what is not needed is empty."""

    place: np.ndarray | None
    name: str = ""
    target: np.ndarray | None = None


def uncovered(rle: Rle, others: Sequence[Rle]) -> np.ndarray:
    """The part of a mask where a click selects it: no smaller one is there."""
    mask = decode_rle(rle)
    for other in others:
        if other is not rle and rle_area(other) <= rle_area(rle):
            mask = mask & ~decode_rle(other)
    return mask


def open_score(labeled: Path, truth: CocoDataset, num_opened: int) -> float:
    """Mask nAP on the images that nobody opened."""
    session = ReviewSession.of_results(labeled)
    names = {category.id: category.name for category in session.categories}
    ids = {category.name: category.id for category in truth.categories}
    results = []
    for number in range(num_opened, NUM_IMAGES):
        record = session.record(number)
        assert record is not None and record.file_name == truth.images[number].file_name
        results += [
            {**entry, "image_id": truth.images[number].id, "category_id": ids[names[entry["category_id"]]]}
            for entry in record.entries
        ]
    images = truth.images[num_opened:]
    annotations = tuple(a for a in truth.annotations if a.image_id in {image.id for image in images})
    metrics = evaluate_instances(replace(truth, images=images, annotations=annotations), results)
    return float(metrics.to_json()["mask"]["nAP"])
