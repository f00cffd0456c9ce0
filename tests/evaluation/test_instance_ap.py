from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from no_time_to_train.errors import InputError
from no_time_to_train.evaluation import instance_ap

HEIGHT, WIDTH = 60, 80


@pytest.fixture
def evaluate_instances(tmp_path: Path):
    """The function, with the ground truth given as a dictionary."""

    def evaluate(gt: dict[str, Any], predictions: list[dict[str, Any]], **options: Any) -> instance_ap.InstanceMetrics:
        path = tmp_path / "gt.json"
        path.write_text(json.dumps(gt))
        return instance_ap.evaluate_instances(path, predictions, **options)

    return evaluate


def rectangle_rle(x: int, y: int, w: int, h: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> dict[str, Any]:
    mask = np.zeros(size, np.uint8)
    mask[y : y + h, x : x + w] = 1
    rle = coco_mask.encode(np.asfortranarray(mask))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


def annotation(number: int, image_id: Any, category_id: int, box: tuple[int, int, int, int]) -> dict[str, Any]:
    x, y, w, h = box
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": list(box),
        "area": w * h,
        "iscrowd": 0,
        "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
    }


def result(image_id: Any, category_id: int, box: tuple[int, int, int, int], score: float) -> dict[str, Any]:
    return {
        "image_id": image_id,
        "category_id": category_id,
        "bbox": list(box),
        "score": score,
        "segmentation": rectangle_rle(*box),
    }


def dataset(annotations: list[dict[str, Any]], image_ids: tuple[Any, ...] = (1, 2)) -> dict[str, Any]:
    return {
        "images": [{"id": key, "file_name": f"{key}.jpg", "height": HEIGHT, "width": WIDTH} for key in image_ids],
        "annotations": annotations,
        "categories": [{"id": 9, "name": "boat"}, {"id": 16, "name": "bird"}],
    }


@pytest.fixture
def two_boats() -> dict[str, Any]:
    return dataset([annotation(1, 1, 9, (10, 10, 40, 40)), annotation(2, 2, 9, (5, 5, 40, 40))])


def test_perfect_predictions_score_100_and_absent_categories_nothing(evaluate_instances, two_boats) -> None:
    metrics = evaluate_instances(two_boats, [result(1, 9, (10, 10, 40, 40), 0.9), result(2, 9, (5, 5, 40, 40), 0.8)])
    assert metrics.overall["box"].nAP == pytest.approx(100)
    assert metrics.overall["mask"].nAP75 == pytest.approx(100)
    assert metrics.overall["box"].nAP_medium == pytest.approx(100)
    assert metrics.overall["box"].nAP_small is None
    assert metrics.per_category["bird"]["box"].nAP is None
    assert (metrics.num_images, metrics.num_objects) == (2, 2)


def test_hand_worked_ap(evaluate_instances, two_boats) -> None:
    # Two objects. In order of score: a hit, a false positive, a hit. Precision is 1 up to recall 0.5 and 2/3 from
    # there to 1: of the 101 recall points 0, 0.01 .. 1.00, the 51 up to 0.5 see 1, the other 50 see 2/3.
    predictions = [
        result(1, 9, (10, 10, 40, 40), 0.9),
        result(1, 9, (60, 40, 15, 15), 0.8),
        result(2, 9, (5, 5, 40, 40), 0.7),
    ]
    expected = 100 * (51 + 50 * 2 / 3) / 101
    metrics = evaluate_instances(two_boats, predictions)
    assert metrics.overall["box"].nAP50 == pytest.approx(expected)
    assert metrics.overall["mask"].nAP == pytest.approx(expected)


def test_a_detection_in_an_image_without_objects_is_wrong(evaluate_instances) -> None:
    gt = dataset([annotation(1, 1, 9, (10, 10, 40, 40))])
    hit, miss = result(1, 9, (10, 10, 40, 40), 0.5), result(2, 9, (10, 10, 40, 40), 0.9)
    assert evaluate_instances(gt, [hit, miss]).overall["box"].nAP == pytest.approx(50)


def test_no_predictions_score_zero(evaluate_instances, two_boats) -> None:
    metrics = evaluate_instances(two_boats, [])
    assert metrics.overall["box"].nAP == metrics.overall["mask"].nAP == 0
    assert metrics.per_category["boat"]["mask"].nAP50 == 0
    assert metrics.per_category["bird"]["mask"].nAP50 is None


@pytest.mark.parametrize("ids", [(0, 1), (7, 7)])
def test_annotation_ids_of_zero_or_repeated_do_not_hide_objects(evaluate_instances, two_boats, ids) -> None:
    for entry, number in zip(two_boats["annotations"], ids, strict=True):
        entry["id"] = number
    predictions = [result(1, 9, (10, 10, 40, 40), 0.9), result(2, 9, (5, 5, 40, 40), 0.8)]
    assert evaluate_instances(two_boats, predictions).overall["box"].nAP == pytest.approx(100)


def test_missing_iscrowd_and_area_are_completed(evaluate_instances, two_boats) -> None:
    for entry in two_boats["annotations"]:
        del entry["iscrowd"], entry["area"]
    predictions = [result(1, 9, (10, 10, 40, 40), 0.9), result(2, 9, (5, 5, 40, 40), 0.8)]
    assert evaluate_instances(two_boats, predictions).overall["mask"].nAP_medium == pytest.approx(100)


def test_ground_truth_of_boxes_skips_masks_and_says_so(evaluate_instances, two_boats) -> None:
    two_boats["annotations"][0]["segmentation"] = []
    metrics = evaluate_instances(two_boats, [result(1, 9, (10, 10, 40, 40), 0.9)])
    assert "mask" not in metrics.overall
    assert metrics.notes == ("mask metrics skipped: 1 of 2 ground-truth objects have only a box.",)
    assert metrics.to_json()["mask"]["nAP"] is None


def test_unknown_category_names_both_sides(evaluate_instances, two_boats) -> None:
    with pytest.raises(InputError, match=r"category ids 0 .*9 \(boat\), 16 \(bird\).*match_by_name=True"):
        evaluate_instances(two_boats, [result(1, 0, (10, 10, 40, 40), 0.9)])


def test_image_ids_keep_their_type(evaluate_instances, two_boats) -> None:
    with pytest.raises(InputError, match="'1'"):
        evaluate_instances(two_boats, [result("1", 9, (10, 10, 40, 40), 0.9)])
    gt = dataset([annotation(1, "0012", 9, (10, 10, 40, 40))], image_ids=("0012",))
    metrics = evaluate_instances(gt, [result("0012", 9, (10, 10, 40, 40), 0.9)])
    assert metrics.overall["box"].nAP == pytest.approx(100)


def test_mask_of_another_size_is_refused(evaluate_instances, two_boats) -> None:
    prediction = result(1, 9, (10, 10, 40, 40), 0.9)
    prediction["segmentation"] = rectangle_rle(10, 10, 20, 20, size=(WIDTH, HEIGHT))
    with pytest.raises(InputError, match="Width and height are swapped"):
        evaluate_instances(two_boats, [prediction])


def test_only_chosen_categories_count(evaluate_instances, two_boats) -> None:
    two_boats["annotations"].append(annotation(3, 1, 16, (0, 0, 20, 20)))
    predictions = [result(1, 9, (10, 10, 40, 40), 0.9), result(2, 9, (5, 5, 40, 40), 0.8)]
    predictions.append(result(2, 16, (0, 0, 20, 20), 0.99))
    assert evaluate_instances(two_boats, predictions, category_ids=[9]).overall["box"].nAP == pytest.approx(100)
    assert evaluate_instances(two_boats, predictions).overall["box"].nAP == pytest.approx(50)
    with pytest.raises(InputError, match="no category 99"):
        evaluate_instances(two_boats, predictions, category_ids=[99])


def random_problem(seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    rng = np.random.default_rng(seed)
    image_ids = tuple(range(1, 9))
    annotations, results = [], []

    def box() -> tuple[int, int, int, int]:
        w, h = (int(value) for value in rng.integers(4, 50, 2))
        return int(rng.integers(0, WIDTH - w)), int(rng.integers(0, HEIGHT - h)), w, h

    for image_id in image_ids[:-1]:
        for _ in range(int(rng.integers(1, 4))):
            category_id, (x, y, w, h) = int(rng.choice([9, 16])), box()
            entry = annotation(len(annotations) + 1, image_id, category_id, (x, y, w, h))
            entry["iscrowd"] = int(rng.random() < 0.15)
            annotations.append(entry)
            moved = (max(x - int(rng.integers(0, 4)), 0), y, w, h)
            results.append(result(image_id, category_id, moved, float(rng.random())))
    for _ in range(8):
        results.append(result(int(rng.choice(image_ids)), int(rng.choice([9, 16])), box(), float(rng.random())))
    return dataset(annotations, image_ids), results


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("engine", ["pycocotools", "faster-coco-eval"])
def test_equal_to_pycocotools_called_directly(seed: int, engine, tmp_path: Path, capsys) -> None:
    gt, results = random_problem(seed)
    (tmp_path / "gt.json").write_text(json.dumps(gt))
    (tmp_path / "predictions.json").write_text(json.dumps(results))
    if engine == "faster-coco-eval":
        pytest.importorskip("faster_coco_eval")
    metrics = instance_ap.evaluate_instances(tmp_path / "gt.json", tmp_path / "predictions.json", engine=engine)
    assert capsys.readouterr().out == ""
    coco_gt = COCO(str(tmp_path / "gt.json"))
    for iou_type, kind in (("bbox", "box"), ("segm", "mask")):
        shown = [dict(entry) for entry in results]
        if iou_type == "segm":
            for entry in shown:
                del entry["bbox"]
        evaluator = COCOeval(coco_gt, coco_gt.loadRes(shown), iou_type)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
        ours = metrics.overall[kind]
        values = [ours.nAP, ours.nAP50, ours.nAP75, ours.nAP_small, ours.nAP_medium, ours.nAP_large]
        expected = [None if value < 0 else 100 * value for value in evaluator.stats[:6]]
        assert values == pytest.approx(expected, abs=1e-9)
        for position, name in enumerate(("boat", "bird")):
            own = evaluator.eval["precision"][:, :, position, 0, -1]
            assert metrics.per_category[name][kind].nAP == pytest.approx(100 * own[own > -1].mean(), abs=1e-9)


def test_boxes_are_compared_as_the_file_has_them(evaluate_instances) -> None:
    # Half of this box is outside the image; clipped to the image, its IoU with the prediction would be 0.5.
    gt = dataset([annotation(1, 1, 9, (-20, 0, 40, 40))])
    metrics = evaluate_instances(gt, [result(1, 9, (-20, 0, 40, 40), 0.9)], iou_types=("bbox",))
    assert metrics.overall["box"].nAP == pytest.approx(100)


@pytest.mark.parametrize("iou_types", [["mask"], "segm", [], 3])
def test_kinds_that_are_none(evaluate_instances, two_boats, iou_types) -> None:
    with pytest.raises(InputError, match="iou_types must be"):
        evaluate_instances(two_boats, [], iou_types=iou_types)
