import json
import logging

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from no_time_to_train.data.coco_reader import read_coco
from no_time_to_train.errors import InputError, InputFileNotFoundError

SQUARE = [[10, 10, 20, 10, 20, 20, 10, 20]]


def annotation(**changes):
    """A faultless annotation, 10 x 10 at (10, 10); a change to None takes the key away."""
    entry = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 10, 10], "area": 100, "iscrowd": 0}
    return {key: value for key, value in (entry | changes).items() if value is not None}


def image(**changes):
    entry = {"id": 1, "file_name": "a.jpg", "height": 40, "width": 60} | changes
    return {key: value for key, value in entry.items() if value is not None}


@pytest.fixture
def read(tmp_path):
    def read(annotations=(), images=None, categories=None, **options):
        data = {
            "images": [image()] if images is None else images,
            "annotations": list(annotations),
            "categories": [{"id": 1, "name": "boat"}] if categories is None else categories,
        }
        (tmp_path / "refs.json").write_text(json.dumps(data))
        return read_coco(tmp_path / "refs.json", **options)

    return read


@pytest.fixture
def warnings(caplog):
    caplog.set_level(logging.WARNING)
    return caplog


def test_faultless_file_is_kept_as_it_is(read, warnings):
    dataset = read([annotation(id=5, segmentation=SQUARE)])
    [only] = dataset.annotations
    assert (only.id, only.source_id, only.box_xyxy, only.area) == (5, 5, (10, 10, 20, 20), 100)
    assert not only.is_crowd and only.segmentation == SQUARE and dataset.has_masks
    assert dataset.images[0].size_hw == (40, 60)
    assert not warnings.records


@pytest.mark.parametrize("ids", [[0, 1], [3, 3], [None, 2], ["a", "b"]])
def test_ids_that_evaluators_stumble_over_are_renumbered(read, warnings, ids):
    dataset = read([annotation(id=i) for i in ids])
    assert [a.id for a in dataset.annotations] == [1, 2]
    assert [a.source_id for a in dataset.annotations] == ids
    assert "numbered anew from 1" in warnings.text


def test_missing_crowd_and_area_are_completed(read):
    rle = coco_mask.encode(np.asfortranarray(np.eye(40, 60, dtype=np.uint8)))
    text_rle = {"size": rle["size"], "counts": rle["counts"].decode()}
    with_mask, with_box = read(
        [annotation(area=None, iscrowd=None, segmentation=text_rle), annotation(id=2, area=None)]
    ).annotations
    assert (with_mask.area, with_box.area) == (40, 100)
    assert not with_mask.is_crowd


def test_missing_box_is_the_mask_s(read):
    assert read([annotation(bbox=None, segmentation=SQUARE)]).annotations[0].box_xyxy == (10, 10, 20, 20)


@pytest.mark.parametrize("empty", [[], None, [[]], [[1, 2, 3, 4]], "text"])
def test_no_usable_segmentation_means_box_only(read, empty):
    dataset = read([annotation(segmentation=empty)])
    assert dataset.annotations[0].segmentation is None and not dataset.has_masks


def test_segmentation_forms(read):
    run_lengths = {"size": [40, 60], "counts": [0, 40, 2360]}
    flat, short, crowd = read(
        [
            annotation(segmentation=SQUARE[0]),
            annotation(id=2, segmentation=[[1, 2, 3, 4], *SQUARE]),
            annotation(id=3, segmentation=run_lengths, iscrowd=1),
        ]
    ).annotations
    assert flat.segmentation == short.segmentation == SQUARE
    assert crowd.segmentation == run_lengths and crowd.is_crowd


def test_ignore_is_crowd_only_on_request(read):
    assert not read([annotation(ignore=1)]).annotations[0].is_crowd
    assert read([annotation(ignore=1)], ignore_as_crowd=True).annotations[0].is_crowd


@pytest.mark.parametrize(
    ("size", "hint"), [([20, 30], "resized after labelling"), ([60, 40], "Width and height are swapped")]
)
def test_rles_of_another_size_are_refused_together(read, size, hint):
    rle = {"size": size, "counts": [size[0] * size[1]]}
    with pytest.raises(InputError, match=rf"2 annotations have an RLE of another size.*annotation 55: .*{hint}"):
        read([annotation(id=55, segmentation=rle), annotation(id=56, segmentation=rle)])


def test_boxes_are_clipped_and_flat_ones_dropped(read, warnings):
    dataset = read(
        [
            annotation(bbox=[-5, 30, 20, 20]),
            annotation(id=2, bbox=[5, 5, 0, 9]),
            annotation(id=3, bbox=[5, 5, 9, -1]),
            annotation(id=4, bbox=[100, 5, 9, 9]),
        ]
    )
    assert [a.box_xyxy for a in dataset.annotations] == [(0, 30, 15, 40)]
    assert dataset.annotations[0].source_box_xywh == (-5, 30, 20, 20)
    assert [a.id for a in dataset.dropped_annotations] == [2, 3, 4]
    assert "3 annotations have a box without area" in warnings.text


@pytest.mark.parametrize("box", [None, [1, 2, 3], [1, 2, 3, "4"], [1, 2, 3, float("nan")]])
def test_annotations_with_neither_box_nor_mask_are_refused(read, box):
    with pytest.raises(InputError, match="annotation 1: bbox must be four finite numbers"):
        read([annotation(bbox=box)])


def test_ids_keep_their_type(read):
    dataset = read([annotation(image_id="0012")], images=[image(id="0012"), image(id=12, file_name="b.jpg")])
    assert dataset.annotations[0].image_id == "0012"
    assert [len(dataset.annotations_by_image[i]) for i in ("0012", 12)] == [1, 0]
    assert read([annotation(image_id=1.0)]).annotations[0].image_id == 1


def test_duplicate_image_ids_are_listed(read):
    images = [image(), image(file_name="b.jpg"), image(id=2, file_name="c.jpg"), image(id=2, file_name="d.jpg")]
    with pytest.raises(InputError, match=r"2 images share an id.*image id 1 used by a\.jpg and b\.jpg; image id 2"):
        read(images=images)


def test_an_image_listed_twice_is_used_once(read, warnings):
    assert len(read(images=[image(), image()]).images) == 1
    assert "lists 1 images twice" in warnings.text


def test_sizes_come_from_the_files_where_the_json_has_none(read, tmp_path):
    Image.new("RGB", (7, 5)).save(tmp_path / "b.png")
    dataset = read(images=[image(), image(id=2, file_name="b.png", height=None, width=None)])
    assert [i.size_hw for i in dataset.images] == [(40, 60), (5, 7)]
    with pytest.raises(InputFileNotFoundError, match="1 of 1 images not found"):
        read(images=[image(height=None)])


def test_names_come_from_the_url_where_there_is_no_other(read):
    assert read(images=[image(file_name=None, coco_url="http://x/train2017/7.jpg")]).images[0].file_name == "7.jpg"
    with pytest.raises(InputError, match="file_name below the images folder"):
        read(images=[image(file_name="../secret.jpg")])


def test_stray_annotations_are_left_out_with_a_warning(read, warnings):
    dataset = read([annotation(), annotation(id=2, category_id=99), annotation(id=3, image_id=99)])
    assert [a.id for a in dataset.annotations] == [1]
    assert "category_id that is not among" in warnings.text and "image_id that is not among" in warnings.text


def test_all_stray_annotations_are_an_error(read):
    with pytest.raises(InputError, match=r"image_id that is not among the images \(text '7' is not the number 7\)"):
        read([annotation(image_id="1")])


def test_category_rules(read):
    dataset = read(categories=[{"id": 5, "name": "b"}, {"id": 0, "name": "a"}, {"id": 5, "name": "b"}])
    assert [c.id for c in dataset.categories] == [0, 5]
    for wrong, message in (
        ([{"id": 1, "name": "a"}, {"id": 1, "name": "b"}], "shared"),
        ([{"id": 1, "name": "a"}, {"id": 2, "name": "a"}], "shared"),
        ([{"id": "x", "name": "a"}], "whole number"),
        ([{"id": 1}], "whole number as id and a name"),
    ):
        with pytest.raises(InputError, match=message):
            read(categories=wrong)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "is a list"),
        ("3", "not a COCO data set"),
        ('{"images": [], "annotations": []}', "no list: categories"),
        ('{"images": [1], "annotations": [], "categories": []}', "every entry of images"),
    ],
)
def test_foreign_files(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_coco(tmp_path / "a.json")
    with pytest.raises(InputFileNotFoundError, match="no such annotation file"):
        read_coco(tmp_path / "b.json")


def test_byte_order_mark_is_tolerated(tmp_path):
    (tmp_path / "a.json").write_text('{"images": [], "annotations": [], "categories": []}', encoding="utf-8-sig")
    assert read_coco(tmp_path / "a.json").images == ()
