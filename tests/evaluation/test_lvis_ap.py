from __future__ import annotations

import importlib.util
import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from no_time_to_train.data.coco import CocoDataset
from no_time_to_train.data.coco_reader import read_coco
from no_time_to_train.errors import EnvironmentProblemError, InputError, InputFileNotFoundError
from no_time_to_train.evaluation import lvis_ap
from no_time_to_train.evaluation.instance_ap import evaluate_instances
from no_time_to_train.evaluation.lvis_ap import evaluate_lvis
from tests.evaluation.scenes import rectangle_rle

APPLE, BARROW, CACTUS = 3, 5, 8
SIZE_HW = (120, 160)
BOX, OTHER_BOX = (10, 10, 40, 40), (80, 60, 40, 40)

needs_lvis = pytest.mark.skipif(importlib.util.find_spec("lvis") is None, reason="lvis-api is not installed")


def image(number: int, negative: list[int], not_exhaustive: list[int]) -> dict[str, Any]:
    return {
        "id": number,
        "coco_url": f"http://host/train2017/{number:012}.jpg",
        "height": SIZE_HW[0],
        "width": SIZE_HW[1],
        "neg_category_ids": negative,
        "not_exhaustive_category_ids": not_exhaustive,
    }


def annotation(number: int, image_id: int, category_id: int) -> dict[str, Any]:
    x, y, w, h = BOX
    polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
    shown = {"bbox": list(BOX), "area": w * h, "segmentation": [polygon]}
    return {"id": number, "image_id": image_id, "category_id": category_id, **shown}


def prediction(image_id: int, category_id: int, box: tuple[int, int, int, int], score: float) -> dict[str, Any]:
    shown = {"bbox": list(box), "segmentation": rectangle_rle(box, SIZE_HW)}
    return {"image_id": image_id, "category_id": category_id, "score": score, **shown}


@pytest.fixture
def content() -> dict[str, Any]:
    """Apples (frequent) in images 1 and 2, in 2 not all of them marked; a barrow (rare) in 3, surely none in 1."""
    return {
        "images": [image(1, [BARROW], []), image(2, [], [APPLE]), image(3, [], [])],
        "annotations": [annotation(1, 1, APPLE), annotation(2, 2, APPLE), annotation(3, 3, BARROW)],
        "categories": [
            {"id": APPLE, "name": "apple", "frequency": "f"},
            {"id": BARROW, "name": "barrow", "frequency": "r"},
            {"id": CACTUS, "name": "cactus", "frequency": "c"},
        ],
    }


@pytest.fixture
def file(content: dict[str, Any], tmp_path: Path) -> Path:
    return write(content, tmp_path)


def write(content: dict[str, Any], folder: Path) -> Path:
    path = folder / "lvis.json"
    path.write_text(json.dumps(content))
    return path


PREDICTIONS = [
    prediction(1, APPLE, BOX, 0.9),
    prediction(2, APPLE, BOX, 0.8),
    prediction(2, APPLE, OTHER_BOX, 0.95),  # may be one that is not marked: does not count
    prediction(3, BARROW, BOX, 0.5),
    prediction(1, BARROW, BOX, 0.7),  # wrong: there is none
    prediction(2, BARROW, BOX, 0.9),  # nobody looked for barrows there: does not count
]


@needs_lvis
def test_only_what_was_looked_for_counts(file: Path) -> None:
    metrics = evaluate_lvis(read_coco(file), PREDICTIONS, file)
    # Apples are all right. Of barrows a wrong one comes before the right one: precision 1/2 at every recall.
    for kind in ("box", "mask"):
        assert metrics["per_category"]["apple"][kind]["nAP"] == pytest.approx(100)
        assert metrics["per_category"]["barrow"][kind]["nAP"] == pytest.approx(50)
        assert metrics["per_category"]["cactus"][kind]["nAP"] is None
        assert metrics[kind]["nAP"] == metrics[f"lvis_{kind}_AP"] == pytest.approx(75)
        assert metrics[f"lvis_{kind}_APf"] == pytest.approx(100)
        assert metrics[f"lvis_{kind}_APr"] == pytest.approx(50)
        assert metrics[f"lvis_{kind}_APc"] is None
        assert metrics[kind]["nAP_medium"] == pytest.approx(75)
        assert metrics[kind]["nAP_small"] is None
    assert (metrics["num_images"], metrics["num_objects"]) == (3, 3)
    plain = evaluate_instances(read_coco(file), PREDICTIONS).overall["box"].nAP
    assert plain is not None and plain < 60


@needs_lvis
def test_equal_to_coco_ap_where_everything_was_looked_for(content: dict[str, Any], tmp_path: Path) -> None:
    for entry in content["images"]:
        entry |= {"neg_category_ids": [APPLE, BARROW, CACTUS], "not_exhaustive_category_ids": []}
    path = write(content, tmp_path)
    metrics = evaluate_lvis(read_coco(path), PREDICTIONS, path)
    plain = evaluate_instances(read_coco(path), PREDICTIONS).to_json()
    assert metrics["per_category"]["barrow"]["box"] == pytest.approx(plain["per_category"]["barrow"]["box"])
    assert metrics["mask"] == pytest.approx(plain["mask"])


@needs_lvis
def test_category_by_category_is_bit_for_bit_what_lvis_api_finds_at_once(file: Path) -> None:
    import lvis

    for iou_type in ("bbox", "segm"):
        truth = lvis.LVIS(str(file))
        evaluator = lvis.LVISEval(truth, lvis_ap._lvis_results(lvis, truth, PREDICTIONS, iou_type), iou_type)
        with lvis_ap._numpy_with_float(lvis):
            evaluator.evaluate()
            evaluator.accumulate()
        found = lvis_ap._lvis_results(lvis, truth, PREDICTIONS, iou_type)
        own = lvis_ap._precision(lvis, truth, found, iou_type, {1, 2, 3}, evaluator.params.cat_ids)
        assert np.array_equal(own, evaluator.eval["precision"])
        assert (own > 0).any() and (own[:, :, 2] == -1).all()


@needs_lvis
def test_three_hundred_detections_of_an_image_count(file: Path) -> None:
    crowd = [prediction(2, APPLE, OTHER_BOX, 0.99)] * 299
    found = evaluate_lvis(read_coco(file), [*crowd, prediction(2, APPLE, BOX, 0.8)], file)
    assert found["per_category"]["apple"]["box"]["nAP"] == pytest.approx(100 * 51 / 101)  # one of two apples
    found = evaluate_lvis(read_coco(file), [*crowd, crowd[0], prediction(2, APPLE, BOX, 0.8)], file)
    assert found["per_category"]["apple"]["box"]["nAP"] == 0


@needs_lvis
def test_subsets_of_images_and_categories(file: Path) -> None:
    dataset = read_coco(file)
    rare = CocoDataset("rare", dataset.images, dataset.annotations[2:], dataset.categories[1:2])
    metrics = evaluate_lvis(rare, [p for p in PREDICTIONS if p["category_id"] == BARROW], file)
    assert (metrics["lvis_box_AP"], metrics["lvis_box_APr"], metrics["lvis_box_APf"]) == (
        pytest.approx(50),
        pytest.approx(50),
        None,
    )
    first = dataset.first_images(1)
    metrics = evaluate_lvis(first, [p for p in PREDICTIONS if p["image_id"] == 1], file)
    assert metrics["lvis_box_AP"] == pytest.approx(100)  # of the apple alone; the barrow is in another image


@needs_lvis
def test_no_predictions_score_zero(file: Path) -> None:
    metrics = evaluate_lvis(read_coco(file), [], file)
    assert metrics["lvis_box_AP"] == metrics["lvis_mask_APr"] == 0
    assert metrics["lvis_mask_APc"] is None


@needs_lvis
def test_boxes_alone_skip_masks_and_say_so(content: dict[str, Any], tmp_path: Path) -> None:
    for entry in content["annotations"]:
        entry["segmentation"] = []
    path = write(content, tmp_path)
    metrics = evaluate_lvis(read_coco(path), PREDICTIONS, path)
    assert metrics["lvis_box_AP"] == pytest.approx(75)
    assert "lvis_mask_AP" not in metrics
    assert metrics["notes"] == ["mask metrics skipped: 3 of 3 ground-truth objects have only a box."]


@needs_lvis
def test_predictions_and_logging_stay_as_they_were(file: Path) -> None:
    before, handlers = json.dumps(PREDICTIONS), list(logging.getLogger().handlers)
    evaluate_lvis(read_coco(file), PREDICTIONS, file)
    assert json.dumps(PREDICTIONS) == before
    assert logging.getLogger().handlers == handlers


@needs_lvis
def test_files_that_are_not_of_lvis(content: dict[str, Any], tmp_path: Path, file: Path) -> None:
    dataset = read_coco(file)
    with pytest.raises(InputError, match="needs the LVIS annotation file"):
        evaluate_lvis(dataset, [], None)
    with pytest.raises(InputFileNotFoundError, match="missing.json"):
        evaluate_lvis(dataset, [], tmp_path / "missing.json")
    del content["images"][1]["neg_category_ids"]
    with pytest.raises(InputError, match="images without neg_category_ids, which"):
        evaluate_lvis(dataset, [], write(content, tmp_path))


def test_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lvis", None)
    with pytest.raises(EnvironmentProblemError, match=r"pip install '\.\[lvis\]'"):
        evaluate_lvis(CocoDataset("empty", (), (), ()), [], None)
