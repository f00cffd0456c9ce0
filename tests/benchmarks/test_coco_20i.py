from __future__ import annotations

import pytest

from no_time_to_train.benchmarks.coco_20i import COCO_CATEGORIES, FOLDS, fold_categories
from tests.benchmarks.datasets_on_disk import write_coco_2017


def test_folds_take_every_fourth_class() -> None:
    assert len(COCO_CATEGORIES) == len(set(COCO_CATEGORIES)) == 80
    assert sorted(name for fold in FOLDS for name in fold) == sorted(COCO_CATEGORIES)
    assert [fold[0] for fold in FOLDS] == ["person", "bicycle", "car", "motorcycle"]
    assert [fold[-1] for fold in FOLDS] == ["scissors", "teddy bear", "hair drier", "toothbrush"]
    assert fold_categories(0)[:4] == ("person", "airplane", "boat", "parking meter")
    assert fold_categories(3)[10:13] == ("knife", "apple", "carrot")


@pytest.mark.parametrize(("fold", "num_objects"), [(0, 2), (1, 0), (3, 1)])
def test_a_fold_is_scored_on_all_images(load, tmp_path, fold: int, num_objects: int) -> None:
    write_coco_2017(tmp_path)
    task = load("coco_20i", f"fold={fold}", "shots=1")
    assert task.name == f"coco_20i/fold={fold}" and task.evaluator == "semantic"
    assert {category.name for category in task.ground_truth.categories} == set(FOLDS[fold])
    assert (len(task.targets), len(task.ground_truth.annotations)) == (3, num_objects)
    assert task.references.counts() == dict.fromkeys(FOLDS[fold], 1)
