"""What the exports write, the readers of references read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import no_time_to_train as ntt
from no_time_to_train.ops.rle import decode_rle
from tests.outputs.exports.small_dataset import CATEGORIES, masks_of, write_labeled_folder

EXACT = ["coco", "coco-rle", "roboflow", "label-studio", "cvat", "datumaro", "labelme", "voc"]


def read_back(folder: Path) -> dict[str, np.ndarray]:
    """Masks by category and pixel count of the truth: no two objects have both alike."""
    references = ntt.load_references(folder)
    assert {category.name for category in references.categories} >= set(CATEGORIES.values())
    return {f"{item.image_path.name[0]} {item.category.name}": decode_rle(item.mask) for item in references.instances}


def truth() -> dict[str, np.ndarray]:
    found = {}
    for name, key in (("a.jpg", "a"), ("trip/b b.jpg", "b")):
        for category_id, score, mask in masks_of(name):
            if score >= 0.5:
                found[f"{key} {CATEGORIES[category_id]}"] = mask
    return found


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize("shape", ["mask", "polygon"])
@pytest.mark.parametrize("to", [*EXACT, "yolo"])
def test_masks_come_back(to: str, shape: str, tmp_path: Path) -> None:
    labeled = write_labeled_folder(tmp_path)
    found = read_back(ntt.export_dataset(labeled, to, shape=shape, val_share=0.0).folder)
    expected = truth()
    if to in ("voc", "roboflow"):  # their names are flat: trip__b b.jpg
        found = {key.replace("t ", "b ", 1): mask for key, mask in found.items()}
    assert found.keys() == expected.keys()
    for key, mask in expected.items():
        if to == "yolo" or (to, shape) == ("label-studio", "polygon"):  # one polygon per object: parts are tied
            assert iou(found[key], mask) >= 0.99
        else:
            assert np.array_equal(found[key], mask), key


def test_both_parts_of_yolo_are_read(tmp_path: Path) -> None:
    folder = ntt.export_dataset(write_labeled_folder(tmp_path), "yolo", val_share=0.5).folder
    assert len(list((folder / "images").glob("*/*.jpg"))) >= 1
    assert read_back(folder).keys() == truth().keys()
    assert ntt.load_references(folder / "data.yaml").counts() == {"boat": 1, "życie & bird": 2}
