from __future__ import annotations

from pathlib import Path

import pytest

from no_time_to_train.data.cd_fsod import cd_fsod_annotations, read_cd_fsod
from no_time_to_train.errors import InputFileNotFoundError
from tests.benchmarks.datasets_on_disk import write_box_annotations, write_voc_image, write_voc_list

NAMES = ("cat", "dog")


def test_released_layout(tmp_path) -> None:
    write_box_annotations(tmp_path, "train", ("Cat", "D-o_g", "unused"), {"0012": (0, 1), 12: ()})
    dataset = read_cd_fsod(tmp_path, "train", NAMES)
    assert [(image.id, image.file_name) for image in dataset.images] == [
        ("0012", "train/0012.jpg"),
        (12, "train/12.jpg"),
    ]
    assert [(c.id, c.name) for c in dataset.categories] == [(0, "cat"), (1, "dog")]
    assert [a.id for a in dataset.annotations] == [1, 2] and not dataset.has_masks


def test_validation_images_belong_to_the_training_set_unless_they_are_in_it(tmp_path) -> None:
    write_box_annotations(tmp_path, "train", NAMES, {1: (0,), 2: (1,)})
    write_box_annotations(tmp_path, "val", NAMES, {2: (1,), 3: (0, 1)})
    write_box_annotations(tmp_path, "test", NAMES, {9: ()})
    dataset = read_cd_fsod(tmp_path, "train", NAMES)
    assert [image.file_name for image in dataset.images] == ["train/1.jpg", "train/2.jpg", "val/3.jpg"]
    assert [(a.id, a.image_id, a.category_id) for a in dataset.annotations] == [
        (1, 1, 0),
        (2, 2, 1),
        (3, 3, 0),
        (4, 3, 1),
    ]
    assert [image.file_name for image in read_cd_fsod(tmp_path, "test", NAMES).images] == ["test/9.jpg"]


def test_the_layout_of_the_authors_of_uodd(tmp_path) -> None:
    """``annotations/coco/instances_train.json`` with ``imgs/train``; nothing needs to be renamed."""
    write_box_annotations(tmp_path, "train", NAMES, {1: (0,)})
    write_box_annotations(tmp_path, "val", NAMES, {3: (0, 1)})
    write_box_annotations(tmp_path, "test", NAMES, {9: ()})
    (tmp_path / "annotations/coco").mkdir()
    (tmp_path / "imgs").mkdir()
    for split in ("train", "val", "test"):
        (tmp_path / f"annotations/{split}.json").rename(tmp_path / f"annotations/coco/instances_{split}.json")
        (tmp_path / split).rename(tmp_path / "imgs" / split)
        assert cd_fsod_annotations(tmp_path, split).is_file()
    dataset = read_cd_fsod(tmp_path, "train", NAMES)
    assert [image.file_name for image in dataset.images] == ["imgs/train/1.jpg", "imgs/val/3.jpg"]
    assert len(dataset.annotations) == 3
    assert [image.file_name for image in read_cd_fsod(tmp_path, "test", NAMES).images] == ["imgs/test/9.jpg"]


def test_voc_layout(tmp_path) -> None:
    """Like the original Clipart1k: the folders of one VOC year, directly in the data set's."""
    write_voc_image(tmp_path, 2007, "7", [("dog", ("1", "1", "9", "9"), False)])
    write_voc_list(tmp_path, 2007, "train", ["7"])
    folder = (tmp_path / "VOC2007").rename(tmp_path / "clipart")
    dataset = read_cd_fsod(folder, "train", NAMES)
    assert [image.file_name for image in dataset.images] == ["JPEGImages/7.jpg"]
    assert [c.name for c in dataset.categories] == ["cat", "dog"]
    assert (folder / dataset.images[0].file_name).is_file()


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputFileNotFoundError, match="annotations/test.json"):
        read_cd_fsod(tmp_path, "test", NAMES)
