from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from no_time_to_train.benchmarks.sampling import sample_references
from no_time_to_train.data.voc import VocAnnotationsError, read_image_list, read_voc
from no_time_to_train.errors import InputFileNotFoundError
from tests.benchmarks.datasets_on_disk import HEIGHT, WIDTH, write_pascal_voc, write_voc_image, write_voc_list
from tests.benchmarks.test_sampling import published_sampler

PART = "<part><name>hand</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox></part>"


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    return tmp_path / "VOCdevkit"


def read_objects(devkit: Path, objects, extra: str = "", **options):
    write_voc_image(devkit, 2007, "000001", objects, extra)
    write_voc_list(devkit, 2007, "test", ["000001"])
    return read_voc(devkit, [("VOC2007", "test")], **options)


def test_boxes_count_from_one_and_include_the_last_pixel(devkit) -> None:
    [only] = read_objects(devkit, [("dog", ("1", "5", "10", "20"), False)]).annotations
    assert only.box_xyxy == (0, 4, 10, 20) and only.area == 160
    assert only.source_box_xywh == (0, 4, 9, 15)


def test_published_boxes(devkit) -> None:
    """The published converter takes 1 from all four numbers: (xmin - 1, ymin - 1, xmax - xmin, ymax - ymin)."""
    [only] = read_objects(devkit, [("dog", ("1", "5", "10", "20"), False)], box_convention="inclusive").annotations
    assert only.box_xyxy == (0, 4, 9, 19) and only.area == 9 * 15
    assert only.source_box_xywh == (0, 4, 9, 15)


def test_floats_are_rounded_and_boxes_clipped(devkit) -> None:
    corners = ("0.6", "11.4", "64.70000076293945", "99")
    assert read_objects(devkit, [("dog", corners, False)]).annotations[0].box_xyxy == (0, 10, 64, 60)


def test_difficult_objects_are_crowds_after_the_others(devkit) -> None:
    corners = ("1", "1", "9", "9")
    dataset = read_objects(devkit, [("dog", corners, True), ("cat", corners, False), ("ant", corners, False)])
    names = [dataset.categories_by_id[a.category_id].name for a in dataset.annotations]
    assert names == ["cat", "ant", "dog"]
    assert [a.is_crowd for a in dataset.annotations] == [False, False, True]
    assert [(a.id, a.position) for a in dataset.annotations] == [(1, 0), (2, 1), (3, 2)]
    assert [(c.id, c.name) for c in dataset.categories] == [(1, "ant"), (2, "cat"), (3, "dog")]
    assert not dataset.has_masks


def test_parts_are_no_objects(devkit) -> None:
    dataset = read_objects(devkit, [("person", ("1", "1", "9", "9"), False)], PART)
    assert [c.name for c in dataset.categories] == ["person"] and len(dataset.annotations) == 1


def test_flat_boxes_are_dropped_but_known_to_the_sampler(devkit) -> None:
    dataset = read_objects(devkit, [("dog", ("70", "1", "80", "9"), False), ("dog", ("1", "1", "9", "9"), False)])
    assert [a.id for a in dataset.annotations] == [2] and [a.id for a in dataset.dropped_annotations] == [1]


def test_years_follow_each_other(tmp_path) -> None:
    write_pascal_voc(tmp_path)
    dataset = read_voc(tmp_path / "pascal_voc/VOCdevkit", [("VOC2007", "trainval"), ("VOC2012", "trainval")])
    assert [(image.id, image.file_name) for image in dataset.images] == [
        (1, "VOC2007/JPEGImages/000005.jpg"),
        (2, "VOC2007/JPEGImages/000007.jpg"),
        (3, "VOC2012/JPEGImages/2008_000002.jpg"),
    ]
    assert len(dataset.annotations) == 60
    assert {a.box_xyxy for a in dataset.annotations} == {(12, 11, 52, 47)}


def test_all_faults_are_told(devkit) -> None:
    corners = ("1", "1", "9", "9")
    for stem in ("1", "2", "3"):
        write_voc_image(devkit, 2007, stem, [("unicorn", corners, False)])
    folder = devkit / "VOC2007/Annotations"
    (folder / "2.xml").write_text("<annotation>")
    (folder / "3.xml").write_text((folder / "3.xml").read_text().replace("<xmin>1</xmin>", ""))
    write_voc_list(devkit, 2007, "test", ["1", "2", "3", "4"])
    with pytest.raises(VocAnnotationsError, match="4 problems") as caught:
        read_voc(devkit, [("VOC2007", "test")], category_names=["dog"])
    damaged, without_corner, missing, unknown = caught.value.faults
    assert "2.xml is damaged" in damaged and "4.xml is missing" in missing
    assert without_corner.endswith("3.xml is damaged (no bndbox/xmin)")
    assert unknown == "unknown category 'unicorn'"


def test_lists(tmp_path) -> None:
    (tmp_path / "list.txt").write_text("000001 -1\r\n\n000002  1\n")
    assert read_image_list(tmp_path / "list.txt") == ["000001", "000002"]
    with pytest.raises(InputFileNotFoundError, match="no such list of images"):
        read_image_list(tmp_path / "other.txt")


def published_conversion(objects_by_image: dict[str, list[tuple[str, tuple[int, int, int, int], bool]]]) -> dict:
    """The rules of the published converter, which numbers everything from 0."""
    names = sorted({name for objects in objects_by_image.values() for name, _, _ in objects})
    images, annotations = [], []
    for image_id, objects in enumerate(objects_by_image.values()):
        images.append({"id": image_id, "width": WIDTH, "height": HEIGHT})
        for difficult in (False, True):
            for name, (xmin, ymin, xmax, ymax), is_difficult in objects:
                if is_difficult == difficult:
                    box = [xmin - 1, ymin - 1, xmax - 1 - (xmin - 1), ymax - 1 - (ymin - 1)]
                    entry = {"id": len(annotations), "image_id": image_id, "category_id": names.index(name)}
                    annotations.append(entry | {"bbox": box, "iscrowd": int(difficult)})
    return {"images": images, "annotations": annotations}


@pytest.mark.parametrize("seed", range(5))
def test_the_published_references_are_drawn(devkit, tmp_path, seed: int) -> None:
    rng = random.Random(seed)
    objects = {}
    for stem in map(str, range(40)):
        xs, ys = [10, 11, 12], [9, 11, 13]
        objects[stem] = [
            (name, (x := rng.choice(xs), y := rng.choice(ys), x + rng.choice([31, 32, 42]), y + 36), rng.random() < 0.2)
            for name in rng.choices(["dog", "cat", "ant"], k=4)
        ]
        as_text = [(name, tuple(map(str, corners)), difficult) for name, corners, difficult in objects[stem]]
        write_voc_image(devkit, 2007, stem, as_text)
    write_voc_list(devkit, 2007, "trainval", list(objects))
    (tmp_path / "converted.json").write_text(json.dumps(published_conversion(objects)))
    expected = published_sampler(tmp_path / "converted.json", seed, 2, wanted={0, 1})
    dataset = read_voc(devkit, [("VOC2007", "trainval")])
    by_id = {a.id: a for a in dataset.annotations}
    drawn = sample_references(dataset, 2, seed, ["ant", "cat"])
    assert [category_id - 1 for category_id in drawn] == list(expected)
    for category_id, annotation_ids in drawn.items():
        found = [(by_id[i].image_id - 1, list(by_id[i].source_box_xywh)) for i in annotation_ids]
        assert found == expected[category_id - 1]
