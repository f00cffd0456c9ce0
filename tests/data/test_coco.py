import json

from no_time_to_train.data.coco import CocoAnnotation, CocoDataset, CocoImage, write_coco
from no_time_to_train.data.coco_reader import read_coco
from no_time_to_train.structures import Category


def make_annotation(number, image_id, segmentation=None):
    return CocoAnnotation(
        id=number,
        source_id=number,
        position=number,
        image_id=image_id,
        category_id=1,
        box_xyxy=(1.0, 2.0, 4.0, 6.0),
        source_box_xywh=(1.0, 2.0, 3.0, 4.0),
        segmentation=segmentation,
        area=12.0,
        is_crowd=False,
    )


DATASET = CocoDataset(
    name="test",
    images=(CocoImage("x", "x.jpg", (10, 20)), CocoImage(2, "sub/y.jpg", (30, 40))),
    annotations=(make_annotation(1, "x", [[1, 2, 4, 2, 4, 6]]), make_annotation(2, 2)),
    categories=(Category(1, "böat"), Category(4, "bird")),
)


def test_written_file_is_complete_and_reads_back(tmp_path):
    write_coco(DATASET, tmp_path / "sub" / "a.json")
    again = read_coco(tmp_path / "sub" / "a.json")
    assert again.images == DATASET.images and again.categories == DATASET.categories
    assert again.to_dict() == DATASET.to_dict()
    write_coco(again, tmp_path / "b.json")
    assert (tmp_path / "b.json").read_bytes() == (tmp_path / "sub" / "a.json").read_bytes()
    entry = json.loads((tmp_path / "b.json").read_text("utf-8"))["annotations"][0]
    assert entry == {
        "id": 1, "image_id": "x", "category_id": 1, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0,
        "segmentation": [[1, 2, 4, 2, 4, 6]],
    }  # fmt: skip


def test_subset_keeps_only_what_belongs_to_the_annotations():
    subset = DATASET.subset([2], DATASET.categories[:1])
    assert [image.id for image in subset.images] == [2]
    assert [annotation.id for annotation in subset.annotations] == [2]
    assert subset.categories == (Category(1, "böat"),)


def test_lookups():
    assert DATASET.images_by_id["x"].file_name == "x.jpg"
    assert DATASET.categories_by_id[4].name == "bird"
    assert [a.id for a in DATASET.annotations_by_image[2]] == [2]
    assert not DATASET.has_masks
