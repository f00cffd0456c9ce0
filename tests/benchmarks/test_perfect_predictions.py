"""Predictions that are the ground truth score 100 in every protocol, at all IoUs and sizes, small objects included."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from no_time_to_train.benchmarks.cd_fsod import domain_categories
from no_time_to_train.benchmarks.pascal_voc import CATEGORIES
from no_time_to_train.benchmarks.task import BenchmarkTask
from no_time_to_train.config import EvaluatorConfig
from no_time_to_train.evaluation.evaluators import evaluate_predictions
from no_time_to_train.ops.rle import decode_rle, encode_mask, segmentation_to_rle
from no_time_to_train.structures import Detections
from tests.benchmarks.datasets_on_disk import (
    HEIGHT,
    WIDTH,
    coco_annotation,
    coco_images,
    rectangle,
    released_objects,
    write_coco_2017,
    write_image,
    write_json,
    write_lvis,
    write_pascal_voc,
    write_voc_image,
    write_voc_list,
)

Pixels = tuple[int, int, int, int]
"""First column, first row, column after the last, row after the last."""
SMALL, LARGE = (3, 4, 8, 8), (12, 11, 52, 47)
OBJECTS = (SMALL, LARGE, (60, 56, 64, 60))


def to_xywh(pixels: Pixels) -> list[int]:
    x1, y1, x2, y2 = pixels
    return [x1, y1, x2 - x1, y2 - y1]


def to_voc_corners(pixels: Pixels) -> tuple[str, str, str, str]:
    """Counted from 1, the last pixel included."""
    x1, y1, x2, y2 = pixels
    return str(x1 + 1), str(y1 + 1), str(x2), str(y2)


def one_detection(pixels: Pixels, category_id: int, convention: str) -> Detections:
    """A mask of these very pixels with its box as the pipeline gives it."""
    x1, y1, x2, y2 = pixels
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y1:y2, x1:x2] = True
    rows, columns = np.nonzero(mask)
    past_last = int(convention == "half_open")
    box = [columns.min(), rows.min(), columns.max() + past_last, rows.max() + past_last]
    return Detections(
        (encode_mask(mask),),
        np.array([box], np.float32),
        np.array([0.9], np.float32),
        np.array([category_id]),
        np.array([0.9], np.float32),
        (HEIGHT, WIDTH),
    )


def perfect(task: BenchmarkTask, objects: dict[str, list[Pixels]], convention: str = "half_open") -> list[dict]:
    """A detection of every object, for every category of the task.

    Args:
        task: the benchmark.
        objects: by file name; each shows all categories.
        convention: of the boxes.
    """
    return [
        entry
        for target in task.targets
        for category in task.ground_truth.categories
        for pixels in objects.get(target.file_name, [])
        for entry in one_detection(pixels, category.id, convention).to_coco_results(target.id)
    ]


def evaluate(task: BenchmarkTask, results: list[dict], name: str | None = None) -> dict:
    settings = EvaluatorConfig()
    return evaluate_predictions(
        name or task.evaluator, settings, task.ground_truth, results, ground_truth_file=task.ground_truth_file
    )


def assert_all_100(metrics: dict, kinds: tuple[str, ...], sizes: tuple[str, ...] = ("small", "medium")) -> None:
    for kind in kinds:
        values = {key: value for key, value in metrics[kind].items() if value is not None}
        assert values == pytest.approx(dict.fromkeys(values, 100)), kind
        assert {"nAP", "nAP50", "nAP75", *(f"nAP_{size}" for size in sizes)} <= set(values)


Load = Callable[..., BenchmarkTask]


def write_voc_test(root: Path) -> dict[str, list[Pixels]]:
    """The small VOC benchmark with test images that show every class small, large and in the last corner."""
    devkit = write_pascal_voc(root) / "pascal_voc/VOCdevkit"
    objects = [(name, to_voc_corners(pixels), False) for name in CATEGORIES for pixels in OBJECTS]
    write_voc_image(devkit, 2007, "000001", objects)
    write_voc_list(devkit, 2007, "test", ["000001", "000002"])
    write_voc_image(devkit, 2007, "000002", [])
    return {"VOC2007/JPEGImages/000001.jpg": list(OBJECTS)}


def test_pascal_voc(load: Load, tmp_path: Path) -> None:
    objects = write_voc_test(tmp_path)
    task = load("pascal_voc", "shots=1")
    metrics = evaluate(task, perfect(task, objects))
    assert_all_100(metrics, ("box",))
    voc = {key: metrics[key] for key in ("voc_ap50_11pt", "voc_ap_11pt", "voc_ap50_area", "voc_ap_area")}
    assert voc == pytest.approx(dict.fromkeys(voc, 100))


def test_pascal_voc_with_published_boxes(load: Load, tmp_path: Path) -> None:
    """The published converter's boxes are as short as its predictions; TFA's evaluation compares with whole ones."""
    objects = write_voc_test(tmp_path)
    task = load("pascal_voc", "shots=1", "output.box_convention=inclusive")
    assert_all_100(evaluate(task, perfect(task, objects, "inclusive")), ("box",))
    whole = evaluate(task, perfect(task, objects, "half_open"))
    assert whole["voc_ap_area"] == whole["voc_ap_11pt"] == pytest.approx(100)
    # 4 x 3 of the small objects' 5 x 4 pixels is an IoU of 0.6, 3 x 3 of 4 x 4 one of 0.5625: right up to 0.55.
    short = evaluate(task, perfect(task, objects, "inclusive"))
    assert short["voc_ap50_area"] == pytest.approx(100) and short["voc_ap_area"] < 80


def test_demo(load: Load) -> None:
    task = load("demo")
    results = []
    for annotation in task.ground_truth.annotations:
        size_hw = task.ground_truth.images_by_id[annotation.image_id].size_hw
        rle = segmentation_to_rle(annotation.segmentation, size_hw)
        rows, columns = np.nonzero(decode_rle(rle))
        box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)
        score = np.array([0.9], np.float32)
        found = Detections((rle,), box, score, np.array([annotation.category_id]), score, size_hw)
        results += found.to_coco_results(annotation.image_id)
    assert_all_100(evaluate(task, results), ("box", "mask"), sizes=("medium",))  # it has no small objects


def write_coco_objects(path: Path, folder: Path) -> dict[str, list[Pixels]]:
    """Replaces the annotations of a COCO file: its first image shows every category as ``OBJECTS``, no other any."""
    content = json.loads(path.read_text())
    first = content["images"][0]
    pairs = [(category["id"], pixels) for category in content["categories"] for pixels in OBJECTS]
    content["annotations"] = [
        coco_annotation(n, first["id"], category_id, bbox=to_xywh(pixels), segmentation=rectangle(to_xywh(pixels)))
        for n, (category_id, pixels) in enumerate(pairs, start=1)
    ]
    path.write_text(json.dumps(content))
    name = first.get("file_name") or "/".join(first["coco_url"].split("/")[-2:])
    assert (folder / name).is_file()
    return {name: list(OBJECTS)}


def test_coco_fsod(load: Load, tmp_path: Path) -> None:
    write_coco_2017(tmp_path)
    objects = write_coco_objects(tmp_path / "coco/annotations/instances_val2017.json", tmp_path / "coco/val2017")
    task = load("coco_fsod", "shots=1")
    assert_all_100(evaluate(task, perfect(task, objects)), ("box", "mask"))


def test_coco_20i(load: Load, tmp_path: Path) -> None:
    """Its maps have one label per pixel: every category is on an image of its own."""
    write_coco_2017(tmp_path)
    path = tmp_path / "coco/annotations/instances_val2017.json"
    objects = write_coco_objects(path, tmp_path / "coco/val2017")
    task = load("coco_20i", "fold=0", "shots=1")
    assert_all_100(evaluate(task, perfect(task, objects), "coco"), ("box", "mask"))
    first = task.ground_truth.categories[0].id
    one = [entry for entry in perfect(task, objects) if entry["category_id"] == first]
    truth = task.ground_truth.subset(
        [a.id for a in task.ground_truth.annotations if a.category_id == first], task.ground_truth.categories[:1]
    )
    metrics = evaluate_predictions("semantic", EvaluatorConfig(), truth, one)
    assert (metrics["miou"], metrics["miou_with_background"], metrics["fb_iou"]) == pytest.approx((100, 100, 100))


@pytest.mark.parametrize("evaluator", ["coco", "lvis"])
def test_lvis(load: Load, tmp_path: Path, evaluator: str) -> None:
    if evaluator == "lvis" and importlib.util.find_spec("lvis") is None:
        pytest.skip("lvis-api is not installed")
    write_lvis(tmp_path)
    objects = write_coco_objects(tmp_path / "lvis/lvis_v1_val.json", tmp_path / "coco")
    task = load("lvis", "shots=1")
    metrics = evaluate(task, perfect(task, objects), evaluator)
    assert_all_100(metrics, ("box", "mask"))


def test_custom(load: Load, tmp_path: Path) -> None:
    write_image(tmp_path / "images/a.jpg")
    write_image(tmp_path / "images/b.jpg")
    content = {
        "images": coco_images({0: "a.jpg", 5: "b.jpg"}),
        "annotations": [coco_annotation(1, 5, 0)],
        "categories": [{"id": 0, "name": "boat"}],
    }
    write_json(tmp_path / "references.json", content)
    write_json(tmp_path / "targets.json", content)
    objects = write_coco_objects(tmp_path / "targets.json", tmp_path / "images")
    task = load(
        "custom",
        "shots=1",
        f"benchmark.references={tmp_path / 'references.json'}",
        f"benchmark.annotations={tmp_path / 'targets.json'}",
    )
    assert_all_100(evaluate(task, perfect(task, objects)), ("box", "mask"))


def write_domain_objects(folder: Path, domain: str, split: str, images: list[int | str]) -> list[dict]:
    """Boxes only, ids from 0, as in the bundle: every image shows every class as ``OBJECTS``."""
    names = domain_categories(domain)
    triples = [(image, c, pixels) for image in images for c in range(len(names)) for pixels in OBJECTS]
    for image in images:
        write_image(folder / split / f"{image}.jpg")
    write_json(
        folder / "annotations" / f"{split}.json",
        {
            "images": coco_images({i: f"{i}.jpg" for i in images}),
            "annotations": [
                coco_annotation(n, image, c, bbox=to_xywh(pixels), segmentation=[])
                for n, (image, c, pixels) in enumerate(triples)
            ],
            "categories": [{"id": c, "name": name} for c, name in enumerate(names)],
        },
    )
    return triples


@pytest.mark.parametrize(
    ("domain", "folder"),
    [
        ("artaxor", "ArTaxOr"),
        ("clipart1k", "clipart1k"),
        ("dior", "DIOR"),
        ("deepfish", "FISH"),
        ("neu_det", "NEU-DET"),
        ("uodd", "UODD"),
    ],
)
def test_cd_fsod_as_released(load: Load, tmp_path: Path, domain: str, folder: str) -> None:
    target = tmp_path / "cd_fsod" / folder
    write_domain_objects(target, domain, "train", list(released_objects(domain, 1)))
    write_domain_objects(target, domain, "test", ["t0"])
    task = load("cd_fsod", f"domain={domain}", "shots=1")
    assert_all_100(evaluate(task, perfect(task, {"test/t0.jpg": list(OBJECTS)})), ("box",))


@pytest.mark.parametrize("domain", ["clipart1k", "dior", "neu_det"])
@pytest.mark.parametrize("convention", ["half_open", "inclusive"])
def test_cd_fsod_in_the_layout_of_voc(load: Load, tmp_path: Path, domain: str, convention: str) -> None:
    objects = [(name, to_voc_corners(p), False) for name in domain_categories(domain) for p in OBJECTS]
    for split, stem in (("train", "7"), ("test", "8")):
        write_voc_image(tmp_path, 2007, stem, objects)
        write_voc_list(tmp_path, 2007, split, [stem])
    (tmp_path / "cd_fsod").mkdir()
    (tmp_path / "VOC2007").rename(tmp_path / "cd_fsod" / {"clipart1k": "clipart", "dior": "DIOR"}.get(domain, "NEUDET"))
    task = load(
        "cd_fsod", f"domain={domain}", "shots=1", "benchmark.sampler=paper", f"output.box_convention={convention}"
    )
    results = perfect(task, {"JPEGImages/8.jpg": list(OBJECTS)}, convention)
    assert_all_100(evaluate(task, results), ("box",))
