import json
import logging

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image
from pycocotools import mask as coco_mask

from no_time_to_train.data.coco import CocoDataset
from no_time_to_train.data.coco_reader import read_coco
from no_time_to_train.errors import InputError, InputFileNotFoundError
from no_time_to_train.evaluation.instance_ap import evaluate_instances
from tests.mutations import mutated

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


@pytest.mark.parametrize("empty", [[], None, [[]], [[1, 2, 3, 4]]])
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
    ("size", "hint"), [([20, 30], "resized after labeling"), ([60, 40], "Width and height are swapped")]
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


def test_a_size_that_is_no_size_is_said(read, tmp_path, warnings):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg")
    assert read(images=[image(height=float("nan"))]).images[0].size_hw == (20, 30)
    assert "1 images have a height and width that are no numbers above 0" in warnings.text


@pytest.mark.parametrize("name", [{"a": 1}, ["1.jpg"], 3, float("nan"), True])
def test_a_file_name_must_be_text(read, name):
    with pytest.raises(InputError, match="1 images must have a file_name, text"):
        read(images=[image(file_name=name)])


def test_names_come_from_the_url_where_there_is_no_other(read):
    assert read(images=[image(file_name=None, coco_url="http://x/train2017/7.jpg")]).images[0].file_name == "7.jpg"
    with pytest.raises(InputError, match="names a file below the images folder"):
        read(images=[image(file_name="..")])


def test_names_that_lead_out_are_reduced_to_their_last_part(read):
    """As Label Studio writes them since 1.16; two images of one name would be the same file."""
    name = "..\\..\\label-studio\\data\\media\\upload\\1\\7-a.jpg"
    assert read(images=[image(file_name=name)]).images[0].file_name == "7-a.jpg"
    for other in ("..\\..\\label-studio\\data\\media\\upload\\2\\7-a.jpg", "/home/somebody/7-a.jpg"):
        with pytest.raises(InputError, match=r"share an id or a file.*both end in 7-a\.jpg"):
            read(images=[image(file_name=name), image(id=2, file_name=other)])


def test_an_unused_category_may_have_another_s_name(read, warnings):
    """As in exports of Roboflow, whose category 0 is the project."""
    both = [{"id": 0, "name": "boat"}, {"id": 1, "name": "boat"}]
    dataset = read([annotation()], categories=both)
    assert [(c.id, c.name) for c in dataset.categories] == [(1, "boat")]
    assert "1 categories have another's name and no use; left out: boat (id 0)" in warnings.text
    with pytest.raises(InputError, match="ids or names are shared"):
        read([annotation(), annotation(id=2, category_id=0)], categories=both)


def test_crowds_are_objects_on_request(read):
    marked = [annotation(iscrowd=1), annotation(id=2, ignore=1)]
    assert [a.is_crowd for a in read(marked).annotations] == [True, False]
    assert [a.is_crowd for a in read(marked, crowds_are_objects=True, ignore_as_crowd=True).annotations] == [False] * 2


NAN = float("nan")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"segmentation": "text"}, "list of polygons or an RLE"),
        ({"segmentation": 7}, "list of polygons or an RLE"),
        ({"segmentation": {}}, "an RLE must have counts"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "flat list of pairs"),
        ({"segmentation": [[1, 2, 3, None, 5, 6]]}, "flat list of pairs"),
        ({"segmentation": [[1, 2, 3, "4", 5, 6]]}, "flat list of pairs"),
        ({"segmentation": [[1, 2, 3, NAN, 5, 6]]}, "finite pixels"),
        ({"segmentation": [[1, 2, 3, float("inf"), 5, 6]]}, "finite pixels"),
        ({"segmentation": [[1, 2, 3, 1e9, 5, 6]]}, "finite pixels"),
        ({"segmentation": [SQUARE]}, "flat list of pairs"),
        ({"segmentation": {"size": [40, 60], "counts": [1, 2]}}, "add up to 2400"),
        ({"segmentation": {"size": [40, 60], "counts": [1200.5, 1199.5]}}, "whole numbers"),
        ({"segmentation": {"size": [40, 60], "counts": [[2400]]}}, "whole numbers"),
        ({"segmentation": {"size": [40, 60], "counts": "garbage \ud800"}}, "add up to 2400"),
        ({"bbox": [1, 2, 1e9, 4]}, "four finite numbers"),
        ({"iscrowd": "0"}, "iscrowd must be 0 or 1, got '0'"),
        ({"iscrowd": [1]}, "iscrowd must be 0 or 1"),
    ],
)
def test_damaged_annotations_are_refused_with_their_id(read, changes, problem):
    with pytest.raises(InputError, match=rf"refs\.json: 1 annotations are damaged: annotation 8: .*{problem}"):
        read([annotation(id=8, **changes)])


@pytest.mark.parametrize("ids", [[-1, 2], [10**30, 2]])
def test_ids_that_evaluators_cannot_hold_are_renumbered(read, warnings, ids):
    assert [a.id for a in read([annotation(id=i) for i in ids]).annotations] == [1, 2]


def test_images_and_categories_that_cannot_be(read):
    for images, problem in (
        ([image(file_name="\ud800.jpg")], "text that names a file"),
        ([image(file_name="a\0.jpg")], "text that names a file"),
        ([image(height=10**6, width=10**6)], "have more than 2147483648 pixels"),
        ([image(id=[1])], "must have an id"),
        ([image(id=float("inf"))], "must have an id"),
    ):
        with pytest.raises(InputError, match=problem):
            read(images=images)
    for categories in ([{"id": 1, "name": "\ud800"}], [{"id": 1, "name": ["a"]}], [{"id": [1], "name": "a"}]):
        with pytest.raises(InputError, match="whole number as id and a name"):
            read(categories=categories)


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
        ("[" * 200_000, "nested too deeply"),
        ("9" * 5000, "not valid JSON"),
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


RLE_TEXT = coco_mask.encode(np.asfortranarray(np.eye(40, 60, dtype=np.uint8)))["counts"].decode()
VALID = {
    "images": [image(), image(id=2, file_name="b.jpg")],
    "annotations": [
        annotation(segmentation=SQUARE),
        annotation(id=2, segmentation={"size": [40, 60], "counts": [400, 40, 1960]}, iscrowd=1),
        annotation(id=3, image_id=2, segmentation={"size": [40, 60], "counts": RLE_TEXT}),
    ],
    "categories": [{"id": 1, "name": "boat"}, {"id": 5, "name": "bird"}],
}


@given(mutated(VALID))
@settings(max_examples=400, deadline=None)
def test_a_damaged_file_is_one_clear_error_or_a_data_set_that_can_be_scored(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged.json"
    path.write_text(json.dumps(data))
    try:
        dataset = read_coco(path)
    except (InputError, InputFileNotFoundError) as error:
        assert str(path.parent) in str(error)
        str(error).encode("utf-8")
        return
    assert isinstance(dataset, CocoDataset)
    json.dumps(dataset.to_dict(), ensure_ascii=False, allow_nan=False).encode("utf-8")
    evaluate_instances(dataset, [])
