"""Valid inputs of every verb in one small folder; cases are copies of it with one thing changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from PIL import Image

from no_time_to_train.commands import main
from no_time_to_train.files.paths import demo_data_folder
from tests.models.test_detector import save_yolos
from tests.tasks.conftest import BLUE, RED, annotation, picture

FAST = ("--preset", "demo", "--device", "cpu", "proposals.points_per_side=3", "output.threshold_images=0")
"""Real stages and the demo models, a second for a few images."""
EXPORTS = ("yolo", "voc", "labelme", "label-studio", "cvat", "coco-rle")
NUM_FRAMES = 3


def build_world(folder: Path) -> None:
    """Fill a folder; the current one must be it."""
    _write_images(folder)
    _write_annotations(folder)
    for line in (
        ["fit", "refs/annotations.json", "-o", "memory.safetensors", *FAST],
        ["label", "photos", "--refs", "refs/annotations.json", "--out", "labeled", *FAST],
        ["bench", *bench_arguments(), "runs=runs"],
        ["bench", *bench_arguments(), "runs=runs", "merging=hard"],
        *(["export", "labeled", "--to", name, "--out", f"as_{name}"] for name in EXPORTS),
    ):
        if main(line):
            raise RuntimeError(f"a valid command failed: {line}")
    _write_predictions(folder)
    _write_weights(folder)


def bench_arguments() -> list[str]:
    """Return the settings of a benchmark on the world's own files."""
    return [
        "preset=demo",
        "device=cpu",
        "benchmark=custom",
        "benchmark.sampler=all",
        "benchmark.references=refs/annotations.json",
        "benchmark.reference_images=refs",
        "benchmark.annotations=gt.json",
        "benchmark.images=photos",
        "proposals.points_per_side=3",
    ]


def _write_images(folder: Path) -> None:
    for name in ("photos", "photos/sub", "refs", "frames"):
        (folder / name).mkdir()
    picture((RED, (10, 10, 40, 30))).save(folder / "photos/a.png")
    picture((BLUE, (20, 20, 60, 50))).save(folder / "photos/sub/b.png")
    picture((RED, (10, 10, 40, 30)), (BLUE, (50, 20, 70, 50))).save(folder / "refs/r.png")
    for number in range(NUM_FRAMES):
        picture((RED, (10 + number, 10, 40 + number, 30))).save(folder / f"frames/{number}.png")


def _write_annotations(folder: Path) -> None:
    categories = [{"id": 9, "name": "boat"}, {"id": 16, "name": "bird"}]
    references = {
        "images": [{"id": 1, "file_name": "r.png", "height": 60, "width": 80}],
        "annotations": [annotation(1, 1, 9, (10, 10, 40, 30)), annotation(2, 1, 16, (50, 20, 70, 50))],
        "categories": categories,
    }
    truth = {
        "images": [
            {"id": 70, "file_name": "a.png", "height": 60, "width": 80},
            {"id": 71, "file_name": "sub/b.png", "height": 60, "width": 80},
        ],
        "annotations": [annotation(1, 70, 9, (10, 10, 40, 30)), annotation(2, 71, 16, (20, 20, 60, 50))],
        "categories": categories,
    }
    (folder / "refs/annotations.json").write_text(json.dumps(references))
    (folder / "gt.json").write_text(json.dumps(truth))
    boxes = [
        {"image_id": 1, "category_id": 1, "bbox": [10, 10, 30, 20], "score": 0.9},
        {"image_id": 2, "category_id": 1, "bbox": [20, 20, 40, 30], "score": 0.8},
    ]
    (folder / "boxes.json").write_text(json.dumps(boxes))


def _write_predictions(folder: Path) -> None:
    """A results file with the ids of the ground truth."""
    found = json.loads((folder / "labeled/predictions.json").read_text())
    ids = {1: 70, 2: 71}
    (folder / "predictions.json").write_text(json.dumps([e | {"image_id": ids[e["image_id"]]} for e in found]))


def _write_weights(folder: Path) -> None:
    for name in ("dinov2_demo", "sam2_demo"):
        shutil.copytree(demo_data_folder() / name, folder / "weights" / name)
    save_yolos(folder / "weights/detector")
    torch.save({"model": {"a.weight": torch.ones(3, 4), "a.bias": torch.zeros(3)}}, folder / "weights/small.pt")
    Image.new("RGB", (4, 4)).save(folder / "weights/image.png")
