from __future__ import annotations

import json
from pathlib import Path

from pycocotools.coco import COCO

from no_time_to_train.outputs.coco_json import write_dataset, write_results_and_dataset
from no_time_to_train.outputs.image_record import ImageRecord
from no_time_to_train.references.min_scores import MinScores
from no_time_to_train.structures import Category


def entry(score: float, category_id: int = 9) -> dict:
    # 4 x 5 image, counts down the columns: 4 zeros, 3 ones, 13 zeros
    segmentation = {"size": [4, 5], "counts": "43="}
    return {
        "category_id": category_id,
        "bbox": [1, 0, 1, 3],
        "score": score,
        "segmentation": segmentation,
        "predicted_iou": 0.5,
    }


RECORDS = [
    ("x", ImageRecord("a.jpg", 1, (4, 5), (entry(0.9), entry(0.2)))),
    ("y", ImageRecord("ü.jpg", 1, (4, 5), ())),
    ("z", ImageRecord("c.jpg", 1, (4, 5), (entry(0.6, 16),))),
]
CATEGORIES = (Category(9, "boat"), Category(16, "bird"))


def test_results_hold_everything_kept(tmp_path: Path) -> None:
    paths = (tmp_path / "predictions.json", tmp_path / "annotations.json")
    summary = write_results_and_dataset(*paths, RECORDS, CATEGORIES, MinScores(0.5))
    assert summary.counts == {"boat": 1, "bird": 1} and [image.file_name for image in summary.images][0] == "a.jpg"
    results = json.loads((tmp_path / "predictions.json").read_text())
    assert [(result["image_id"], result["score"]) for result in results] == [("x", 0.9), ("x", 0.2), ("z", 0.6)]
    assert results[0].keys() == {"image_id", "category_id", "bbox", "score", "segmentation"}


def test_dataset_is_a_complete_coco_data_set(tmp_path: Path) -> None:
    write_dataset(tmp_path / "annotations.json", RECORDS, CATEGORIES, MinScores(0.5))
    coco = COCO(str(tmp_path / "annotations.json"))
    assert sorted(coco.anns) == [1, 2]
    assert [image["file_name"] for image in coco.dataset["images"]] == ["a.jpg", "ü.jpg", "c.jpg"]
    assert coco.anns[1]["area"] == coco.annToMask(coco.anns[1]).sum() == 3
    assert (coco.anns[2]["image_id"], coco.anns[2]["category_id"], coco.anns[2]["iscrowd"]) == ("z", 16, 0)
    assert coco.anns[2]["score"] == 0.6


def test_nothing_found_is_valid_json(tmp_path: Path) -> None:
    paths = (tmp_path / "predictions.json", tmp_path / "annotations.json")
    write_results_and_dataset(*paths, [], CATEGORIES, MinScores(0.5))
    assert json.loads((tmp_path / "predictions.json").read_text()) == []
    dataset = json.loads((tmp_path / "annotations.json").read_text())
    assert dataset["images"] == dataset["annotations"] == [] and len(dataset["categories"]) == 2
