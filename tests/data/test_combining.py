from __future__ import annotations

import pytest

from no_time_to_train.data.coco_reader import parse_coco
from no_time_to_train.data.combining import combine, with_category_names, with_file_names
from no_time_to_train.errors import InputError
from tests.benchmarks.datasets_on_disk import coco_annotation, coco_images


def dataset(tmp_path, image_ids=(1,), names=("cat", "dog"), annotated=(1,)):
    content = {
        "images": coco_images({i: f"{i}.png" for i in image_ids}),
        "annotations": [coco_annotation(5 + i, i, c) for i in image_ids for c in annotated],
        "categories": [{"id": i, "name": name} for i, name in enumerate(names, start=1)],
    }
    return parse_coco(content, tmp_path / "a.json")


def test_annotations_are_numbered_on(tmp_path) -> None:
    both = combine([dataset(tmp_path, (1, 2)), dataset(tmp_path, (3,))])
    assert [image.id for image in both.images] == [1, 2, 3]
    assert [(a.id, a.position, a.image_id) for a in both.annotations] == [(1, 0, 1), (2, 1, 2), (3, 2, 3)]
    assert [a.source_id for a in both.annotations] == [6, 7, 8]


def test_an_image_may_be_in_both_as_it_is(tmp_path) -> None:
    one = dataset(tmp_path)
    assert len(combine([one, one]).images) == 1
    with pytest.raises(InputError, match=r"image id 1 is b/1.png, elsewhere 1.png"):
        combine([one, with_file_names(one, lambda image: f"b/{image.file_name}")])


def test_categories_must_agree(tmp_path) -> None:
    with pytest.raises(InputError, match="different categories"):
        combine([dataset(tmp_path), dataset(tmp_path, (2,), names=("cat", "cow"))])


def test_spelling_makes_no_difference(tmp_path) -> None:
    spelled = dataset(tmp_path, names=("Trainstation", "GOLF_field", "0B"), annotated=(1, 2, 3))
    names = ("golf-field", "train station", "scallop")
    renamed = with_category_names(spelled, names, {"0b": "scallop"})
    assert [(c.id, c.name) for c in renamed.categories] == [(1, "train station"), (2, "golf-field"), (3, "scallop")]


def test_unused_categories_are_left_out_and_used_ones_refused(tmp_path) -> None:
    assert [c.name for c in with_category_names(dataset(tmp_path), ["cat"]).categories] == ["cat"]
    with pytest.raises(InputError, match="missing cow; unknown cat"):
        with_category_names(dataset(tmp_path), ["dog", "cow"])
