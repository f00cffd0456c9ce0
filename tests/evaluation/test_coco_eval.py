from __future__ import annotations

import contextlib
import copy
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from no_time_to_train.data.coco import CocoDataset
from no_time_to_train.data.coco_reader import read_coco
from no_time_to_train.evaluation.coco_eval import coco_precision
from tests.evaluation.test_instance_ap import random_problem


@pytest.fixture(params=range(3))
def problem(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[CocoDataset, list[dict[str, Any]]]:
    truth, results = random_problem(request.param)
    truth["categories"].append({"id": 3, "name": "never annotated"})
    results.append({**results[0], "category_id": 3})
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    return read_coco(tmp_path / "gt.json"), results


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_category_by_category_is_bit_for_bit_what_cocoeval_finds_at_once(problem, iou_type) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    dataset, results = problem
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = dataset.to_dict()
        truth.createIndex()
        kind = "bbox" if iou_type == "bbox" else "segmentation"
        found = truth.loadRes([{k: r[k] for k in ("image_id", "category_id", "score", kind)} for r in results])
        at_once = COCOeval(truth, found, iou_type)
        at_once.evaluate()
        at_once.accumulate()
    precision, category_ids = coco_precision(dataset, results, iou_type, "pycocotools")
    assert np.array_equal(precision, at_once.eval["precision"][..., -1])
    assert category_ids == at_once.params.catIds
    assert (precision[:, :, category_ids.index(3)] == -1).all()


@pytest.mark.parametrize("engine", ["pycocotools", "faster-coco-eval"])
@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_what_is_evaluated_stays_as_it_was_for_the_next_run(problem, iou_type, engine) -> None:
    if engine == "faster-coco-eval":
        pytest.importorskip("faster_coco_eval")
    dataset, results = problem
    before = copy.deepcopy((dataset.to_dict(), results))
    first, _ = coco_precision(dataset, results, iou_type, engine)
    assert (dataset.to_dict(), results) == before
    coco_precision(dataset, results[::2], iou_type, engine)
    assert np.array_equal(coco_precision(dataset, results, iou_type, engine)[0], first)


def test_only_images_of_the_category_are_looked_at(problem, monkeypatch: pytest.MonkeyPatch) -> None:
    from pycocotools.cocoeval import COCOeval

    dataset, results = problem
    pairs: list[tuple[int, int]] = []
    original = COCOeval.computeIoU

    def counting(self: Any, image_id: int, category_id: int) -> Any:
        pairs.append((image_id, category_id))
        return original(self, image_id, category_id)

    monkeypatch.setattr(COCOeval, "computeIoU", counting)
    coco_precision(dataset, results, "bbox", "pycocotools")
    annotated = {annotation.category_id for annotation in dataset.annotations}
    there = {(a.image_id, a.category_id) for a in dataset.annotations}
    there |= {(result["image_id"], result["category_id"]) for result in results if result["category_id"] in annotated}
    assert len(pairs) == len(there)
